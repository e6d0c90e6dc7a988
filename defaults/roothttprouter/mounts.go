package roothttprouter

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// mounts are the handlers by path.
type mounts struct {
	mu  sync.Mutex // for writers
	all atomic.Pointer[[]mount]
}

// mount is a handler at a path.
type mount struct {
	path     string // as it was given, without slashes at the end
	segments []string
	params   bool // a segment is ":name"
	handler  http.Handler
}

// add mounts h, unless the path touches that of another.
func (m *mounts) add(path string, h http.Handler) error {
	trimmed := strings.TrimRight(path, "/ \t")
	if strings.TrimLeft(trimmed, "/ \t") == "" {
		return fmt.Errorf("cannot mount a handler at %q: the path must have a segment", path)
	}
	if !strings.HasPrefix(trimmed, "/") {
		return fmt.Errorf("cannot mount a handler at %q: the path must begin with a slash", path)
	}
	if h == nil {
		return fmt.Errorf("cannot mount at %q: there is no handler", path)
	}
	n := mount{path: trimmed, handler: h, segments: strings.Split(strings.ToLower(trimmed[1:]), "/")}
	for i, s := range n.segments {
		switch {
		case s == "", s == ".", s == "..", s == ":":
			return fmt.Errorf("cannot mount a handler at %q: the segment %q matches no request", path, s)
		case s[0] == ':':
			n.params = true
			n.segments[i] = ":" + strings.Split(trimmed[1:], "/")[i][1:] // names keep their case
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []mount
	if old := m.all.Load(); old != nil {
		all = slices.Clone(*old)
	}
	for _, o := range all {
		if o.params == n.params && touches(o.segments, n.segments) {
			return fmt.Errorf("cannot mount a handler at %q: it conflicts with the one mounted at %q; choose a path that lies neither above nor below it", path, o.path)
		}
	}
	all = append(all, n)
	// Literal paths before those with parameters.
	slices.SortStableFunc(all, func(a, b mount) int {
		switch {
		case a.params == b.params:
			return strings.Compare(a.path, b.path)
		case a.params:
			return 1
		default:
			return -1
		}
	})
	m.all.Store(&all)
	return nil
}

// touches reports whether one path lies at, above or below the other.
func touches(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] && a[i][0] != ':' && b[i][0] != ':' {
			return false
		}
	}
	return true
}

func (m *mounts) paths() []string {
	out := []string{}
	if all := m.all.Load(); all != nil {
		for _, o := range *all {
			out = append(out, o.path)
		}
	}
	slices.Sort(out)
	return out
}

// get returns the handler mounted at the path itself.
func (m *mounts) get(path string) (http.Handler, bool) {
	path = strings.TrimRight(path, "/")
	if all := m.all.Load(); all != nil {
		for _, o := range *all {
			if strings.EqualFold(o.path, path) {
				return o.handler, true
			}
		}
	}
	return nil, false
}

// find returns the mount that the escaped path lies at or below, and what is
// left of the path.
func (m *mounts) find(path string) (found *mount, rest string) {
	all := m.all.Load()
	if all == nil {
		return nil, ""
	}
	for i := range *all {
		o := &(*all)[i]
		if !o.params {
			if n := len(o.path); len(path) >= n && (len(path) == n || path[n] == '/') && strings.EqualFold(path[:n], o.path) {
				return o, path[n:]
			}
			continue
		}
		if rest, ok := o.matchParams(path); ok {
			return o, rest
		}
	}
	return nil, ""
}

func (o *mount) matchParams(path string) (rest string, ok bool) {
	rest = path
	for _, s := range o.segments {
		if !strings.HasPrefix(rest, "/") {
			return "", false
		}
		part := rest[1:]
		if i := strings.IndexByte(part, '/'); i >= 0 {
			part = part[:i]
		}
		if s[0] == ':' {
			if part == "" {
				return "", false
			}
		} else if !strings.EqualFold(part, s) {
			return "", false
		}
		rest = rest[1+len(part):]
	}
	return rest, true
}

// relative is a request as a mounted handler sees it, in one allocation.
type relative struct {
	req http.Request
	url url.URL
}

// strip returns r with its path replaced by rest, which is escaped, and with
// the parameters of the mount.
func (o *mount) strip(r *http.Request, rest string) *http.Request {
	rel := &relative{req: *r, url: *r.URL}
	rel.req.URL = &rel.url
	if o.params {
		parts := strings.Split(r.URL.EscapedPath()[1:], "/")
		for i, s := range o.segments {
			if s[0] == ':' && i < len(parts) {
				value, err := url.PathUnescape(parts[i])
				if err != nil {
					value = parts[i]
				}
				rel.req.SetPathValue(s[1:], value)
			}
		}
	}
	// A second slash after the mount path is taken for the first.
	if strings.HasPrefix(rest, "//") {
		rest = rest[1:]
	}
	if rest == "" {
		rest = "/"
	}
	rel.url.Path, rel.url.RawPath = rest, ""
	if strings.Contains(rest, "%") {
		if p, err := url.PathUnescape(rest); err == nil {
			rel.url.Path, rel.url.RawPath = p, rest
		}
	}
	return &rel.req
}
