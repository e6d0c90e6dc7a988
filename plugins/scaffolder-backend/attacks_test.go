package scaffolderbackend_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// The tests of attacks go through the routes: a task, or a dry run, of a
// template that its author means to misuse.

// attempt is a dry run of some steps.
func attempt(steps []any, values map[string]any, files ...any) map[string]any {
	if values == nil {
		values = map[string]any{}
	}
	if files == nil {
		files = []any{}
	}
	return map[string]any{
		"template": map[string]any{
			"apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": map[string]any{"name": "attack"},
			"spec": map[string]any{"type": "service", "steps": steps},
		},
		"values": values, "directoryContents": files,
	}
}

func step(id, action string, input map[string]any) map[string]any {
	return map[string]any{"id": id, "action": action, "input": input}
}

const dryRunPath = "/api/scaffolder/v2/dry-run"

// rehearsed is what a dry run made.
type rehearsed struct {
	Log []struct {
		Body struct{ Message, Status string }
	}
	DirectoryContents []struct{ Path, Base64Content string }
	Output            map[string]any
}

func (r rehearsed) log() string {
	var b strings.Builder
	for _, line := range r.Log {
		b.WriteString(line.Body.Message + "\n")
	}
	return b.String()
}

func (r rehearsed) files(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, f := range r.DirectoryContents {
		content, err := base64.StdEncoding.DecodeString(f.Base64Content)
		if err != nil {
			t.Fatal(err)
		}
		out[f.Path] = string(content)
	}
	return out
}

// failed runs a task of steps and returns all of its events as text. It has to
// fail.
func failed(t *testing.T, c backendtest.Client) string {
	t.Helper()
	told := transcript(follow(t, c, create(c, map[string]any{}, nil)))
	if !strings.Contains(told, "Run completed with status: failed") {
		t.Errorf("the task did not fail:\n%s", told)
	}
	return told
}

