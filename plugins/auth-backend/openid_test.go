package authbackend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/auditor"
	"github.com/flytower/flytower/defaults/rootconfig"
	authbackend "github.com/flytower/flytower/plugins/auth-backend"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

const issuerURL = "http://localhost:7007/api/auth"

// everything turns all of the OpenID provider on.
const everything = `
auth:
  providers: { issuer: {} }
  experimentalRefreshToken: { enabled: true }
  experimentalDynamicClientRegistration: { enabled: true, allowedRedirectUriPatterns: ["*"] }
  clientIdMetadataDocuments: { enabled: true, allowedClientIdPatterns: ["https://agent.test/*"] }
`

// people is a catalog of users.
type people struct {
	catalognode.Client
	mu   sync.Mutex
	gone map[string]bool
	down bool
}

// EntityByRef implements [catalognode.Client].
func (p *people) EntityByRef(_ context.Context, ref string, _ core.Credentials) (catalogcommon.Entity, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.down:
		return nil, apierr.ServiceUnavailable("down")
	case p.gone[ref]:
		return nil, nil
	}
	parsed, err := catalogcommon.ParseRef(ref, catalogcommon.RefDefaults{})
	return catalogcommon.Entity{
		"apiVersion": "backstage.io/v1alpha1", "kind": "User", "metadata": map[string]any{"name": parsed.Name, "namespace": parsed.Namespace}, "spec": map[string]any{},
	}, err
}

func (p *people) set(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

// trail is what was put on record.
type trail struct {
	mu      sync.Mutex
	records []auditor.Record
}

func (a *trail) take(_ context.Context, r auditor.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.records = append(a.records, r)
}

// ended returns the events that have ended, as "id status".
func (a *trail) ended() (all []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.records {
		if r.Status != auditor.Initiated {
			all = append(all, r.EventID+" "+string(r.Status))
		}
	}
	return all
}

// portal is a backend with the OpenID provider.
type portal struct {
	*running
	people *people
	trail  *trail
}

// documents are those that clients have published, by their address.
type documents map[string]string

// RoundTrip implements [http.RoundTripper].
func (d documents) RoundTrip(r *http.Request) (*http.Response, error) {
	text, ok := d[r.URL.String()]
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}
	if !ok {
		resp.StatusCode = http.StatusNotFound
	}
	return resp, nil
}

const agent = "https://agent.test/client.json"

var published = documents{agent: `{"client_id":"` + agent + `","client_name":"Agent","redirect_uris":["http://127.0.0.1/cb"]}`}

func openPortal(t *testing.T, config string, features ...backend.Feature) *portal {
	t.Helper()
	return openPortalAt(t, base+config, features...)
}

// openPortalAt starts a backend with a configuration of its own.
func openPortalAt(t *testing.T, config string, features ...backend.Feature) *portal {
	t.Helper()
	p := &portal{people: &people{gone: map[string]bool{}}, trail: &trail{}}
	offset := &atomic.Int64{}
	b := flytower.New(flytower.WithConfig(rootconfig.Options{Args: []string{}, Env: []string{}, FS: fstest.MapFS{"app-config.yaml": {Data: []byte(config)}}}))
	b.Add(quiet, auditor.NewFactory(auditor.WithSink(p.trail.take)),
		backend.NewServiceFactory(catalognode.Catalog, func(*backend.FactoryEnv) backend.MakeFunc[catalognode.Client] {
			return func(context.Context) (catalognode.Client, error) { return p.people, nil }
		}),
		authbackend.New(authbackend.WithClock(func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }),
			authbackend.WithEnvironment(func(string) string { return "test" }), authbackend.WithNetwork(published)),
		issuer).Add(features...)
	p.running = run(t, b)
	p.offset = offset
	p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return p
}

// RoundTrip brings requests for the address of the configuration to the
// backend.
func (p *portal) RoundTrip(r *http.Request) (*http.Response, error) {
	to := r.Clone(r.Context())
	to.URL.Scheme, to.URL.Host = "http", strings.TrimPrefix(p.url, "http://")
	if host := r.Header.Get("X-Host"); host != "" { // what a proxy may do
		to.Host = host
	}
	resp, err := p.client.Transport.RoundTrip(to)
	if err == nil {
		resp.Request = r
	}
	return resp, err
}

