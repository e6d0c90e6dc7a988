package oauth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	clientTimeout = 10 * time.Second
	maxAnswer     = 2 << 20 // bytes
)

// NewClient returns the client with which providers send requests to identity
// providers: a request takes at most ten seconds, an answer has at most 2 MiB,
// and a redirect is followed only where the request has no body, since the
// body has secrets.
func NewClient() *http.Client { return Bounded(http.DefaultTransport, clientTimeout) }

// Bounded is [NewClient] with another transport and timeout.
func Bounded(transport http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:   timeout,
		Transport: boundedTransport{transport},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if via[0].Method != http.MethodGet || r.URL.Scheme != "https" && via[0].URL.Scheme == "https" {
				return http.ErrUseLastResponse
			}
			if len(via) > 3 {
				return errors.New("more than three redirects")
			}
			return nil
		},
	}
}

type boundedTransport struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err == nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxAnswer}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read implements [io.Reader]. Other than with [io.LimitReader], what is too
// long is an error.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fmt.Errorf("the answer of the identity provider has more than %d bytes", maxAnswer)
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, fmt.Errorf("the answer of the identity provider has more than %d bytes", maxAnswer)
	}
	return n, err
}
