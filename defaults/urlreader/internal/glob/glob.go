// Package glob matches slash-separated paths against the patterns that
// catalogs are written with: those of minimatch with its default options.
//
//	g, err := glob.Compile("**/{catalog-info,all}.y?(a)ml")
//	g.Match("services/shop/catalog-info.yaml") // true
//
// A * stays within a segment, ** spans segments, neither matches a leading
// dot unless the pattern has one there. Braces, classes and the groups ?(a|b),
// *(a|b), +(a|b) and @(a|b) are known; !(a|b), which needs backtracking, is an
// error. Matching takes time linear in the path for each segment of a pattern.
package glob

import (
	"fmt"
	"regexp"
	"strings"
)

// Bounds of a pattern.
const (
	maxPattern      = 4 << 10 // bytes
	maxAlternatives = 256     // after brace expansion
	maxStars        = 8       // ** per alternative
)

// IsPattern reports whether a path asks for a search. As everywhere in the
// family, only * and ? do.
func IsPattern(path string) bool { return strings.ContainsAny(path, "*?") }

// Glob is a compiled pattern.
type Glob struct{ alternatives [][]segment }

type segment struct {
	any bool // **
	re  *regexp.Regexp
	dot bool // the pattern has a leading dot, so the name may have one
}

func (s segment) match(name string) bool {
	if name == "" || name[0] == '.' && !s.dot {
		return false
	}
	return s.re.MatchString(name)
}

// leadingDot reports whether a pattern, or an alternative of a group at its
// start, begins with a dot.
func leadingDot(p string) bool {
	for len(p) > 1 && strings.IndexByte("?*+@", p[0]) >= 0 && p[1] == '(' {
		end := strings.IndexByte(p, ')')
		if end < 0 {
			break
		}
		for alternative := range strings.SplitSeq(p[2:end], "|") {
			if strings.HasPrefix(alternative, ".") {
				return true
			}
		}
		p = p[end+1:]
	}
	return strings.HasPrefix(p, ".") || strings.HasPrefix(p, `\.`)
}

// Compile compiles a pattern.
func Compile(pattern string) (*Glob, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("the pattern has %d bytes, more than %d", len(pattern), maxPattern)
	}
	all, err := expand(pattern, nil)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	g := &Glob{}
	for _, p := range all {
		var segs []segment
		stars := 0
		for part := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
			if part == "**" {
				if len(segs) > 0 && segs[len(segs)-1].any {
					continue
				}
				if stars++; stars > maxStars {
					return nil, fmt.Errorf("pattern %q: more than %d times **", pattern, maxStars)
				}
				segs = append(segs, segment{any: true})
				continue
			}
			re, err := translate(part)
			if err != nil {
				return nil, fmt.Errorf("pattern %q: %w", pattern, err)
			}
			segs = append(segs, segment{re: re, dot: leadingDot(part)})
		}
		g.alternatives = append(g.alternatives, segs)
	}
	return g, nil
}

// Match reports whether the whole path matches.
func (g *Glob) Match(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for _, segs := range g.alternatives {
		if match(segs, parts) {
			return true
		}
	}
	return false
}

// match keeps the set of positions in the pattern that are reachable, so its
// time is bounded by the product of both lengths.
func match(segs []segment, parts []string) bool {
	reach := make([]bool, len(segs)+1)
	reach[0] = true
	closure(segs, reach)
	for _, part := range parts {
		next := make([]bool, len(segs)+1)
		for i, s := range segs {
			switch {
			case !reach[i]:
			case s.any:
				if !strings.HasPrefix(part, ".") {
					next[i] = true
				}
			case s.match(part):
				next[i+1] = true
			}
		}
		closure(segs, next)
		reach = next
	}
	return reach[len(segs)]
}

// closure lets ** match nothing.
func closure(segs []segment, reach []bool) {
	for i, s := range segs {
		if reach[i] && s.any {
			reach[i+1] = true
		}
	}
}

