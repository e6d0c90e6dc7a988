package authbackend_test

import (
	"context"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	guest "github.com/flytower/flytower/plugins/auth-backend-module-guest-provider"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
)

// withPages is a portal without a frontend.
const withPages = `
app: { title: Acme <Portal> }
backend:
  baseUrl: http://localhost:7007
  listen: 127.0.0.1:0
  database: { client: better-sqlite3, connection: ":memory:" }
auth:
  providers: { issuer: {}, corp: { development: {} }, api: { development: {} }, guest: { dangerouslyAllowOutsideDevelopment: true } }
  experimentalRefreshToken: { enabled: true }
  experimentalDynamicClientRegistration: { enabled: true, allowedRedirectUriPatterns: ["*"] }
  clientIdMetadataDocuments: { enabled: true, allowedClientIdPatterns: ["https://agent.test/*"] }
`

// dialog is a provider whose dialog asks corp.
func dialog(id string, signIn authnode.SignInResolver[oauth.Result[string]]) backend.Feature {
	return provider(id, oauth.Provider[string]{
		Initialize: func(context.Context, oauth.Options) (oauth.Authenticator[string], error) { return corp{}, nil },
		SignIn:     signIn,
	}.Factory())
}

// joe signs everybody in as joe.
func joe(ctx context.Context, _ authnode.SignInInfo[oauth.Result[string]], s authnode.SignInContext) (authnode.SignInResult, error) {
	return s.IssueToken(ctx, authnode.TokenClaims{Subject: "user:default/joe"})
}

func portalWithPages(t *testing.T) *portal {
	t.Helper()
	return openPortalAt(t, withPages, dialog("corp", joe), dialog("api", nil), guest.Module)
}

// browser is one without JavaScript.
type browser struct {
	client *http.Client
}

