package fakegithub

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/flytower/flytower/integration/githubapi"
	"github.com/flytower/flytower/integration/hostclient"
	"github.com/flytower/flytower/internal/crashpoint"
	"github.com/flytower/flytower/internal/gitserver"
)

// Token is the personal access token that the server knows, AppID its app.
const (
	Token = "ghp_fake"
	AppID = 7
)

const window = time.Hour

// Server is a GitHub Enterprise server.
type Server struct {
	// URL is where it is; Host is the name of the host.
	URL, Host string

	// Wire is what all requests go over, those of git included.
	Wire crashpoint.Wire

	t testing.TB

	gitOnce         sync.Once
	git             *gitserver.Server
	public, private *[32]byte // for secrets

	mu        sync.Mutex
	now       time.Time
	slept     time.Duration
	world     World
	requests  int
	queries   map[string]int
	reads     map[string]int // of the REST API, by path
	limit     int            // per window
	used      int
	windowEnd time.Time
	inject    func(n int, r *Request) *Failure
	key       *rsa.PrivateKey
	issued    map[string]time.Time // installation tokens
	installed []string
}

// Failure replaces the answer to a request.
type Failure struct {
	// Status 0 breaks the connection off.
	Status int
	Header map[string]string
	Body   string
}

// Failures that GitHub is known for.
var (
	BadGateway     = Failure{Status: http.StatusBadGateway, Body: "<html>Unicorn!</html>"}
	BrokenOff      = Failure{}
	TooMany        = Failure{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "17"}}
	SecondaryLimit = Failure{Status: http.StatusForbidden, Header: map[string]string{"Retry-After": "60"}, Body: `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}`}
	SoftLimit      = Failure{Status: http.StatusOK, Body: `{"errors":[{"type":"RATE_LIMITED","message":"API rate limit exceeded"}]}`}
	Unauthorized   = Failure{Status: http.StatusUnauthorized, Body: `{"message":"Bad credentials"}`}
	HalfAnswer     = Failure{Status: http.StatusOK, Body: `{"data":{"repositoryOwner":{"login":"acme","repositories":{"nodes":[null],"pageInfo":{"hasNextPage":false,"endCursor":null}}}}}`}
	PartialErrors  = Failure{Status: http.StatusOK, Body: `{"data":{"repositoryOwner":{"login":"acme","repositories":{"nodes":[],"pageInfo":{"hasNextPage":false,"endCursor":null}}}},"errors":[{"type":"FORBIDDEN","path":["repositoryOwner","repositories","nodes",3],"message":"Resource not accessible by integration"}]}`}
	TimedOut       = Failure{Status: http.StatusOK, Body: `{"data":null,"errors":[{"message":"Something went wrong while executing your query. This may be the result of a timeout, or it could be a GitHub bug."}]}`}
	Garbage        = Failure{Status: http.StatusOK, Body: `{"data":{"repositoryOwner":{"log`}
	OwnerGone      = Failure{Status: http.StatusOK, Body: `{"data":{"repositoryOwner":null,"organization":null}}`}
)

// Request is what decides on failures are told.
type Request struct {
	Path string
	// Variables are those of a query.
	Variables map[string]any
}

// FailPagesAbove returns a function for [Server.Inject] that answers 502 to
// queries for larger pages.
func FailPagesAbove(size float64) func(int, *Request) *Failure {
	return func(_ int, r *Request) *Failure {
		if n, ok := r.Variables["size"].(float64); ok && n > size {
			return &BadGateway
		}
		return nil
	}
}

// New starts a server, which ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, now: time.Now(), queries: map[string]int{}, reads: map[string]int{}, issued: map[string]time.Time{}, limit: 5000}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/graphql", s.graphQL)
	mux.HandleFunc("GET /api/v3/app/installations", s.installations)
	mux.HandleFunc("POST /api/v3/app/installations/{id}/access_tokens", s.issue)
	s.rest(mux)
	s.changes(mux)
	srv := httptest.NewServer(s.Wire.Wrap(mux))
	t.Cleanup(srv.Close)
	s.URL, s.Host = srv.URL, strings.TrimPrefix(srv.URL, "http://")
	s.world.base = s.URL
	return s
}

// Integration returns the integration with the token, in YAML.
func (s *Server) Integration() string {
	return fmt.Sprintf("integrations: {github: [{host: %q, apiBaseUrl: %q, token: %s}]}\n", s.Host, s.URL+"/api/v3", Token)
}

// AppIntegration returns the integration with a GitHub App that the owners
// have installed, in YAML.
func (s *Server) AppIntegration(owners ...string) string {
	s.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.key, s.installed = key, owners
	s.mu.Unlock()
	text, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("integrations: {github: [{host: %q, apiBaseUrl: %q, apps: [{appId: %d, clientId: c, clientSecret: s, privateKey: %s}]}]}\n",
		s.Host, s.URL+"/api/v3", AppID, text)
}

// Install replaces the owners that have installed the app.
func (s *Server) Install(owners ...string) { s.mu.Lock(); defer s.mu.Unlock(); s.installed = owners }

// Options are those of a client with the server's time. Who sleeps moves it
// on.
func (s *Server) Options() githubapi.Options {
	return githubapi.Options{Client: hostclient.Options{Now: s.Now, Sleep: s.Sleep, Random: func() float64 { return 0 }}}
}

// Now returns the server's time.
func (s *Server) Now() time.Time { s.mu.Lock(); defer s.mu.Unlock(); return s.now }

// Sleep moves the server's time on.
func (s *Server) Sleep(ctx context.Context, d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
	s.slept += d
	return context.Cause(ctx)
}