// post sends a form, or JSON, and returns status and answer.
func (p *portal) post(t *testing.T, path, body string, header ...string) (status int, answer map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/api/auth"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 0 && json.Unmarshal(raw, &answer) != nil {
		t.Fatalf("POST %s: %d %s", path, resp.StatusCode, raw)
	}
	return resp.StatusCode, answer
}

// form writes names and values, in turn, as a form. The last value of a name
// counts, and an empty one leaves the name out.
func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			v.Del(pairs[i])
		}
	}
	return v.Encode()
}

const callback = "http://127.0.0.1:8055/cb"

// register registers a client.
func (p *portal) register(t *testing.T, metadata string) (id, secret string) {
	t.Helper()
	status, answer := p.post(t, "/v1/register", `{"client_name":"Tool","redirect_uris":["`+callback+`"]`+metadata+`}`)
	if status != http.StatusCreated {
		t.Fatalf("registration: %d %v", status, answer)
	}
	id, _ = answer["client_id"].(string)
	secret, _ = answer["client_secret"].(string)
	return id, secret
}

// verifier is that of all requests here, and challenge its S256.
const (
	verifier  = "a-verifier-that-is-long-enough-to-be-one-0123456789"
	challenge = "IdFsue1MJJJtybEPX0invmHHuW1I7Ai5LXVlXpENjsk"
)

// begin begins a request; it returns its id.
func (p *portal) begin(t *testing.T, query string) string {
	t.Helper()
	resp, body := p.send(t, http.MethodGet, "/api/auth/v1/authorize?"+query)
	id, ok := strings.CutPrefix(resp.Header.Get("Location"), "http://localhost:3000/oauth2/authorize/")
	if !ok || resp.StatusCode != http.StatusFound {
		t.Fatalf("authorize: %d %s %s", resp.StatusCode, resp.Header.Get("Location"), body)
	}
	return id
}

// request is the query of a request.
func request(client, redirect string, pairs ...string) string {
	return form(append([]string{
		"client_id", client, "redirect_uri", redirect, "response_type", "code", "scope", "openid offline_access", "state", "st4te",
		"code_challenge", challenge, "code_challenge_method", "S256",
	}, pairs...)...)
}

// approve lets the client in as the user and returns the code.
func (p *portal) approve(t *testing.T, id, user string) string {
	t.Helper()
	status, answer := p.post(t, "/v1/sessions/"+id+"/approve", "", "Authorization", "Bearer "+p.issue(t, "sub="+user), "Content-Type", "application/json")
	location, _ := answer["redirectUrl"].(string)
	u, err := url.Parse(location)
	if status != http.StatusOK || err != nil || u.Query().Get("code") == "" || u.Query().Get("iss") != issuerURL {
		t.Fatalf("approve: %d %v", status, answer)
	}
	return u.Query().Get("code")
}

// code returns a code for a new request of the client.
func (p *portal) code(t *testing.T, client, redirect string) string {
	t.Helper()
	return p.approve(t, p.begin(t, request(client, redirect)), jane)
}

const jane = "user:default/jane"

// tokens exchanges a new code, and returns the refresh token.
func (p *portal) tokens(t *testing.T, client string) (access, refresh string) {
	t.Helper()
	status, answer := p.post(t, "/v1/token", form("grant_type", "authorization_code", "code", p.code(t, client, callback), "redirect_uri", callback, "code_verifier", verifier))
	access, _ = answer["access_token"].(string)
	refresh, _ = answer["refresh_token"].(string)
	if status != http.StatusOK || refresh == "" {
		t.Fatalf("token: %d %v", status, answer)
	}
	return access, refresh
}

// refresh replaces a refresh token, and returns the next, or the error.
func (p *portal) refresh(t *testing.T, token string, pairs ...string) (next, problem string) {
	t.Helper()
	_, answer := p.post(t, "/v1/token", form(append([]string{"grant_type", "refresh_token", "refresh_token", token}, pairs...)...))
	next, _ = answer["refresh_token"].(string)
	problem, _ = answer["error"].(string)
	return next, problem
}

