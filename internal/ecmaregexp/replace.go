package ecmaregexp

import (
	"strings"

	"github.com/flytower/flytower/internal/utf16text"
)

// Replace returns s with the first match, or with the flag g all of them,
// replaced. In the replacement $$ is a dollar, $& the match, $` and $' what is
// before and after it, $1 to $99 and $<name> what a group matched.
// Text that is produced counts against the budget.
func (re *Regexp) Replace(s, replacement string, b *Budget) (string, error) {
	t := re.text(s)
	parts := parseReplacement(replacement, re)
	var out []byte
	done, at, length := 0, 0, re.length(t)
	for at <= length {
		found, err := re.find(t, at, b)
		if err != nil {
			return "", err
		}
		if found == nil {
			break
		}
		produced := len(out)
		out = append(out, re.slice(t, done, found[0])...)
		for _, p := range parts {
			out = append(out, p.text(re, t, found)...)
		}
		if err := b.spend(int64(len(out) - produced)); err != nil {
			return "", err
		}
		done = found[1]
		if at = done; found[1] == found[0] {
			at++
		}
		if !re.global {
			break
		}
	}
	if done == 0 && out == nil {
		return s, nil
	}
	return utf16text.Join(string(append(out, re.slice(t, done, length)...))), nil
}

// ReplaceText replaces the first occurrence of a plain text, with the same
// replacements.
func ReplaceText(s, search, replacement string) string {
	before, after, ok := strings.Cut(s, search)
	if !ok {
		return s
	}
	var out strings.Builder
	out.WriteString(before)
	for _, p := range parseReplacement(replacement, &Regexp{groups: []string{""}}) {
		switch p.kind {
		case theMatch:
			out.WriteString(search)
		case theTextBefore:
			out.WriteString(before)
		case theTextAfter:
			out.WriteString(after)
		default:
			out.WriteString(p.literal)
		}
	}
	out.WriteString(after)
	return out.String()
}

type partKind uint8

const (
	literalText partKind = iota
	theMatch
	theTextBefore
	theTextAfter
	theGroup
)

type part struct {
	kind    partKind
	literal string
	group   int
}

func (p part) text(re *Regexp, t *text, found []int) string {
	switch p.kind {
	case theMatch:
		return re.slice(t, found[0], found[1])
	case theTextBefore:
		return re.slice(t, 0, found[0])
	case theTextAfter:
		return re.slice(t, found[1], re.length(t))
	case theGroup:
		if found[2*p.group] < 0 {
			return ""
		}
		return re.slice(t, found[2*p.group], found[2*p.group+1])
	default:
		return p.literal
	}
}

func parseReplacement(s string, re *Regexp) []part {
	var parts []part
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 >= len(s) {
			return append(parts, part{literal: s})
		}
		parts = append(parts, part{literal: s[:i]})
		s = s[i+1:]
		p, size := parseReference(s, re)
		parts = append(parts, p)
		s = s[size:]
	}
}

// parseReference reads what follows a dollar.
func parseReference(s string, re *Regexp) (p part, size int) {
	switch c := s[0]; {
	case c == '$':
		return part{literal: "$"}, 1
	case c == '&':
		return part{kind: theMatch}, 1
	case c == '`':
		return part{kind: theTextBefore}, 1
	case c == '\'':
		return part{kind: theTextAfter}, 1
	case c >= '0' && c <= '9':
		if len(s) > 1 && s[1] >= '0' && s[1] <= '9' {
			if n := int(c-'0')*10 + int(s[1]-'0'); n >= 1 && n < len(re.groups) {
				return part{kind: theGroup, group: n}, 2
			}
		}
		if n := int(c - '0'); n >= 1 && n < len(re.groups) {
			return part{kind: theGroup, group: n}, 1
		}
	case c == '<' && re.named():
		if end := strings.IndexByte(s, '>'); end > 0 {
			for i, name := range re.groups {
				if i > 0 && name == s[1:end] {
					return part{kind: theGroup, group: i}, end + 1
				}
			}
			return part{}, end + 1
		}
	}
	return part{literal: "$"}, 0
}

func (re *Regexp) named() bool {
	for _, name := range re.groups {
		if name != "" {
			return true
		}
	}
	return false
}

// Piece is a part of a text that was split. What a group did not match is not
// Defined.
type Piece struct {
	Text    string
	Defined bool
}

// Split splits s at matches, as String.prototype.split does: what groups
// matched is among the pieces. At most limit of them are returned.
func (re *Regexp) Split(s string, limit int, b *Budget) ([]Piece, error) {
	if limit <= 0 {
		return nil, nil
	}
	t := re.text(s)
	length := re.length(t)
	if length == 0 {
		found, err := re.find(t, 0, b)
		if err != nil || found != nil {
			return nil, err
		}
		return []Piece{{s, true}}, nil
	}
	// the flag y has no effect on where a text is split
	free := *re
	free.sticky = false
	var pieces []Piece
	done, at := 0, 0
	for at < length {
		found, err := free.find(t, at, b)
		if err != nil {
			return nil, err
		}
		if found == nil || found[0] >= length {
			break
		}
		if found[1] == done {
			at++
			continue
		}
		pieces = append(pieces, Piece{re.slice(t, done, found[0]), true})
		done = found[1]
		for g := 1; g < len(re.groups) && len(pieces) < limit; g++ {
			p := Piece{}
			if found[2*g] >= 0 {
				p = Piece{re.slice(t, found[2*g], found[2*g+1]), true}
			}
			pieces = append(pieces, p)
		}
		if len(pieces) >= limit {
			return pieces[:limit], nil
		}
		if at = done; found[1] == found[0] {
			at++
		}
	}
	return append(pieces, Piece{re.slice(t, done, length), true}), nil
}
