package auth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

// Tokens of the reference: signed by other software, valid until 2100.
const (
	vectorUserKey   = `{"kty":"EC","x":"2aPiLUYCK3r7m8A4wBuLPCNCeFjwb1HEiGrfMdsFWT8","y":"G74FiRD57AAaSOaL8uNfPPbJLafzi3j7MD7Pgq_78jE","crv":"P-256","kid":"vec-1","alg":"ES256"}`
	vectorUser      = `eyJ0eXAiOiJ2bmQuYmFja3N0YWdlLnVzZXIiLCJhbGciOiJFUzI1NiIsImtpZCI6InZlYy0xIn0.eyJpc3MiOiJodHRwOi8vbG9jYWxob3N0OjcwMDcvYXBpL2F1dGgiLCJzdWIiOiJ1c2VyOmRlZmF1bHQvamFuZSIsImVudCI6WyJ1c2VyOmRlZmF1bHQvamFuZSIsImdyb3VwOmRlZmF1bHQvdGVhbS1hIl0sImF1ZCI6ImJhY2tzdGFnZSIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwLCJ1aXAiOiJscS1feTd6NkFlRmZ4T240R0pWc3J0ZTQ3VXpHQ05SbVMxeDd3QmN0RUVIR1NDZ1dIclM5OHcxazVtODV6d2pMSEZFX2t2R3YtZDcwb2ZFZm5DczBIUSJ9.IM72fBu-7gIzt-COr36AQlSxjyvv_aY1Xw229ubQdQw5bQZEWmBbZ_sg4w4jUqn1pLTWM7VfrWvSgw0TxUNxbw`
	vectorLimited   = `eyJ0eXAiOiJ2bmQuYmFja3N0YWdlLmxpbWl0ZWQtdXNlciIsImFsZyI6IkVTMjU2Iiwia2lkIjoidmVjLTEifQ.eyJzdWIiOiJ1c2VyOmRlZmF1bHQvamFuZSIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwfQ.lq-_y7z6AeFfxOn4GJVsrte47UzGCNRmS1x7wBctEEHGSCgWHrS98w1k5m85zwjLHFE_kvGv-d70ofEfnCs0HQ`
	vectorPluginKey = `{"kty":"EC","x":"v7d6QINulcoWyA6fE06RjcMZDTIvHwTzK8PeZTu7Yvk","y":"tFXbEE_nqkPK1fP2A_-B40Vzk9k6DSjYhdjImUyY1iw","crv":"P-256","kid":"vec-plugin-1","alg":"ES256"}`
	vectorPlugin    = `eyJ0eXAiOiJ2bmQuYmFja3N0YWdlLnBsdWdpbiIsImFsZyI6IkVTMjU2Iiwia2lkIjoidmVjLXBsdWdpbi0xIn0.eyJzdWIiOiJjYXRhbG9nIiwiYXVkIjoicGVybWlzc2lvbiIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwLCJvYm8iOiJleUowZVhBaU9pSjJibVF1WW1GamEzTjBZV2RsTG14cGJXbDBaV1F0ZFhObGNpSXNJbUZzWnlJNklrVlRNalUySWl3aWEybGtJam9pZG1WakxURWlmUS5leUp6ZFdJaU9pSjFjMlZ5T21SbFptRjFiSFF2YW1GdVpTSXNJbWxoZENJNk1UY3dNREF3TURBd01Dd2laWGh3SWpvME1UQXlORFEwT0RBd2ZRLmxxLV95N3o2QWVGZnhPbjRHSlZzcnRlNDdVekdDTlJtUzF4N3dCY3RFRUhHU0NnV0hyUzk4dzFrNW04NXp3akxIRkVfa3ZHdi1kNzBvZkVmbkNzMEhRIn0.HCB5ehK3UBkXsUU5_WwwEhevyn73RMkCZkCgPUhAhiv8GShG0J59H2o3RCltRzEVfD5YV-CLKksak5fVDr6exQ`
)

func publish(i *issuer, jwk string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = func(w http.ResponseWriter) { fmt.Fprintf(w, `{"keys":[%s]}`, jwk) }
}

