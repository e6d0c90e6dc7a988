package fakegitlab

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/flytower/flytower/internal/crashpoint"
	"github.com/flytower/flytower/internal/gitserver"
)

// The credentials that the server knows: Token is the integration's, of the
// user bot; UserToken is an OAuth token of the user ada.
const (
	Token     = "glpat-1ntegrat1on-5ecret"
	UserToken = "oauth-ada-5ecret"
)

// Server is a GitLab.
type Server struct {
	// URL is where it is; Host is the name of the host.
	URL, Host string
	// Git has the repositories of the projects, by their whole paths.
	Git *gitserver.Server
	// Wire is what requests go over.
	Wire crashpoint.Wire

	t  testing.TB
	mu sync.Mutex
	// PageSize bounds the pages of lists; 100.
	pageSize int
	next     int64
	world
}

// New starts a server, which ends with the test. It has the users bot (1) and
// ada (2) with their namespaces, and the group acme.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, Git: gitserver.NewUnserved(t), pageSize: 100, next: 100}
	s.users = []*User{{ID: 1, Username: "bot", Name: "The bot", State: "active"}, {ID: 2, Username: "ada", Name: "Ada", State: "active", Email: "ada@example.com", CreatedAt: "2020-01-01T00:00:00.000Z"}}
	s.Git.Allow = func(user, password, _ string, _ bool) bool {
		return user == "oauth2" && (password == Token || password == UserToken)
	}
	mux := http.NewServeMux()
	mux.Handle("/", s.Git.Handler())
	s.routes(mux)
	srv := httptest.NewServer(s.Wire.Wrap(mux))
	t.Cleanup(srv.Close)
	s.URL, s.Host = srv.URL, strings.TrimPrefix(srv.URL, "http://")
	s.AddGroup("acme")
	return s
}

// Integration returns the integration with the token, in YAML. More members go
// behind.
func (s *Server) Integration(more ...string) string {
	return fmt.Sprintf("integrations: {gitlab: [{host: %q, baseUrl: %q, apiBaseUrl: %q, token: %s%s}]}\n",
		s.Host, s.URL, s.URL+"/api/v4", Token, strings.Join(append([]string{""}, more...), ", "))
}

// PageTo bounds the pages of lists.
func (s *Server) PageTo(n int) { s.mu.Lock(); defer s.mu.Unlock(); s.pageSize = n }

func (s *Server) id() int64 { s.next++; return s.next }

// answer is what a request is answered.
type answer struct {
	status int
	body   any
}

func ok(v any) answer      { return answer{http.StatusOK, v} }
func created(v any) answer { return answer{http.StatusCreated, v} }

var noContent = answer{status: http.StatusNoContent}

// refuse answers in the way of models, invalid in that of parameters.
func refuse(status int, message any) answer {
	return answer{status, map[string]any{"message": message}}
}

func invalid(text string) answer {
	return answer{http.StatusBadRequest, map[string]any{"error": text}}
}

func notFound(what string) answer {
	return refuse(http.StatusNotFound, strings.TrimSpace("404 "+what)+" Not Found")
}

// request is a request of a known user.
type request struct {
	*http.Request
	user *User
	in   map[string]any
}

func (r *request) text(name string) string { v, _ := r.in[name].(string); return v }

func (r *request) flag(name string) bool { v, _ := r.in[name].(bool); return v }

func (r *request) number(name string) int64 { v, _ := r.in[name].(float64); return int64(v) }

func (r *request) has(name string) bool { _, ok := r.in[name]; return ok }

func (r *request) numbers(name string) (all []int64) {
	list, _ := r.in[name].([]any)
	for _, v := range list {
		n, _ := v.(float64)
		all = append(all, int64(n))
	}
	return all
}

func (r *request) texts(name string) (all []string) {
	list, _ := r.in[name].([]any)
	for _, v := range list {
		text, _ := v.(string)
		all = append(all, text)
	}
	return all
}

// route adds an endpoint with the parameters that it knows. Those that end in
// ! are required.
func (s *Server) route(mux *http.ServeMux, pattern string, parameters string, handle func(*request) answer) {
	method, at, _ := strings.Cut(pattern, " ")
	var known, required []string
	for name := range strings.FieldsSeq(parameters) {
		plain := strings.TrimSuffix(name, "!")
		known = append(known, plain)
		if plain != name {
			required = append(required, plain)
		}
	}
	mux.HandleFunc(method+" /api/v4"+at, func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		a := s.answer(r, known, required, handle)
		if list, isList := a.body.(page); isList {
			a.body = s.page(w, r, list)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(a.status)
		if a.body != nil {
			if err := json.NewEncoder(w).Encode(a.body); err != nil {
				s.t.Error(err)
			}
		}
	})
}

func (s *Server) answer(r *http.Request, known, required []string, handle func(*request) answer) answer {
	user := s.authenticate(r)
	if user == nil {
		return refuse(http.StatusUnauthorized, "401 Unauthorized")
	}
	in := map[string]any{}
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if got := r.Header.Get("Content-Type"); got != "application/json" {
			s.t.Errorf("%s %s: the content type is %q", r.Method, r.URL.Path, got)
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			return invalid("Invalid JSON")
		}
	}
	for name, values := range r.URL.Query() {
		in[name] = values[0]
	}
	var missing []string
	for _, name := range required {
		if _, ok := in[name]; !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return invalid(strings.Join(missing, " is missing, ") + " is missing")
	}
	for name := range in {
		if !slices.Contains(known, name) && name != "page" && name != "per_page" {
			s.t.Errorf("%s %s has the parameter %s, which the endpoint does not know", r.Method, r.URL.Path, name)
		}
	}
	return handle(&request{r, user, in})
}

func (s *Server) authenticate(r *http.Request) *User {
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case r.Header.Get("Private-Token") == Token:
		return s.users[0]
	case bearer == UserToken:
		return s.users[1]
	}
	return nil
}

// page is a list that is answered in pages.
type page []any

func pages[T any](list []T) answer {
	all := page{}
	for _, v := range list {
		all = append(all, v)
	}
	return ok(all)
}

func (s *Server) page(w http.ResponseWriter, r *http.Request, list page) page {
	number := func(name string, absent int) int {
		n, err := strconv.Atoi(r.URL.Query().Get(name))
		if err != nil || n < 1 {
			return absent
		}
		return n
	}
	size, at := min(number("per_page", 20), 100, s.pageSize), number("page", 1)
	begin, end := min((at-1)*size, len(list)), min(at*size, len(list))
	next := ""
	if end < len(list) {
		next = strconv.Itoa(at + 1)
		q := url.Values{"page": {next}, "per_page": {strconv.Itoa(size)}}
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, s.URL, r.URL.EscapedPath(), q.Encode()))
	}
	w.Header().Set("X-Next-Page", next)
	w.Header().Set("X-Page", strconv.Itoa(at))
	w.Header().Set("X-Per-Page", strconv.Itoa(size))
	return list[begin:end]
}
