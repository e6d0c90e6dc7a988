package pluginclient

import (
	"net/http"
	"net/url"
	"strings"

	"go.opentelemetry.io/otel/propagation"
)

// transport takes requests to the addresses that discovery gives.
type transport client

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	req := new(http.Request)
	*req = *r
	req.Header = r.Header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	t.shared.inject(req)
	if h, base, ok := t.match(r); ok {
		resp, err := t.shared.inMemory(req, h, base)
		if resp != nil {
			resp.Request = r
		}
		return resp, err
	}
	return t.shared.network.RoundTrip(req)
}

// maxBaseSegments is how deep in a path the id of a plugin is looked for.
const maxBaseSegments = 6

// match returns the handler of the plugin of this process whose base URL the
// request is for. Base URLs have the id of the plugin in their path.
func (t *transport) match(r *http.Request) (h http.Handler, base string, ok bool) {
	path := r.URL.EscapedPath()
	for i, segment := range strings.SplitN(path, "/", maxBaseSegments+1) {
		if i == 0 || i == maxBaseSegments {
			continue
		}
		h, ok := t.shared.handler(t.discovery, segment)
		if !ok {
			continue
		}
		at, err := t.discovery.BaseURL(r.Context(), segment)
		if err != nil {
			continue
		}
		u, err := url.Parse(at)
		if err != nil || u.Scheme != r.URL.Scheme || !strings.EqualFold(u.Host, r.URL.Host) {
			continue
		}
		base := u.EscapedPath()
		if rest, ok := strings.CutPrefix(path, base); ok && (rest == "" || rest[0] == '/') {
			return h, base, true
		}
	}
	return nil, "", false
}

// inject adds the trace of the caller to the header, which the caller of
// inject owns.
func (s *Shared) inject(r *http.Request) {
	s.propagator.Inject(r.Context(), propagation.HeaderCarrier(r.Header))
}

// inMemory lets the handler of a plugin answer. Like a handler that the root
// router calls, it sees the path without the base.
func (s *Shared) inMemory(req *http.Request, h http.Handler, base string) (*http.Response, error) {
	return s.memory.RoundTrip(req, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(s.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header)))
		u := *r.URL
		if rest := strings.TrimPrefix(u.EscapedPath(), base); rest != "" {
			u.RawPath = rest
			u.Path, _ = url.PathUnescape(rest) // it is a part of what was parsed before
		} else {
			u.RawPath, u.Path = "", "/"
		}
		r.URL = &u
		h.ServeHTTP(w, r)
	}))
}
