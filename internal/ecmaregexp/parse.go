package ecmaregexp

import (
	"strings"
	"unicode/utf16"

	"github.com/flytower/flytower/internal/utf16text"
)

type parser struct {
	pattern  string
	in       []rune // units, or characters with the flag u
	at       int
	unicode  bool
	depth    int
	captures int
	// total is the number of captures of the whole expression, which \N of
	// annex B depends on.
	total   int
	names   map[string]int
	hasName bool
	err     *SyntaxError
}

// decode splits a text into what one step of a matcher consumes.
func decode(text string, unicode bool) []rune {
	units := utf16text.Units(text)
	out := make([]rune, 0, len(units))
	for i := 0; i < len(units); i++ {
		r := rune(units[i])
		if unicode && utf16.IsSurrogate(r) && i+1 < len(units) {
			if whole := utf16.DecodeRune(r, rune(units[i+1])); whole != '\uFFFD' {
				r = whole
				i++
			}
		}
		out = append(out, r)
	}
	return out
}

func parse(pattern string, unicode bool) (node, *parser, error) {
	p := &parser{pattern: pattern, in: decode(pattern, unicode), unicode: unicode, names: map[string]int{}}
	if len(p.in) > maxPattern {
		p.fail("the expression is too long")
		return nil, nil, p.err
	}
	p.countGroups()
	n := p.alternatives()
	if p.err == nil && p.at < len(p.in) {
		p.fail("unmatched )")
	}
	if p.err != nil {
		return nil, nil, p.err
	}
	return n, p, nil
}

// countGroups finds the number of captures ahead of the references to them.
func (p *parser) countGroups() {
	inClass := false
	for i := 0; i < len(p.in); i++ {
		switch c := p.in[i]; {
		case c == '\\':
			i++
		case c == '[':
			inClass = true
		case c == ']':
			inClass = false
		case c == '(' && !inClass:
			if i+1 < len(p.in) && p.in[i+1] == '?' {
				if i+3 < len(p.in) && p.in[i+2] == '<' && p.in[i+3] != '=' && p.in[i+3] != '!' {
					p.total++
					p.hasName = true
				}
			} else {
				p.total++
			}
		}
	}
}

func (p *parser) fail(problem string) {
	if p.err == nil {
		shown := p.pattern
		if len(shown) > 200 {
			shown = strings.ToValidUTF8(shown[:200], "") + "…"
		}
		p.err = &SyntaxError{Pattern: shown, Offset: p.at, Problem: problem}
	}
}

func (p *parser) peek() rune {
	if p.at < len(p.in) {
		return p.in[p.at]
	}
	return -1
}

func (p *parser) take(text string) bool {
	for i, c := range text {
		if p.at+i >= len(p.in) || p.in[p.at+i] != c {
			return false
		}
	}
	p.at += len(text)
	return true
}

func (p *parser) alternatives() node {
	if p.depth++; p.depth > maxNesting {
		p.fail("groups nest too deeply")
	}
	defer func() { p.depth-- }()
	list := []node{p.sequence()}
	for p.err == nil && p.take("|") {
		list = append(list, p.sequence())
	}
	if len(list) == 1 {
		return list[0]
	}
	return choice{list}
}

func (p *parser) sequence() node {
	var items []node
	for p.err == nil && p.at < len(p.in) && p.peek() != '|' && p.peek() != ')' {
		first := p.captures
		atom, quantifiable := p.term()
		if p.err != nil {
			return empty{}
		}
		items = append(items, p.quantified(atom, quantifiable, first+1))
	}
	switch len(items) {
	case 0:
		return empty{}
	case 1:
		return items[0]
	}
	return sequence{items}
}

func (p *parser) quantified(atom node, quantifiable bool, from int) node {
	start := p.at
	low, high, ok := p.quantifier()
	if !ok {
		return atom
	}
	if !quantifiable {
		p.at = start
		p.fail("nothing to repeat")
		return atom
	}
	if high >= 0 && low > high {
		p.fail("numbers out of order in a {} quantifier")
	}
	return repeat{body: atom, min: low, max: high, lazy: p.take("?"), from: from, to: p.captures + 1}
}

func (p *parser) quantifier() (low, high int, ok bool) {
	switch {
	case p.take("*"):
		return 0, -1, true
	case p.take("+"):
		return 1, -1, true
	case p.take("?"):
		return 0, 1, true
	case p.peek() != '{':
		return 0, 0, false
	}
	start := p.at
	p.at++
	low, ok = p.decimal()
	high = low
	if ok && p.take(",") {
		if high, ok = p.decimal(); !ok {
			high, ok = -1, true
		}
	}
	if ok && p.take("}") {
		return low, high, true
	}
	p.at = start
	if p.unicode {
		p.fail("incomplete quantifier")
	}
	return 0, 0, false
}

func (p *parser) decimal() (int, bool) {
	start, n := p.at, 0
	for p.peek() >= '0' && p.peek() <= '9' {
		n = min(n*10+int(p.peek()-'0'), maxRepeat)
		p.at++
	}
	return n, p.at > start
}

// term reads an atom or an assertion; only what may be repeated is
// quantifiable.
func (p *parser) term() (n node, quantifiable bool) {
	c := p.peek()
	p.at++
	switch c {
	case '^', '$':
		return assertion{byte(c)}, false
	case '.':
		return anyChar{}, true
	case '[':
		return p.class(), true
	case '(':
		return p.group()
	case '\\':
		return p.escape()
	case '*', '+', '?':
		p.at--
		p.fail("nothing to repeat")
	case '{':
		p.at--
		if _, _, ok := p.quantifier(); ok || p.unicode {
			p.fail("nothing to repeat")
		}
		p.at++
	case '}', ']':
		if p.unicode {
			p.at--
			p.fail("lone quantifier bracket")
		}
	}
	return literal{c}, true
}

