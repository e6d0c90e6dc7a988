package githubapp_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/githubapp"
	"github.com/flytower/flytower/integration/hostclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const appID = 42

type install struct {
	id        int64
	owner     string
	suspended bool
	repos     []string // nil is all
}

// host is a GitHub that knows one app.
type host struct {
	t   *testing.T
	key *rsa.PrivateKey
	url string

	mu       sync.Mutex
	now      time.Time
	installs []install
	broken   bool
	calls    map[string]int
}

func newHost(t *testing.T, installs ...install) *host {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, key: key, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), installs: installs, calls: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /app/installations", h.list)
	mux.HandleFunc("POST /app/installations/{id}/access_tokens", h.token)
	mux.HandleFunc("GET /installation/repositories", h.repositories)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	h.url = srv.URL
	return h
}

func (h *host) Now() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.now }

func (h *host) set(change func()) { h.mu.Lock(); defer h.mu.Unlock(); change() }

func (h *host) called(what string) int { h.mu.Lock(); defer h.mu.Unlock(); return h.calls[what] }

// asApp checks the JWT, as GitHub does.
func (h *host) asApp(w http.ResponseWriter, r *http.Request) bool {
	if h.broken {
		w.WriteHeader(http.StatusBadGateway)
		return false
	}
	raw := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	var claims jwt.Claims
	if err == nil {
		err = parsed.Claims(&h.key.PublicKey, &claims)
	}
	if err == nil {
		err = claims.ValidateWithLeeway(jwt.Expected{Issuer: strconv.Itoa(appID), Time: h.now}, 0)
	}
	if err == nil && claims.Expiry.Time().Sub(claims.IssuedAt.Time()) > 10*time.Minute {
		err = fmt.Errorf("lives too long")
	}
	if err != nil {
		h.t.Errorf("assertion: %v", err)
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	return true
}

func (h *host) list(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls["list"]++
	if !h.asApp(w, r) {
		return
	}
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	per, _ := strconv.Atoi(r.URL.Query().Get("per_page"))
	from := min((page-1)*per, len(h.installs))
	out := []map[string]any{}
	for _, in := range h.installs[from:min(from+per, len(h.installs))] {
		m := map[string]any{"id": in.id, "account": map[string]any{"login": in.owner}, "repository_selection": "all", "suspended_at": nil}
		if in.suspended {
			m["suspended_at"] = "2026-01-01T00:00:00Z"
		}
		if in.repos != nil {
			m["repository_selection"] = "selected"
		}
		out = append(out, m)
	}
	writeJSON(w, 200, out)
}

func (h *host) token(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls["token"]++
	if !h.asApp(w, r) {
		return
	}
	for _, in := range h.installs {
		if r.PathValue("id") == strconv.FormatInt(in.id, 10) {
			selection := "all"
			if in.repos != nil {
				selection = "selected"
			}
			writeJSON(w, 201, map[string]any{
				"token": fmt.Sprintf("ghs_%d_%d", in.id, h.calls["token"]), "expires_at": h.now.Add(time.Hour), "repository_selection": selection,
			})
			return
		}
	}
	w.WriteHeader(http.StatusNotFound)
}

func (h *host) repositories(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls["repositories"]++
	for _, in := range h.installs {
		if strings.HasPrefix(r.Header.Get("Authorization"), fmt.Sprintf("Bearer ghs_%d_", in.id)) {
			page, _ := strconv.Atoi(r.URL.Query().Get("page"))
			from := min((page-1)*100, len(in.repos))
			repos := []map[string]string{}
			for _, name := range in.repos[from:min(from+100, len(in.repos))] {
				repos = append(repos, map[string]string{"name": name})
			}
			writeJSON(w, 200, map[string]any{"total_count": len(in.repos), "repositories": repos})
			return
		}
	}
	w.WriteHeader(http.StatusUnauthorized)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (h *host) source(change func(*integration.GitHub)) *githubapp.Source {
	h.t.Helper()
	client := hostclient.New(hostclient.Options{Transport: http.DefaultTransport.(*http.Transport).Clone(), MaxRetries: -1, Now: h.Now})
	h.t.Cleanup(client.Close)
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(h.key)})
	gh := integration.GitHub{Host: "h.example.com", APIBaseURL: h.url, Token: core.NewToken("static"), Apps: []integration.GitHubApp{{
		AppID: appID, PrivateKey: core.NewToken(string(pkcs1)),
	}}}
	if change != nil {
		change(&gh)
	}
	return githubapp.New(githubapp.Options{Integration: gh, Client: client, Now: h.Now})
}

func ask(t *testing.T, s *githubapp.Source, owner, repo, want string) {
	t.Helper()
	c, err := s.Credentials(t.Context(), owner, repo)
	if err != nil || c.Token.Reveal() != want {
		t.Errorf("%s/%s: token %q, %v; want %q", owner, repo, c.Token.Reveal(), err, want)
	}
}

