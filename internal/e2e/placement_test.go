package e2e

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// token is that of the tests themselves.
const token = "e2e-static-token"

// settings is the part of the configuration that all tests have.
func settings(rest string) string {
	return `
backend:
  baseUrl: http://127.0.0.1:1 # nobody listens there
  listen: {host: 127.0.0.1, port: 0}
  auth:
    externalAccess:
      - {type: static, options: {token: ` + token + `, subject: e2e}}
` + strings.TrimLeft(rest, "\n")
}

const inMemory = `  database: {client: better-sqlite3, connection: ':memory:'}
`

// components is a file with entities.
func components(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "---\napiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: %s, description: <%s> & more}\nspec: {type: service, lifecycle: production, owner: guests}\n", name, name)
	}
	return b.String()
}

// way leads to a process that is started later, and remembers who went by.
type way struct {
	*httptest.Server
	to       atomic.Pointer[url.URL]
	mu       sync.Mutex
	requests []*http.Request
}

func newWay(t *testing.T) *way {
	w := &way{}
	w.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			w.mu.Lock()
			w.requests = append(w.requests, r.In)
			w.mu.Unlock()
			if to := w.to.Load(); to != nil {
				r.SetURL(to)
			}
		},
	})
	t.Cleanup(w.Close)
	return w
}

func (w *way) lead(t *testing.T, p *process) {
	t.Helper()
	u, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	w.to.Store(u)
}

// passed returns who went to paths that contain the text.
func (w *way) passed(text string) []*http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*http.Request
	for _, r := range w.requests {
		if strings.Contains(r.URL.Path, text) {
			out = append(out, r)
		}
	}
	return out
}

// Where plugins run is a matter of configuration: the same two plugins answer
// the same, byte for byte, in one process, where the call leaves no trace on
// the network, and in two, where it is an HTTP request with a token that the
// catalog verifies.
func TestPlacement(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	database := `  database: {client: better-sqlite3, connection: {directory: data}}
`
	catalog := `catalog:
  locations:
    - {type: file, target: components.yaml}
`
	files := map[string]string{"components.yaml": components("b", "a", "c")}

	var together answer
	t.Run("one process", func(t *testing.T) {
		trap := newWay(t) // whoever takes the network to the backend ends up here
		config := strings.Replace(settings(database+catalog), "http://127.0.0.1:1 ", trap.URL+" ", 1)
		p := launch(t, setup{added: "caller", dir: dir, config: config, files: files}).ready()
		together = await(t, p, 3)
		if seen := trap.passed(""); len(seen) > 0 {
			t.Errorf("%d requests took the network: %s", len(seen), seen[0].URL)
		}
		for _, e := range p.log() {
			if e.text("type") == "incomingRequest" && strings.Contains(e.text("url"), "/api/catalog") {
				t.Errorf("the server saw the request: %v", e)
			}
		}
		p.stop()
	})
	if t.Failed() {
		return
	}

	places := func(rest string, entries ...string) string {
		return settings(rest) + "discovery:\n  endpoints:\n    - " + strings.Join(entries, "\n    - ") + "\n"
	}
	at := func(w *way, plugin string) string {
		return fmt.Sprintf("{target: '%s/api/{{pluginId}}', plugins: [%s]}", w.URL, plugin)
	}
	toCatalog, toCaller := newWay(t), newWay(t)
	home := launch(t, setup{dir: dir, args: []string{"--plugins", "catalog"}, config: places(database+catalog, at(toCaller, "caller"))}).ready()
	toCatalog.lead(t, home)
	away := launch(t, setup{added: "caller", args: []string{"--plugins", "caller"}, config: places(inMemory, at(toCatalog, "catalog"))}).ready()
	toCaller.lead(t, away)

	t.Run("two processes", func(t *testing.T) {
		apart := await(t, away, 3)
		if apart.body != together.body {
			t.Errorf("in one process:\n%s\nin two:\n%s", together.body, apart.body)
		}
		calls := toCatalog.passed("/api/catalog/entities/by-query")
		if len(calls) == 0 {
			t.Fatal("no request took the network")
		}
		claims, err := claimsOf(calls[0])
		if err != nil {
			t.Fatal(err)
		}
		if claims["sub"] != "caller" || claims["aud"] != "catalog" {
			t.Errorf("the token says %v", claims)
		}
		if len(toCaller.passed("/.backstage/auth/v1/jwks.json")) == 0 {
			t.Error("the catalog did not ask for the keys of the caller")
		}
	})

	t.Run("wrong keys", func(t *testing.T) {
		// A process that says to be the same plugin, but has other keys than
		// those that the catalog finds where the configuration sends it.
		impostor := launch(t, setup{added: "caller", args: []string{"--plugins", "caller"}, config: places(inMemory, at(toCatalog, "catalog"))}).ready()
		a := impostor.get("/api/caller/components", "")
		if a.status != http.StatusUnauthorized {
			t.Errorf("the catalog trusts a stranger: %s", a)
		}
		if a := home.get("/api/catalog/entities", token+"x"); a.status != http.StatusUnauthorized {
			t.Errorf("the catalog trusts a wrong token: %s", a)
		}
	})
}

// await asks the caller until the catalog has n components.
func await(t *testing.T, p *process, n int) (a answer) {
	t.Helper()
	eventually(t, "components", func() error {
		a = p.get("/api/caller/components", "")
		var page struct{ TotalItems int }
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.status != http.StatusOK {
			return errors.New(a.String())
		}
		if page.TotalItems != n {
			return fmt.Errorf("%d components", page.TotalItems)
		}
		return nil
	})
	return a
}

// claimsOf reads the claims of the token of a request, unverified.
func claimsOf(r *http.Request) (map[string]any, error) {
	parts := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("no token in %q", r.Header)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	return claims, json.Unmarshal(text, &claims)
}
