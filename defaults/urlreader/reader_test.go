package urlreader_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/urlreader"
	"github.com/flytower/flytower/internal/configtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newReader(t *testing.T, o urlreader.Options, yaml string, args ...any) *urlreader.Reader {
	t.Helper()
	if o.Client.Sleep == nil {
		o.Client.Sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	}
	r, err := urlreader.New(configtest.FromYAML(t, fmt.Sprintf(yaml, args...)), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func gitHubReader(t *testing.T, g *gitHubFake, token string) *urlreader.Reader {
	t.Helper()
	if token == "" {
		token = "null"
	}
	return newReader(t, urlreader.Options{}, "{integrations: {github: [{host: %q, apiBaseUrl: %q, rawBaseUrl: %q, token: %s}]}, backend: {workingDirectory: %q}}",
		g.host(), g.url, g.url+"/raw", token, t.TempDir())
}

func gitLabReader(t *testing.T, g *gitLabFake) *urlreader.Reader {
	t.Helper()
	return newReader(t, urlreader.Options{}, "{integrations: {gitlab: [{host: %q, baseUrl: %q, apiBaseUrl: %q, token: %q}]}, backend: {workingDirectory: %q}}",
		g.host(), g.url+"/lab", g.url+"/lab/api/v4", g.token, t.TempDir())
}

func body(t *testing.T, rc io.ReadCloser) string {
	t.Helper()
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wantFile(t *testing.T, r core.URLReaderService, u, want string) core.ReadResult {
	t.Helper()
	got, err := r.Read(t.Context(), u, core.ReadOptions{})
	if err != nil {
		t.Errorf("%s: %v", u, err)
		return got
	}
	if b := body(t, got.Content); b != want {
		t.Errorf("%s: %q, want %q", u, b, want)
	}
	return got
}

func wantKind(t *testing.T, err error, kind apierr.Kind) {
	t.Helper()
	if apierr.KindOf(err) != kind {
		t.Errorf("error %v (%s), want %s", err, apierr.KindOf(err), kind)
	}
}

// wantTree reads a tree and returns it open.
func wantTree(t *testing.T, r core.URLReaderService, u string, o core.TreeOptions, want map[string]string) core.TreeResult {
	t.Helper()
	tree, err := r.ReadTree(t.Context(), u, o)
	if err != nil {
		t.Fatalf("%s: %v", u, err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	got := map[string]string{}
	for _, f := range tree.Files() {
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		got[f.Path] = body(t, rc)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: (-want +got)\n%s", u, diff)
	}
	return tree
}

func wantFound(t *testing.T, r core.URLReaderService, u string, o core.ReadOptions, want map[string]string) core.SearchResult {
	t.Helper()
	found, err := r.Search(t.Context(), u, o)
	if err != nil {
		t.Fatalf("%s: %v", u, err)
	}
	got := map[string]string{}
	for _, f := range found.Files {
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		got[f.URL] = body(t, rc)
		wantFile(t, r, f.URL, got[f.URL]) // what is found can be read
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: (-want +got)\n%s", u, diff)
	}
	return found
}

func TestGitHubRead(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	r := gitHubReader(t, g, g.token)
	at := g.url + "/acme/shop/"
	first := wantFile(t, r, at+"blob/main/catalog-info.yaml", "kind: Component")
	if diff := cmp.Diff([]string{"GET /repos/acme/shop/contents/catalog-info.yaml?ref=main"}, g.seen()); diff != "" {
		t.Error(diff)
	}
	if first.ETag == "" || first.LastModified.Year() != 2026 {
		t.Errorf("validators %+v", first)
	}
	for _, view := range []string{"tree", "raw", "edit"} {
		wantFile(t, r, at+view+"/main/a%20b/x%23y.yaml", "odd")
	}
	_, err := r.Read(t.Context(), at+"blob/main/catalog-info.yaml", core.ReadOptions{ETag: first.ETag})
	wantKind(t, err, apierr.KindNotModified)
	_, err = r.Read(t.Context(), at+"blob/main/missing.yaml", core.ReadOptions{})
	wantKind(t, err, apierr.KindNotFound)
	_, err = r.Read(t.Context(), g.url+"/acme/shop", core.ReadOptions{})
	wantKind(t, err, apierr.KindInput)
	_, err = r.Read(t.Context(), at+"blob/main/%2e%2e/%2e%2e/user", core.ReadOptions{})
	wantKind(t, err, apierr.KindInput)
	_, err = r.Read(t.Context(), at+"blob/main/catalog-info.yaml", core.ReadOptions{MaxBytes: 3})
	wantKind(t, err, apierr.KindPayloadTooLarge)
	if _, err := r.Read(t.Context(), at+"blob/main/catalog-info.yaml", core.ReadOptions{Token: core.NewToken("user-token")}); err != nil {
		t.Errorf("with the token of a user: %v", err)
	}
	_, err = r.Read(t.Context(), at+"blob/main/catalog-info.yaml", core.ReadOptions{Token: core.NewToken("bad-token")})
	wantKind(t, err, apierr.KindError)
	if err != nil && strings.Contains(err.Error(), "bad-token") {
		t.Errorf("the error has the token: %v", err)
	}
}

func TestGitHubAnonymous(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	r := gitHubReader(t, g, "")
	wantFile(t, r, g.url+"/acme/open/blob/trunk/README.md", "open")
	if diff := cmp.Diff([]string{"GET /raw/acme/open/trunk/README.md"}, g.seen()); diff != "" {
		t.Error(diff)
	}
	_, err := r.Read(t.Context(), g.url+"/acme/shop/blob/main/catalog-info.yaml", core.ReadOptions{})
	wantKind(t, err, apierr.KindNotFound)
}

func TestGitHubTree(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	r := gitHubReader(t, g, g.token)
	docs := g.url + "/acme/shop/tree/main/docs"
	tree := wantTree(t, r, docs, core.TreeOptions{}, map[string]string{"index.md": "# docs", "sub/x.md": "x"})
	if tree.ETag() != strings.Repeat("a", 40) {
		t.Errorf("etag %q", tree.ETag())
	}
	dir := t.TempDir()
	if err := tree.WriteTo(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "sub", "x.md")); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
	_, err := r.ReadTree(t.Context(), docs, core.TreeOptions{ReadOptions: core.ReadOptions{ETag: tree.ETag()}})
	wantKind(t, err, apierr.KindNotModified)
	wantTree(t, r, g.url+"/acme/shop", core.TreeOptions{Filter: func(p string, _ int64) bool { return strings.HasPrefix(p, "docs/sub") }}, map[string]string{"docs/sub/x.md": "x"})
	for _, u := range []string{"/acme/shop/tree/main/missing", "/acme/shop/tree/gone", "/acme/none"} {
		_, err := r.ReadTree(t.Context(), g.url+u, core.TreeOptions{})
		wantKind(t, err, apierr.KindNotFound)
	}
	_, err = r.ReadTree(t.Context(), docs, core.TreeOptions{ReadOptions: core.ReadOptions{MaxBytes: 1}})
	if err != nil {
		// Six bytes fit the slack for headers; the limit is for bombs.
		wantKind(t, err, apierr.KindPayloadTooLarge)
	}
}

func TestGitHubSearch(t *testing.T) {
	t.Parallel()
	for _, truncated := range []bool{false, true} {
		g := newGitHub(t)
		g.truncated = truncated
		r := gitHubReader(t, g, g.token)
		at := g.url + "/acme/shop/"
		want := map[string]string{
			at + "tree/main/services/one/catalog-info.yaml": "one",
			at + "tree/main/services/two/catalog-info.yaml": "two",
		}
		found := wantFound(t, r, at+"blob/main/services/*/catalog-info.yaml", core.ReadOptions{}, want)
		if found.ETag != strings.Repeat("a", 40) {
			t.Errorf("etag %q", found.ETag)
		}
		want[at+"tree/main/catalog-info.yaml"] = "kind: Component"
		wantFound(t, r, at+"blob/main/**/catalog-info.yaml", core.ReadOptions{}, want)
		wantFound(t, r, at+"blob/main/a%20b/*.yaml", core.ReadOptions{}, map[string]string{at + "tree/main/a%20b/x%23y.yaml": "odd"})
		wantFound(t, r, at+"blob/main/none/*.yaml", core.ReadOptions{}, map[string]string{})
		wantFound(t, r, at+"blob/main/catalog-info.yaml", core.ReadOptions{}, map[string]string{at + "blob/main/catalog-info.yaml": "kind: Component"})
		none := wantFound(t, r, at+"blob/main/missing.yaml", core.ReadOptions{}, map[string]string{})
		if none.ETag != "" {
			t.Errorf("etag %q of nothing", none.ETag)
		}
		_, err := r.Search(t.Context(), at+"blob/main/**/catalog-info.yaml", core.ReadOptions{ETag: found.ETag})
		wantKind(t, err, apierr.KindNotModified)
		_, err = r.Search(t.Context(), g.url+"/acme/shop/blob/gone/*.yaml", core.ReadOptions{})
		wantKind(t, err, apierr.KindNotFound)
	}
}

// After a commit only the files that differ are read again.
func TestGitHubSearchReadsWhatChanged(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	r := gitHubReader(t, g, g.token)
	search := func() (blobs int) {
		t.Helper()
		found, err := r.Search(t.Context(), g.url+"/acme/shop/blob/main/services/*/catalog-info.yaml", core.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found.Files {
			rc, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			rc.Close()
		}
		for _, req := range g.seen() {
			if strings.Contains(req, "/git/blobs/") {
				blobs++
			}
		}
		return blobs
	}
	if n := search(); n != 2 {
		t.Errorf("first: %d files read", n)
	}
	g.set(func() {
		repo := g.repos["acme/shop"]
		repo.commit = strings.Repeat("e", 40)
		repo.files["services/two/catalog-info.yaml"] = "changed"
	})
	if n := search(); n != 1 {
		t.Errorf("after a commit: %d files read, want 1", n)
	}
}

func TestGitLabRead(t *testing.T) {
	t.Parallel()
	g := newGitLab(t)
	r := gitLabReader(t, g)
	at := g.url + "/lab/group/sub/shop/-/"
	first := wantFile(t, r, at+"blob/main/services/one/catalog-info.yaml", "one")
	if diff := cmp.Diff([]string{"GET /lab/api/v4/projects/group%2Fsub%2Fshop/repository/files/services%2Fone%2Fcatalog-info.yaml/raw?ref=main"}, g.seen()); diff != "" {
		t.Error(diff)
	}
	_, err := r.Read(t.Context(), at+"blob/main/services/one/catalog-info.yaml", core.ReadOptions{ETag: first.ETag})
	wantKind(t, err, apierr.KindNotModified)
	wantFile(t, r, at+"jobs/artifacts/main/raw/out/report.json?job=build%20it", `{"report":1}`)
	wantFound(t, r, at+"jobs/artifacts/main/raw/out/report.json?job=build%20it", core.ReadOptions{}, map[string]string{at + "jobs/artifacts/main/raw/out/report.json?job=build%20it": `{"report":1}`})
	for _, u := range []string{at + "blob/main/missing", g.url + "/lab/group/none/-/blob/main/x", at + "jobs/artifacts/main/raw/none?job=x"} {
		_, err := r.Read(t.Context(), u, core.ReadOptions{})
		wantKind(t, err, apierr.KindNotFound)
	}
	_, err = r.Read(t.Context(), at+"tree/main", core.ReadOptions{})
	wantKind(t, err, apierr.KindInput)
}

func TestGitLabTreeAndSearch(t *testing.T) {
	t.Parallel()
	g := newGitLab(t)
	r := gitLabReader(t, g)
	at := g.url + "/lab/group/sub/shop/-/"
	tree := wantTree(t, r, at+"tree/main/docs", core.TreeOptions{}, map[string]string{"index.md": "# docs"})
	if tree.ETag() != strings.Repeat("d", 40) {
		t.Errorf("etag %q", tree.ETag())
	}
	_, err := r.ReadTree(t.Context(), at+"tree/main/docs", core.TreeOptions{ReadOptions: core.ReadOptions{ETag: tree.ETag()}})
	wantKind(t, err, apierr.KindNotModified)
	_, err = r.ReadTree(t.Context(), at+"tree/main/missing", core.TreeOptions{})
	wantKind(t, err, apierr.KindNotFound)
	wantTree(t, r, g.url+"/lab/group/sub/shop", core.TreeOptions{Filter: func(p string, _ int64) bool { return p == "docs/index.md" }}, map[string]string{"docs/index.md": "# docs"})
	wantFound(t, r, at+"blob/main/services/*/catalog-info.yaml", core.ReadOptions{}, map[string]string{
		at + "blob/main/services/one/catalog-info.yaml": "one", at + "blob/main/services/two/catalog-info.yaml": "two",
	})
	wantFound(t, r, at+"blob/main/none/*/catalog-info.yaml", core.ReadOptions{}, map[string]string{})
	wantFound(t, r, at+"blob/main/none.yaml", core.ReadOptions{}, map[string]string{})
}

// Whatever a host says instead of an answer is never "not found".
func TestOutagesAreNotAnswers(t *testing.T) {
	t.Parallel()
	outages := map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"429":  func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(429); return true },
		"502":  func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(502); return true },
		"500":  func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true },
		"down": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"primary": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("X-RateLimit-Limit", "60")
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", fmt.Sprint(time.Now().Add(time.Hour).Unix()))
			w.WriteHeader(403)
			return true
		},
		"secondary": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(403)
			fmt.Fprint(w, `{"message":"You have exceeded a secondary rate limit"}`)
			return true
		},
	}
	for name, fail := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gh, gl := newGitHub(t), newGitLab(t)
			gh.fail, gl.fail = fail, fail
			for _, c := range []struct {
				r       core.URLReaderService
				at, glb string
			}{
				{gitHubReader(t, gh, gh.token), gh.url + "/acme/shop/blob/main/catalog-info.yaml", gh.url + "/acme/shop/blob/main/*.yaml"},
				{gitLabReader(t, gl), gl.url + "/lab/group/sub/shop/-/blob/main/catalog-info.yaml", gl.url + "/lab/group/sub/shop/-/blob/main/*.yaml"},
			} {
				_, err := c.r.Read(t.Context(), c.at, core.ReadOptions{})
				wantKind(t, err, apierr.KindServiceUnavailable)
				_, err = c.r.ReadTree(t.Context(), c.at, core.TreeOptions{})
				wantKind(t, err, apierr.KindServiceUnavailable)
				for _, u := range []string{c.at, c.glb} {
					_, err = c.r.Search(t.Context(), u, core.ReadOptions{})
					wantKind(t, err, apierr.KindServiceUnavailable)
				}
			}
		})
	}
}

