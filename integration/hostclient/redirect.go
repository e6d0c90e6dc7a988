package hostclient

import (
	"context"
	"net/http"
	"strings"
)

// MaxRedirects is how many redirects are followed.
const MaxRedirects = 5

// redirectError tells that a redirect is not followed.
type redirectError struct{ why string }

func (e *redirectError) Error() string { return e.why }

type redirectsKey struct{}

func withRedirects(ctx context.Context, follow bool) context.Context {
	return context.WithValue(ctx, redirectsKey{}, follow)
}

// secretHeaders are not sent to another host than the one they are for.
var secretHeaders = []string{"Authorization", "Cookie", "Private-Token", "Job-Token", "X-Api-Key", "X-Goog-Api-Key"}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if follow, _ := req.Context().Value(redirectsKey{}).(bool); !follow {
		return http.ErrUseLastResponse
	}
	first, last := via[0], via[len(via)-1]
	switch {
	case len(via) > MaxRedirects:
		return &redirectError{"more than 5 redirects"}
	case req.URL.Scheme != "https" && req.URL.Scheme != "http":
		return &redirectError{"the target has the scheme " + req.URL.Scheme}
	case last.URL.Scheme == "https" && req.URL.Scheme != "https":
		return &redirectError{"the target is not encrypted"}
	}
	req.Header.Del("Referer")
	if !strings.EqualFold(req.URL.Host, first.URL.Host) || req.URL.Scheme != first.URL.Scheme {
		for _, h := range secretHeaders {
			req.Header.Del(h)
		}
	}
	return nil
}
