package fakegithub

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/flytower/flytower/internal/gitserver"
)

// What follows is the part of the REST API that changes things. Repositories
// that are made by it, or by [Server.AddGitRepository], are served by git.

// Self is the login of whom [Token] belongs to.
const Self = "fake-bot"

// Setup is what the API changed of a repository.
type Setup struct {
	// Created is the body of the request that created it.
	Created                 map[string]any
	Issues                  []*Issue // and pull requests, like at GitHub
	Collaborators, Teams    map[string]string
	Variables, Secrets      map[string]string // secrets are opened
	Protection, OIDC, Pages map[string]any    // protection by branch
	Signatures              map[string]bool   // by branch
	Subscribed              bool
	WorkflowAccess          string
	Autolinks, Keys, Hooks  []map[string]any
	Environments            map[string]*Environment
	// Workflows are those that can be dispatched; Runs those that were.
	Workflows []string
	Runs      []map[string]any
	// Denied are parts of paths below the repository that the token may not use.
	Denied []string
}

// Issue is an issue or a pull request.
type Issue struct {
	Number                            int
	Title, Body                       string
	Labels, Assignees                 []string
	Reviewers, TeamReviewers          []string
	Milestone                         any
	Pull, Draft                       bool
	Head, HeadSHA, Base, State, Owner string
}

// Environment is an environment for deployments.
type Environment struct {
	Settings           map[string]any
	Policies           []map[string]any
	Variables, Secrets map[string]string
}

// Git returns the git server behind the repositories.
func (s *Server) Git() *gitserver.Server {
	s.gitOnce.Do(func() {
		s.git = gitserver.NewUnserved(s.t)
		s.git.Allow = func(user, password, _ string, _ bool) bool {
			_, issued := s.issued[password]
			return user == "x-access-token" && (password == Token || issued)
		}
	})
	return s.git
}

// AddGitRepository adds a repository that git serves, with files on main.
func (s *Server) AddGitRepository(owner, name string, files map[string]string) *Repository {
	s.t.Helper()
	git := s.Git()
	git.Create(owner + "/" + name)
	if len(files) > 0 {
		git.Seed(owner+"/"+name, "main", files)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.world.AddRepository(Repository{Owner: owner, Name: name, DefaultBranch: "main", git: true})
}

// exchange is a request to a repository, or to none, and what it is answered.
type exchange struct {
	s    *Server
	w    http.ResponseWriter
	r    *http.Request
	repo *Repository
	body map[string]any
}

type handler func(x *exchange) (any, int)

// route adds a route below the base of the REST API. One with {owner} and
// {repo} is about a repository that has to be there.
func (s *Server) route(mux *http.ServeMux, pattern string, handle handler) {
	method, path, _ := strings.Cut(pattern, " ")
	mux.HandleFunc(method+" /api/v3"+path, s.read("core", func(w http.ResponseWriter, r *http.Request) (any, int) {
		x := &exchange{s: s, w: w, r: r, body: map[string]any{}}
		if r.ContentLength != 0 && method != http.MethodGet {
			if err := json.NewDecoder(r.Body).Decode(&x.body); err != nil {
				return problem("Problems parsing JSON", http.StatusBadRequest)
			}
		}
		if strings.Contains(path, "{owner}/{repo}") {
			if x.repo = s.world.Repository(r.PathValue("owner"), r.PathValue("repo")); x.repo == nil {
				return problem("Not Found", http.StatusNotFound)
			}
			if !x.repo.git { // its files are only in searches
				return problem("Not Found", http.StatusNotFound)
			}
			for _, denied := range x.repo.Setup.Denied {
				if strings.Contains(r.URL.Path, denied) {
					return problem("Resource not accessible by integration", http.StatusForbidden)
				}
			}
		}
		return handle(x)
	}))
}

func (x *exchange) setup() *Setup { return &x.repo.Setup }

func (x *exchange) value(name string) string { return x.r.PathValue(name) }

func (x *exchange) text(field string) string {
	text, _ := x.body[field].(string)
	return text
}

func (x *exchange) texts(field string) []string {
	var out []string
	list, _ := x.body[field].([]any)
	for _, item := range list {
		if text, ok := item.(string); ok {
			out = append(out, text)
		}
	}
	return out
}

func (x *exchange) slug() string { return x.repo.Owner + "/" + x.repo.Name }

func (x *exchange) git() *gitserver.Server { return x.s.git }

// problem is an error as GitHub writes it.
func problem(message string, status int) (any, int) {
	return map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)}, status
}

// invalid is an error about a field.
func invalid(resource, field, code, message string) (any, int) {
	e := map[string]any{"resource": resource, "code": code, "field": field}
	if message != "" {
		e["message"] = message
	}
	body, status := problem("Validation Failed", http.StatusUnprocessableEntity)
	body.(map[string]any)["errors"] = []any{e}
	return body, status
}

// missing tells of the first field that is not there.
func (x *exchange) missing(resource string, fields ...string) (any, int, bool) {
	for _, field := range fields {
		if text, isText := x.body[field].(string); x.body[field] == nil || isText && text == "" {
			body, status := invalid(resource, field, "missing_field", "")
			return body, status, true
		}
	}
	return nil, 0, false
}

func noContent() (any, int) { return nil, http.StatusNoContent }

func set(m *map[string]string, name, value string) (any, int) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[name] = value
	return noContent()
}

// changes routes what changes things.
func (s *Server) changes(mux *http.ServeMux) {
	s.accounts(mux)
	s.gitData(mux)
	s.pullsAndIssues(mux)
	s.settings(mux)
	s.environments(mux)
	mux.Handle("/{owner}/{repo}/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.fails(w, r, nil) {
			return
		}
		s.Git().Handler().ServeHTTP(w, r)
		owner, name := r.PathValue("owner"), strings.TrimSuffix(r.PathValue("repo"), ".git")
		if repo := s.world.Repository(owner, name); repo != nil && repo.DefaultBranch == "" {
			if branches := s.git.Branches(owner + "/" + name); len(branches) > 0 {
				repo.DefaultBranch = branches[0]
			}
		}
	}))
}
