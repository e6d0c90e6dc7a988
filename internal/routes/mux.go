package routes

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Mux holds the handlers of patterns. The zero value is ready for use, also
// by several goroutines.
type Mux struct {
	mu   sync.RWMutex
	root node
	all  []*route
}

type route struct {
	pattern *pattern
	handler http.Handler
}

// node is a place in the tree of segments.
type node struct {
	literals  map[string]*node
	parameter *node
	// here are the routes whose path ends here, rest those that take what
	// follows, both by method.
	here, rest map[string]*route
}

// Handle registers the handler of a pattern. source says where that happens,
// for messages. A malformed pattern, or one that conflicts with another, is
// an error.
func (m *Mux) Handle(text string, h http.Handler, source string) error {
	p, err := parsePattern(text)
	if err != nil {
		return err
	}
	p.source = source
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.all {
		if err := conflict(p, other.pattern); err != nil {
			return err
		}
	}
	rt := &route{p, h}
	m.all = append(m.all, rt)
	m.root.insert(p.segments, rt)
	return nil
}

func (n *node) insert(segments []segment, rt *route) {
	for _, s := range segments {
		switch s.kind {
		case literal:
			if n.literals == nil {
				n.literals = map[string]*node{}
			}
			next := n.literals[s.text]
			if next == nil {
				next = &node{}
				n.literals[s.text] = next
			}
			n = next
		case parameter:
			if n.parameter == nil {
				n.parameter = &node{}
			}
			n = n.parameter
		case rest:
			if n.rest == nil {
				n.rest = map[string]*route{}
			}
			n.rest[rt.pattern.method] = rt
			return
		}
	}
	if n.here == nil {
		n.here = map[string]*route{}
	}
	n.here[rt.pattern.method] = rt
}

// Patterns returns the registered patterns in order of registration.
func (m *Mux) Patterns() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]string, len(m.all))
	for i, rt := range m.all {
		out[i] = rt.pattern.text
	}
	return out
}

// maxDepth bounds the segments of a path that are looked at one by one. No
// pattern is that long.
const maxDepth = 64

// search is the state of one look-up.
type search struct {
	method string
	// values are the raw segments that parameters took, innermost last.
	values [maxDepth]string
	n      int
	tail   string // what the rest took, raw
}

// Handler returns the handler for a request and stores the parameters and the
// pattern in it. ok is false where no pattern matches.
func (m *Mux) Handler(r *http.Request) (h http.Handler, ok bool) {
	path := r.URL.EscapedPath()
	if HasDotSegment(path) {
		return nil, false
	}
	s := search{method: r.Method}
	m.mu.RLock()
	rt := s.find(&m.root, strings.TrimPrefix(path, "/"), 0)
	m.mu.RUnlock()
	if rt == nil {
		return nil, false
	}
	i := 0
	for _, seg := range rt.pattern.segments {
		switch {
		case seg.kind == parameter:
			r.SetPathValue(seg.name, decode(s.values[i]))
			i++
		case seg.kind == rest && seg.name != "":
			r.SetPathValue(seg.name, decode(s.tail))
		}
	}
	r.Pattern = rt.pattern.text
	return rt.handler, true
}

// find walks down, most specific first, and steps back where nothing is
// found. The remaining path has no slash at its beginning.
func (s *search) find(n *node, path string, depth int) *route {
	if path == "" {
		if rt := pick(n.here, s.method); rt != nil {
			return rt
		}
	} else if depth < maxDepth {
		part, after, _ := strings.Cut(path, "/") // one slash at the end leaves after empty
		if part != "" {
			if next := n.literals[fold(part)]; next != nil {
				if rt := s.find(next, after, depth+1); rt != nil {
					return rt
				}
			}
			if n.parameter != nil {
				s.values[s.n] = part
				s.n++
				if rt := s.find(n.parameter, after, depth+1); rt != nil {
					return rt
				}
				s.n--
			}
		}
	}
	if rt := pick(n.rest, s.method); rt != nil {
		s.tail = path
		return rt
	}
	return nil
}

func pick(routes map[string]*route, method string) *route {
	if len(routes) == 0 {
		return nil
	}
	if rt := routes[method]; rt != nil {
		return rt
	}
	if method == http.MethodHead {
		if rt := routes[http.MethodGet]; rt != nil {
			return rt
		}
	}
	return routes[""]
}

// fold returns the decoded segment in lower case, for the look-up of
// literals.
func fold(part string) string { return strings.ToLower(decode(part)) }

func decode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	if d, err := url.PathUnescape(s); err == nil {
		return d
	}
	return s
}

// HasDotSegment reports whether a segment of the escaped path is "." or "..",
// plain or encoded. A client resolves such segments before it sends a
// request; one that does not has something else in mind.
func HasDotSegment(path string) bool {
	if !strings.Contains(path, ".") && !strings.Contains(path, "%2") {
		return false
	}
	return slices.ContainsFunc(strings.Split(path, "/"), func(part string) bool {
		if len(part) > len("%2e%2e") {
			return false
		}
		d := decode(part)
		return d == "." || d == ".."
	})
}
