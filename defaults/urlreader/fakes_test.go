package urlreader_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1" //nolint:gosec // git's own
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// repoFake is a repository in a fake host.
type repoFake struct {
	defaultBranch string
	private       bool
	commit        string            // at which every branch stands
	files         map[string]string // path → content
}

func blobSHA(content string) string {
	sum := sha1.Sum([]byte("blob\x00" + content)) //nolint:gosec // git's own
	return hex.EncodeToString(sum[:])
}

func (r *repoFake) tarball(prefix, below string) []byte {
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for _, p := range slices.Sorted(maps.Keys(r.files)) {
		if below != "" && !strings.HasPrefix(p, below+"/") {
			continue
		}
		_ = w.WriteHeader(&tar.Header{Name: prefix + p, Mode: 0o644, Size: int64(len(r.files[p])), Typeflag: tar.TypeReg})
		_, _ = io.WriteString(w, r.files[p])
	}
	_ = w.Close()
	_ = gz.Close()
	return b.Bytes()
}

// hostFake is what both fake hosts have in common: it knows one token, counts
// requests, and fails on demand.
type hostFake struct {
	url string

	mu       sync.Mutex
	repos    map[string]*repoFake
	token    string
	requests []string // method, path and query
	fail     func(w http.ResponseWriter, r *http.Request) bool
}

func (h *hostFake) start(t *testing.T, serve func(w http.ResponseWriter, r *http.Request)) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.requests = append(h.requests, r.Method+" "+r.URL.RequestURI())
		if h.fail != nil && h.fail(w, r) {
			return
		}
		serve(w, r)
	}))
	t.Cleanup(srv.Close)
	h.url = srv.URL
}

func (h *hostFake) set(change func()) { h.mu.Lock(); defer h.mu.Unlock(); change() }

// seen returns the requests since the last call.
func (h *hostFake) seen() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.requests
	h.requests = nil
	return out
}

func (h *hostFake) host() string { return strings.TrimPrefix(h.url, "http://") }

// repo finds a repository that the request may see; private ones do not exist
// for others.
func (h *hostFake) repo(w http.ResponseWriter, r *http.Request, name string) *repoFake {
	auth := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if auth != "" && auth != h.token && auth != "user-token" {
		w.WriteHeader(http.StatusUnauthorized)
		return nil
	}
	repo := h.repos[name]
	if repo == nil || repo.private && auth == "" {
		w.WriteHeader(http.StatusNotFound)
		return nil
	}
	return repo
}

