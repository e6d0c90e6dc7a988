package ecmaregexp

import (
	"slices"
	"strings"
	"unicode"
)

// charSet is a set of units or characters.
type charSet struct {
	ranges  []rune // pairs: first, last
	tables  []tableTest
	negated bool
}

// tableTest is a Unicode property, \p{…} or \P{…}.
type tableTest struct {
	tables  []*unicode.RangeTable
	negated bool
}

func (s *charSet) add(from, to rune) { s.ranges = append(s.ranges, from, to) }

func (s *charSet) addAll(other *charSet) {
	s.tables = append(s.tables, other.tables...)
	if !other.negated {
		s.ranges = append(s.ranges, other.ranges...)
		return
	}
	next := rune(0)
	for _, r := range sortedRanges(other.ranges) {
		if r[0] > next {
			s.add(next, r[0]-1)
		}
		next = max(next, r[1]+1)
	}
	s.add(next, unicode.MaxRune)
}

func sortedRanges(flat []rune) [][2]rune {
	pairs := make([][2]rune, 0, len(flat)/2)
	for i := 0; i < len(flat); i += 2 {
		pairs = append(pairs, [2]rune{flat[i], flat[i+1]})
	}
	slices.SortFunc(pairs, func(a, b [2]rune) int { return int(a[0]) - int(b[0]) })
	return pairs
}

func (s *charSet) listed(r rune) bool {
	for i := 0; i < len(s.ranges); i += 2 {
		if r >= s.ranges[i] && r <= s.ranges[i+1] {
			return true
		}
	}
	for _, t := range s.tables {
		if unicode.In(r, t.tables...) != t.negated {
			return true
		}
	}
	return false
}

// has reports whether r is in the set; fold compares as the flag i does.
func (s *charSet) has(r rune, fold, unicodeMode bool) bool {
	in := s.listed(r)
	if !in && fold {
		want := canonical(r, unicodeMode)
		for other := unicode.SimpleFold(r); other != r && !in; other = unicode.SimpleFold(other) {
			in = canonical(other, unicodeMode) == want && s.listed(other)
		}
	}
	return in != s.negated
}

// canonical is what the flag i compares.
func canonical(r rune, unicodeMode bool) rune {
	if unicodeMode {
		// the smallest of those that fold to each other stands for all
		least := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			least = min(least, other)
		}
		return least
	}
	if r < 0x80 {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}
	if r == 'ß' {
		return r // its capital is two letters
	}
	if up := unicode.ToUpper(r); up >= 0x80 && (r <= 0xFFFF) == (up <= 0xFFFF) {
		return up
	}
	return r
}

func isWord(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_'
}

func isLineEnd(r rune) bool { return r == '\n' || r == '\r' || r == 0x2028 || r == 0x2029 }

var (
	digits = []rune{'0', '9'}
	words  = []rune{'0', '9', 'A', 'Z', '_', '_', 'a', 'z'}
	spaces = []rune{
		'\t', '\r', ' ', ' ', 0xA0, 0xA0, 0x1680, 0x1680, 0x2000, 0x200A, 0x2028, 0x2029, 0x202F, 0x202F,
		0x205F, 0x205F, 0x3000, 0x3000, 0xFEFF, 0xFEFF,
	}
)

// classEscape reads \d \s \w and their opposites, and properties with the flag
// u; it returns nil, and reads nothing, if something else follows.
func (p *parser) classEscape() *charSet {
	c := p.peek()
	switch c {
	case 'd', 'D':
		p.at++
		return &charSet{ranges: digits, negated: c == 'D'}
	case 's', 'S':
		p.at++
		return &charSet{ranges: spaces, negated: c == 'S'}
	case 'w', 'W':
		p.at++
		return &charSet{ranges: words, negated: c == 'W'}
	case 'p', 'P':
		if p.unicode {
			p.at++
			return p.property(c == 'P')
		}
	}
	return nil
}