func (p *parser) group() (node, bool) {
	index, from := 0, p.captures+1
	var around *look
	switch {
	case p.take("?:"):
	case p.take("?="):
		around = &look{}
	case p.take("?!"):
		around = &look{negative: true}
	case p.take("?<="):
		around = &look{behind: true}
	case p.take("?<!"):
		around = &look{behind: true, negative: true}
	case p.take("?<"):
		p.captures++
		index = p.captures
		name := p.groupName()
		if _, taken := p.names[name]; taken {
			p.fail("duplicate capture group name")
		}
		p.names[name] = index
	case p.peek() == '?':
		p.fail("invalid group")
		return empty{}, false
	default:
		p.captures++
		index = p.captures
	}
	body := p.alternatives()
	if p.err == nil && !p.take(")") {
		p.fail("unterminated group")
	}
	if around != nil {
		around.body, around.from, around.to = body, from, p.captures+1
		// annex B lets look-ahead be repeated, the flag u forbids it
		return *around, !around.behind && !p.unicode
	}
	return group{body: body, index: index}, true
}

func (p *parser) groupName() string {
	start := p.at
	for p.at < len(p.in) && p.in[p.at] != '>' {
		c := p.in[p.at]
		if !isWord(c) && c != '$' && c < 0x80 {
			break
		}
		p.at++
	}
	name := string(p.in[start:p.at])
	if name == "" || name[0] >= '0' && name[0] <= '9' || !p.take(">") {
		p.fail("invalid capture group name")
	}
	return name
}

func (p *parser) escape() (node, bool) {
	if p.at >= len(p.in) {
		p.fail(`\ at the end`)
		return empty{}, false
	}
	c := p.peek()
	switch {
	case c == 'b' || c == 'B':
		p.at++
		return assertion{byte(c)}, false
	case c >= '1' && c <= '9':
		start := p.at
		if n, _ := p.decimal(); n <= p.total {
			return backReference{index: n}, true
		}
		p.at = start
		if p.unicode {
			p.fail("invalid escape")
		}
	case c == 'k' && (p.unicode || p.hasName):
		p.at++
		if !p.take("<") {
			p.fail("invalid named reference")
			return empty{}, false
		}
		return backReference{name: p.groupName()}, true
	}
	if set := p.classEscape(); set != nil {
		return class{set}, true
	}
	return literal{p.characterEscape(false)}, true
}

// characterEscape reads what follows a backslash and stands for one character.
func (p *parser) characterEscape(inClass bool) rune {
	c := p.peek()
	p.at++
	switch c {
	case 't':
		return '\t'
	case 'n':
		return '\n'
	case 'v':
		return '\v'
	case 'f':
		return '\f'
	case 'r':
		return '\r'
	case 'b':
		if inClass {
			return '\b'
		}
	case '-':
		if inClass {
			return c
		}
	case 'c':
		if l := p.peek() | 0x20; l >= 'a' && l <= 'z' {
			p.at++
			return l - 'a' + 1
		}
		if p.unicode {
			p.fail("invalid unicode escape")
		}
		p.at--
		return '\\'
	case 'x':
		if r, ok := p.hex(2); ok {
			return r
		}
	case 'u':
		return p.unicodeEscape()
	}
	if c >= '0' && c <= '7' {
		return p.octal(c)
	}
	if p.unicode && !strings.ContainsRune(`^$\.*+?()[]{}|/`, c) {
		p.fail("invalid escape")
	}
	return c
}

func (p *parser) octal(c rune) rune {
	next := p.peek()
	if p.unicode {
		if c != '0' || next >= '0' && next <= '9' {
			p.fail("invalid decimal escape")
		}
		return 0
	}
	r := c - '0'
	for i := 0; i < 2 && p.peek() >= '0' && p.peek() <= '7' && r*8+p.peek()-'0' <= 0xFF; i++ {
		r = r*8 + p.peek() - '0'
		p.at++
	}
	return r
}

func (p *parser) hex(digits int) (rune, bool) {
	if p.at+digits > len(p.in) {
		return 0, false
	}
	r := rune(0)
	for _, c := range p.in[p.at : p.at+digits] {
		d := hexDigit(c)
		if d < 0 {
			return 0, false
		}
		r = r<<4 | d
	}
	p.at += digits
	return r, true
}

func hexDigit(c rune) rune {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return -1
}

func (p *parser) unicodeEscape() rune {
	if p.unicode && p.take("{") {
		r, digits := rune(0), 0
		for ; hexDigit(p.peek()) >= 0 && r <= 0x10FFFF; digits++ {
			r = r<<4 | hexDigit(p.peek())
			p.at++
		}
		if digits == 0 || r > 0x10FFFF || !p.take("}") {
			p.fail("invalid unicode escape")
		}
		return r
	}
	r, ok := p.hex(4)
	if !ok {
		if p.unicode {
			p.fail("invalid unicode escape")
		}
		return 'u'
	}
	if p.unicode && utf16.IsSurrogate(r) && p.at+1 < len(p.in) && p.in[p.at] == '\\' && p.in[p.at+1] == 'u' {
		start := p.at
		p.at += 2
		if low, ok := p.hex(4); ok {
			if whole := utf16.DecodeRune(r, low); whole != '\uFFFD' {
				return whole
			}
		}
		p.at = start
	}
	return r
}
