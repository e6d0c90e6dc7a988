package fakegithub

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Commit is a commit of a repository.
type Commit struct {
	SHA   string
	Files []CommitFile
}

// CommitFile is what a commit did to a file.
type CommitFile struct {
	Status   string `json:"status"` // added, removed, modified, renamed …
	Filename string `json:"filename"`
	Previous string `json:"previous_filename,omitempty"`
}

// mostFiles is how many files of a commit GitHub tells, maxPage how many at a
// time.
const (
	mostFiles = 3000
	maxPage   = 100
)

// rest routes the REST API of version 3.
func (s *Server) rest(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v3/repos/{owner}/{repo}", s.read("core", s.repository))
	mux.HandleFunc("GET /api/v3/repos/{owner}/{repo}/commits/{sha}", s.read("core", s.commit))
	mux.HandleFunc("GET /api/v3/search/code", s.read("code_search", s.searchCode))
}

// read wraps a route with failures, credentials and the limit, which all
// resources share here.
func (s *Server) read(resource string, answer func(w http.ResponseWriter, r *http.Request) (any, int)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.fails(w, r, nil) {
			return
		}
		if !s.knows(r) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(Unauthorized.Body))
			return
		}
		exhausted := s.spend(w.Header(), resource)
		if exhausted {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"message":"API rate limit exceeded"}`))
			return
		}
		s.reads[r.URL.Path]++
		body, status := answer(w, r)
		w.WriteHeader(status)
		if status != http.StatusNoContent {
			_ = json.NewEncoder(w).Encode(body)
		}
	}
}

// Reads returns how many reads of a path below the base of the REST API were
// answered.
func (s *Server) Reads(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads["/api/v3"+path]
}

func (s *Server) found(r *http.Request) (*Repository, any, int) {
	repo := s.world.Repository(r.PathValue("owner"), r.PathValue("repo"))
	if repo == nil {
		body, status := problem("Not Found", http.StatusNotFound)
		return nil, body, status
	}
	return repo, nil, http.StatusOK
}

func (s *Server) repository(_ http.ResponseWriter, r *http.Request) (any, int) {
	repo, body, status := s.found(r)
	if repo == nil {
		return body, status
	}
	return s.describe(repo), status
}

func (s *Server) commit(w http.ResponseWriter, r *http.Request) (any, int) {
	repo, body, status := s.found(r)
	if repo == nil {
		return body, status
	}
	if repo.git {
		return s.gitCommit(repo, r.PathValue("sha"))
	}
	i := slices.IndexFunc(repo.Commits, func(c Commit) bool { return c.SHA == r.PathValue("sha") })
	if i < 0 {
		return map[string]any{"message": "No commit found for SHA: " + r.PathValue("sha")}, http.StatusUnprocessableEntity
	}
	files := repo.Commits[i].Files
	files = page(s, w, r, files[:min(len(files), mostFiles)])
	return map[string]any{"sha": repo.Commits[i].SHA, "files": files}, http.StatusOK
}

// page returns the page of a list that is asked for, and links to the next.
func page[T any](s *Server, w http.ResponseWriter, r *http.Request, all []T) []T {
	number := func(key string, absent int) int {
		if n, err := strconv.Atoi(r.URL.Query().Get(key)); err == nil && n > 0 {
			return n
		}
		return absent
	}
	size, n := min(number("per_page", 30), maxPage), number("page", 1)
	from := min((n-1)*size, len(all))
	to := min(from+size, len(all))
	if to < len(all) {
		q := r.URL.Query()
		q.Set("page", strconv.Itoa(n+1))
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next", <%s%s?page=9>; rel="last"`, s.URL, r.URL.Path, q.Encode(), s.URL, r.URL.Path))
	}
	return append([]T{}, all[from:to]...)
}

// searchCode finds files on default branches. Like the real one it takes a
// name for a part of names.
func (s *Server) searchCode(w http.ResponseWriter, r *http.Request) (any, int) {
	name, extension, repo := "", "", ""
	for term := range strings.FieldsSeq(r.URL.Query().Get("q")) {
		key, value, _ := strings.Cut(term, ":")
		switch key {
		case "filename":
			name = value
		case "extension":
			extension = value
		case "repo":
			repo = value
		default:
			return map[string]any{"message": "Validation Failed"}, http.StatusUnprocessableEntity
		}
	}
	owner, short, _ := strings.Cut(repo, "/")
	of := s.world.Repository(owner, short)
	if of == nil {
		return map[string]any{"message": "Validation Failed"}, http.StatusUnprocessableEntity
	}
	type item struct {
		Name string `json:"name"`
		Path string `json:"path"`
	}
	items := []item{}
	for at := range of.Files {
		branch, file, _ := strings.Cut(at, ":")
		base := path.Base(file)
		if branch == of.DefaultBranch && strings.Contains(base, strings.TrimSuffix(name, path.Ext(name))) && (extension == "" || path.Ext(base) == "."+extension) {
			items = append(items, item{base, file})
		}
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.Path, b.Path) })
	return map[string]any{"total_count": len(items), "incomplete_results": s.world.Unindexed, "items": page(s, w, r, items)}, http.StatusOK
}