func (p *parser) property(negated bool) *charSet {
	if !p.take("{") {
		p.fail("invalid property name")
		return &charSet{}
	}
	start := p.at
	for p.at < len(p.in) && p.in[p.at] != '}' {
		p.at++
	}
	name := string(p.in[start:p.at])
	tables := propertyTables(name)
	if tables == nil || !p.take("}") {
		p.fail("invalid property name " + name)
		return &charSet{}
	}
	return &charSet{tables: []tableTest{{tables, negated}}}
}

var longCategories = map[string]string{
	"Letter": "L", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Titlecase_Letter": "Lt",
	"Modifier_Letter": "Lm", "Other_Letter": "Lo", "Mark": "M", "Nonspacing_Mark": "Mn", "Number": "N",
	"Decimal_Number": "Nd", "Letter_Number": "Nl", "Other_Number": "No", "Punctuation": "P", "Symbol": "S",
	"Math_Symbol": "Sm", "Currency_Symbol": "Sc", "Separator": "Z", "Space_Separator": "Zs", "Other": "C", "Control": "Cc",
}

// propertyTables finds what \p{name} stands for; nil if nothing has the name.
func propertyTables(name string) []*unicode.RangeTable {
	if key, value, ok := strings.Cut(name, "="); ok {
		switch key {
		case "General_Category", "gc":
			return category(value)
		case "Script", "sc", "Script_Extensions", "scx":
			return found(unicode.Scripts[value])
		}
		return nil
	}
	switch name {
	case "Any":
		return []*unicode.RangeTable{{R32: []unicode.Range32{{Lo: 0, Hi: unicode.MaxRune, Stride: 1}}}}
	case "Alphabetic", "Alpha":
		return []*unicode.RangeTable{unicode.L, unicode.Nl, unicode.Other_Alphabetic}
	case "Uppercase", "Upper":
		return []*unicode.RangeTable{unicode.Lu, unicode.Other_Uppercase}
	case "Lowercase", "Lower":
		return []*unicode.RangeTable{unicode.Ll, unicode.Other_Lowercase}
	}
	if tables := category(name); tables != nil {
		return tables
	}
	return found(unicode.Properties[name])
}

func category(name string) []*unicode.RangeTable {
	if short, ok := longCategories[name]; ok {
		name = short
	}
	return found(unicode.Categories[name])
}

func found(table *unicode.RangeTable) []*unicode.RangeTable {
	if table == nil {
		return nil
	}
	return []*unicode.RangeTable{table}
}

// class reads a class after its opening bracket.
func (p *parser) class() node {
	set := &charSet{negated: p.take("^")}
	for p.err == nil {
		if p.at >= len(p.in) {
			p.fail("unterminated character class")
			break
		}
		if p.take("]") {
			break
		}
		from, escape := p.classAtom()
		if p.peek() != '-' || p.at+1 >= len(p.in) || p.in[p.at+1] == ']' {
			p.addAtom(set, from, escape)
			continue
		}
		p.at++
		to, toEscape := p.classAtom()
		switch {
		case escape != nil || toEscape != nil:
			if p.unicode {
				p.fail("invalid character class")
			}
			p.addAtom(set, from, escape)
			set.add('-', '-')
			p.addAtom(set, to, toEscape)
		case from > to:
			p.fail("range out of order in a character class")
		default:
			set.add(from, to)
		}
	}
	return class{set}
}

func (p *parser) addAtom(set *charSet, r rune, escape *charSet) {
	if escape != nil {
		set.addAll(escape)
		return
	}
	set.add(r, r)
}

func (p *parser) classAtom() (rune, *charSet) {
	if p.at >= len(p.in) {
		p.fail("unterminated character class")
		return 0, nil
	}
	c := p.peek()
	p.at++
	if c != '\\' {
		return c, nil
	}
	if p.at >= len(p.in) {
		p.fail(`\ at the end`)
		return 0, nil
	}
	if set := p.classEscape(); set != nil {
		return 0, set
	}
	return p.characterEscape(true), nil
}