// The clients of other people complete their flows.
func TestGoClients(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, database string) {
		p := openPortal(t, database+everything)
		ctx := oidc.ClientContext(t.Context(), &http.Client{Transport: p})
		provider, err := oidc.NewProvider(ctx, issuerURL)
		if err != nil {
			t.Fatal(err)
		}
		registered, secret := p.register(t, "")
		public, _ := p.register(t, `,"token_endpoint_auth_method":"none"`)
		for name, c := range map[string]struct{ id, secret, redirect string }{
			"registered": {registered, secret, callback},
			"public":     {public, "", callback},
			"document":   {agent, "", "http://127.0.0.1:54321/cb"},
			"own":        {issuerURL + "/.well-known/oauth-client/cli.json", "", "http://127.0.0.1:8055/callback"},
		} {
			t.Run(name, func(t *testing.T) {
				config := oauth2.Config{ClientID: c.id, ClientSecret: c.secret, RedirectURL: c.redirect, Endpoint: provider.Endpoint(), Scopes: []string{"openid", "offline_access"}}
				pkce := oauth2.GenerateVerifier()
				u, err := url.Parse(config.AuthCodeURL("st4te", oauth2.S256ChallengeOption(pkce), oidc.Nonce("n0nce")))
				if err != nil {
					t.Fatal(err)
				}
				code := p.approve(t, p.begin(t, u.RawQuery), jane)
				token, err := config.Exchange(ctx, code, oauth2.VerifierOption(pkce))
				if err != nil {
					t.Fatal(err)
				}
				raw, _ := token.Extra("id_token").(string)
				id, err := provider.Verifier(&oidc.Config{ClientID: c.id, SupportedSigningAlgs: []string{oidc.ES256}}).Verify(ctx, raw)
				if err != nil || id.Subject != jane || id.Nonce != "n0nce" {
					t.Fatalf("ID token %+v: %v", id, err)
				}
				// Clients of the family use it as an access token.
				if resp, body := p.send(t, http.MethodGet, "/api/auth/v1/userinfo", "Authorization", "Bearer "+raw); resp.StatusCode != http.StatusOK {
					t.Errorf("user info for an ID token: %d %s", resp.StatusCode, body)
				}
				info, err := provider.UserInfo(ctx, config.TokenSource(ctx, token))
				if err != nil || info.Subject != jane {
					t.Errorf("user info %+v: %v", info, err)
				}
				if left := time.Until(token.Expiry); left < 59*time.Minute || left > time.Hour {
					t.Errorf("the token is good for %v", left)
				}
				// The next token comes of the refresh token, which is replaced.
				expired := *token
				expired.Expiry = time.Now().Add(-time.Minute)
				next, err := config.TokenSource(ctx, &expired).Token()
				if err != nil || next.RefreshToken == "" || next.RefreshToken == token.RefreshToken {
					t.Fatalf("refresh: %v", err)
				}
				revoked := form("token", next.RefreshToken, "client_id", c.id, "client_secret", c.secret)
				for range 2 { // the second time there is nothing, which is no error
					if status, answer := p.post(t, "/v1/revoke", revoked); status != http.StatusOK || answer != nil {
						t.Errorf("revoke: %d %v", status, answer)
					}
				}
				if _, problem := p.refresh(t, next.RefreshToken); problem != "invalid_grant" {
					t.Errorf("a revoked token: %q", problem)
				}
			})
		}
	})
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	p := openPortal(t, memory+everything+"mcpActions: { servers: { read-only: {} } }")
	_, config := p.send(t, http.MethodGet, "/api/auth/.well-known/openid-configuration")
	for _, want := range []string{
		`"scopes_supported":["openid","offline_access"]`, `"token_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","none"]`,
		`"grant_types_supported":["authorization_code","refresh_token"]`, `"registration_endpoint":"` + issuerURL + `/v1/register"`,
		`"revocation_endpoint":"` + issuerURL + `/v1/revoke"`, `"client_id_metadata_document_supported":true`, `"authorization_response_iss_parameter_supported":true`,
	} {
		if !strings.Contains(config, want) {
			t.Errorf("the metadata lack %s: %s", want, config)
		}
	}
	for _, path := range []string{"", "/api/auth", "/x/y"} {
		if _, body := p.send(t, http.MethodGet, "/.well-known/oauth-authorization-server"+path); body != config {
			t.Errorf("metadata at %q: %s", path, body)
		}
	}
	for path, want := range map[string]string{
		"":           `{"resource":"http://localhost:7007/api/mcp-actions/v1","authorization_servers":["` + issuerURL + `"],"scopes_supported":["openid","offline_access"]}`,
		"/read-only": `{"resource":"http://localhost:7007/api/mcp-actions/v1/read-only","authorization_servers":["` + issuerURL + `"],"scopes_supported":["openid","offline_access"]}`,
		"/unknown":   "",
	} {
		if _, body := p.send(t, http.MethodGet, "/.well-known/oauth-protected-resource/api/mcp-actions/v1"+path); body != want {
			t.Errorf("resource %q: %s", path, body)
		}
	}
	if resp, _ := p.send(t, http.MethodPost, "/.well-known/oauth-authorization-server"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("POST: %d", resp.StatusCode)
	}
	_, cli := p.send(t, http.MethodGet, "/api/auth/.well-known/oauth-client/cli.json")
	if !strings.Contains(cli, `"client_id":"`+issuerURL+`/.well-known/oauth-client/cli.json"`) {
		t.Errorf("own client: %s", cli)
	}

	// Only what is on is there.
	p = openPortal(t, memory+"auth: { providers: { issuer: {} }, clientIdMetadataDocuments: { enabled: true } }")
	p.check(t, http.MethodPost, "/api/auth/v1/register", 404, apierr.KindNotFound, "/v1/register")
	if _, config := p.send(t, http.MethodGet, "/api/auth/.well-known/openid-configuration"); strings.Contains(config, "register") || strings.Contains(config, "offline") {
		t.Errorf("metadata: %s", config)
	}
	p = openPortal(t, memory+"auth: { providers: { issuer: {} } }")
	p.check(t, http.MethodGet, "/api/auth/v1/authorize", 404, apierr.KindNotFound, "/v1/authorize")
	if resp, _ := p.send(t, http.MethodGet, "/.well-known/oauth-authorization-server"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("metadata of a provider that is off: %d", resp.StatusCode)
	}
}

