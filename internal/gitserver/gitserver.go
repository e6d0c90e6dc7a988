// Package gitserver is a git server for tests: git itself, by its program
// http-backend, behind HTTP with Basic or Bearer authentication.
//
//	server := gitserver.New(t)
//	url := server.Create("acme/shop")     // http://127.0.0.1:…/acme/shop.git
//	… push to it with gitserver.User and gitserver.Password …
//	head := server.Head("acme/shop", "main")
//
// Fakes of hosts mount [Server.Handler] in their own servers. The wire to it
// can be cut at any request, by [Server.Wire].
package gitserver

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flytower/flytower/internal/crashpoint"
)

// User and Password are the credentials that a server knows at first. The
// password is a Bearer token, too.
const (
	User     = "git-user"
	Password = "git-password-5ecret"
)

// Server is a git server.
type Server struct {
	// URL is where it is; empty for one that is only mounted elsewhere.
	URL string
	// Wire is what the requests of the server's own address go over.
	Wire crashpoint.Wire
	// Allow decides on who may read or push; by default User with Password for
	// both. A bearer token comes with an empty user. Set it before requests.
	Allow func(user, password, repository string, push bool) bool

	t   testing.TB
	dir string
	cgi *cgi.Handler
}

// New starts a server, which ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := NewUnserved(t)
	server := httptest.NewServer(s.Wire.Wrap(s.Handler()))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// NewUnserved makes a server without an address of its own.
func NewUnserved(t testing.TB) *Server {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatalf("this test needs git: %v", err)
	}
	s := &Server{t: t, dir: t.TempDir()}
	s.Allow = func(user, password, _ string, _ bool) bool {
		return password == Password && (user == User || user == "")
	}
	s.cgi = &cgi.Handler{
		Path: git, Args: []string{"http-backend"}, Root: "/", Dir: s.dir, Stderr: io.Discard,
		Env: append(environment(), "GIT_PROJECT_ROOT="+s.dir, "GIT_HTTP_EXPORT_ALL=1"),
	}
	return s
}

// environment keeps the configuration of whoever runs the test away from git.
func environment() []string {
	return []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "HOME=" + os.DevNull, "PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
}

// Handler serves repositories as /<name>.git/….
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), ".git/")
		if !ok {
			http.NotFound(w, r)
			return
		}
		push := strings.HasSuffix(rest, "git-receive-pack") || r.URL.Query().Get("service") == "git-receive-pack"
		user, password, basic := r.BasicAuth()
		if token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); bearer {
			password, basic = token, true
		}
		if !basic || !s.Allow(user, password, name, push) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "authentication required", http.StatusUnauthorized)
			return
		}
		if !s.Exists(name) {
			http.Error(w, "Repository not found.", http.StatusNotFound)
			return
		}
		handler := *s.cgi
		handler.Env = append(append([]string{}, s.cgi.Env...), "REMOTE_USER=git")
		handler.ServeHTTP(w, r)
	})
}

func (s *Server) path(name string) string {
	return filepath.Join(s.dir, filepath.FromSlash(name)+".git")
}

// Exists reports whether there is a repository.
func (s *Server) Exists(name string) bool {
	_, err := os.Stat(s.path(name))
	return err == nil
}

// Create makes an empty repository, whose HEAD is main, and returns its URL.
func (s *Server) Create(name string) string {
	s.t.Helper()
	at := s.path(name)
	// what "git init --bare" makes, without a process
	for _, folder := range []string{"hooks", "objects/info", "objects/pack", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(at, folder), 0o755); err != nil {
			s.t.Error(err)
		}
	}
	for file, content := range map[string]string{
		"HEAD": "ref: refs/heads/main\n",
		// nothing runs on in the background when the test ends
		"config": "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[http]\n\treceivepack = true\n[receive]\n\tautogc = false\n[gc]\n\tauto = 0\n",
	} {
		if err := os.WriteFile(filepath.Join(at, file), []byte(content), 0o644); err != nil {
			s.t.Error(err)
		}
	}
	return s.URL + "/" + name + ".git"
}

// Clone makes a repository with all that another one has.
func (s *Server) Clone(from, to string) {
	s.t.Helper()
	s.Create(to)
	s.Git(to, "fetch", "--quiet", s.path(from), "refs/heads/*:refs/heads/*")
}

