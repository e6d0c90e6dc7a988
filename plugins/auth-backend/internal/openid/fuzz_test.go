package openid_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/auth-backend/internal/clients"
	"github.com/flytower/flytower/plugins/auth-backend/internal/grants"
	"github.com/flytower/flytower/plugins/auth-backend/internal/openid"
	"github.com/flytower/flytower/plugins/auth-backend/internal/pages"
	"github.com/flytower/flytower/plugins/auth-backend/internal/redirects"
	"github.com/flytower/flytower/plugins/auth-backend/internal/schema"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// mux is a router with the routes alone.
type mux struct {
	core.Router
	*http.ServeMux
}

// HandleErr implements [core.Router].
func (m mux) HandleErr(pattern string, h func(http.ResponseWriter, *http.Request) error) {
	m.ServeMux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
}

// Handle implements [core.Router].
func (m mux) Handle(pattern string, h http.Handler) { m.ServeMux.Handle(pattern, h) }

// HandleFunc implements [core.Router].
func (m mux) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	m.ServeMux.HandleFunc(pattern, h)
}

// unrecorded puts nothing on record.
type unrecorded struct{}

func (unrecorded) Begin(context.Context, core.AuditEvent) core.AuditRecord { return unrecorded{} }
func (unrecorded) Success(context.Context, map[string]any)                 {}
func (unrecorded) Fail(context.Context, error, map[string]any)             {}

const (
	base     = "https://portal.test/api/auth"
	callback = "https://client.test/cb"
)

// provider is one with a client that has registered itself.
func provider(t testing.TB) (server *openid.Server, router mux, pagesOf *pages.Pages, client string) {
	t.Helper()
	db := testdb.NewSQLite(t)
	if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
		t.Fatal(err)
	}
	anything, err := redirects.ParsePatterns([]string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	registry := &clients.Registry{DB: db.Service, Allowed: anything, Keep: clients.Retention{Max: 1 << 30, Unused: time.Hour}, Now: time.Now}
	c, err := registry.Register(t.Context(), clients.Registration{RedirectURIs: []string{callback, "http://127.0.0.1/cb"}})
	if err != nil {
		t.Fatal(err)
	}
	store := &grants.Store{DB: db.Service, Now: time.Now, Offline: grants.Offline{Enabled: true, Lifetime: time.Hour, MaxLifetime: 2 * time.Hour, MaxPerUser: 1}}
	server = &openid.Server{
		Base: base, Clients: clients.Known{Registry: registry}, Grants: store, Auditor: unrecorded{}, Log: slog.New(slog.DiscardHandler),
	}
	pagesOf = pages.New(pages.Options{Base: base, Root: "https://portal.test", Grants: store, Answer: server.Answer, Providers: func() []pages.Provider { return nil }})
	server.ConsentURL, server.Browser = pagesOf.URL, pagesOf.Browser
	router = mux{ServeMux: http.NewServeMux()}
	server.Register(router)
	return server, router, pagesOf, c.ID
}