func (p *portal) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{&http.Client{Jar: jar, Transport: p, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// page is an answer.
type page struct {
	*http.Response
	text string
}

// visit goes to an address, with a form if there is one, and follows where it
// is sent as long as that is the portal.
func (b *browser) visit(t *testing.T, address string, form url.Values, header ...string) page {
	t.Helper()
	for {
		method, body := http.MethodGet, io.Reader(nil)
		if form != nil {
			method, body = http.MethodPost, strings.NewReader(form.Encode())
		}
		req, err := http.NewRequestWithContext(t.Context(), method, address, body)
		if err != nil {
			t.Fatal(err)
		}
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Origin", "http://localhost:7007")
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := b.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read
		if err != nil {
			t.Fatal(err)
		}
		next := resp.Header.Get("Location")
		if !strings.HasPrefix(next, "http://localhost:7007/") {
			return page{resp, string(raw)}
		}
		address, form = next, nil
	}
}

var (
	links  = regexp.MustCompile(`<a class="button go" href="([^"]*)">([^<]*)</a>`)
	hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// link returns the address of the link with the label.
func (p page) link(t *testing.T, label string) string {
	t.Helper()
	for _, m := range links.FindAllStringSubmatch(p.text, -1) {
		if html.UnescapeString(m[2]) == label {
			return html.UnescapeString(m[1])
		}
	}
	t.Fatalf("there is no link %q in %s", label, p.text)
	return ""
}

// form returns the fields of the page and the action.
func (p page) form(action string) url.Values {
	v := url.Values{"action": {action}}
	for _, m := range hidden.FindAllStringSubmatch(p.text, -1) {
		v.Set(m[1], html.UnescapeString(m[2]))
	}
	return v
}

const authorizeURL = issuerURL + "/v1/authorize?"

func TestPages(t *testing.T) {
	t.Parallel()
	p := portalWithPages(t)
	client, _ := p.register(t, "")
	b := p.browser(t)

	// Who has not signed in is asked to.
	signIn := b.visit(t, authorizeURL+request(client, callback), nil)
	address := signIn.Request.URL.String()
	if signIn.StatusCode != http.StatusOK || !strings.HasPrefix(address, "http://localhost:7007/oauth2/authorize/") || !strings.Contains(signIn.text, "Acme &lt;Portal&gt;") {
		t.Fatalf("sign-in: %d %s", signIn.StatusCode, signIn.text)
	}
	var labels []string
	for _, m := range links.FindAllStringSubmatch(signIn.text, -1) {
		labels = append(labels, m[2])
	}
	if want := []string{"Sign in with corp", "Enter as a guest"}; !slices.Equal(labels, want) {
		t.Errorf("providers %q, want %q", labels, want)
	}

	// The dialog of a provider leads to the question.
	start := b.visit(t, signIn.link(t, "Sign in with corp"), nil)
	idp, err := url.Parse(start.Header.Get("Location"))
	if err != nil || idp.Host != "idp.test" {
		t.Fatalf("start: %d %s", start.StatusCode, start.text)
	}
	consent := b.visit(t, issuerURL+"/corp/handler/frame?code=joe&state="+idp.Query().Get("state"), nil)
	for _, want := range []string{"Let “Tool” act for you?", "user:default/joe", "127.0.0.1:8055 (this machine)", "Nobody has checked this program", "stay signed in"} {
		if !strings.Contains(consent.text, want) {
			t.Errorf("the page lacks %q: %s", want, consent.text)
		}
	}
	h := consent.Header
	if csp := h.Get("Content-Security-Policy"); len(h["Content-Security-Policy"]) != 1 || !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") ||
		!strings.Contains(csp, "form-action 'self' http://127.0.0.1:8055;") || strings.Contains(csp, "script-src") || strings.Contains(csp, "unsafe") ||
		h.Get("X-Frame-Options") != "DENY" || len(h["X-Frame-Options"]) != 1 || h.Get("Cache-Control") != "no-store" || strings.Contains(consent.text, "<script") {
		t.Errorf("headers %v", h)
	}

	// Another account.
	other := b.visit(t, address, consent.form("switch"))
	if !strings.Contains(other.text, "Sign in to decide") {
		t.Errorf("switch: %s", other.text)
	}
	consent = b.visit(t, other.link(t, "Enter as a guest"), nil)
	if !strings.Contains(consent.text, "user:development/guest") {
		t.Fatalf("guest: %s", consent.text)
	}

	done := b.visit(t, address, consent.form("approve"))
	to, err := url.Parse(done.Header.Get("Location"))
	if err != nil || done.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to.String(), callback+"?code=") || to.Query().Get("state") != "st4te" {
		t.Fatalf("approval: %d %v", done.StatusCode, done.Header)
	}
	status, answer := p.post(t, "/v1/token", form("grant_type", "authorization_code", "code", to.Query().Get("code"), "redirect_uri", callback, "code_verifier", verifier))
	if status != http.StatusOK {
		t.Fatalf("token: %d %v", status, answer)
	}
	token, _ := answer["access_token"].(string)
	if _, info := p.send(t, http.MethodGet, "/api/auth/v1/userinfo", "Authorization", "Bearer "+token); !strings.Contains(info, "user:development/guest") {
		t.Errorf("the token is of %s", info)
	}
	// The answer is given.
	if again := b.visit(t, address, consent.form("approve")); again.StatusCode != http.StatusNotFound || !strings.Contains(again.text, "no such request any more") {
		t.Errorf("again: %d %s", again.StatusCode, again.text)
	}

	// A client that is described by its host, turned away before any sign-in.
	signIn = b.visit(t, authorizeURL+request(agent, "http://127.0.0.1:4711/cb", "scope", "openid"), nil)
	done = b.visit(t, signIn.Request.URL.String(), signIn.form("reject"))
	if location := done.Header.Get("Location"); !strings.HasPrefix(location, "http://127.0.0.1:4711/cb?error=access_denied&") {
		t.Errorf("rejection: %d %s", done.StatusCode, location)
	}
	signIn = b.visit(t, authorizeURL+request(agent, "http://127.0.0.1:4711/cb", "scope", "openid"), nil)
	consent = b.visit(t, signIn.link(t, "Enter as a guest"), nil)
	if strings.Contains(consent.text, "Nobody has checked") || strings.Contains(consent.text, "stay signed in") || !strings.Contains(consent.text, agent) {
		t.Errorf("a client with a document: %s", consent.text)
	}
	if got := p.trail.ended(); !slices.Contains(got, "sign-in succeeded") || !slices.Contains(got, "authorization-consent succeeded") {
		t.Errorf("on record: %q", got)
	}
}

func TestPagesRefuse(t *testing.T) {
	t.Parallel()
	p := portalWithPages(t)
	client, _ := p.register(t, `,"redirect_uris":["https://client.test/cb"]`)
	query := request(client, "https://client.test/cb")
	victim, attacker := p.browser(t), p.browser(t)

	// Somebody else's request cannot be answered, nor signed in for: neither
	// with no cookie nor with that of an own request.
	theirs := attacker.visit(t, authorizeURL+query, nil).Request.URL.String()
	id := theirs[strings.LastIndex(theirs, "/")+1:]
	for range 2 {
		for _, address := range []string{theirs, issuerURL + "/guest/authorize/" + id} {
			if got := victim.visit(t, address, nil); got.StatusCode != http.StatusForbidden || !strings.Contains(got.text, "another browser") {
				t.Errorf("%s: %d %s", address, got.StatusCode, got.text)
			}
		}
		victim.visit(t, authorizeURL+query, nil)
	}

	signIn := victim.visit(t, authorizeURL+query, nil)
	mine := signIn.Request.URL.String()
	consent := victim.visit(t, signIn.link(t, "Enter as a guest"), nil)
	other := victim.visit(t, authorizeURL+query, nil) // another request of the same browser
	good := consent.form("approve")
	with := func(name, value string) url.Values {
		v := url.Values{}
		for n := range good {
			v.Set(n, good.Get(n))
		}
		v.Set(name, value)
		return v
	}
	for name, tt := range map[string]struct {
		browser *browser
		form    url.Values
		header  []string
		status  int
	}{
		"another site":                 {victim, good, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test"}, 403},
		"another site of the host":     {victim, good, []string{"Sec-Fetch-Site", "same-site", "Origin", "http://evil.localhost:7007"}, 403},
		"another origin":               {victim, good, []string{"Origin", "https://evil.test"}, 403},
		"no origin":                    {victim, good, []string{"Origin", "null"}, 403},
		"no token":                     {victim, with("csrf", ""), nil, 403},
		"the token of another request": {victim, with("csrf", other.form("").Get("csrf")), nil, 403},
		"another user":                 {victim, with("user", jane), nil, 403},
		"no user":                      {victim, with("user", ""), nil, 403},
		"no action":                    {victim, with("action", ""), nil, 400},
		"another browser":              {attacker, good, nil, 403},
		"a long answer":                {victim, with("x", strings.Repeat("x", 20000)), nil, 400},
	} {
		got := tt.browser.visit(t, mine, tt.form, tt.header...)
		if got.StatusCode != tt.status || got.Header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %d %s", name, got.StatusCode, got.text)
		}
	}
	// Without a sign-in nobody approves.
	if got := victim.visit(t, other.Request.URL.String(), other.form("approve")); got.StatusCode != http.StatusForbidden {
		t.Errorf("nobody: %d %s", got.StatusCode, got.text)
	}
	// A provider that signs nobody in, and one whose dialog failed.
	for _, address := range []string{issuerURL + "/issuer/authorize/" + id, issuerURL + "/api/authorize/" + id} {
		if got := attacker.visit(t, address, nil); got.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d %s", address, got.StatusCode, got.text)
		}
	}
	for _, address := range []string{issuerURL + "/corp/authorize/" + id, issuerURL + "/corp/authorize/" + id + "?error=%3Cscript%3E"} {
		if got := attacker.visit(t, address, nil); got.StatusCode != http.StatusOK || !strings.Contains(got.text, "did not succeed") || strings.Contains(got.text, "script&gt;") {
			t.Errorf("%s: %d %s", address, got.StatusCode, got.text)
		}
	}
	for _, address := range []string{"http://localhost:7007/oauth2/authorize/x", issuerURL + "/guest/authorize/x"} {
		if got := victim.visit(t, address, nil); got.StatusCode != http.StatusNotFound || !strings.Contains(got.text, "no such request") {
			t.Errorf("%s: %d %s", address, got.StatusCode, got.text)
		}
	}
	if got := victim.visit(t, mine+"/x", nil); got.StatusCode != http.StatusNotFound {
		t.Errorf("below the page: %d", got.StatusCode)
	}
	// A proxy in front may send another host.
	if got := victim.visit(t, mine, good, "X-Host", "127.0.0.1:7007"); got.StatusCode != http.StatusSeeOther || !strings.HasPrefix(got.Header.Get("Location"), "https://client.test/cb?code=") {
		t.Errorf("the good answer: %d %s", got.StatusCode, got.text)
	}
}

func TestSignInsAreOnRecord(t *testing.T) {
	t.Parallel()
	p := portalWithPages(t)
	b := p.browser(t)
	begin := func() string {
		t.Helper()
		start := b.visit(t, issuerURL+"/corp/start?env=development", nil)
		idp, err := url.Parse(start.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		return "/corp/handler/frame?state=" + idp.Query().Get("state")
	}
	for _, step := range []struct{ method, path, want string }{
		{http.MethodGet, "frame&code=joe", "sign-in succeeded user:default/joe"},
		{http.MethodGet, "frame&error=access_denied", "sign-in failed "},
		{http.MethodGet, "/corp/refresh?env=development", "session-refresh succeeded user:default/joe"},
		{http.MethodPost, "/corp/logout?env=development", "sign-out succeeded "},
		{http.MethodGet, "/corp/refresh?env=development", "session-refresh failed "},
		{http.MethodGet, "/guest/refresh", "sign-in succeeded user:development/guest"},
	} {
		var form url.Values
		if step.method == http.MethodPost {
			form = url.Values{}
		}
		if rest, ok := strings.CutPrefix(step.path, "frame"); ok {
			step.path = begin() + rest // a browser begins one sign-in at a time
		}
		b.visit(t, issuerURL+step.path, form, "X-Requested-With", "XMLHttpRequest")
		p.trail.mu.Lock()
		last := p.trail.records[len(p.trail.records)-1]
		p.trail.mu.Unlock()
		user, _ := last.Meta["userEntityRef"].(string)
		if got := last.EventID + " " + string(last.Status) + " " + user; got != step.want {
			t.Errorf("%s %s: %s (%s), want %s", step.method, step.path, got, last.Error, step.want)
		}
		if last.Request == nil || strings.Contains(last.Request.URL, "state=") && !strings.Contains(last.Request.URL, "state=***") {
			t.Errorf("request %+v", last.Request)
		}
	}
}

// Names and addresses of clients are only text on the page.
func TestPagesShowTextAsText(t *testing.T) {
	t.Parallel()
	p := portalWithPages(t)
	_, answer := p.post(t, "/v1/register", `{"client_name":"<script>alert(1)</script>\"'","redirect_uris":["app.evil://x/'\u0026%3Cscript%3E"]}`)
	client, _ := answer["client_id"].(string)
	b := p.browser(t)
	signIn := b.visit(t, authorizeURL+request(client, "app.evil://x/'&%3Cscript%3E"), nil)
	consent := b.visit(t, signIn.link(t, "Enter as a guest"), nil)
	for _, got := range []page{signIn, consent} {
		if got.StatusCode != http.StatusOK || strings.Contains(got.text, "<script") || !strings.Contains(got.Header.Get("Content-Security-Policy"), "form-action 'self' app.evil:;") {
			t.Errorf("%d %v %s", got.StatusCode, got.Header, got.text)
		}
	}
}

// The cookie of a portal with TLS cannot be set by other hosts.
func TestPagesWithTLS(t *testing.T) {
	t.Parallel()
	p := openPortalAt(t, strings.Replace(withPages, "http://localhost:7007", "https://portal.test", 1), dialog("corp", joe), dialog("api", nil), guest.Module)
	client, _ := p.register(t, "")
	resp, _ := p.send(t, http.MethodGet, "/api/auth/v1/authorize?"+request(client, callback))
	set := resp.Header.Get("Set-Cookie")
	if !strings.HasPrefix(set, "__Host-flytower-consent=") || !strings.Contains(set, "; Path=/;") || !strings.Contains(set, "; HttpOnly; Secure; SameSite=Lax") || strings.Contains(set, "Domain") {
		t.Errorf("cookie %s", set)
	}
}

// Where the frontend has the pages, this backend has none.
func TestWhoHasThePages(t *testing.T) {
	t.Parallel()
	app := backend.NewPlugin("app", func(*backend.PluginEnv) backend.InitFunc { return func(context.Context) error { return nil } })
	dist := t.TempDir()
	if err := os.Mkdir(filepath.Join(dist, "static"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		config   string
		features []backend.Feature
		want     string
	}{
		"no frontend":                   {"", nil, "http://localhost:7007/oauth2/authorize/"},
		"frontend in this backend":      {dist, []backend.Feature{app}, ""},
		"frontend that is not built":    {"", []backend.Feature{app}, "http://localhost:7007/oauth2/authorize/"},
		"pages are never wanted":        {"builtInPages: never", nil, ""},
		"pages are wanted all the same": {"builtInPages: always", []backend.Feature{app}, "http://localhost:7007/oauth2/authorize/"},
	} {
		config := withPages + "  " + tt.config + "\n"
		if tt.config == dist {
			config = strings.Replace(withPages, "app: {", "app: { distDir: '"+dist+"',", 1)
		}
		p := openPortalAt(t, config, append([]backend.Feature{dialog("corp", joe), dialog("api", nil), guest.Module}, tt.features...)...)
		client, _ := p.register(t, "")
		resp, _ := p.send(t, http.MethodGet, "/api/auth/v1/authorize?"+request(client, callback))
		id := resp.Header.Get("Location")[strings.LastIndex(resp.Header.Get("Location"), "/")+1:]
		shown, _ := p.send(t, http.MethodGet, "/oauth2/authorize/"+id, "Cookie", strings.Split(resp.Header.Get("Set-Cookie"), ";")[0])
		if own := shown.StatusCode == http.StatusOK; own != (tt.want != "") || resp.Header.Get("Location") != "http://localhost:7007/oauth2/authorize/"+id {
			t.Errorf("%s: %s, own page %t", name, resp.Header.Get("Location"), own)
		}
	}
	p := openPortal(t, memory+strings.Replace(everything, "auth:", "auth:\n  builtInPages: always", 1))
	client, _ := p.register(t, "")
	if resp, _ := p.send(t, http.MethodGet, "/api/auth/v1/authorize?"+request(client, callback)); !strings.HasPrefix(resp.Header.Get("Location"), "http://localhost:7007/oauth2/") {
		t.Errorf("own pages beside another frontend: %s", resp.Header.Get("Location"))
	}
}

func TestLimitsOfRoutes(t *testing.T) {
	t.Parallel()
	p := openPortal(t, memory+strings.Replace(everything, "auth:", `auth:
  rateLimit:
    register: { incomingRequestLimit: 2, ipAllowList: [] }
    consent: { incomingRequestLimit: 1, ipAllowList: [] }
    token: { incomingRequestLimit: 0, ipAllowList: [] }
    start: false`, 1))
	client, _ := p.register(t, "")
	p.register(t, "")
	for _, request := range []string{"POST /v1/register", "POST /V1/Register/", "POST /v1/token", "POST /v1/revoke"} {
		method, path, _ := strings.Cut(request, " ")
		resp, body := p.send(t, method, "/api/auth"+path)
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", request, resp.StatusCode, body)
		}
	}
	p.check(t, http.MethodGet, "/api/auth/v1/authorize?client_id="+client, 400, "", "")
	if resp, _ := p.send(t, http.MethodGet, "/api/auth/v1/sessions/x"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("within the limit: %d", resp.StatusCode)
	}
	if resp, _ := p.send(t, http.MethodGet, "/api/auth/v1/sessions/x"); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("over the limit: %d", resp.StatusCode)
	}
	p.check(t, http.MethodGet, "/api/auth/issuer/start", 404, apierr.KindNotFound, "/issuer/start")
}