func TestTimeoutIsUnavailable(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stuck:
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	defer close(stuck)
	r := newReader(t, urlreader.Options{ReadTimeout: time.Millisecond}, "{backend: {reading: {allow: [{host: %q}]}}}", strings.TrimPrefix(srv.URL, "http://"))
	_, err := r.Read(t.Context(), srv.URL+"/x", core.ReadOptions{})
	wantKind(t, err, apierr.KindServiceUnavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Read(ctx, srv.URL+"/x", core.ReadOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who left: %v", err)
	}
}

// An archive that breaks off is fetched once more.
func TestBrokenArchiveIsFetchedAgain(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	r := gitHubReader(t, g, g.token)
	broken := false
	g.fail = func(w http.ResponseWriter, req *http.Request) bool {
		if broken || !strings.HasPrefix(req.URL.Path, "/codeload/") {
			return false
		}
		broken = true
		whole := g.repos["acme/shop"].tarball("x/", "")
		w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
		_, _ = w.Write(whole[:len(whole)/2])
		return true
	}
	wantTree(t, r, g.url+"/acme/shop/tree/main/docs/sub", core.TreeOptions{}, map[string]string{"x.md": "x"})
	if !broken {
		t.Error("nothing broke")
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	tokens := map[string]string{}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		tokens["other"] = r.Header.Get("Authorization")
		fmt.Fprint(w, "other")
	}))
	defer other.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		tokens[r.URL.Path] = r.Header.Get("Authorization")
		to := map[string]string{
			"/open/moved": "/open/file", "/open/out": "/closed/file", "/open/other": other.URL + "/y", "/open/unlisted": "http://unlisted.example.com/",
			"/open/metadata": "http://169.254.169.254/latest/meta-data/", "/open/loop": "/open/loop", "/open/sneaky": "/open/%2e%2e/closed/file",
		}[r.URL.Path]
		switch {
		case to != "":
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		case strings.HasSuffix(r.URL.Path, "/file"):
			file(w, r, "content")
		default:
			w.WriteHeader(404)
		}
	}))
	defer srv.Close()
	host := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	r := newReader(t, urlreader.Options{}, "{backend: {reading: {allow: [{host: %q, paths: [/open/]}, {host: %q}, {host: 169.254.169.254}]}}}", host(srv), host(other))

	first := wantFile(t, r, srv.URL+"/open/file", "content")
	wantFile(t, r, srv.URL+"/open/moved", "content")
	_, err := r.Read(t.Context(), srv.URL+"/open/file", core.ReadOptions{ETag: first.ETag})
	wantKind(t, err, apierr.KindNotModified)
	_, err = r.Read(t.Context(), srv.URL+"/open/missing", core.ReadOptions{})
	wantKind(t, err, apierr.KindNotFound)
	for _, u := range []string{srv.URL + "/closed/file", srv.URL + "/open/out", srv.URL + "/open/unlisted", "https://unknown.example.com/x", "https://bitbucket.org/o/r/src/main/x"} {
		_, err := r.Read(t.Context(), u, core.ReadOptions{})
		wantKind(t, err, apierr.KindNotAllowed)
		if err == nil || !strings.Contains(err.Error(), "backend.reading.allow") {
			t.Errorf("%s: the error does not name the key: %v", u, err)
		}
	}
	// Named or not, the metadata service is out of reach.
	for _, u := range []string{srv.URL + "/open/metadata", srv.URL + "/open/sneaky", "http://169.254.169.254/latest/"} {
		_, err := r.Read(t.Context(), u, core.ReadOptions{})
		wantKind(t, err, apierr.KindNotAllowed)
	}
	_, err = r.Read(t.Context(), srv.URL+"/open/loop", core.ReadOptions{})
	wantKind(t, err, apierr.KindError)
	if _, err := r.Read(t.Context(), srv.URL+"/open/other", core.ReadOptions{Token: core.NewToken("secret")}); err != nil {
		t.Error(err)
	}
	mu.Lock()
	if tokens["/open/other"] != "Bearer secret" || tokens["other"] != "" {
		t.Errorf("tokens %v", tokens)
	}
	mu.Unlock()
	_, err = r.ReadTree(t.Context(), srv.URL+"/open/", core.TreeOptions{})
	wantKind(t, err, apierr.KindNotAllowed) // strictly below
	_, err = r.ReadTree(t.Context(), srv.URL+"/open/x", core.TreeOptions{})
	wantKind(t, err, apierr.KindNotImplemented)
	_, err = r.Search(t.Context(), srv.URL+"/open/*", core.ReadOptions{})
	wantKind(t, err, apierr.KindNotImplemented)
	wantFound(t, r, srv.URL+"/open/file", core.ReadOptions{}, map[string]string{srv.URL + "/open/file": "content"})
	wantFound(t, r, srv.URL+"/open/none", core.ReadOptions{}, map[string]string{})
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	for p, text := range map[string]string{
		filepath.Join(dir, "a.yaml"): "a", filepath.Join(dir, "sub", "b.yaml"): "b", filepath.Join(outside, "secret"): "s",
	} {
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "leak")); err != nil {
		t.Fatal(err)
	}
	r := newReader(t, urlreader.Options{Directories: []string{dir}}, "{app: {}}")
	first := wantFile(t, r, "file://"+dir+"/a.yaml", "a")
	wantFile(t, r, dir+"/sub/../a.yaml", "a")
	_, err := r.Read(t.Context(), dir+"/a.yaml", core.ReadOptions{ETag: first.ETag})
	wantKind(t, err, apierr.KindNotModified)
	_, err = r.Read(t.Context(), dir+"/none", core.ReadOptions{})
	wantKind(t, err, apierr.KindNotFound)
	_, err = r.Read(t.Context(), dir, core.ReadOptions{})
	wantKind(t, err, apierr.KindInput)
	if _, err := r.Read(t.Context(), dir+"/leak", core.ReadOptions{}); err == nil {
		t.Error("a link led out of the directory")
	}
	for _, u := range []string{outside + "/secret", dir + "/../" + filepath.Base(outside) + "/secret", "file:///etc/passwd", "/etc/passwd", "file://" + dir + "/%2e%2e/x"} {
		_, err := r.Read(t.Context(), u, core.ReadOptions{})
		wantKind(t, err, apierr.KindNotAllowed)
	}
	_, err = r.Read(t.Context(), "file://remote/x", core.ReadOptions{})
	wantKind(t, err, apierr.KindInput)
	tree := wantTree(t, r, dir, core.TreeOptions{}, map[string]string{"a.yaml": "a", "sub/b.yaml": "b"})
	_, err = r.ReadTree(t.Context(), dir, core.TreeOptions{ReadOptions: core.ReadOptions{ETag: tree.ETag()}})
	wantKind(t, err, apierr.KindNotModified)
	wantFound(t, r, dir+"/**/*.yaml", core.ReadOptions{}, map[string]string{"file://" + dir + "/a.yaml": "a", "file://" + dir + "/sub/b.yaml": "b"})
	out := t.TempDir()
	if err := tree.WriteTo(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(out, "sub", "b.yaml")); err != nil || string(b) != "b" {
		t.Errorf("%q, %v", b, err)
	}
	closed := newReader(t, urlreader.Options{}, "{app: {}}")
	_, err = closed.Read(t.Context(), dir+"/a.yaml", core.ReadOptions{})
	wantKind(t, err, apierr.KindNotAllowed)
}