// host is a fake GitHub with one repository, whose archive is what it is told
// to be. What is read of a branch that is a number is redirected.
type host struct {
	address   string
	archive   []byte
	redirects []string
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/acme/evil/commits/{ref}/status", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"sha":"%040s"}`, strings.TrimPrefix(r.PathValue("ref"), "main"))
	})
	redirect := func(w http.ResponseWriter, r *http.Request, ref string) bool {
		i, err := strconv.Atoi(ref)
		if err != nil || len(h.redirects) == 0 {
			return false
		}
		http.Redirect(w, r, h.redirects[i], http.StatusFound)
		return true
	}
	mux.HandleFunc("GET /repos/acme/evil/tarball/{ref}", func(w http.ResponseWriter, r *http.Request) {
		if !redirect(w, r, strings.TrimSpace(r.PathValue("ref"))) {
			_, _ = w.Write(h.archive)
		}
	})
	mux.HandleFunc("GET /raw/acme/evil/{ref}/x", func(w http.ResponseWriter, r *http.Request) { redirect(w, r, r.PathValue("ref")) })
	mux.HandleFunc("GET /repos/acme/evil/contents/x", func(w http.ResponseWriter, r *http.Request) { redirect(w, r, r.FormValue("ref")) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	// By name, so that 127.0.0.1 is a host that nobody named.
	h.address = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	return h
}

func (h *host) integration() backend.Feature {
	return backendtest.YAML(fmt.Sprintf("integrations: {github: [{host: %q, apiBaseUrl: %q, rawBaseUrl: %q}]}", strings.TrimPrefix(h.address, "http://"), h.address, h.address+"/raw"))
}

func archive(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for _, e := range entries {
		content := "evil"
		if e.Typeflag == 0 {
			e.Typeflag, e.Size = tar.TypeReg, int64(len(content))
		}
		e.Mode = 0o755
		if err := w.WriteHeader(&e); err != nil {
			t.Fatal(err)
		}
		if e.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestArchivesStayInTheWorkspace: zip slip, in the archive of a repository.
func TestArchivesStayInTheWorkspace(t *testing.T) {
	t.Parallel()
	top := "acme-evil-aaaaaaa/"
	bomb := func() []byte {
		var b bytes.Buffer
		gz := gzip.NewWriter(&b)
		w := tar.NewWriter(gz)
		_ = w.WriteHeader(&tar.Header{Name: top + "zeros", Mode: 0o644, Size: 24 << 20, Typeflag: tar.TypeReg})
		_, _ = io.Copy(w, io.LimitReader(zeros{}, 24<<20))
		_, _ = w.Close(), gz.Close()
		return b.Bytes()
	}
	for name, tt := range map[string]struct {
		archive []byte
		fails   bool
	}{
		"a name that leads up":       {archive(t, tar.Header{Name: top + "ok"}, tar.Header{Name: top + "../../../../../../evil"}), true},
		"a name that leads up late":  {archive(t, tar.Header{Name: top + "ok"}, tar.Header{Name: top + "a/../../../evil"}), true},
		"an absolute name":           {archive(t, tar.Header{Name: top + "ok"}, tar.Header{Name: "/tmp/evil"}), true},
		"a name with backslashes":    {archive(t, tar.Header{Name: top + "ok"}, tar.Header{Name: top + `..\..\evil`}), true},
		"a link out":                 {archive(t, tar.Header{Name: top + "ok"}, tar.Header{Name: top + "link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), false},
		"a link up":                  {archive(t, tar.Header{Name: top + "ok"}, tar.Header{Name: top + "link", Typeflag: tar.TypeSymlink, Linkname: "../../../../../../etc/passwd"}), false},
		"a file behind a link":       {archive(t, tar.Header{Name: top + "ok"}, tar.Header{Name: top + "d", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, tar.Header{Name: top + "d/evil"}), false},
		"a hard link":                {archive(t, tar.Header{Name: top + "ok"}, tar.Header{Name: top + "link", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), false},
		"a device":                   {archive(t, tar.Header{Name: top + "ok"}, tar.Header{Name: top + "dev", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5}), false},
		"an archive that blows up":   {bomb(), true},
		"what is no archive":         {[]byte("nothing"), true},
		"an archive that breaks off": {archive(t, tar.Header{Name: top + "ok"})[:30], true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.archive = tt.archive
			around := t.TempDir()
			s := open(t, backendtest.SQLite(t), `"steps":[
				{"id":"get","action":"fetch:plain","input":{"url":"`+h.address+`/acme/evil/tree/main","targetPath":"a/b"}},
				{"id":"show","action":"debug:log","input":{"listWorkspace":"with-contents"}}]`,
				h.integration(), backendtest.Config(map[string]any{"backend": map[string]any{"workingDirectory": around}}))
			c := s.Client(t)
			told := transcript(follow(t, c, create(c, map[string]any{}, nil)))
			if fails := strings.Contains(told, "status: failed"); fails != tt.fails {
				t.Errorf("failed is %t:\n%s", fails, told)
			}
			if !tt.fails && !strings.Contains(told, "a/b/ok") {
				t.Errorf("the good file is missing:\n%s", told)
			}
			if strings.Contains(told, "root:") {
				t.Errorf("a file of the machine was read:\n%s", told)
			}
			left, err := os.ReadDir(around)
			if err != nil || len(left) > 0 {
				t.Errorf("left in the working directory: %v, %v", left, err)
			}
			for _, path := range []string{filepath.Join(filepath.Dir(around), "evil"), "/tmp/evil", "/evil"} {
				if _, err := os.Lstat(path); err == nil {
					t.Errorf("there is %s", path)
				}
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestLinksLeadNowhere: links beside a template that lead out, and links that
// an action of the template makes.
func TestLinksLeadNowhere(t *testing.T) {
	t.Parallel()
	outside, beside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("kept secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(beside, "skeleton"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(beside, "skeleton", "ok"), []byte("ok"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"file": filepath.Join(outside, "secret"), "folder": outside, "up": "../../../../../../../../etc"} {
		if err := os.Symlink(target, filepath.Join(beside, "skeleton", name)); err != nil {
			t.Fatal(err)
		}
	}
	link := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:link"}, func(_ context.Context, c *scaffoldernode.ActionContext, _ struct{}) (struct{}, error) {
		// Not through the root, which makes such links, too.
		return struct{}{}, os.Symlink(outside, filepath.Join(c.Workspace.Name(), "out"))
	})
	for name, steps := range map[string]string{
		"fetching a tree":            `{"action":"fetch:plain","input":{"url":"./skeleton"}},{"action":"debug:log","input":{"listWorkspace":"with-contents"}},{"action":"fs:delete","input":{"files":["../x"]}}`,
		"fetching a file":            `{"action":"fetch:plain:file","input":{"url":"./skeleton/file","targetPath":"x"}}`,
		"fetching a folder":          `{"action":"fetch:plain","input":{"url":"./skeleton/folder"}}`,
		"rendering a file":           `{"action":"fetch:template:file","input":{"url":"skeleton/folder/secret","targetPath":"x"}}`,
		"rendering a tree":           `{"action":"fetch:template","input":{"url":"./skeleton"}},{"action":"fs:readdir","input":{"paths":["."],"recursive":true}},{"action":"workspace:template:file","input":{"sourcePath":"file","targetPath":"x"}}`,
		"rendering a linked tree":    `{"action":"fetch:template","input":{"url":"./skeleton/up"}}`,
		"reading a linked folder":    `{"action":"test:link"},{"action":"fs:readdir","input":{"paths":["out"],"recursive":true}}`,
		"logging contents":           `{"action":"test:link"},{"action":"debug:log","input":{"listWorkspace":"with-contents"}},{"action":"fs:rename","input":{"files":[{"from":"out/secret","to":"here"}]}}`,
		"renaming into":              `{"action":"test:link"},{"action":"catalog:write","input":{"entity":{"metadata":{}}}},{"action":"fs:rename","input":{"files":[{"from":"catalog-info.yaml","to":"out/x"}]}}`,
		"writing":                    `{"action":"test:link"},{"action":"catalog:write","input":{"filePath":"out/x.yaml","entity":{"metadata":{}}}}`,
		"rendering into":             `{"action":"test:link"},{"action":"fetch:template","input":{"url":"./skeleton","targetPath":"out"}}`,
		"rendering what is linked":   `{"action":"test:link"},{"action":"workspace:template","input":{"sourcePath":"out","targetPath":"x"}}`,
		"rendering a linked file":    `{"action":"test:link"},{"action":"workspace:template:file","input":{"sourcePath":"out/secret","targetPath":"x"}}`,
		"copying into":               `{"action":"test:link"},{"action":"fetch:plain:file","input":{"url":"./skeleton/ok","targetPath":"out/secret"}}`,
		"deleting what a link shows": `{"action":"test:link"},{"action":"fs:delete","input":{"files":["out/**","out/secret"]}},{"action":"fs:delete","input":{"files":["../x"]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := backendtest.Start(t, backendtest.SQLite(t), backendtest.Silent(), plugin(), withActions(link), catalog(map[string]string{
				"template:default/t": strings.Replace(tmpl(`"steps":[`+steps+`]`), "url:https://github.com/acme/t/blob/main/template.yaml", "file:"+beside+"/template.yaml", 1),
				"user:default/mock":  `{"apiVersion":"backstage.io/v1alpha1","kind":"User","metadata":{"name":"mock"},"spec":{}}`,
			}), backendtest.Config(map[string]any{"backend": map[string]any{"workingDirectory": t.TempDir()}}))
			if told := failed(t, s.Client(t)); strings.Contains(told, "kept secret") || strings.Contains(told, "root:") {
				t.Errorf("what is outside was read:\n%s", told)
			}
			left, err := os.ReadDir(outside)
			if err != nil || len(left) != 1 {
				t.Errorf("outside there is %v, %v", left, err)
			}
			if content, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(content) != "kept secret" {
				t.Errorf("what is outside is now %q, %v", content, err)
			}
		})
	}
}

// TestFoldersThatBecomeLinks: while actions work on a folder, something makes
// a link of it and back.
func TestFoldersThatBecomeLinks(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "x.yaml"), []byte("kept secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	swap := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:swap"}, func(_ context.Context, c *scaffoldernode.ActionContext, _ struct{}) (struct{}, error) {
		dir := c.Workspace.Name()
		go func() {
			defer close(stopped)
			at, away := filepath.Join(dir, "d"), filepath.Join(dir, "away")
			for {
				select {
				case <-stop:
					return
				default:
				}
				_ = os.Rename(at, away)
				_ = os.Symlink(outside, at)
				_ = os.Remove(at)
				_ = os.Rename(away, at)
			}
		}()
		return struct{}{}, os.Mkdir(filepath.Join(dir, "d"), 0o755)
	})
	end := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:end"}, func(context.Context, *scaffoldernode.ActionContext, struct{}) (struct{}, error) {
		close(stop)
		<-stopped
		return struct{}{}, nil
	})
	steps := `{"action":"test:swap"}`
	for i := range 60 {
		steps += fmt.Sprintf(`,{"id":"w%d","action":"catalog:write","if":"${{ always() }}","input":{"filePath":"d/x.yaml","entity":{"metadata":{}}}}`+
			`,{"id":"l%d","action":"debug:log","if":"${{ always() }}","input":{"listWorkspace":"with-contents"}}`+
			`,{"id":"r%d","action":"fs:rename","if":"${{ always() }}","input":{"files":[{"from":"d/x.yaml","to":"moved","overwrite":true}]}}`+
			`,{"id":"d%d","action":"fs:delete","if":"${{ always() }}","input":{"files":["d"]}}`, i, i, i, i)
	}
	steps += `,{"action":"test:end","if":"${{ always() }}"}`
	s := open(t, backendtest.SQLite(t), `"steps":[`+steps+`]`, withActions(swap, end))
	c := s.Client(t)
	if told := transcript(follow(t, c, create(c, map[string]any{}, nil))); strings.Contains(told, "kept secret") {
		t.Error("what is outside was read")
	}
	left, err := os.ReadDir(outside)
	if err != nil || len(left) != 1 {
		t.Errorf("outside there is %v, %v", left, err)
	}
	if content, err := os.ReadFile(filepath.Join(outside, "x.yaml")); err != nil || string(content) != "kept secret" {
		t.Errorf("what is outside is now %q, %v", content, err)
	}
}

// TestFetchesStayOutside: addresses of metadata services and of the machine
// itself, in all spellings, also behind redirects of a host that may be read.
func TestFetchesStayOutside(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	internal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		_, _ = io.WriteString(w, "internal data")
	}))
	defer internal.Close()
	port := internal.URL[strings.LastIndexByte(internal.URL, ':'):]
	var addresses []string
	for _, name := range []string{
		"169.254.169.254", "2852039166", "0xA9FEA9FE", "0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376", "169.254.43518", "[::ffff:169.254.169.254]",
		"[::ffff:a9fe:a9fe]", "[0:0:0:0:0:ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]", "[fe80::a9fe:a9fe%25lo]", "169.254.169.254.", "%31%36%39.254.169.254", "169。254。169。254",
		"user:pass@169.254.169.254", "github.com@169.254.169.254", "169.254.169.254#github.com",
	} {
		addresses = append(addresses, "http://"+name+"/latest/meta-data/")
	}
	for _, name := range []string{"127.0.0.1", "127.1", "127.0.0.1.", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "0", "[::]"} {
		addresses = append(addresses, "http://"+name+port+"/secret")
	}
	addresses = append(addresses, "file:///etc/passwd", "FILE:///etc/passwd", "gopher://127.0.0.1"+port+"/x", "ftp://127.0.0.1/x", "data:text/plain,x", "unix:///run/x")
	direct := []string{"http://localhost" + port + "/secret", "http://LOCALHOST" + port + "/secret", "http://localhost." + port + "/secret", "http://metadata.google.internal/"}
	h := newHost(t)
	h.redirects = addresses
	var steps []string
	for i, address := range append(addresses, direct...) {
		for _, action := range []string{"fetch:plain", "fetch:plain:file", "fetch:template", "fetch:template:file"} {
			for _, url := range []string{address, fmt.Sprintf("%s/acme/evil/blob/%d/x", h.address, i)} {
				if url != address && i >= len(addresses) {
					continue
				}
				steps = append(steps, fmt.Sprintf(`{"id":"s%d","action":%q,"if":"${{ always() }}","input":{"url":%q,"targetPath":"got%d"}}`, len(steps), action, url, len(steps)))
			}
		}
	}
	steps = append(steps, `{"id":"show","action":"debug:log","if":"${{ always() }}","input":{"listWorkspace":"with-contents"}}`)
	// The operator opened more than is good.
	opened := backendtest.YAML("backend: {reading: {allow: [{host: '169.254.169.254'}]}}")
	told := failed(t, open(t, backendtest.SQLite(t), `"steps":[`+strings.Join(steps, ",")+`]`, h.integration(), opened).Client(t))
	reasons := strings.Split(told, "\n")
	reasons = slices.DeleteFunc(reasons, func(line string) bool {
		return !strings.HasSuffix(line, "(failed)") || strings.HasPrefix(line, "Additional")
	})
	if len(reasons) != len(steps)-1 {
		t.Errorf("%d of %d steps failed:\n%s", len(reasons), len(steps)-1, told)
	}
	for _, why := range reasons {
		// What is refused is refused before anybody is asked for it.
		if strings.Contains(why, "lookup ") || strings.Contains(why, "connect:") || strings.Contains(why, "timeout") {
			t.Error(why)
		}
	}
	if strings.Contains(told, "internal data") || strings.Contains(told, "root:") || strings.Contains(told, " - got") || hits.Load() > 0 {
		t.Errorf("something was fetched, with %d requests within:\n%s", hits.Load(), told)
	}
}

// TestPathsStayInTheWorkspace gives paths that lead out to all inputs that are
// paths.
func TestPathsStayInTheWorkspace(t *testing.T) {
	t.Parallel()
	c := open(t, backendtest.SQLite(t), `"steps":[]`).Client(t)
	for _, path := range []string{"../x", "a/../../x", "/etc/x", "..", "./../x", "a/b/../../../x", "//etc/x", "a/./../../x"} {
		for name, s := range map[string]map[string]any{
			"fetch:plain":                {"url": "./skeleton", "targetPath": path},
			"fetch:plain of":             {"url": path},
			"fetch:plain:file":           {"url": "skeleton/a", "targetPath": path},
			"fetch:plain:file of":        {"url": path, "targetPath": "x"},
			"fetch:template":             {"url": "./skeleton", "targetPath": path},
			"fetch:template of":          {"url": path},
			"fetch:template:file":        {"url": "skeleton/a", "targetPath": path},
			"fetch:template:file of":     {"url": path, "targetPath": "x"},
			"workspace:template":         {"sourcePath": "skeleton", "targetPath": path},
			"workspace:template of":      {"sourcePath": path, "targetPath": "x"},
			"workspace:template:file":    {"sourcePath": "a", "targetPath": path},
			"workspace:template:file of": {"sourcePath": path, "targetPath": "x"},
			"catalog:write":              {"filePath": path, "entity": map[string]any{"metadata": map[string]any{}}},
			"fs:delete":                  {"files": []any{path}},
			"fs:delete with a pattern":   {"files": []any{path + "/**"}},
			"fs:readdir":                 {"paths": []any{path}},
			"fs:rename":                  {"files": []any{map[string]any{"from": path, "to": "x"}}},
			"fs:rename to":               {"files": []any{map[string]any{"from": "a", "to": path, "overwrite": true}}},
		} {
			action, _, _ := strings.Cut(name, " ")
			r := c.Post(dryRunPath, attempt([]any{
				step("make", "fetch:plain", map[string]any{"url": "./skeleton", "targetPath": "."}), step("leave", action, s),
			}, nil, file("skeleton/a", "a")))
			if r.Status == http.StatusOK {
				t.Errorf("%s of %q was done: %s", name, path, r.Text())
			}
		}
		// The name that a template gives a file.
		r := c.Post(dryRunPath, attempt([]any{step("render", "fetch:template", map[string]any{"url": "./skeleton", "values": map[string]any{"name": path}})}, nil, file("skeleton/${{ values.name }}", "a")))
		if r.Status == http.StatusOK && !strings.HasPrefix(path, "/") {
			t.Errorf("a file was rendered to %q: %s", path, r.Text())
		}
		if r := c.Post(dryRunPath, attempt([]any{}, nil, file(path, "a"))); r.Status == http.StatusOK {
			t.Errorf("a file of a dry run was written to %q", path)
		}
	}
}
