package authnode_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/configtest"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// token returns a token with the claims; nobody looks at its signature.
func token(claims string) core.Token {
	return core.NewToken("e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln")
}

// directory has users by what they are found by.
type directory struct {
	authnode.SignInContext
	users map[string]string // question to user
	asked []string
}

func (d *directory) SignInWithCatalogUser(_ context.Context, q authnode.UserQuery, opts authnode.SignInOptions) (authnode.SignInResult, error) {
	question := q.EntityRef
	if email, ok := q.Filter["spec.profile.email"].(string); ok && q.Filter["kind"] == "User" {
		question = email
	}
	d.asked = append(d.asked, question)
	ref, ok := d.users[question]
	if !ok {
		ref = opts.DangerousEntityRefFallback
	}
	switch ref {
	case "":
		return authnode.SignInResult{}, apierr.NotFound("User not found")
	case "down":
		return authnode.SignInResult{}, apierr.ServiceUnavailable("down")
	}
	return authnode.SignInResult{Token: token(`{"sub":"` + ref + `","exp":1893502800}`), UserEntityRef: ref, OwnershipEntityRefs: []string{ref}}, nil
}

func TestCommonResolvers(t *testing.T) {
	t.Parallel()
	users := map[string]string{"jane@a.test": "user:default/jane", "joe+x@a.test": "user:default/joe-x", "user:default/jim": "user:default/jim", "out@a.test": "down"}
	const (
		byEmail = "{resolver: emailMatchingUserEntityProfileEmail}"
		byName  = "{resolver: emailLocalPartMatchingUserEntityName}"
	)
	for name, tt := range map[string]struct {
		resolvers, email, want string
		asked                  []string
		kind                   apierr.Kind
	}{
		"e-mail":                 {resolvers: byEmail, email: "jane@a.test", want: "user:default/jane", asked: []string{"jane@a.test"}},
		"tagged":                 {resolvers: byEmail, email: "jane+news@a.test", want: "user:default/jane", asked: []string{"jane+news@a.test", "jane@a.test"}},
		"tag that is known":      {resolvers: byEmail, email: "joe+x@a.test", want: "user:default/joe-x", asked: []string{"joe+x@a.test"}},
		"nothing before the tag": {resolvers: byEmail, email: "+x@a.test", asked: []string{"+x@a.test"}, kind: apierr.KindError},
		"unknown":                {resolvers: byEmail, email: "x@a.test", asked: []string{"x@a.test"}, kind: apierr.KindError},
		"name":                   {resolvers: byName, email: "Jim@a.test", want: "user:default/jim", asked: []string{"user:default/jim"}},
		"second resolver":        {resolvers: byEmail + "," + byName, email: "jim@a.test", want: "user:default/jim", asked: []string{"jim@a.test", "user:default/jim"}},
		"failure ends the list":  {resolvers: byEmail + "," + byName, email: "out@a.test", asked: []string{"out@a.test"}, kind: apierr.KindServiceUnavailable},
		"no e-mail":              {resolvers: byEmail + "," + byName, kind: apierr.KindError},
		"no domain":              {resolvers: byName, email: "jim@", kind: apierr.KindError},
		"allowed domain":         {resolvers: "{resolver: emailMatchingUserEntityProfileEmail, allowedDomains: [A.test]}", email: "jane@a.test", want: "user:default/jane", asked: []string{"jane@a.test"}},
		"another domain":         {resolvers: "{resolver: emailLocalPartMatchingUserEntityName, allowedDomains: [a.test]}", email: "jim@a.test.evil.test", kind: apierr.KindNotAllowed},
		"domain of two parts":    {resolvers: "{resolver: emailLocalPartMatchingUserEntityName, allowedDomains: [a.test]}", email: "jim@a.test@evil.test", kind: apierr.KindNotAllowed},
		"fallback to e-mail":     {resolvers: "{resolver: emailMatchingUserEntityProfileEmail, dangerouslyAllowSignInWithoutUserInCatalog: true}", email: "New+x@a.test", want: "user:default/new@a.test", asked: []string{"New+x@a.test", "New@a.test"}},
		"fallback to name":       {resolvers: "{resolver: emailLocalPartMatchingUserEntityName, dangerouslyAllowSignInWithoutUserInCatalog: true}", email: "new@a.test", want: "user:default/new", asked: []string{"user:default/new"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resolve, err := authnode.ConfiguredResolver(configtest.FromYAML(t, "signIn: {resolvers: ["+tt.resolvers+"]}"), authnode.CommonResolvers[int]())
			if err != nil {
				t.Fatal(err)
			}
			d := &directory{users: users}
			got, err := resolve(t.Context(), authnode.SignInInfo[int]{Profile: authnode.Profile{Email: tt.email}}, d)
			if apierr.KindOf(err) != tt.kind || got.UserEntityRef != tt.want {
				t.Errorf("signed in as %q, error %v", got.UserEntityRef, err)
			}
			if d := cmp.Diff(tt.asked, d.asked); d != "" {
				t.Errorf("asked (-want +got):\n%s", d)
			}
		})
	}
}

