package bundle

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// tokens splits the fragment of a reference, without its #, into the parts of
// a JSON pointer (RFC 6901, §6: percent-encoded).
func tokens(fragment string) ([]string, error) {
	if fragment == "" {
		return nil, nil
	}
	if fragment[0] != '/' {
		return nil, fmt.Errorf("#%s is no JSON pointer; it must begin with #/", fragment)
	}
	parts := strings.Split(fragment[1:], "/")
	for i, part := range parts {
		// What is no proper escape means itself.
		if decoded, err := url.PathUnescape(part); err == nil {
			part = decoded
		}
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
	}
	return parts, nil
}

// escape makes a token part of a fragment.
func escape(token string) string {
	token = strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
	var b strings.Builder
	for i := range len(token) {
		c := token[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.!~*'()", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// place is where a value is in the bundle; nil is the whole.
type place struct {
	parent *place
	token  string
	depth  int // number of tokens
	length int // of the pointer
}

func (p *place) child(token string) *place {
	next := &place{parent: p, token: token, depth: 1, length: 1 + len(token)}
	if p != nil {
		next.depth, next.length = p.depth+1, p.length+1+len(token)
	}
	return next
}

func (p *place) len() int {
	if p == nil {
		return 0
	}
	return p.length
}

func (p *place) tokens() []string {
	if p == nil {
		return nil
	}
	out := make([]string, p.depth)
	for ; p != nil; p = p.parent {
		out[p.depth-1] = p.token
	}
	return out
}

// pointer returns the reference to a place.
func pointer(tokens []string) string {
	if len(tokens) == 0 {
		return "#"
	}
	var b strings.Builder
	b.WriteByte('#')
	for _, t := range tokens {
		b.WriteByte('/')
		b.WriteString(escape(t))
	}
	return b.String()
}

// step returns what is below a value.
func step(value any, token string) (*slot, bool) {
	switch v := value.(type) {
	case *mapping:
		if m := v.get(token); m != nil {
			return &m.slot, true
		}
	case *sequence:
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(v.items) && strconv.Itoa(i) == token {
			return v.items[i], true
		}
	}
	return nil, false
}