// Tree stores a tree: a base, which may be empty, with the entries of a listing
// as "git update-index --index-info" reads it.
func (s *Server) Tree(name, base, listing string) (string, error) {
	index := filepath.Join(s.t.TempDir(), "index")
	environment := []string{"GIT_INDEX_FILE=" + index}
	if base != "" {
		if _, err := s.run(name, "", environment, "read-tree", base); err != nil {
			return "", err
		}
	}
	if _, err := s.run(name, listing, environment, "update-index", "--index-info"); err != nil {
		return "", err
	}
	return s.run(name, "", environment, "write-tree")
}

// Remove deletes a repository.
func (s *Server) Remove(name string) {
	if err := os.RemoveAll(s.path(name)); err != nil {
		s.t.Error(err)
	}
}

// Hook installs a hook, such as pre-receive.
func (s *Server) Hook(name, hook, script string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.path(name), "hooks", hook), []byte(script), 0o755); err != nil {
		s.t.Error(err)
	}
}

// Git runs git in a repository, and returns what it prints, trimmed. A failure
// fails the test.
func (s *Server) Git(name string, args ...string) string {
	s.t.Helper()
	out, err := s.TryGit(name, "", args...)
	if err != nil {
		s.t.Errorf("git %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// TryGit runs git with an input.
func (s *Server) TryGit(name, stdin string, args ...string) (string, error) {
	return s.run(name, stdin, nil, args...)
}

func (s *Server) run(name, stdin string, variables []string, args ...string) (string, error) {
	command := exec.Command("git", args...)
	command.Dir = s.path(name)
	command.Env = append(append(environment(), "GIT_AUTHOR_NAME=Fake", "GIT_AUTHOR_EMAIL=fake@example.com", "GIT_COMMITTER_NAME=Fake", "GIT_COMMITTER_EMAIL=fake@example.com"), variables...)
	command.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		err = &gitError{err, strings.TrimSpace(stderr.String())}
	}
	return strings.TrimSpace(string(out)), err
}

type gitError struct {
	error
	said string
}

func (e *gitError) Error() string { return e.error.Error() + ": " + e.said }

// Head returns the commit of a branch; empty if there is none.
func (s *Server) Head(name, branch string) string {
	out, err := s.TryGit(name, "", "rev-parse", "--verify", "--quiet", "refs/heads/"+branch)
	if err != nil {
		return ""
	}
	return out
}

// Branches returns the names of all branches, sorted.
func (s *Server) Branches(name string) []string {
	s.t.Helper()
	return strings.Fields(s.Git(name, "for-each-ref", "--format=%(refname:short)", "refs/heads"))
}

// Commits returns how many commits a branch has.
func (s *Server) Commits(name, branch string) int {
	s.t.Helper()
	return len(strings.Fields(s.Git(name, "rev-list", "refs/heads/"+branch)))
}

// Files returns the files of a branch: their modes and contents, as in
// "100755 #!/bin/sh", by path.
func (s *Server) Files(name, branch string) map[string]string {
	s.t.Helper()
	files := map[string]string{}
	for line := range strings.Lines(s.Git(name, "ls-tree", "-r", "refs/heads/"+branch)) {
		meta, path, ok := strings.Cut(strings.TrimSpace(line), "\t")
		fields := strings.Fields(meta)
		if !ok || len(fields) != 3 {
			s.t.Errorf("git ls-tree says %q", line)
			continue
		}
		files[path] = fields[0] + " " + s.Git(name, "cat-file", "blob", fields[2])
	}
	return files
}

// Seed commits files to a branch, upon what is there, and returns the commit.
func (s *Server) Seed(name, branch string, files map[string]string) string {
	s.t.Helper()
	if !s.Exists(name) {
		s.Create(name)
	}
	var script strings.Builder
	script.WriteString("commit refs/heads/" + branch + "\ncommitter Fake <fake@example.com> 1700000000 +0000\ndata 4\nseed\n")
	if head := s.Head(name, branch); head != "" {
		script.WriteString("from " + head + "\n")
	}
	for path, content := range files {
		script.WriteString("M 100644 inline " + path + "\n")
		script.WriteString("data <<END-OF-FILE\n" + content + "\nEND-OF-FILE\n")
	}
	if _, err := s.TryGit(name, script.String(), "fast-import", "--quiet"); err != nil {
		s.t.Errorf("seed %s: %v", name, err)
	}
	return s.Head(name, branch)
}
