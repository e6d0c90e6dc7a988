// Package wildcard compares texts with patterns in which a * stands for any
// text, also none, and everything else for itself.
//
//	wildcard.New("catalog.*.read").Match("catalog.entity.read") // true
package wildcard

import "strings"

// Pattern is a pattern, cut at its stars.
type Pattern []string

// New returns the pattern that a text is.
func New(text string) Pattern { return strings.Split(text, "*") }

// Match reports whether the pattern stands for the text. It takes time linear
// in the text for each part of the pattern.
func (p Pattern) Match(text string) bool {
	if len(p) == 1 {
		return p[0] == text
	}
	first, last := p[0], p[len(p)-1]
	if !strings.HasPrefix(text, first) {
		return false
	}
	text = text[len(first):]
	for _, part := range p[1 : len(p)-1] {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return strings.HasSuffix(text, last)
}
