package authbackend_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// What is wrong with a request is shown, and never sent to an address that
// could be anybody's.
func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	p := openPortal(t, memory+everything)
	client, _ := p.register(t, "")
	public, _ := p.register(t, `,"token_endpoint_auth_method":"none"`)
	for name, query := range map[string]string{
		"another address":           request(client, "https://evil.test/cb"),
		"a longer path":             request(client, callback+"/x"),
		"a query":                   request(client, callback+"?x=1"),
		"a fragment":                request(client, callback+"#x"),
		"a user":                    request(client, "http://127.0.0.1:8055@evil.test/cb"),
		"a backslash":               request(client, `http://127.0.0.1:8055\@evil.test/cb`),
		"another loopback address":  request(client, "http://127.0.0.2:8055/cb"),
		"loopback with TLS":         request(client, "https://127.0.0.1:8055/cb"),
		"a script":                  request(client, "javascript:alert(1)//"+callback),
		"no client":                 request("00000000-0000-0000-0000-000000000000", callback),
		"two addresses":             request(client, callback) + "&redirect_uri=https%3A%2F%2Fevil.test%2F",
		"two challenges":            request(client, callback) + "&code_challenge=x",
		"a token":                   request(client, callback, "response_type", "token"),
		"an ID token":               request(client, callback, "response_type", "code id_token"),
		"an unknown method":         request(client, callback, "code_challenge_method", "none"),
		"no method":                 request(client, callback, "code_challenge_method", ""),
		"a short challenge":         request(client, callback, "code_challenge", "short"),
		"a method alone":            strings.Replace(request(client, callback), "code_challenge="+challenge, "", 1),
		"a long state":              request(client, callback, "state", strings.Repeat("x", 5000)),
		"a long nonce":              request(client, callback, "nonce", strings.Repeat("x", 300)),
		"public without PKCE":       form("client_id", public, "redirect_uri", callback, "response_type", "code"),
		"document without PKCE":     form("client_id", agent, "redirect_uri", "http://127.0.0.1/cb", "response_type", "code"),
		"document with plain":       request(agent, "http://127.0.0.1/cb", "code_challenge_method", "plain"),
		"document, another address": request(agent, "https://agent.test/cb"),
		"document, another host":    request("https://evil.test/client.json", "http://127.0.0.1/cb"),
		"document that is absent":   request("https://agent.test/other.json", "http://127.0.0.1/cb"),
		"document by its query":     request(agent+"?x", "http://127.0.0.1/cb"),
		"document by a dot":         request("https://agent.test/./client.json", "http://127.0.0.1/cb"),
		"document without TLS":      request("http://agent.test/client.json", "http://127.0.0.1/cb"),
	} {
		resp, body := p.send(t, http.MethodGet, "/api/auth/v1/authorize?"+query)
		if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Location") != "" {
			t.Errorf("%s: %d, to %q: %s", name, resp.StatusCode, resp.Header.Get("Location"), body)
		}
	}
	// Ports of the machine of the user differ from start to start.
	for _, good := range []string{request(client, "http://127.0.0.1:1/cb"), request(agent, "http://127.0.0.1:1/cb")} {
		p.begin(t, good)
	}
}

