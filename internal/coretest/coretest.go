// Package coretest has small working implementations of the core contracts
// for the tests of the services that depend on them: an HTTP router, tokens
// that are looked up in a table, calls between plugins over real HTTP, and a
// lifecycle that the test drives.
package coretest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

var (
	_ core.HTTPAuthService     = Tokens(nil)
	_ core.Router              = (*Router)(nil)
	_ core.PluginClientService = (*Client)(nil)
	_ backend.RootLifecycle    = (*Lifecycle)(nil)
)

// Tokens are the bearer tokens that exist; it is a [core.HTTPAuthService].
type Tokens map[string]core.Credentials

// Credentials looks the bearer token up.
func (t Tokens) Credentials(r *http.Request, allow core.Allow) (core.Credentials, error) {
	who := core.NoCredentials()
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		if who, ok = t[token]; !ok {
			return who, apierr.Authentication("unknown token")
		}
	}
	everybody := allow == core.Allow{}
	switch {
	case everybody, who.IsUser() && allow.User, who.IsService() && allow.Service, who.IsNone() && allow.None:
		return who, nil
	case who.IsNone():
		return who, apierr.Authentication("Missing credentials")
	default:
		return who, apierr.NotAllowed("This endpoint does not allow '%s' credentials", who.Principal.Type)
	}
}

// IssueUserCookie is not offered.
func (Tokens) IssueUserCookie(http.ResponseWriter, *http.Request) (time.Time, error) {
	return time.Time{}, apierr.NotImplemented("no cookies here")
}

// IssueUserCookieFor is not offered.
func (Tokens) IssueUserCookieFor(http.ResponseWriter, *http.Request, core.Credentials) (time.Time, error) {
	return time.Time{}, apierr.NotImplemented("no cookies here")
}

// ClearUserCookie is not offered.
func (Tokens) ClearUserCookie(http.ResponseWriter, *http.Request) error {
	return apierr.NotImplemented("no cookies here")
}

// Router is a [core.Router] on an [http.ServeMux], without the auth barrier.
type Router struct {
	mux    *http.ServeMux
	mu     sync.Mutex
	routes []string
}

// NewRouter returns an empty router.
func NewRouter() *Router { return &Router{mux: http.NewServeMux()} }

// ServeHTTP serves the routes.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.mux.ServeHTTP(w, req) }

// Handle registers h.
func (r *Router) Handle(pattern string, h http.Handler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.routes = append(r.routes, pattern)
	r.mux.Handle(pattern, h)
}

// HandleFunc registers h.
func (r *Router) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	r.Handle(pattern, http.HandlerFunc(h))
}

// HandleErr registers h and writes its error.
func (r *Router) HandleErr(pattern string, h func(http.ResponseWriter, *http.Request) error) {
	r.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
		if err := h(w, req); err != nil {
			apierr.Write(w, req, err, "")
		}
	})
}

// Use is ignored.
func (*Router) Use(func(http.Handler) http.Handler) {}

// AddAuthPolicy is ignored.
func (*Router) AddAuthPolicy(core.AuthPolicy) {}

// Routes returns the patterns.
func (r *Router) Routes() []string { r.mu.Lock(); defer r.mu.Unlock(); return r.routes }

// Client is a [core.PluginClientService] that finds plugins in a table of
// base URLs and sends the text of the caller's token as bearer token.
type Client struct {
	URLs map[string]string
	// HTTP is used if not nil.
	HTTP *http.Client
}

// Do sends r.
func (c *Client) Do(ctx context.Context, r core.PluginRequest) (*http.Response, error) {
	base, ok := c.URLs[r.Plugin]
	if !ok {
		return nil, fmt.Errorf("no plugin %q", r.Plugin)
	}
	method, body := r.Method, r.Body
	if method == "" {
		method = http.MethodGet
	}
	header := r.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if r.JSON != nil {
		text, err := json.Marshal(r.JSON)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
		header.Set("Content-Type", "application/json")
	}
	target := base + r.Path
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	req.Header = header
	if token := r.As.Token(); !token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	return client.Do(req)
}

// Call sends r and decodes the answer.
func (c *Client) Call(ctx context.Context, r core.PluginRequest, out any) error {
	resp, err := c.Do(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return apierr.FromResponse(resp)
	}
	if out == nil {
		_, err := io.Copy(io.Discard, resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// Local is always false.
func (*Client) Local(string) bool { return false }

// Transport returns the transport of the client.
func (c *Client) Transport() http.RoundTripper {
	if c.HTTP != nil && c.HTTP.Transport != nil {
		return c.HTTP.Transport
	}
	return http.DefaultTransport
}