// Slept returns how long clients slept.
func (s *Server) Slept() time.Duration { s.mu.Lock(); defer s.mu.Unlock(); return s.slept }

// Change changes what the server has.
func (s *Server) Change(fn func(w *World)) { s.mu.Lock(); defer s.mu.Unlock(); fn(&s.world) }

// Requests returns how many requests came, Queries how many of one operation
// were executed.
func (s *Server) Requests() int { s.mu.Lock(); defer s.mu.Unlock(); return s.requests }

// Queries returns how many queries of that name were executed.
func (s *Server) Queries(name string) int { s.mu.Lock(); defer s.mu.Unlock(); return s.queries[name] }

// LimitTo sets the queries per hour; 5000 by default.
func (s *Server) LimitTo(n int) { s.mu.Lock(); defer s.mu.Unlock(); s.limit = n }

// Inject sets what decides on failures: n counts the requests from the call
// on, beginning with 1. A nil failure, or a nil function, is none.
func (s *Server) Inject(fn func(n int, r *Request) *Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests, s.inject = 0, fn
}

// FailFrom fails every request from the n-th on.
func (s *Server) FailFrom(n int, f Failure) {
	s.Inject(func(i int, _ *Request) *Failure {
		if i >= n {
			return &f
		}
		return nil
	})
}

// FailOnly fails the n-th request.
func (s *Server) FailOnly(n int, f Failure) {
	s.Inject(func(i int, _ *Request) *Failure {
		if i == n {
			return &f
		}
		return nil
	})
}

// fails counts the request, and answers it if it has to fail.
func (s *Server) fails(w http.ResponseWriter, r *http.Request, variables map[string]any) bool {
	s.requests++
	if s.inject == nil {
		return false
	}
	f := s.inject(s.requests, &Request{r.URL.Path, variables})
	switch {
	case f == nil:
		return false
	case f.Status == 0:
		panic(http.ErrAbortHandler)
	}
	for k, v := range f.Header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(f.Status)
	_, _ = w.Write([]byte(f.Body))
	return true
}

func (s *Server) graphQL(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var body struct {
		OperationName, Query string
		Variables            map[string]any
	}
	malformed := json.NewDecoder(r.Body).Decode(&body)
	if s.fails(w, r, body.Variables) {
		return
	}
	if !s.knows(r) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if s.spend(w.Header(), "graphql") {
		_, _ = w.Write([]byte(SoftLimit.Body))
		return
	}
	if malformed != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	answer := map[string]any{}
	data, err := s.execute(body.OperationName, body.Query, body.Variables)
	if err != nil {
		q, ok := err.(*queryError)
		if !ok {
			q = &queryError{Type: "PARSE_ERROR", Message: err.Error()}
		}
		if q.Type != "NOT_FOUND" {
			s.t.Errorf("a query that GitHub would refuse: %v", err)
		}
		answer["errors"] = []any{q}
		answer["data"] = nil
	} else {
		answer["data"] = data
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// knows reports whether the credential of the request is good.
func (s *Server) knows(r *http.Request) bool {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	expires, ok := s.issued[token]
	return token == Token || ok && s.now.Before(expires)
}

// spend counts the request in the window, and reports whether it is over the
// limit.
func (s *Server) spend(h http.Header, resource string) (exhausted bool) {
	if !s.now.Before(s.windowEnd) {
		s.used, s.windowEnd = 0, s.now.Add(window)
	}
	if exhausted = s.used >= s.limit; !exhausted {
		s.used++
	}
	h.Set("Content-Type", "application/json")
	h.Set("X-RateLimit-Limit", strconv.Itoa(s.limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(s.limit-s.used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(s.windowEnd.Unix(), 10))
	h.Set("X-RateLimit-Resource", resource)
	return exhausted
}

func (s *Server) execute(name, query string, variables map[string]any) (map[string]any, error) {
	doc, err := parse(query)
	if err != nil {
		return nil, err
	}
	if doc.name != name {
		return nil, fmt.Errorf("no operation named %q", name)
	}
	s.queries[name]++
	x := &execution{doc, variables}
	if err := x.check(); err != nil {
		return nil, err
	}
	out := map[string]any{}
	return out, x.fields(s.world.query(), doc.selection, out, nil)
}

// asApp checks the assertion of the app.
func (s *Server) asApp(w http.ResponseWriter, r *http.Request) bool {
	parsed, err := jwt.ParseSigned(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), []jose.SignatureAlgorithm{jose.RS256})
	if err == nil && s.key != nil {
		var claims jwt.Claims
		if err = parsed.Claims(&s.key.PublicKey, &claims); err == nil {
			err = claims.ValidateWithLeeway(jwt.Expected{Issuer: strconv.Itoa(AppID), Time: s.now}, 0)
		}
	}
	if err != nil || s.key == nil {
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	return true
}

func (s *Server) installations(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails(w, r, nil) || !s.asApp(w, r) {
		return
	}
	out := []any{}
	if r.URL.Query().Get("page") == "1" {
		for i, owner := range s.installed {
			out = append(out, map[string]any{"id": i + 1, "account": map[string]any{"login": owner, "type": "Organization"}, "repository_selection": "all"})
		}
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (s *Server) issue(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails(w, r, nil) || !s.asApp(w, r) {
		return
	}
	token := fmt.Sprintf("ghs_%s_%d", r.PathValue("id"), len(s.issued))
	s.issued[token] = s.now.Add(time.Hour)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_at": s.issued[token], "repository_selection": "all"})
}