func reply(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

func file(w http.ResponseWriter, r *http.Request, content string) {
	etag := `W/"` + blobSHA(content) + `"`
	w.Header().Set("ETag", etag)
	w.Header().Set("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = io.WriteString(w, content)
}

// gitHubFake speaks the part of GitHub's API that readers use, with raw files
// below /raw and archives behind a redirect.
type gitHubFake struct {
	hostFake
	truncated bool
}

func newGitHub(t *testing.T) *gitHubFake {
	t.Helper()
	g := &gitHubFake{}
	g.token = "ghp_good"
	g.repos = map[string]*repoFake{
		"acme/shop": {defaultBranch: "main", private: true, commit: strings.Repeat("a", 40), files: map[string]string{
			"catalog-info.yaml": "kind: Component", "a b/x#y.yaml": "odd", "services/one/catalog-info.yaml": "one",
			"services/two/catalog-info.yaml": "two", "services/two/.hidden/catalog-info.yaml": "hidden", "docs/index.md": "# docs", "docs/sub/x.md": "x",
		}},
		"acme/open": {defaultBranch: "trunk", commit: strings.Repeat("b", 40), files: map[string]string{"README.md": "open"}},
	}
	g.start(t, g.serve)
	return g
}

func (g *gitHubFake) serve(w http.ResponseWriter, r *http.Request) {
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 5)
	if parts[0] == "codeload" {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		parts = append([]string{"repos"}, parts[1:]...)
	}
	if len(parts) < 3 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	repo := g.repo(w, r, parts[1]+"/"+parts[2])
	if repo == nil {
		return
	}
	rest := strings.Join(parts[3:], "/")
	api := parts[0] == "repos"
	content, isFile := "", false
	if p, ok := strings.CutPrefix(rest, "contents/"); api && ok {
		content, isFile = repo.files[p]
		isFile = isFile && r.Header.Get("Accept") == "application/vnd.github.v3.raw" && r.URL.Query().Get("ref") != "gone"
	}
	if _, p, ok := strings.Cut(rest, "/"); parts[0] == "raw" && ok {
		content, isFile = repo.files[p]
	}
	switch {
	case isFile:
		file(w, r, content)
	case api && rest == "":
		reply(w, map[string]any{"default_branch": repo.defaultBranch})
	case api && strings.HasPrefix(rest, "commits/") && strings.HasSuffix(rest, "/status") && !strings.Contains(rest, "gone"):
		reply(w, map[string]any{"sha": repo.commit})
	case api && rest == "tarball/"+repo.commit:
		http.Redirect(w, r, "/codeload/"+parts[1]+"/"+parts[2]+"/"+repo.commit, http.StatusFound)
	case api && rest == repo.commit:
		_, _ = w.Write(repo.tarball(parts[1]+"-"+parts[2]+"-aaaaaaa/", ""))
	case api && rest == "git/trees/"+repo.commit:
		tree := []map[string]any{{"path": "services", "type": "tree", "sha": strings.Repeat("c", 40)}}
		for _, p := range slices.Sorted(maps.Keys(repo.files)) {
			tree = append(tree, map[string]any{"path": p, "type": "blob", "sha": blobSHA(repo.files[p]), "size": len(repo.files[p])})
		}
		if g.truncated {
			tree = tree[:2]
		}
		reply(w, map[string]any{"sha": repo.commit, "tree": tree, "truncated": g.truncated})
	case api && strings.HasPrefix(rest, "git/blobs/"):
		for _, c := range repo.files {
			if rest == "git/blobs/"+blobSHA(c) {
				file(w, r, c)
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// gitLabFake speaks the part of GitLab's API that readers use.
type gitLabFake struct{ hostFake }

func newGitLab(t *testing.T) *gitLabFake {
	t.Helper()
	g := &gitLabFake{}
	g.token = "glpat_good"
	g.repos = map[string]*repoFake{"group/sub/shop": {defaultBranch: "main", private: true, commit: strings.Repeat("d", 40), files: map[string]string{
		"catalog-info.yaml": "kind: Component", "services/one/catalog-info.yaml": "one", "services/two/catalog-info.yaml": "two", "docs/index.md": "# docs",
	}}}
	g.start(t, g.serve)
	return g
}

func (g *gitLabFake) serve(w http.ResponseWriter, r *http.Request) {
	// The API takes the path of a project as one escaped segment.
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/lab/api/v4/projects/")
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	escaped, rest, _ := strings.Cut(rest, "/")
	name, err := url.PathUnescape(escaped)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	repo := g.repo(w, r, name)
	if repo == nil {
		return
	}
	q := r.URL.Query()
	below := q.Get("path")
	touched := below == ""
	for p := range repo.files {
		touched = touched || p == below || strings.HasPrefix(p, below+"/")
	}
	switch {
	case rest == "":
		reply(w, map[string]any{"default_branch": repo.defaultBranch})
	case strings.HasPrefix(rest, "repository/files/") && strings.HasSuffix(rest, "/raw"):
		p, _ := url.PathUnescape(strings.TrimSuffix(strings.TrimPrefix(rest, "repository/files/"), "/raw"))
		content, ok := repo.files[p]
		if !ok || q.Get("ref") == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		file(w, r, content)
	case rest == "repository/commits" && q.Get("ref_name") != "":
		if !touched {
			reply(w, []any{})
			return
		}
		reply(w, []map[string]any{{"id": repo.commit}, {"id": strings.Repeat("0", 40)}})
	case rest == "repository/archive.tar.gz" && q.Get("sha") == repo.commit:
		_, _ = w.Write(repo.tarball("shop-"+repo.commit+"/", below))
	case rest == "jobs/artifacts/main/raw/out/report.json" && q.Get("job") == "build it":
		_, _ = fmt.Fprint(w, `{"report":1}`)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}