// FuzzAuthorize looks for a request that sends a browser elsewhere than to the
// page of the portal, or that is kept although its answer would go to whom it
// is not for.
func FuzzAuthorize(f *testing.F) {
	server, router, _, client := provider(f)
	good := url.Values{"client_id": {client}, "redirect_uri": {callback}, "response_type": {"code"}, "state": {"s"}, "nonce": {"n"}}.Encode()
	for _, seed := range []string{"", good, good + "&redirect_uri=https://evil.test", strings.Replace(good, "client.test", "evil.test", 1), good + "&state=%00%0d%0a", "%zz", strings.Replace(good, "https", "javascript", 1)} {
		f.Add(seed, "")
	}
	f.Add(good, "__Host-flytower-consent=x")
	f.Fuzz(func(t *testing.T, query, cookie string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/v1/authorize", nil)
		r.URL.RawQuery = query
		r.Header.Set("Cookie", cookie)
		router.ServeHTTP(w, r)
		location := w.Header().Get("Location")
		if w.Code != http.StatusFound {
			if location != "" {
				t.Errorf("%q: %d to %q", query, w.Code, location)
			}
			return
		}
		id, ok := strings.CutPrefix(location, "https://portal.test/oauth2/authorize/")
		if !ok || len(id) != 36 {
			t.Fatalf("%q leads to %q", query, location)
		}
		p, err := server.Grants.Pending(t.Context(), id)
		if err != nil || p.ClientID != client || !redirects.Registered([]string{callback, "http://127.0.0.1/cb"}, p.RedirectURI) {
			t.Errorf("%q is kept as %+v: %v", query, p, err)
		}
		to, err := server.Answer(r, id, "user:default/jane", false)
		if u, err2 := url.Parse(to); err != nil || err2 != nil || u.Host != "client.test" && u.Hostname() != "127.0.0.1" || u.Query().Get("state") != p.State {
			t.Errorf("%q is answered at %q: %v", query, to, err)
		}
	})
}

// FuzzBodies looks for a body that gives somebody something, or that is a
// problem of the server.
func FuzzBodies(f *testing.F) {
	_, router, _, client := provider(f)
	for _, path := range []string{"/v1/token", "/v1/revoke", "/v1/register"} {
		for _, seed := range []string{
			"", "grant_type=authorization_code&code=x&redirect_uri=y", `{"grant_type":"refresh_token","refresh_token":"a.b"}`, `{"token":"x","client_id":"` + client + `"}`,
			"token=x&client_id=" + client, `{"redirect_uris":["javascript:x"]}`, `{"redirect_uris":null}`, `[]`, "%zz", "a=1&a=2", `{"grant_type":1}`,
		} {
			f.Add(path, seed, "")
		}
	}
	f.Add("/v1/token", "grant_type=refresh_token&refresh_token=x", "Basic eDp5")
	f.Fuzz(func(t *testing.T, path, body, authorization string) {
		if path != "/v1/token" && path != "/v1/revoke" && path != "/v1/register" {
			return
		}
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
			r.Header.Set("Content-Type", "application/json")
		}
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		switch {
		case w.Code == http.StatusCreated && path == "/v1/register":
			for _, scheme := range []string{`"javascript:`, `"data:`} {
				if strings.Contains(strings.ToLower(w.Body.String()), scheme) {
					t.Errorf("%q registers %s", body, w.Body)
				}
			}
		case w.Code == http.StatusOK && path == "/v1/token", w.Code >= 500:
			t.Errorf("%s %q: %d %s", path, body, w.Code, w.Body)
		}
	})
}

// FuzzCookie looks for a cookie with which a browser answers the request of
// another.
func FuzzCookie(f *testing.F) {
	_, router, consent, client := provider(f)
	w := httptest.NewRecorder()
	router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/authorize?"+url.Values{"client_id": {client}, "redirect_uri": {callback}, "response_type": {"code"}}.Encode(), nil))
	secret := w.Result().Cookies()[0].Value
	address, _ := strings.CutPrefix(w.Header().Get("Location"), "https://portal.test/oauth2/authorize/")
	for _, seed := range []string{"", "__Host-flytower-consent=", "__Host-flytower-consent=" + strings.Repeat("A", 43), "flytower-consent=" + secret, "x;;;=", "__Host-flytower-consent=\"" + secret[:42] + "\""} {
		f.Add(seed, "csrf=x&action=approve&user=")
	}
	f.Fuzz(func(t *testing.T, cookie, form string) {
		if strings.Contains(cookie, secret) {
			return
		}
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := httptest.NewRequest(method, "/", strings.NewReader(form))
			r.SetPathValue("id", address)
			r.Header.Set("Cookie", cookie)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			consent.ServeHTTP(w, r)
			if w.Code != http.StatusForbidden {
				t.Errorf("%q: %d %s", cookie, w.Code, w.Body)
			}
		}
	})
}