func TestTokensOfTheReference(t *testing.T) {
	t.Parallel()
	p := start(t, "")
	publish(p.users, vectorUserKey)
	peer := newIssuer(t)
	publish(peer, vectorPluginKey)
	p.places.set("catalog", peer.url+"/api/catalog")
	permission := p.plugin("permission")
	until := time.Unix(4102444800, 0).UTC()

	user, err := permission.Authenticate(t.Context(), vectorUser, false)
	if err != nil {
		t.Fatal(err)
	}
	if !user.IsUser() || user.Principal.UserEntityRef != "user:default/jane" || user.Principal.Actor != "" || !user.ExpiresAt.Equal(until) || user.Limited() {
		t.Errorf("user token: %+v", user)
	}
	limited, expires, err := permission.LimitedUserToken(t.Context(), user)
	if err != nil || limited.Reveal() != vectorLimited || !expires.Equal(until) {
		t.Errorf("limited token: %q until %s, %v\nwant %q", limited.Reveal(), expires, err, vectorLimited)
	}
	again, err := permission.Authenticate(t.Context(), vectorLimited, true)
	if err != nil || !again.Limited() || again.Principal.UserEntityRef != "user:default/jane" {
		t.Errorf("limited token authenticates as %+v, %v", again, err)
	}
	if same, _, err := permission.LimitedUserToken(t.Context(), again); err != nil || same.Reveal() != vectorLimited {
		t.Errorf("the limited form of a limited token is %q, %v", same.Reveal(), err)
	}
	onBehalf, err := permission.Authenticate(t.Context(), vectorPlugin, false)
	if err != nil {
		t.Fatal(err)
	}
	want := core.Principal{Type: core.PrincipalUser, UserEntityRef: "user:default/jane", Actor: "plugin:catalog"}
	if d := cmp.Diff(want, onBehalf.Principal); d != "" || onBehalf.Token().Reveal() != vectorLimited || !onBehalf.ExpiresAt.Equal(until) {
		t.Errorf("token on behalf of a user (-want +got):\n%s%+v", d, onBehalf)
	}
}

const externalConfig = `
backend:
  auth:
    externalAccess:
      - type: static
        options: {token: static-token-1, subject: ci}
      - type: static
        options: {token: restricted-token-1, subject: restricted}
        accessRestrictions:
          - {plugin: catalog, permission: "catalog.entity.read, catalog.entity.create", permissionAttribute: {action: [read, create]}}
          - {plugin: search}
      - type: legacy
        options: {secret: MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0, subject: old}
`

// legacy signs as old backends did, with a secret of 24 bytes.
func legacy(secret string, c claims) string {
	return hs256(secret, `{"alg":"HS256"}`, c)
}

