package routes

import (
	"errors"
	"fmt"
	"strings"
)

type segmentKind uint8

const (
	literal segmentKind = iota
	parameter
	rest
)

type segment struct {
	kind segmentKind
	text string // literal in lower case
	name string // of a parameter or the rest; "" is the anonymous rest
}

// pattern is a parsed pattern.
type pattern struct {
	text     string
	method   string // "" is every method
	segments []segment
	source   string
}

func (p *pattern) String() string {
	if p.source == "" {
		return fmt.Sprintf("%q", p.text)
	}
	return fmt.Sprintf("%q (%s)", p.text, p.source)
}

// parsePattern parses "[METHOD ]/path".
func parsePattern(text string) (*pattern, error) {
	p := &pattern{text: text}
	path := text
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		p.method, path = text[:i], strings.TrimLeft(text[i:], " \t")
		if !validMethod(p.method) {
			return nil, fmt.Errorf("pattern %q: %q is no HTTP method", text, p.method)
		}
	}
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("pattern %q: the path must begin with a slash (hosts are not supported)", text)
	}
	path = path[1:]
	names := map[string]bool{}
	for {
		part, after, more := strings.Cut(path, "/")
		if part == "" {
			if more {
				return nil, fmt.Errorf("pattern %q: it has an empty segment, which no request matches", text)
			}
			p.segments = append(p.segments, segment{kind: rest}) // a slash at the end takes all below
			return p, nil
		}
		if part == "{$}" {
			if more {
				return nil, fmt.Errorf("pattern %q: {$} must be the end", text)
			}
			return p, nil
		}
		s, err := parseSegment(part)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", text, err)
		}
		if s.kind == rest && more {
			return nil, fmt.Errorf("pattern %q: {%s...} must be the end", text, s.name)
		}
		if s.name != "" {
			if names[s.name] {
				return nil, fmt.Errorf("pattern %q: the parameter %q occurs twice", text, s.name)
			}
			names[s.name] = true
		}
		p.segments = append(p.segments, s)
		if !more {
			return p, nil
		}
		path = after
	}
}

func parseSegment(part string) (segment, error) {
	open := strings.IndexByte(part, '{')
	if open < 0 && !strings.Contains(part, "}") {
		if part == "." || part == ".." {
			return segment{}, fmt.Errorf("no request matches the segment %q", part)
		}
		return segment{kind: literal, text: strings.ToLower(part)}, nil
	}
	if open != 0 || !strings.HasSuffix(part, "}") || strings.Count(part, "{") != 1 || strings.Count(part, "}") != 1 {
		return segment{}, fmt.Errorf("the segment %q must be a literal or a whole {parameter}", part)
	}
	name, isRest := strings.CutSuffix(part[1:len(part)-1], "...")
	if !validName(name) {
		return segment{}, fmt.Errorf("%q is no name for a parameter; use letters, digits and _", name)
	}
	if isRest {
		return segment{kind: rest, name: name}, nil
	}
	return segment{kind: parameter, name: name}, nil
}

func validName(s string) bool {
	for i, c := range s {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func validMethod(s string) bool {
	for _, c := range s {
		if c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c) {
			return false
		}
	}
	return s != ""
}

// relation is how the sets of requests of two patterns lie to each other.
type relation uint8

const (
	disjoint relation = iota
	equal
	within   // the first is a part of the second
	contains // the second is a part of the first
	overlap  // they share requests, and each has some of its own
)

func (r relation) and(o relation) relation {
	switch {
	case r == disjoint || o == disjoint:
		return disjoint
	case r == equal:
		return o
	case o == equal || r == o:
		return r
	default:
		return overlap
	}
}

func comparePaths(a, b []segment) relation {
	r := equal
	for i := 0; ; i++ {
		aEnd, bEnd := i == len(a), i == len(b)
		if aEnd && bEnd {
			return r
		}
		aRest, bRest := !aEnd && a[i].kind == rest, !bEnd && b[i].kind == rest
		switch {
		case aRest && bRest:
			return r
		case aRest && bEnd && r == within, aEnd && bRest && r == contains:
			// "/a/{x...}" and "/{b}" share the path "/a" alone, and the
			// literal decides.
			return disjoint
		case aRest:
			return r.and(contains)
		case bRest:
			return r.and(within)
		case aEnd || bEnd:
			return disjoint
		}
		switch {
		case a[i].kind == literal && b[i].kind == literal:
			if a[i].text != b[i].text {
				return disjoint
			}
		case a[i].kind == literal:
			r = r.and(within)
		case b[i].kind == literal:
			r = r.and(contains)
		}
	}
}

func compareMethods(a, b string) relation {
	switch {
	case a == b:
		return equal
	case b == "", b == "GET" && a == "HEAD":
		return within
	case a == "", a == "GET" && b == "HEAD":
		return contains
	default:
		return disjoint
	}
}

var errConflict = errors.New("the patterns match the same requests")

// conflict returns an error if requests exist for which the order of a and b
// is undecided.
func conflict(a, b *pattern) error {
	if compareMethods(a.method, b.method) == disjoint {
		return nil
	}
	switch comparePaths(a.segments, b.segments) {
	case overlap:
		return fmt.Errorf("pattern %v conflicts with pattern %v: %w, and neither path is more specific; make one of them more specific", a, b, errConflict)
	case equal:
		if a.method == b.method {
			return fmt.Errorf("pattern %v conflicts with pattern %v: %w; remove one of them", a, b, errConflict)
		}
	}
	return nil
}