func TestRegistrationsThatAreRefused(t *testing.T) {
	t.Parallel()
	p := openPortal(t, memory+strings.Replace(everything, `allowedRedirectUriPatterns: ["*"]`, `allowedRedirectUriPatterns: ["*"], maxClients: 3`, 1))
	for _, uri := range []string{
		"javascript:alert(1)", "JAVASCRIPT:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:https://a.test/x",
		"https://a.test/cb#x", "https://a.test/#", "https://u:p@a.test/", "/cb", "a.test", "", "https://", "https:///cb", " https://a.test/", "https://a.test/\\x", "https://ä.test/",
		"https://a.test/" + strings.Repeat("x", 3000),
	} {
		raw, err := json.Marshal(map[string]any{"redirect_uris": []string{callback, uri}})
		if err != nil {
			t.Fatal(err)
		}
		if status, answer := p.post(t, "/v1/register", string(raw)); status != http.StatusBadRequest || answer["error"] != "invalid_request" {
			t.Errorf("%q: %d %v", uri, status, answer)
		}
	}
	for _, body := range []string{
		`{}`, `{"redirect_uris":[]}`, `{"redirect_uris":"` + callback + `"}`, `{"redirect_uris":[1]}`, `{"redirect_uris":null}`, `{`, `[]`,
		"redirect_uris=" + callback, `{"redirect_uris":["` + callback + `"],"scope":"` + strings.Repeat("x", 2000) + `"}`,
		`{"redirect_uris":["` + strings.Repeat(callback+`","`, 60) + callback + `"]}`,
	} {
		if status, _ := p.post(t, "/v1/register", body); status != http.StatusBadRequest {
			t.Errorf("%.60s: %d", body, status)
		}
	}
	if status, _ := p.post(t, "/v1/register", `{"x":"`+strings.Repeat("x", 70000)+`"}`); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body: %d", status)
	}
	for range 3 {
		p.register(t, `,"response_types":["code","token"],"grant_types":["implicit","refresh_token"]`)
	}
	if status, answer := p.post(t, "/v1/register", `{"redirect_uris":["`+callback+`"]}`); status != http.StatusServiceUnavailable {
		t.Errorf("more than there may be: %d %v", status, answer)
	}
}

// What no database takes is a mistake of the client.
func TestOddTexts(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, database string) {
		p := openPortal(t, database+everything)
		client, _ := p.register(t, "")
		for _, path := range []string{
			"/v1/authorize?" + request(client, callback, "state", "\x00"), "/v1/authorize?" + request(client, callback, "nonce", "\xff"),
			"/v1/authorize?" + request(client+"\x00", callback), "/v1/authorize?" + request("\xff", callback),
			"/v1/sessions/%00", "/v1/sessions/%ff", "/v1/sessions/x",
		} {
			if resp, body := p.send(t, http.MethodGet, "/api/auth"+path); resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: %d %s", path, resp.StatusCode, body)
			}
		}
		for _, body := range []string{
			form("grant_type", "refresh_token", "refresh_token", "\x00."+strings.Repeat("A", 65)),
			form("grant_type", "refresh_token", "refresh_token", strings.Repeat("0", 36)+"."+strings.Repeat("A", 65)),
			form("grant_type", "authorization_code", "code", "\x00", "redirect_uri", callback),
			form("grant_type", "authorization_code", "code", "x", "redirect_uri", callback, "client_id", "\xff", "client_secret", "x"),
			`{"grant_type":"authorization_code","code":"x","redirect_uri":"x","client_id":"\u0000","client_secret":"x"}`,
		} {
			if status, answer := p.post(t, "/v1/token", body); status != http.StatusBadRequest {
				t.Errorf("%q: %d %v", body, status, answer)
			}
		}
		for _, body := range []string{`{"redirect_uris":["` + callback + `\u0000"]}`, `{"redirect_uris":["` + callback + `"],"scope":"\u0000"}`} {
			if status, answer := p.post(t, "/v1/register", body); status != http.StatusBadRequest {
				t.Errorf("%q: %d %v", body, status, answer)
			}
		}
		if status, _ := p.post(t, "/v1/token", form("grant_type", "authorization_code", "code", "x", "redirect_uri", callback), "Authorization", "Basic AAo6AAo="); status != http.StatusUnauthorized && status != http.StatusBadRequest {
			t.Errorf("odd credentials: %d", status)
		}
	})
}

func TestNamesOfClients(t *testing.T) {
	t.Parallel()
	p := openPortal(t, memory+everything)
	for _, tt := range []struct{ name, want string }{
		{"", "Backstage CLI"},
		{"  Tool\u202egnp\u0007\n ", "Toolgnp"},
		{strings.Repeat("long", 100), strings.Repeat("long", 25) + "…"},
	} {
		raw, err := json.Marshal(map[string]any{"client_name": tt.name, "redirect_uris": []string{callback}})
		if err != nil {
			t.Fatal(err)
		}
		if _, answer := p.post(t, "/v1/register", string(raw)); answer["client_name"] != tt.want {
			t.Errorf("%q is called %q", tt.name, answer["client_name"])
		}
	}
}