// StaticPrefix returns the leading segments of a pattern that have nothing to
// match, joined by slashes.
func StaticPrefix(pattern string) string {
	parts := strings.Split(strings.Trim(pattern, "/"), "/")
	n := 0
	for n < len(parts)-1 && !strings.ContainsAny(parts[n], "*?[]{}()!+@\\") {
		n++
	}
	return strings.Join(parts[:n], "/")
}

// expand resolves {a,b} and {1..3} into alternatives.
func expand(p string, out []string) ([]string, error) {
	open, end, commas := -1, -1, []int(nil)
	depth := 0
scan:
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '{':
			if depth == 0 {
				open, commas = i, nil
			}
			depth++
		case '}':
			if depth == 0 {
				continue
			}
			if depth--; depth == 0 {
				if len(commas) > 0 {
					end = i
					break scan
				}
				open = -1 // {x} is literal
			}
		case ',':
			if depth == 1 {
				commas = append(commas, i)
			}
		}
	}
	if end < 0 {
		if len(out) >= maxAlternatives {
			return nil, fmt.Errorf("more than %d alternatives", maxAlternatives)
		}
		return append(out, p), nil
	}
	from := open + 1
	var err error
	for _, to := range append(commas, end) {
		if out, err = expand(p[:open]+p[from:to]+p[end+1:], out); err != nil {
			return nil, err
		}
		from = to + 1
	}
	return out, nil
}

// translate turns one segment into a regular expression.
func translate(p string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString(`(?s)^(?:`)
	var groups []byte // the quantifiers of open groups
	for i := 0; i < len(p); i++ {
		c := p[i]
		grouped := i+1 < len(p) && p[i+1] == '(' && strings.IndexByte(p[i:], ')') > 0
		switch {
		case grouped && c == '!':
			return nil, fmt.Errorf("the group !(…) is not supported; list what shall match instead")
		case grouped && strings.IndexByte("?*+@", c) >= 0:
			groups = append(groups, c)
			b.WriteString("(?:")
			i++
		case c == '|' && len(groups) > 0:
			b.WriteByte('|')
		case c == ')' && len(groups) > 0:
			b.WriteByte(')')
			if q := groups[len(groups)-1]; q != '@' {
				b.WriteByte(q)
			}
			groups = groups[:len(groups)-1]
		case c == '*':
			for i+1 < len(p) && p[i+1] == '*' {
				i++
			}
			b.WriteString(`.*`)
		case c == '?':
			b.WriteByte('.')
		case c == '[':
			class, n := class(p[i:])
			if n == 0 {
				b.WriteString(`\[`)
				break
			}
			b.WriteString(class)
			i += n - 1
		case c == '\\' && i+1 < len(p):
			i++
			b.WriteString(regexp.QuoteMeta(runeAt(p, &i)))
		default:
			b.WriteString(regexp.QuoteMeta(runeAt(p, &i)))
		}
	}
	if len(groups) > 0 {
		return nil, fmt.Errorf("a group is not closed")
	}
	b.WriteString(`)$`)
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("malformed pattern: %w", err)
	}
	return re, nil
}

// runeAt returns the character at *i and moves *i to its last byte.
func runeAt(p string, i *int) string {
	for j := range p[*i:] {
		if j > 0 {
			s := p[*i : *i+j]
			*i += j - 1
			return s
		}
	}
	s := p[*i:]
	*i = len(p) - 1
	return s
}

// class translates [a-z], [!a] and [^a]; n is 0 where p starts with none.
func class(p string) (string, int) {
	end := 1
	if end < len(p) && (p[end] == '!' || p[end] == '^') {
		end++
	}
	start := end
	if end < len(p) && p[end] == ']' {
		end++
	}
	for end < len(p) && p[end] != ']' {
		end++
	}
	if end >= len(p) || end == start {
		return "", 0
	}
	var b strings.Builder
	b.WriteByte('[')
	if start == 2 {
		b.WriteByte('^')
	}
	for _, r := range p[start:end] {
		if strings.ContainsRune(`\[]^&~`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	b.WriteByte(']')
	if _, err := regexp.Compile(b.String()); err != nil {
		return "", 0
	}
	return b.String(), end + 1
}