func TestWhoIsWho(t *testing.T) {
	t.Parallel()
	p := start(t, externalConfig)
	now := p.clock.now()
	catalog := p.plugin("catalog")
	scaffolder := p.plugin("scaffolder")
	peer := newIssuer(t)
	p.places.set("search", peer.url+"/api/search")
	empty := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(empty.Close)
	p.places.set("gone", empty.URL)

	user := p.users.user("user:default/jane", now)
	jane, err := scaffolder.Authenticate(t.Context(), user, false)
	if err != nil {
		t.Fatal(err)
	}
	limited, _, err := scaffolder.LimitedUserToken(t.Context(), jane)
	if err != nil {
		t.Fatal(err)
	}
	issued := func(who core.Credentials, target string) string {
		token, err := scaffolder.PluginRequestToken(t.Context(), who, target)
		if err != nil {
			t.Fatal(err)
		}
		return token.Reveal()
	}
	plugin := claims{"sub": "search", "aud": "catalog", "iat": now.Unix(), "exp": now.Unix() + 60}
	old := claims{"sub": "user:default/joe", "aud": "backstage", "exp": now.Unix() + 60}
	legacySecret := "123456789012345678901234"

	userIs := func(actor string) core.Principal {
		return core.Principal{Type: core.PrincipalUser, UserEntityRef: "user:default/jane", Actor: actor}
	}
	service := func(subject string) core.Principal {
		return core.Principal{Type: core.PrincipalService, Subject: subject}
	}
	const no, forbidden = apierr.KindAuthentication, apierr.KindNotAllowed
	for name, c := range map[string]struct {
		token   string
		limited bool // allow
		want    core.Principal
		fails   apierr.Kind
		message string
	}{
		"user":                               {token: user, want: userIs("")},
		"user where limited is allowed":      {token: user, limited: true, want: userIs("")},
		"limited user":                       {token: limited.Reveal(), fails: no, message: "Illegal limited user token"},
		"limited user where allowed":         {token: limited.Reveal(), limited: true, want: userIs("")},
		"user without typ":                   {token: p.users.sign("", old), want: core.Principal{Type: core.PrincipalUser, UserEntityRef: "user:default/joe"}},
		"plugin here":                        {token: issued(scaffolder.Own(), "catalog"), want: service("plugin:scaffolder")},
		"plugin here for a user":             {token: issued(jane, "catalog"), want: userIs("plugin:scaffolder")},
		"plugin here, for another":           {token: issued(scaffolder.Own(), "search"), fails: no, message: "Failed plugin token verification"},
		"plugin elsewhere":                   {token: peer.sign("vnd.backstage.plugin", plugin), want: service("plugin:search")},
		"plugin elsewhere for a user":        {token: peer.sign("vnd.backstage.plugin", plugin.with("obo", limited.Reveal())), want: userIs("plugin:search")},
		"plugin elsewhere, several targets":  {token: peer.sign("vnd.backstage.plugin", plugin.with("aud", []string{"x", "catalog"})), want: service("plugin:search")},
		"plugin elsewhere, bad user":         {token: peer.sign("vnd.backstage.plugin", plugin.with("obo", limited.Reveal()+"x")), fails: no, message: "Failed user token verification"},
		"plugin elsewhere, user is a number": {token: peer.sign("vnd.backstage.plugin", plugin.with("obo", 7)), fails: no, message: "Failed user token verification"},
		"plugin elsewhere, user is a plugin": {token: peer.sign("vnd.backstage.plugin", plugin.with("obo", peer.sign("vnd.backstage.plugin", plugin))), fails: no, message: "Failed user token verification"},
		"plugin of unknown place":            {token: peer.sign("vnd.backstage.plugin", plugin.with("sub", "unheard")), fails: no, message: "Failed plugin token verification"},
		"plugin whose keys are missing":      {token: peer.sign("vnd.backstage.plugin", plugin.with("sub", "gone")), fails: no, message: "Failed plugin token verification"},
		"plugin with the name of a path":     {token: peer.sign("vnd.backstage.plugin", plugin.with("sub", "../search")), fails: no, message: "Failed plugin token verification"},
		"static":                             {token: "static-token-1", want: service("ci")},
		"static, restricted, elsewhere": {token: "restricted-token-1", want: core.Principal{Type: core.PrincipalService, Subject: "restricted", Restrictions: &core.AccessRestrictions{
			PermissionNames: []string{"catalog.entity.read", "catalog.entity.create"}, PermissionActions: []string{"read", "create"},
		}}},
		"static, prefix":     {token: "static-token-", fails: no, message: "Illegal token"},
		"static, longer":     {token: "static-token-11", fails: no, message: "Illegal token"},
		"legacy":             {token: legacy(legacySecret, claims{"sub": "backstage-server", "exp": now.Unix() + 60}), want: service("old")},
		"legacy, endless":    {token: legacy(legacySecret, claims{"sub": "backstage-server"}), want: service("old")},
		"legacy, expired":    {token: legacy(legacySecret, claims{"sub": "backstage-server", "exp": now.Unix()}), fails: no},
		"legacy, wrong key":  {token: legacy("other", claims{"sub": "backstage-server"}), fails: no, message: "Illegal token"},
		"legacy, other sub":  {token: legacy(legacySecret, claims{"sub": "x"}), fails: no, message: "Illegal token"},
		"legacy, with aud":   {token: legacy(legacySecret, claims{"sub": "backstage-server", "aud": "x"}), fails: no, message: "Illegal token"},
		"legacy, no claims":  {token: legacy(legacySecret, claims{}), fails: no, message: "Illegal token"},
		"nothing":            {token: "", fails: no, message: "Illegal token"},
		"a word":             {token: "password", fails: no, message: "Illegal token"},
		"unknown kind":       {token: p.users.sign("at+jwt", claims{"sub": "x"}), fails: no, message: "Illegal token"},
		"user of the future": {token: p.users.sign("vnd.backstage.user", claims{"sub": "user:default/jane", "iat": now.Unix() + 5000, "exp": now.Unix() + 6000}), want: userIs("")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := catalog.Authenticate(t.Context(), c.token, c.limited)
			if c.fails != "" {
				if apierr.KindOf(err) != c.fails || c.message != "" && err.Error() != c.message {
					t.Errorf("got %+v, error %q (%s); want %s %q", got.Principal, fmt.Sprint(err), apierr.KindOf(err), c.fails, c.message)
				}
				if !got.IsNone() {
					t.Errorf("credentials with an error: %+v", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got.Principal); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
	t.Run("a restricted token elsewhere", func(t *testing.T) {
		t.Parallel()
		_, err := scaffolder.Authenticate(t.Context(), "restricted-token-1", false)
		if apierr.KindOf(err) != forbidden || err.Error() != "This token's access is restricted to plugin(s) 'catalog', 'search'" {
			t.Errorf("got %v", err)
		}
		c, err := start(t, externalConfig).plugin("search").Authenticate(t.Context(), "restricted-token-1", false)
		if err != nil || c.Principal.Restrictions == nil || len(c.Principal.Restrictions.PermissionNames) != 0 {
			t.Errorf("at a plugin without restrictions of permissions: %+v, %v", c.Principal, err)
		}
	})
}

func TestHostileTokens(t *testing.T) {
	t.Parallel()
	p := start(t, externalConfig)
	now := p.clock.now()
	catalog := p.plugin("catalog")
	peer := newIssuer(t)
	p.places.set("search", peer.url+"/api/search")
	user := claims{"sub": "user:default/jane", "iat": now.Unix(), "exp": now.Unix() + 60}
	plugin := claims{"sub": "search", "aud": "catalog", "iat": now.Unix(), "exp": now.Unix() + 60}
	goodUser, goodPlugin := p.users.sign("vnd.backstage.user", user), peer.sign("vnd.backstage.plugin", plugin)
	for _, token := range []string{goodUser, goodPlugin} {
		if _, err := catalog.Authenticate(t.Context(), token, false); err != nil {
			t.Fatal("the tokens that the hostile ones are made of must be good: ", err)
		}
	}
	jwk, err := jose.JSONWebKey{Key: &p.users.private.PublicKey, KeyID: p.users.kid}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(goodUser, ".")
	head := func(alg, typ, kid string) string {
		return fmt.Sprintf(`{"typ":%q,"alg":%q,"kid":%q}`, typ, alg, kid)
	}
	other := mustKey(t)
	for name, token := range map[string]string{
		"alg none":                           b64(head("none", "vnd.backstage.user", p.users.kid)) + "." + parts[1] + ".",
		"alg None":                           b64(head("None", "vnd.backstage.user", p.users.kid)) + "." + parts[1] + "." + parts[2],
		"no alg":                             b64(`{"typ":"vnd.backstage.user"}`) + "." + parts[1] + "." + parts[2],
		"no signature":                       parts[0] + "." + parts[1] + ".",
		"HS256 with the public key":          hs256(string(jwk), head("HS256", "vnd.backstage.user", p.users.kid), user),
		"HS256 with the legacy secret":       hs256("123456789012345678901234", head("HS256", "vnd.backstage.user", p.users.kid), user),
		"legacy with typ of a plugin":        hs256("123456789012345678901234", head("HS256", "vnd.backstage.plugin", ""), claims{"sub": "backstage-server"}),
		"user typ in another case":           p.users.sign("VND.BACKSTAGE.USER", user),
		"user typ on a plugin's key":         peer.sign("vnd.backstage.user", user),
		"plugin typ on a user's key":         p.users.sign("vnd.backstage.plugin", plugin),
		"tampered payload":                   parts[0] + "." + b64(`{"sub":"user:default/root","iat":1,"exp":9999999999}`) + "." + parts[2],
		"tampered header":                    b64(head("ES256", "vnd.backstage.limited-user", p.users.kid)) + "." + parts[1] + "." + parts[2],
		"signature of ASN.1":                 parts[0] + "." + parts[1] + "." + b64("\x30\x06\x02\x01\x01\x02\x01\x01"),
		"signature of zeros":                 parts[0] + "." + parts[1] + "." + b64(strings.Repeat("\x00", 64)),
		"other key, same id":                 signWith(t, other, p.users.kid, "vnd.backstage.user", user),
		"other key, unknown id":              signWith(t, other, "unknown", "vnd.backstage.user", user),
		"other key, in the header":           embedded(t, user),
		"user, expired now":                  p.users.sign("vnd.backstage.user", user.with("exp", now.Unix())),
		"user without exp":                   p.users.sign("vnd.backstage.user", user.with("exp", nil)),
		"user without iat":                   p.users.sign("vnd.backstage.user", user.with("iat", nil)),
		"user without sub":                   p.users.sign("vnd.backstage.user", user.with("sub", nil)),
		"user with empty sub":                p.users.sign("vnd.backstage.user", user.with("sub", "")),
		"user with a list as sub":            p.users.sign("vnd.backstage.user", user.with("sub", []string{"user:default/jane"})),
		"user with SUB":                      p.users.sign("vnd.backstage.user", user.with("sub", nil).with("SUB", "user:default/jane")),
		"user with text as exp":              p.users.sign("vnd.backstage.user", user.with("exp", "9999999999")),
		"user with endless exp":              p.users.sign("vnd.backstage.user", []byte(`{"sub":"user:default/jane","iat":1,"exp":1e999}`)),
		"user with huge exp":                 p.users.sign("vnd.backstage.user", []byte(`{"sub":"user:default/jane","iat":1,"exp":1e300}`)),
		"user not valid yet":                 p.users.sign("vnd.backstage.user", user.with("nbf", now.Unix()+10)),
		"user without typ, wrong audience":   p.users.sign("", user.with("aud", "other")),
		"bad UTF-8 in the payload":           p.users.sign("vnd.backstage.user", []byte("{\"sub\":\"user:default/\xff\",\"iat\":1,\"exp\":9999999999}")),
		"payload is a list":                  p.users.sign("vnd.backstage.user", []byte(`[1]`)),
		"payload is null":                    p.users.sign("vnd.backstage.user", []byte(`null`)),
		"payload has more":                   p.users.sign("vnd.backstage.user", []byte(`{"sub":"a","iat":1,"exp":9999999999}{}`)),
		"deep payload":                       p.users.sign("vnd.backstage.user", []byte(strings.Repeat(`{"a":`, 9000)+"1"+strings.Repeat("}", 9000))),
		"very deep payload":                  p.users.sign("vnd.backstage.user", []byte(`{"a":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+"}")),
		"oversized":                          p.users.sign("vnd.backstage.user", user.with("x", strings.Repeat("x", 70_000))),
		"plugin for another":                 peer.sign("vnd.backstage.plugin", plugin.with("aud", "search")),
		"plugin for nobody":                  peer.sign("vnd.backstage.plugin", plugin.with("aud", nil)),
		"plugin expired":                     peer.sign("vnd.backstage.plugin", plugin.with("exp", now.Unix()-1)),
		"plugin signed by another plugin":    peer.sign("vnd.backstage.plugin", plugin.with("sub", "catalog")),
		"plugin with a line feed in its sub": peer.sign("vnd.backstage.plugin", plugin.with("sub", "search\n")),
		"plugin with a very long sub":        peer.sign("vnd.backstage.plugin", plugin.with("sub", strings.Repeat("a", 5000))),
		"padding":                            parts[0] + "=." + parts[1] + "." + parts[2],
		"white space":                        goodUser + " ",
		"four parts":                         goodUser + ".x",
		"JSON form":                          `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"critical header":                    critical(t, p.users, user),
		"dots":                               strings.Repeat(".", 60_000),
		"zero bytes":                         strings.Repeat("\x00", 100),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, limited := range []bool{false, true} {
				c, err := catalog.Authenticate(t.Context(), token, limited)
				if apierr.KindOf(err) != apierr.KindAuthentication || !c.IsNone() {
					t.Errorf("authenticated as %+v, %v", c, err)
				}
				if err != nil && len(err.Error()) > 100 {
					t.Errorf("the error tells more than it should: %v", err)
				}
			}
		})
	}
}