func TestResolverProblems(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ yaml, problem string }{
		"unknown":     {"signIn: {resolvers: [{resolver: nobody}]}", `"nobody"`},
		"nameless":    {"signIn: {resolvers: [{allowedDomains: [x]}]}", "resolver"},
		"odd domains": {"signIn: {resolvers: [{resolver: emailLocalPartMatchingUserEntityName, allowedDomains: x}]}", "allowedDomains"},
		"odd switch":  {"signIn: {resolvers: [{resolver: emailMatchingUserEntityProfileEmail, dangerouslyAllowSignInWithoutUserInCatalog: maybe}]}", "dangerously"},
		"not a list":  {"signIn: {resolvers: x}", "resolvers"},
	} {
		var at *core.ConfigError
		_, err := authnode.ConfiguredResolver(configtest.FromYAML(t, tt.yaml), authnode.CommonResolvers[int]())
		if !errors.As(err, &at) || !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if resolve, err := authnode.ConfiguredResolver(configtest.FromYAML(t, "{}"), authnode.CommonResolvers[int]()); resolve != nil || err != nil {
		t.Errorf("nothing configured: %t, %v", resolve != nil, err)
	}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	jane := authnode.SignInResult{Token: token(`{"sub":"user:default/jane","exp":1893499200}`), UserEntityRef: "user:default/j", OwnershipEntityRefs: []string{"group:default/<a>"}}
	text := func(r authnode.SignInResult) string { return r.Token.Reveal() }
	own := authnode.SignInResult{Token: token(`{"sub":"user:default/jane","ent":["group:default/b"]}`)}
	bare := authnode.SignInResult{Token: token(`{"sub":"user:default/jane"}`)}
	for name, tt := range map[string]struct {
		answer authnode.Answer
		now    time.Time
		want   string
		kind   apierr.Kind
	}{
		"nobody":          {want: `{"profile":{}}`},
		"profile":         {answer: authnode.Answer{Profile: authnode.Profile{Email: "a@b", Picture: "p", DisplayName: "d"}, ProviderInfo: map[string]string{"accessToken": "x"}}, want: `{"profile":{"email":"a@b","picture":"p","displayName":"d"},"providerInfo":{"accessToken":"x"}}`},
		"user":            {answer: authnode.Answer{SignIn: &jane}, now: noon.Add(-1400 * time.Millisecond), want: `{"profile":{},"backstageIdentity":{"token":"` + text(jane) + `","identity":{"type":"user","userEntityRef":"user:default/j","ownershipEntityRefs":["group:default/<a>"]},"expiresInSeconds":1}}`},
		"just expiring":   {answer: authnode.Answer{SignIn: &jane}, now: noon, want: `{"profile":{},"backstageIdentity":{"token":"` + text(jane) + `","identity":{"type":"user","userEntityRef":"user:default/j","ownershipEntityRefs":["group:default/<a>"]},"expiresInSeconds":0}}`},
		"identity of ent": {answer: authnode.Answer{SignIn: &own}, want: `{"profile":{},"backstageIdentity":{"token":"` + text(own) + `","identity":{"type":"user","userEntityRef":"user:default/jane","ownershipEntityRefs":["group:default/b"]}}}`},
		"no ent":          {answer: authnode.Answer{SignIn: &bare}, want: `{"profile":{},"backstageIdentity":{"token":"` + text(bare) + `","identity":{"type":"user","userEntityRef":"user:default/jane","ownershipEntityRefs":[]}}}`},
		"expired":         {answer: authnode.Answer{SignIn: &jane}, now: noon.Add(time.Second), kind: apierr.KindInput},
		"no token":        {answer: authnode.Answer{SignIn: &authnode.SignInResult{UserEntityRef: "user:default/jane"}}, kind: apierr.KindInput},
		"no subject":      {answer: authnode.Answer{SignIn: &authnode.SignInResult{Token: token(`{}`), UserEntityRef: "user:default/jane"}}, kind: apierr.KindInput},
		"token of stone":  {answer: authnode.Answer{SignIn: &authnode.SignInResult{Token: core.NewToken("stone")}}, kind: apierr.KindInput},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			if err := tt.answer.Write(w, tt.now); apierr.KindOf(err) != tt.kind {
				t.Fatalf("error %v", err)
			}
			if got := w.Body.String(); got != tt.want {
				t.Errorf("answer %s\nwant   %s", got, tt.want)
			}
		})
	}
}

func FuzzAnswerOfToken(f *testing.F) {
	for _, seed := range []string{"", "..", "e30.e30.", "e30.eyJzdWIiOiJ4In0.", "e30.eyJzdWIiOiJ4IiwiZXhwIjoxZTMwOH0.x", "e30.bnVsbA.x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w := httptest.NewRecorder()
		a := authnode.Answer{SignIn: &authnode.SignInResult{Token: core.NewToken(text)}}
		if err := a.Write(w, noon); err == nil && !json.Valid(w.Body.Bytes()) {
			t.Errorf("token %q gives %s", text, w.Body)
		}
	})
}

