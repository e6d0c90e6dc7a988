package appbackend_test

import (
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	appbackend "github.com/flytower/flytower/plugins/app-backend"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// built is when the files of bundles were made.
var built = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// schema shows the frontend the title, the URLs and the providers.
const schema = `{"backstageConfigSchemaVersion":1,"schemas":[{"path":"config.d.ts","packageName":"app","value":{
	"type":"object","properties":{
		"app":{"type":"object","properties":{
			"title":{"type":"string","visibility":"frontend"},
			"baseUrl":{"type":"string","visibility":"frontend"},
			"theme":{"type":"object","deepVisibility":"frontend"},
			"port":{"type":"number","visibility":"frontend"},
			"key":{"type":"string","visibility":"secret"}}},
		"auth":{"type":"object","properties":{"providers":{"type":"object","visibility":"frontend","additionalProperties":{
			"type":"object","visibility":"frontend","properties":{"clientSecret":{"type":"string","visibility":"secret"}}}}}}
	}}}]}`

// standard is a small bundle.
var standard = map[string]string{
	"index.html":             "<html><head><title>as built</title></head></html>",
	"index.html.tmpl":        `<html><head><base href="<%= publicPath %>/"><title><%= config.getOptionalString("app.title") ?? "Backstage" %></title></head></html>`,
	".config-schema.json":    schema,
	"manifest.json":          `{"name":"portal"}`,
	"other.html":             "<p>other</p>",
	"docs/index.html":        "<p>docs</p>",
	"static/main.abc.js":     "console.log('main');\n",
	"static/main.abc.js.map": `{}`,
	"static/a b.css":         "h1{}",
	"static/font.woff2":      "font",
	"static/nested/x.js":     "x",
	"static/.hidden.js":      "hidden",
	"static/LICENSE":         "licence",
	".git/config":            "hidden",
}

// with returns files with others on top; an empty content removes a file.
func with(files map[string]string, more map[string]string) map[string]string {
	all := maps.Clone(files)
	for name, content := range more {
		all[name] = content
		if content == "" {
			delete(all, name)
		}
	}
	return all
}

// write writes the files of a bundle to a new folder.
func write(t testing.TB, files map[string]string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "dist")
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, built, built); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// configured sets keys of app.
func configured(app map[string]any) backend.Feature {
	return backendtest.Config(map[string]any{"app": app})
}

// serve starts a backend with a bundle.
func serve(t *testing.T, files map[string]string, more ...backend.Feature) *backendtest.Server {
	t.Helper()
	features := []backend.Feature{appbackend.Plugin, configured(map[string]any{"distDir": write(t, files), "title": "Portal"})}
	return backendtest.Start(t, append(features, more...)...)
}

// get returns the body of an answer.
func get(t *testing.T, b *backend.Backend, path string) string {
	t.Helper()
	root, err := backend.Get(b, core.RootHTTPRouter)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+root.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
