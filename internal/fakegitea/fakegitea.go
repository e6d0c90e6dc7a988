// Package fakegitea is a Gitea for tests: an HTTP server with the parts of the
// REST API that the scaffolder uses, and git repositories behind it.
//
//	gt := fakegitea.New(t)
//	config := gt.Integration() // YAML
//
// Requests need [User] and [Password]. There is the organization acme. The wire
// can be cut at any request, git's included; see [Server.Wire].
package fakegitea

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/flytower/flytower/internal/crashpoint"
	"github.com/flytower/flytower/internal/gitserver"
)

// User and Password are the credentials that the server knows.
const (
	User     = "robot"
	Password = "gitea-5ecret"
)

// Server is a Gitea.
type Server struct {
	// URL is where it is; Host is the name of the host.
	URL, Host string
	// Git has the repositories, as owner/name.
	Git *gitserver.Server
	// Wire is what requests go over.
	Wire crashpoint.Wire

	t     testing.TB
	mu    sync.Mutex
	repos map[string]Repository
	late  int
}

// Repository is a repository.
type Repository struct {
	Name        string `json:"name"`
	FullName    string `json:"full_name"`
	Description string `json:"description"`
	Private     bool   `json:"private"`
}

// New starts a server, which ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, Git: gitserver.NewUnserved(t), repos: map[string]Repository{}}
	s.Git.Allow = func(user, password, _ string, _ bool) bool { return user == User && password == Password }
	mux := http.NewServeMux()
	mux.Handle("/", s.Git.Handler())
	for pattern, handle := range map[string]func(*http.Request) (int, any){
		"GET /api/v1/orgs/{org}":                             s.organization,
		"POST /api/v1/orgs/{org}/repos":                      func(r *http.Request) (int, any) { return s.create(r, r.PathValue("org")) },
		"POST /api/v1/user/repos":                            func(r *http.Request) (int, any) { return s.create(r, User) },
		"GET /api/v1/repos/{owner}/{repo}":                   s.repository,
		"GET /api/v1/repos/{owner}/{repo}/branches/{branch}": s.branch,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			status, body := http.StatusUnauthorized, any(problem("user does not exist [uid: 0, name: ]"))
			if user, password, ok := r.BasicAuth(); ok && user == User && password == Password {
				status, body = handle(r)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			if err := json.NewEncoder(w).Encode(body); err != nil {
				t.Error(err)
			}
		})
	}
	srv := httptest.NewServer(s.Wire.Wrap(mux))
	t.Cleanup(srv.Close)
	s.URL, s.Host = srv.URL, strings.TrimPrefix(srv.URL, "http://")
	return s
}

// Integration returns the integration, in YAML. More members go behind.
func (s *Server) Integration(more ...string) string {
	return fmt.Sprintf("integrations: {gitea: [{host: %q, baseUrl: %q, username: %s, password: %s%s}]}\n",
		s.Host, s.URL, User, Password, strings.Join(append([]string{""}, more...), ", "))
}

// ShowLate makes the server tell n times that there is no such branch.
func (s *Server) ShowLate(n int) { s.mu.Lock(); defer s.mu.Unlock(); s.late = n }

// Repositories returns all repositories, by their whole names.
func (s *Server) Repositories() map[string]Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.repos)
}

func problem(text string) map[string]any {
	return map[string]any{"message": text, "url": "https://gitea.example.com/api/swagger"}
}

func (s *Server) organization(r *http.Request) (int, any) {
	if r.PathValue("org") != "acme" {
		return http.StatusNotFound, problem("org does not exist [id: 0, name: " + r.PathValue("org") + "]")
	}
	return http.StatusOK, map[string]any{"username": "acme"}
}

func (s *Server) create(r *http.Request, owner string) (int, any) {
	if owner != User {
		if status, body := s.organization(r); status != http.StatusOK {
			return status, body
		}
	}
	var in Repository
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		s.t.Errorf("the request is no repository: %v", err)
	}
	if in.Name == "" || strings.ContainsAny(in.Name, " /") {
		return http.StatusUnprocessableEntity, problem("[Name]: Required")
	}
	in.FullName = owner + "/" + in.Name
	if _, ok := s.repos[in.FullName]; ok {
		return http.StatusConflict, problem("The repository with the same name already exists.")
	}
	s.repos[in.FullName] = in
	s.Git.Create(in.FullName)
	return http.StatusCreated, in
}

func (s *Server) repository(r *http.Request) (int, any) {
	if found, ok := s.repos[r.PathValue("owner")+"/"+r.PathValue("repo")]; ok {
		return http.StatusOK, found
	}
	return http.StatusNotFound, problem("The target couldn't be found.")
}

func (s *Server) branch(r *http.Request) (int, any) {
	if status, body := s.repository(r); status != http.StatusOK {
		return status, body
	}
	if s.late--; s.late >= 0 || !slices.Contains(s.Git.Branches(r.PathValue("owner")+"/"+r.PathValue("repo")), r.PathValue("branch")) {
		return http.StatusNotFound, problem("branch does not exist [name: " + r.PathValue("branch") + "]")
	}
	return http.StatusOK, map[string]any{"name": r.PathValue("branch")}
}