func TestReloadKeepsTheLastGood(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") }))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	r := newReader(t, urlreader.Options{}, "{app: {}}")
	_, err := r.Read(t.Context(), srv.URL+"/x", core.ReadOptions{})
	wantKind(t, err, apierr.KindNotAllowed)
	if err := r.Reload(configtest.FromYAML(t, "{backend: {reading: {allow: [{host: \""+host+"\"}]}}}")); err != nil {
		t.Fatal(err)
	}
	wantFile(t, r, srv.URL+"/x", "x")
	if err := r.Reload(configtest.FromYAML(t, "{backend: {reading: {allow: [{host: \"*\"}]}}}")); err == nil {
		t.Error("a wrong rule is taken")
	}
	wantFile(t, r, srv.URL+"/x", "x")
	if q := r.Quotas(); len(q) != 1 || q[0].Host != host {
		t.Errorf("quotas %+v", q)
	}
}

// A named host cannot lead to a private address under another name.
func TestPrivateAddressesOfUnnamedHosts(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	g := newGitHub(t)
	g.fail = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)+"/internal", http.StatusFound)
		return true
	}
	r := gitHubReader(t, g, g.token)
	_, err := r.Read(t.Context(), g.url+"/acme/shop/blob/main/x", core.ReadOptions{})
	wantKind(t, err, apierr.KindNotAllowed)
}