func TestCodesThatAreRefused(t *testing.T) {
	t.Parallel()
	p := openPortal(t, memory+everything)
	client, secret := p.register(t, "")
	other, otherSecret := p.register(t, "")
	with := func(pairs ...string) string {
		return form(append([]string{"grant_type", "authorization_code", "redirect_uri", callback, "code_verifier", verifier}, pairs...)...)
	}
	plain := func(pairs ...string) string { // a code without PKCE
		id := p.begin(t, form(append([]string{"client_id", client, "redirect_uri", callback, "response_type", "code"}, pairs...)...))
		return p.approve(t, id, jane)
	}
	for name, tt := range map[string]struct{ body, problem string }{
		"no verifier":              {with("code", p.code(t, client, callback), "code_verifier", " "), "invalid_grant"},
		"the challenge instead":    {with("code", p.code(t, client, callback), "code_verifier", challenge), "invalid_grant"},
		"another address":          {with("code", p.code(t, client, callback), "redirect_uri", "http://127.0.0.1:1/cb"), "invalid_grant"},
		"another client":           {with("code", p.code(t, client, callback), "client_id", other), "invalid_grant"},
		"another client, in truth": {with("code", p.code(t, client, callback), "client_id", other, "client_secret", otherSecret), "invalid_grant"},
		"a wrong secret":           {with("code", p.code(t, client, callback), "client_id", client, "client_secret", "x"), "invalid_client"},
		"somebody's secret":        {with("code", p.code(t, client, callback), "client_id", client, "client_secret", otherSecret), "invalid_client"},
		"a guess":                  {with("code", "guess"), "invalid_grant"},
		"no code":                  {with(), "invalid_request"},
		// The challenge was taken out of the request on its way.
		"PKCE downgrade":               {with("code", plain(), "client_id", client, "client_secret", secret), "invalid_grant"},
		"no PKCE and no secret":        {with("code", plain(), "code_verifier", "", "client_id", client), "invalid_grant"},
		"no PKCE, another's secret":    {with("code", plain(), "code_verifier", "", "client_id", other, "client_secret", otherSecret), "invalid_grant"},
		"a parameter that comes twice": {with("code", p.code(t, client, callback)) + "&code_verifier=x", "invalid_request"},
	} {
		status, answer := p.post(t, "/v1/token", tt.body)
		if want := map[string]int{"invalid_client": 401}[tt.problem]; answer["error"] != tt.problem || want != 0 && status != want || want == 0 && status != 400 {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	for name, body := range map[string]string{
		"no PKCE, with the secret": with("code", plain(), "code_verifier", "", "client_id", client, "client_secret", secret),
		"the plain method":         with("code", plain("code_challenge", verifier, "code_challenge_method", "plain"), "client_id", client),
	} {
		if status, answer := p.post(t, "/v1/token", body); status != http.StatusOK {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	// Credentials in the header are encoded like a form, and are given once.
	code := p.code(t, client, callback)
	basic := func(id, secret string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
		return r.Header.Get("Authorization")
	}
	if status, answer := p.post(t, "/v1/token", with("code", code, "client_secret", secret), "Authorization", basic(client, secret)); status != 400 || answer["error"] != "invalid_request" {
		t.Errorf("credentials twice: %d %v", status, answer)
	}
	for _, header := range []string{basic(client, "x"), "Basic x", basic("", "")} {
		if status, answer := p.post(t, "/v1/token", with("code", code), "Authorization", header); status != 401 || answer["error"] != "invalid_client" {
			t.Errorf("%s: %d %v", header, status, answer)
		}
	}
	if status, answer := p.post(t, "/v1/token", with("code", code), "Authorization", basic(client, secret)); status != http.StatusOK {
		t.Errorf("credentials in the header: %d %v", status, answer)
	}
	code = p.code(t, client, callback)
	p.offset.Add(int64(11 * time.Minute))
	if status, answer := p.post(t, "/v1/token", with("code", code)); status != 400 || answer["error"] != "invalid_grant" {
		t.Errorf("a code that is eleven minutes old: %d %v", status, answer)
	}
}

func TestCodeThatIsUsedTwice(t *testing.T) {
	t.Parallel()
	p := openPortal(t, memory+everything)
	client, _ := p.register(t, "")
	code := p.code(t, client, callback)
	exchange := form("grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier)
	_, answer := p.post(t, "/v1/token", exchange)
	token, _ := answer["refresh_token"].(string)
	next, problem := p.refresh(t, token)
	if next == "" {
		t.Fatal(problem)
	}
	if status, answer := p.post(t, "/v1/token", exchange); status != 400 || answer["error"] != "invalid_grant" {
		t.Errorf("the second time: %d %v", status, answer)
	}
	if _, problem := p.refresh(t, next); problem != "invalid_grant" {
		t.Errorf("what came of the code is still good: %q", problem)
	}
	if !slices.Contains(p.trail.ended(), "token-reuse failed") {
		t.Error("it is not on record")
	}
}

func TestRefreshTokenThatIsStolen(t *testing.T) {
	t.Parallel()
	p := openPortal(t, memory+everything)
	client, secret := p.register(t, "")
	other, otherSecret := p.register(t, "")
	_, first := p.tokens(t, client)
	id, _, _ := strings.Cut(first, ".")
	for _, guess := range []string{"x", id, id + ".", id + "." + strings.Repeat("A", 65), first + "x", strings.Repeat("x", 1000)} {
		if _, problem := p.refresh(t, guess); problem != "invalid_grant" {
			t.Errorf("%.50q: %q", guess, problem)
		}
	}
	if _, problem := p.refresh(t, first, "client_id", other, "client_secret", otherSecret); problem != "invalid_grant" {
		t.Errorf("another client: %q", problem)
	}
	if _, problem := p.refresh(t, first, "client_id", client, "client_secret", "x"); problem != "invalid_client" {
		t.Errorf("a wrong secret: %q", problem)
	}
	for _, who := range []string{form("client_id", other, "client_secret", otherSecret), form("client_id", client), ""} { // nobody else revokes it
		p.post(t, "/v1/revoke", form("token", first)+"&"+who)
	}
	second, problem := p.refresh(t, first, "client_id", client, "client_secret", secret)
	if second == "" {
		t.Fatalf("the good one: %s", problem)
	}
	// Whoever is late by a moment gets nothing, and harms nobody.
	if _, problem := p.refresh(t, first); problem != "invalid_grant" {
		t.Errorf("used again: %q", problem)
	}
	third, problem := p.refresh(t, second)
	if third == "" {
		t.Fatalf("a retry ended the session: %s", problem)
	}
	// Later, somebody has what is not theirs. However old the token is.
	p.offset.Add(int64(time.Minute))
	if _, problem := p.refresh(t, first); problem != "invalid_grant" {
		t.Errorf("used again: %q", problem)
	}
	if _, problem := p.refresh(t, third); problem != "invalid_grant" {
		t.Errorf("the family of a stolen token is still good: %q", problem)
	}
	if !slices.Contains(p.trail.ended(), "token-reuse failed") {
		t.Error("it is not on record")
	}
}

// Consent needs the token of a user who has signed in.
func TestWhoMayAnswer(t *testing.T) {
	t.Parallel()
	p := openPortal(t, memory+everything)
	client, _ := p.register(t, "")
	access, _ := p.tokens(t, client)
	user := p.issue(t, "sub="+jane)
	resp, _ := p.send(t, http.MethodGet, "/api/auth/.backstage/auth/v1/cookie", "Authorization", "Bearer "+user)
	limited := resp.Cookies()[0].Value
	id := p.begin(t, request(client, callback))
	for name, tt := range map[string]struct {
		header  []string
		status  int
		problem string
	}{
		"nobody":              {nil, 403, "access_denied"},
		"a cookie":            {[]string{"Cookie", "backstage-auth=" + limited}, 403, "access_denied"},
		"a limited token":     {[]string{"Authorization", "Bearer " + limited}, 401, "invalid_client"},
		"a service":           {[]string{"Authorization", "Bearer static-token"}, 403, "access_denied"},
		"a client":            {[]string{"Authorization", "Bearer " + access}, 403, "access_denied"},
		"a token of nobody's": {[]string{"Authorization", "Bearer x.y.z"}, 401, "invalid_client"},
	} {
		for _, action := range []string{"/approve", "/reject"} {
			if status, answer := p.post(t, "/v1/sessions/"+id+action, "", tt.header...); status != tt.status || answer["error"] != tt.problem {
				t.Errorf("%s%s: %d %v", name, action, status, answer)
			}
		}
	}
	bearer := []string{"Authorization", "Bearer " + user}
	if status, answer := p.post(t, "/v1/sessions/"+id+"/approve", "", bearer...); status != http.StatusOK {
		t.Errorf("the user: %d %v", status, answer)
	}
	for _, action := range []string{"/approve", "/reject"} {
		if status, answer := p.post(t, "/v1/sessions/"+id+action, "", bearer...); status != 400 || answer["error"] != "invalid_request" {
			t.Errorf("the second answer: %d %v", status, answer)
		}
	}
	id = p.begin(t, request(client, callback))
	resp, body := p.send(t, http.MethodGet, "/api/auth/v1/sessions/"+id)
	if want := `{"id":"` + id + `","clientId":"` + client + `","clientName":"Tool","scope":"openid offline_access","redirectUri":"` + callback + `"}`; resp.StatusCode != 200 || body != want {
		t.Errorf("session: %d %s", resp.StatusCode, body)
	}
	if _, answer := p.post(t, "/v1/sessions/"+id+"/reject", "", bearer...); answer["redirectUrl"] != callback+"?error=access_denied&error_description=User+denied+the+request&state=st4te&iss="+url.QueryEscape(issuerURL) {
		t.Errorf("rejection: %v", answer)
	}
	id = p.begin(t, request(client, callback))
	p.offset.Add(int64(61 * time.Minute))
	if status, answer := p.post(t, "/v1/sessions/"+id+"/approve", "", "Authorization", "Bearer "+p.issue(t, "sub="+jane)); status != 400 || answer["error_description"] != "Authorization session expired" {
		t.Errorf("an old request: %d %v", status, answer)
	}
}

func TestOpenIDStartProblems(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		"experimentalRefreshToken: { tokenLifetime: { days: 0 } }":                                            "tokenLifetime",
		"experimentalRefreshToken: { tokenLifetime: { days: 3 }, maxRotationLifetime: { days: 3 } }":          "maxRotationLifetime",
		"experimentalRefreshToken: { maxTokensPerUser: 0 }":                                                   "maxTokensPerUser",
		"experimentalDynamicClientRegistration: { enabled: true, allowedRedirectUriPatterns: [127.0.0.1] }":   "allowedRedirectUriPatterns",
		"experimentalDynamicClientRegistration: { maxClients: 0 }":                                            "maxClients",
		"experimentalDynamicClientRegistration: { unusedClientLifetime: { hours: 1 } }":                       "unusedClientLifetime",
		"experimentalClientIdMetadataDocuments: { enabled: true, allowedClientIdPatterns: ['agent.test/*'] }": "allowedClientIdPatterns",
		"builtInPages: sometimes":                "builtInPages",
		"rateLimit: { token: 5 }":                "auth.rateLimit.token",
		"rateLimit: { start: { window: long } }": "window",
	} {
		b := newBackend(memory+"auth: { providers: { issuer: {} }, "+config+" }", nil, issuer)
		err := b.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", config, err)
		}
		_ = b.Stop(t.Context()) // what did start, if anything
	}
}