func TestReplicasShareGrants(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, database string) {
		a, b := openPortal(t, database+everything), openPortal(t, database+everything)
		client, _ := a.register(t, "")
		id := b.begin(t, request(client, callback))
		code := a.approve(t, id, jane)
		const many = 8
		answers := make(chan map[string]any, many)
		var work sync.WaitGroup
		for i := range many {
			work.Go(func() {
				_, answer := []*portal{a, b}[i%2].post(t, "/v1/token", form("grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier))
				answers <- answer
			})
		}
		work.Wait()
		close(answers)
		var good []string
		for answer := range answers {
			if token, ok := answer["refresh_token"].(string); ok {
				good = append(good, token)
			}
		}
		if len(good) != 1 {
			t.Fatalf("%d of %d exchanges of a code succeeded", len(good), many)
		}
		if _, problem := b.refresh(t, good[0]); problem != "invalid_grant" {
			t.Errorf("a code was used more than once, and its refresh token is good: %q", problem)
		}

		// Of refreshes at the same moment in two replicas one succeeds, or those
		// that share it; none ends the session.
		_, token := a.tokens(t, client)
		next := make(chan string, many)
		for i := range many {
			work.Go(func() {
				n, _ := []*portal{a, b}[i%2].refresh(t, token)
				next <- n
			})
		}
		work.Wait()
		close(next)
		var all []string
		for n := range next {
			if n != "" && !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
		if len(all) != 1 {
			t.Fatalf("%d refresh tokens came of one", len(all))
		}
		if n, problem := b.refresh(t, all[0]); n == "" {
			t.Errorf("the session has ended: %s", problem)
		}
	})
}

func TestRefreshTokens(t *testing.T) {
	t.Parallel()
	p := openPortal(t, memory+strings.Replace(everything, "enabled: true }", "enabled: true, tokenLifetime: { days: 2 }, maxRotationLifetime: { days: 5 }, maxTokensPerUser: 2 }", 1))
	step := func(d time.Duration) { p.offset.Add(int64(d)) }
	client, _ := p.register(t, "")

	// The second consent for the same client replaces the first.
	_, first := p.tokens(t, client)
	_, second := p.tokens(t, client)
	if _, problem := p.refresh(t, first); problem != "invalid_grant" {
		t.Errorf("two sessions of a client: %q", problem)
	}
	// A token that is used lives on, up to a bound.
	for range 4 {
		step(30 * time.Hour)
		next, problem := p.refresh(t, second)
		if next == "" {
			if problem != "invalid_grant" {
				t.Error(problem)
			}
			second = ""
			break
		}
		second = next
	}
	if second != "" {
		t.Error("a session outlives maxRotationLifetime")
	}
	// One that is not used ends.
	_, idle := p.tokens(t, client)
	step(49 * time.Hour)
	if _, problem := p.refresh(t, idle); problem != "invalid_grant" {
		t.Errorf("an idle token: %q", problem)
	}
	// A user has so many.
	var all []string
	for range 3 {
		id, _ := p.register(t, "")
		_, token := p.tokens(t, id)
		all = append(all, token)
		step(2 * time.Second)
	}
	for i, token := range all {
		if next, problem := p.refresh(t, token); (next == "") != (i == 0) {
			t.Errorf("token %d of 3: %q", i, problem)
		}
	}
	// Where the catalog is down nothing is lost; who has left it, is out.
	_, token := p.tokens(t, client)
	p.people.set(func() { p.people.down = true })
	if _, problem := p.refresh(t, token); problem == "invalid_grant" {
		t.Error("a catalog that is down ends sessions")
	}
	p.people.set(func() { p.people.down = false })
	token, problem := p.refresh(t, token)
	if problem != "" {
		t.Errorf("after the catalog was down: %s", problem)
	}
	p.people.set(func() { p.people.gone[jane] = true })
	if _, problem := p.refresh(t, token); problem != "invalid_grant" {
		t.Errorf("a user who has left: %q", problem)
	}
	p.people.set(func() { p.people.gone[jane] = false })
	if _, problem := p.refresh(t, token); problem != "invalid_grant" {
		t.Errorf("a user who came back: %q", problem)
	}
}

func TestOpenIDAudit(t *testing.T) {
	t.Parallel()
	p := openPortal(t, memory+everything)
	client, secret := p.register(t, "")
	access, refresh := p.tokens(t, client)
	p.post(t, "/v1/register", `{"redirect_uris":["javascript:alert(1)"]}`)
	next, _ := p.refresh(t, refresh)
	p.post(t, "/v1/token", form("grant_type", "authorization_code", "code", "guess", "redirect_uri", callback))
	p.post(t, "/v1/revoke", form("token", next, "client_id", client, "client_secret", "guess"))
	p.post(t, "/v1/revoke", form("token", next, "client_id", client, "client_secret", secret))
	id := p.begin(t, request(client, callback))
	p.post(t, "/v1/sessions/"+id+"/reject", "", "Authorization", "Bearer "+p.issue(t, "sub="+jane))
	p.send(t, http.MethodGet, "/api/auth/v1/authorize?client_id=nobody&redirect_uri=x&response_type=code")
	p.check(t, http.MethodGet, "/api/auth/issuer/refresh", 500, apierr.KindError, "/issuer/refresh")

	got := p.trail.ended()
	for _, want := range []string{
		"client-register succeeded", "client-register failed", "authorization-request succeeded", "authorization-request failed",
		"authorization-consent succeeded", "token-issue succeeded", "token-issue failed", "token-revoke succeeded", "token-revoke failed",
		"session-refresh succeeded", "session-refresh failed",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("there is no record %q in %q", want, got)
		}
	}
	text := fmt.Sprintf("%+v", p.trail.records)
	for name, hidden := range map[string]string{"access token": access, "refresh token": refresh, "next refresh token": next, "secret": secret} {
		if hidden == "" || strings.Contains(text, hidden) {
			t.Errorf("the records have the %s", name)
		}
	}
}