// header signs in whom a header names.
type header string

func (h header) Authenticate(r *http.Request) (string, any, error) {
	name := r.Header.Get(string(h))
	if name == "" {
		return "", nil, apierr.Authentication("the proxy names nobody")
	}
	return name, map[string]string{"accessToken": "of " + name}, nil
}

func TestProxy(t *testing.T) {
	t.Parallel()
	byName := func(_ context.Context, info authnode.SignInInfo[string], s authnode.SignInContext) (authnode.SignInResult, error) {
		return s.SignInWithCatalogUser(context.Background(), authnode.UserQuery{EntityRef: info.Result}, authnode.SignInOptions{})
	}
	proxy := authnode.Proxy[string]{
		Initialize: func(_ context.Context, o authnode.ProviderOptions) (authnode.ProxyAuthenticator[string], error) {
			name, err := o.Config.String("header")
			return header(name), err
		},
		Profile: func(_ context.Context, name string) (authnode.Profile, error) {
			if name == "odd" {
				return authnode.Profile{}, apierr.NotAllowed("odd")
			}
			return authnode.Profile{Email: name + "@a.test"}, nil
		},
		Resolvers: map[string]authnode.SignInResolverFactory[string]{"name": func(core.Config) (authnode.SignInResolver[string], error) { return byName, nil }},
		Now:       func() time.Time { return noon },
	}
	d := &directory{users: map[string]string{"jane": "user:default/jane", "jane@a.test": "user:default/mail"}}
	options := func(yaml string) authnode.ProviderOptions {
		return authnode.ProviderOptions{ID: "corp", Config: configtest.FromYAML(t, yaml), SignIn: d}
	}
	ask := func(p authnode.Provider, user string) (string, error) {
		r := httptest.NewRequest(http.MethodGet, "/corp/refresh", nil)
		r.Header.Set("X-User", user)
		w := httptest.NewRecorder()
		err := p.Refresh(w, r)
		return w.Body.String(), err
	}

	p, err := proxy.Factory()(t.Context(), options("header: X-User\nsignIn: {resolvers: [{resolver: name}]}"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"profile":{"email":"jane@a.test"},"providerInfo":{"accessToken":"of jane"},"backstageIdentity":{"token":"` + token(`{"sub":"user:default/jane","exp":1893502800}`).Reveal() +
		`","identity":{"type":"user","userEntityRef":"user:default/jane","ownershipEntityRefs":["user:default/jane"]},"expiresInSeconds":3600}}`
	if got, err := ask(p, "jane"); err != nil || got != want {
		t.Errorf("answer %s, error %v\nwant   %s", got, err, want)
	}
	for user, kind := range map[string]apierr.Kind{"": apierr.KindAuthentication, "odd": apierr.KindNotAllowed, "joe": apierr.KindError} {
		if got, err := ask(p, user); apierr.KindOf(err) != kind || got != "" {
			t.Errorf("%q: answer %q, error %v", user, got, err)
		}
	}
	if p.Logout != nil || apierr.KindOf(p.Start(nil, nil)) != apierr.KindNotImplemented || apierr.KindOf(p.Frame(nil, nil)) != apierr.KindNotImplemented {
		t.Error("there is more than the route /refresh")
	}

	p, err = proxy.Factory()(t.Context(), options("header: X-User\nsignIn: {resolvers: [{resolver: emailMatchingUserEntityProfileEmail}]}"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ask(p, "jane"); err != nil || !strings.Contains(got, "user:default/mail") {
		t.Errorf("with a common resolver: answer %s, error %v", got, err)
	}

	if _, err := proxy.Factory()(t.Context(), options("header: X-User")); err == nil || !strings.Contains(err.Error(), "'corp'") {
		t.Errorf("without a resolver: error %v", err)
	}
	if _, err := proxy.Factory()(t.Context(), options("signIn: {resolvers: [{resolver: name}]}")); err == nil {
		t.Error("without what it needs, it is there")
	}
	proxy.SignIn = byName
	if _, err := proxy.Factory()(t.Context(), options("header: X-User")); err != nil {
		t.Errorf("with a resolver of the code: error %v", err)
	}
	if _, err := (authnode.Proxy[string]{SignIn: byName}).Factory()(t.Context(), options("{}")); err == nil {
		t.Error("a provider that authenticates nobody is there")
	}
}

func FuzzOriginOf(f *testing.F) {
	for _, seed := range []string{"https://a.test:443/x", "HTTP://[::1]:80", "https://a@b:1", "x", "http://%41", "http://a:b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		origin, ok := authnode.OriginOf(text)
		if !ok {
			return
		}
		again, ok := authnode.OriginOf(origin)
		if !ok || again != origin {
			t.Errorf("%q gives %q, which gives %q, %t", text, origin, again, ok)
		}
		u, err := url.Parse(origin)
		if err != nil || u.User != nil || u.Path != "" || u.RawQuery != "" || origin != strings.ToLower(origin) {
			t.Errorf("%q gives %q, which is no origin", text, origin)
		}
	})
}
