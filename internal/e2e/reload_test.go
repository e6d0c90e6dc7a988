package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// elsewhere is a catalog in another place: it has n components.
func elsewhere(t *testing.T, n int) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"items":[],"totalItems":%d,"pageInfo":{}}`, n)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// Edits of the configuration take effect while the backend runs; broken ones
// change nothing.
func TestEdits(t *testing.T) {
	t.Parallel()
	config := func(token, level, catalog string) string {
		return fmt.Sprintf(`
backend:
  baseUrl: http://127.0.0.1:1
  listen: {host: 127.0.0.1, port: 0}
  database: {client: better-sqlite3, connection: ':memory:'}
  logger:
    overrides:
      - {matchers: {type: incomingRequest}, level: %s}
  auth:
    externalAccess:
      - {type: static, options: {token: %s, subject: e2e}}
discovery:
  endpoints:
    - {target: '%s/api/{{pluginId}}', plugins: [catalog]}
`, level, token, catalog)
	}
	one, two := elsewhere(t, 1), elsewhere(t, 2)
	first := config("token-number-one", "info", one)
	p := launch(t, setup{added: "caller,guarded", args: []string{"--plugins", "caller,guarded"}, config: first}).ready()

	allowed := func(token string) error {
		if a := p.get("/api/guarded/", token); a.status != http.StatusOK {
			return errors.New(a.String())
		}
		return nil
	}
	if err := allowed("token-number-one"); err != nil {
		t.Fatal(err)
	}
	await(t, p, 1)
	p.logged("incomingRequest", "/api/caller/components")

	p.write("app-config.yaml", strings.Replace(first, "discovery:", "discovery: [", 1))
	p.logged(`"error"`, "app-config.yaml", "YAML")
	p.write("app-config.yaml", strings.Replace(first, "level: info", "level: loud", 1))
	p.logged("cannot be reloaded", "backend.logger.overrides[0].level")
	await(t, p, 1)
	if err := allowed("token-number-one"); err != nil {
		t.Errorf("after broken edits: %v", err)
	}

	p.write("app-config.yaml", config("token-number-two", "warn", two))
	await(t, p, 2)
	eventually(t, "the new token", func() error { return allowed("token-number-two") })
	eventually(t, "the end of the old token", func() error {
		if allowed("token-number-one") == nil {
			return errors.New("it is still good")
		}
		return nil
	})
	n := 0
	eventually(t, "the new log level", func() error {
		// A request is in the log before its successor is answered.
		n++
		mark := fmt.Sprintf("/api/caller/components?mark=%d", n)
		p.get(mark, "")
		p.get(readiness, "")
		for _, e := range p.log() {
			if e.text("url") == mark {
				return errors.New("requests are still logged")
			}
		}
		return nil
	})
	for _, e := range p.log() {
		if strings.Contains(fmt.Sprint(e), "token-number") {
			t.Errorf("a token is in the log: %v", e)
		}
	}
	p.stop()
}
