package ecmaregexp

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/flytower/flytower/internal/utf16text"
)

type flags struct {
	global, ignoreCase, multiline, dotAll, unicode, sticky bool
}

// Regexp is a compiled expression. It is safe for concurrent use.
type Regexp struct {
	flags
	pattern, flagText string
	groups            []string
	program           *program
	linear            *regexp.Regexp
}

// Compile compiles an expression with flags out of "gimsuy". Its error is a
// *SyntaxError, or says which flag is wrong.
func Compile(pattern, flagText string) (*Regexp, error) {
	re := &Regexp{pattern: pattern, flagText: flagText}
	for i, c := range flagText {
		if strings.ContainsRune(flagText[:i], c) {
			return nil, fmt.Errorf("regular expression /%s/: duplicate flag %q", pattern, c)
		}
		switch c {
		case 'g':
			re.global = true
		case 'i':
			re.ignoreCase = true
		case 'm':
			re.multiline = true
		case 's':
			re.dotAll = true
		case 'u':
			re.unicode = true
		case 'y':
			re.sticky = true
		default:
			return nil, fmt.Errorf("regular expression /%s/: unknown flag %q; there are g, i, m, s, u and y", pattern, c)
		}
	}
	n, p, err := parse(pattern, re.unicode)
	if err != nil {
		return nil, err
	}
	re.groups = make([]string, p.captures+1)
	for name, index := range p.names {
		re.groups[index] = name
	}
	if re.program, err = compileChecked(n, p, re.ignoreCase); err != nil {
		return nil, err
	}
	if !re.sticky {
		re.linear = linear(n, re.flags)
	}
	return re, nil
}

func compileChecked(n node, p *parser, fold bool) (*program, error) {
	c := compile(n, p, fold)
	for _, in := range c.code {
		if in.op == opBack && (in.x == 0 || in.x > c.captures) {
			p.fail("reference to a group that does not exist")
			return nil, p.err
		}
	}
	return c, nil
}

// String returns the expression as it is written: /pattern/flags.
func (re *Regexp) String() string { return "/" + re.pattern + "/" + re.flagText }

// Global reports whether the flag g is set.
func (re *Regexp) Global() bool { return re.global }

// Sticky reports whether the flag y is set.
func (re *Regexp) Sticky() bool { return re.sticky }

// text is what expressions are matched with. Its indexes are units, or
// characters with the flag u.
type text struct {
	s     string
	ascii bool
	// plain: one character is one unit, so package regexp counts alike
	plain bool
	runes []rune // decoded when first needed
}

func (re *Regexp) text(s string) *text {
	t := &text{s: s, ascii: utf16text.IsASCII(s)}
	t.plain = t.ascii
	if !t.plain && utf8.ValidString(s) && !re.ignoreCase {
		t.plain = re.unicode || !strings.ContainsFunc(s, func(r rune) bool { return r > 0xFFFF })
	}
	return t
}

func (re *Regexp) decoded(t *text) []rune {
	if t.runes == nil && t.s != "" {
		t.runes = decode(t.s, re.unicode)
	}
	return t.runes
}

func (re *Regexp) length(t *text) int {
	if t.ascii {
		return len(t.s)
	}
	return len(re.decoded(t))
}

func (re *Regexp) slice(t *text, from, to int) string {
	if t.ascii {
		return t.s[from:to]
	}
	var out []byte
	for _, r := range re.decoded(t)[from:to] {
		out = utf16text.AppendUnit(out, r)
	}
	return utf16text.Join(string(out))
}

// find returns the captures of the first match at or after start, or nil.
func (re *Regexp) find(t *text, start int, b *Budget) ([]int, error) {
	if re.linear != nil && t.plain {
		return re.findLinear(t, start, b)
	}
	if int64(len(t.s)-start) > b.left {
		return nil, ErrBudget // before the text is decoded, which takes memory
	}
	m := machine{
		program: re.program, in: re.decoded(t), budget: b,
		fold: re.ignoreCase, unicode: re.unicode, dotAll: re.dotAll, multiline: re.multiline,
		captured: make([]int, 2*(re.program.captures+1)), regs: make([]int, re.program.registers),
	}
	for pos := start; pos <= len(m.in); pos++ {
		found := m.at(pos)
		if m.err != nil {
			return nil, m.err
		}
		if found || re.sticky {
			if err := b.spend(m.ticks); err != nil {
				return nil, err
			}
			if !found {
				return nil, nil
			}
			return m.captured, nil
		}
	}
	return nil, b.spend(m.ticks)
}

// findLinear matches with package regexp. It looks at the whole text, since
// \b and ^ depend on what is before the start; for that it skips matches that
// begin too early, which only happens after matches of the empty text.
func (re *Regexp) findLinear(t *text, start int, b *Budget) ([]int, error) {
	offset := start
	if !t.ascii {
		offset = len(string(re.decoded(t)[:start]))
	}
	if err := b.spend(int64(len(t.s)-offset)/4 + 1); err != nil {
		return nil, err
	}
	if offset > 0 && re.looksBack() {
		return re.findAfter(t, start, b)
	}
	found := re.linear.FindStringSubmatchIndex(t.s[offset:])
	if found == nil {
		return nil, nil
	}
	for i := range found {
		if found[i] >= 0 {
			found[i] = start + re.count(t, t.s[offset:offset+found[i]])
		}
	}
	return found, nil
}

func (re *Regexp) count(t *text, s string) int {
	if t.ascii {
		return len(s)
	}
	return utf8.RuneCountInString(s)
}

// looksBack reports whether a match depends on the character before it.
func (re *Regexp) looksBack() bool {
	for i := range re.program.code {
		if re.program.code[i].op == opAssert && re.program.code[i].kind != '$' {
			return true
		}
	}
	return false
}

// findAfter is for expressions that look at what is before the start, which
// package regexp cannot be told of.
func (re *Regexp) findAfter(t *text, start int, b *Budget) ([]int, error) {
	backtracking := *re
	backtracking.linear = nil
	return backtracking.find(t, start, b)
}

// MatchString reports whether the expression matches anywhere in s.
func (re *Regexp) MatchString(s string, b *Budget) (bool, error) {
	found, err := re.find(re.text(s), 0, b)
	return found != nil, err
}

// Test matches as RegExp.prototype.test does: an expression with the flag g or
// y begins at the index last and returns where the next match would begin.
func (re *Regexp) Test(s string, last int, b *Budget) (matched bool, next int, err error) {
	if !re.global && !re.sticky {
		matched, err = re.MatchString(s, b)
		return matched, last, err
	}
	t := re.text(s)
	if last > re.length(t) {
		return false, 0, nil
	}
	found, err := re.find(t, last, b)
	if found == nil {
		return false, 0, err
	}
	return true, found[1], nil
}
