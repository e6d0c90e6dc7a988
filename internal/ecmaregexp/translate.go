package ecmaregexp

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
)

// linear returns the expression for package regexp if it means the same there,
// for texts without characters beyond U+FFFF (and, with fold, beyond ASCII).
func linear(n node, f flags) *regexp.Regexp {
	t := translator{flags: f}
	t.node(n)
	if t.differs {
		return nil
	}
	prefix := ""
	if f.ignoreCase {
		prefix = "(?i)"
	}
	re, err := regexp.Compile(prefix + t.out.String())
	if err != nil {
		return nil // such as counts beyond what it allows
	}
	return re
}

type translator struct {
	flags
	out     strings.Builder
	differs bool
}

func (t *translator) node(n node) {
	switch n := n.(type) {
	case literal:
		t.literal(n.r)
	case anyChar:
		if t.dotAll {
			t.out.WriteString(`(?s:.)`)
		} else {
			t.out.WriteString(`[^\n\r\x{2028}\x{2029}]`)
		}
	case class:
		t.class(n.set)
	case sequence:
		for _, item := range n.items {
			t.node(item)
		}
	case choice:
		t.out.WriteString("(?:")
		for i, a := range n.alternatives {
			if i > 0 {
				t.out.WriteByte('|')
			}
			t.node(a)
		}
		t.out.WriteByte(')')
	case group:
		t.out.WriteByte('(')
		if n.index == 0 {
			t.out.WriteString("?:")
		}
		t.node(n.body)
		t.out.WriteByte(')')
	case repeat:
		t.repeat(n)
	case assertion:
		t.assertion(n.kind)
	case empty:
	default:
		t.differs = true
	}
}

func (t *translator) literal(r rune) {
	if utf16.IsSurrogate(r) {
		t.differs = true
		return
	}
	t.out.WriteString(regexp.QuoteMeta(string(r)))
}

func (t *translator) class(set *charSet) {
	if len(set.tables) > 0 {
		t.differs = true
		return
	}
	if len(set.ranges) == 0 {
		if set.negated {
			t.out.WriteString(`(?s:.)`)
		} else {
			t.out.WriteString(`[^\x{0}-\x{10FFFF}]`)
		}
		return
	}
	t.out.WriteByte('[')
	if set.negated {
		t.out.WriteByte('^')
	}
	for i := 0; i < len(set.ranges); i += 2 {
		from, to := set.ranges[i], min(set.ranges[i+1], unicode.MaxRune)
		if utf16.IsSurrogate(from) || utf16.IsSurrogate(to) {
			t.differs = true
		}
		fmt.Fprintf(&t.out, `\x{%x}-\x{%x}`, from, to)
	}
	t.out.WriteByte(']')
}

// repeat leaves to the matcher what ECMAScript alone does: it forgets captures
// of earlier iterations, and refuses iterations that read nothing.
func (t *translator) repeat(n repeat) {
	if n.max != 1 && forgets(n.body) || nullable(n.body) {
		t.differs = true
		return
	}
	t.out.WriteString("(?:")
	t.node(n.body)
	t.out.WriteByte(')')
	switch {
	case n.min == 0 && n.max < 0:
		t.out.WriteByte('*')
	case n.min == 1 && n.max < 0:
		t.out.WriteByte('+')
	case n.min == 0 && n.max == 1:
		t.out.WriteByte('?')
	case n.max < 0:
		fmt.Fprintf(&t.out, "{%d,}", n.min)
	default:
		fmt.Fprintf(&t.out, "{%d,%d}", n.min, n.max)
	}
	if n.lazy {
		t.out.WriteByte('?')
	}
}

func (t *translator) assertion(kind byte) {
	if t.multiline && (kind == '^' || kind == '$') {
		t.differs = true // other line ends
		return
	}
	switch kind {
	case '^':
		t.out.WriteString(`\A`)
	case '$':
		t.out.WriteString(`\z`)
	default:
		t.out.WriteByte('\\')
		t.out.WriteByte(kind)
	}
}

// forgets reports whether n may match without setting all of its captures: in
// a repetition those of an earlier iteration would remain.
func forgets(n node) bool {
	switch n := n.(type) {
	case sequence:
		return slices.ContainsFunc(n.items, forgets)
	case choice:
		return slices.ContainsFunc(n.alternatives, captures)
	case group:
		return forgets(n.body)
	case repeat:
		return n.min == 0 && n.to > n.from || forgets(n.body)
	}
	return false
}

func captures(n node) bool {
	switch n := n.(type) {
	case sequence:
		return slices.ContainsFunc(n.items, captures)
	case choice:
		return slices.ContainsFunc(n.alternatives, captures)
	case group:
		return n.index > 0 || captures(n.body)
	case repeat:
		return n.to > n.from
	}
	return false
}