func TestTokensAreKept(t *testing.T) {
	t.Parallel()
	h := newHost(t, install{id: 1, owner: "Acme"}, install{id: 2, owner: "other"})
	s := h.source(nil)
	for range 3 {
		ask(t, s, "acme", "shop", "ghs_1_1")
	}
	ask(t, s, "OTHER", "", "ghs_2_2")
	if h.called("list") != 1 || h.called("token") != 2 {
		t.Errorf("calls %v", h.calls)
	}
	h.set(func() { h.now = h.now.Add(49 * time.Minute) })
	ask(t, s, "acme", "shop", "ghs_1_1")
	h.set(func() { h.now = h.now.Add(time.Minute) }) // 10 minutes before its end
	ask(t, s, "acme", "shop", "ghs_1_3")
	c, err := s.Credentials(t.Context(), "acme", "shop")
	if err != nil || c.ID != "app-42-1" || c.Header().Get("Authorization") != "Bearer ghs_1_3" {
		t.Errorf("credential %+v, %v", c, err)
	}
}

func TestMissesAreLookedUpOnceAMinute(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	s := h.source(nil)
	for range 3 {
		ask(t, s, "acme", "shop", "static")
	}
	if n := h.called("list"); n != 1 {
		t.Errorf("%d look-ups, want 1", n)
	}
	h.set(func() { h.installs = []install{{id: 1, owner: "acme"}}; h.now = h.now.Add(61 * time.Second) })
	ask(t, s, "acme", "shop", "ghs_1_1")
}

func TestSelectedRepositories(t *testing.T) {
	t.Parallel()
	repos := make([]string, 150)
	for i := range repos {
		repos[i] = "repo" + strconv.Itoa(i)
	}
	h := newHost(t, install{id: 1, owner: "acme", repos: repos})
	s := h.source(nil)
	ask(t, s, "acme", "Repo149", "ghs_1_1")
	ask(t, s, "acme", "new", "static")
	if n := h.called("repositories"); n != 2 {
		t.Errorf("%d calls, want 2 pages", n)
	}
	h.set(func() { h.installs[0].repos = append(h.installs[0].repos, "new"); h.now = h.now.Add(61 * time.Second) })
	ask(t, s, "acme", "new", "ghs_1_2")
}

func TestManyInstallations(t *testing.T) {
	t.Parallel()
	var all []install
	for i := range 250 {
		all = append(all, install{id: int64(i + 1), owner: "o" + strconv.Itoa(i)})
	}
	h := newHost(t, all...)
	ask(t, h.source(nil), "o249", "x", "ghs_250_1")
	if n := h.called("list"); n != 3 {
		t.Errorf("%d pages, want 3", n)
	}
}

func TestFallbacks(t *testing.T) {
	t.Parallel()
	h := newHost(t, install{id: 1, owner: "acme"}, install{id: 2, owner: "sleepy", suspended: true})
	only := func(owners ...string) func(*integration.GitHub) {
		return func(g *integration.GitHub) { g.Apps[0].AllowedInstallationOwners = owners }
	}
	ask(t, h.source(only("other")), "acme", "shop", "static")
	ask(t, h.source(only("acme")), "ACME", "shop", "ghs_1_1")
	ask(t, h.source(func(g *integration.GitHub) { g.Apps[0].PublicAccess = true }), "stranger", "shop", "ghs_1_2")
	ask(t, h.source(func(g *integration.GitHub) { g.Apps = nil }), "acme", "shop", "static")
	ask(t, h.source(func(g *integration.GitHub) { g.Apps, g.Token = nil, core.Token{} }), "acme", "shop", "")
	if _, err := h.source(nil).Credentials(t.Context(), "sleepy", "x"); err == nil || !strings.Contains(err.Error(), "suspended") {
		t.Errorf("a suspended installation: %v", err)
	}
}

// A host that does not answer says nothing about installations: no fallback.
func TestOutageIsNoMiss(t *testing.T) {
	t.Parallel()
	h := newHost(t, install{id: 1, owner: "acme"})
	h.broken = true
	_, err := h.source(nil).Credentials(t.Context(), "acme", "shop")
	if apierr.KindOf(err) != apierr.KindServiceUnavailable {
		t.Errorf("%v", err)
	}
}

func TestBadKeys(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for _, key := range []string{"", "secret-text", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----"} {
		s := h.source(func(g *integration.GitHub) { g.Apps[0].PrivateKey = core.NewToken(key) })
		_, err := s.Credentials(t.Context(), "acme", "shop")
		if err == nil || !strings.Contains(err.Error(), "privateKey of GitHub App 42") || strings.Contains(err.Error(), "secret-text") {
			t.Errorf("%v", err)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(h.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	ask(t, h.source(func(g *integration.GitHub) { g.Apps[0].PrivateKey = core.NewToken(string(pkcs8)) }), "acme", "shop", "static")
}
