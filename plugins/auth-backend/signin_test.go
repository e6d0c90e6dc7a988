package authbackend_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/signingkey"
	"github.com/flytower/flytower/internal/testdb"
	guest "github.com/flytower/flytower/plugins/auth-backend-module-guest-provider"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
)

// eachDatabase runs fn with the configuration of a database of each kind,
// which outlives the backends that use it.
func eachDatabase(t *testing.T, fn func(t *testing.T, config string)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		fn(t, fmt.Sprintf("  database: { client: better-sqlite3, connection: { directory: %q } }\n", t.TempDir()))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		fn(t, fmt.Sprintf("  database: { client: pg, pluginDivisionMode: schema, connection: %q }\n", testdb.Postgres(t)))
	})
}

// org is a catalog with the guest and a group.
func org(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "org.yaml")
	err := os.WriteFile(path, []byte(`
apiVersion: backstage.io/v1alpha1
kind: User
metadata: { name: guest, namespace: development }
spec: { memberOf: [guests] }
---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata: { name: guests, namespace: development }
spec: { type: team, children: [] }
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return "catalog: { rules: [{ allow: [User, Group] }], locations: [{ type: file, target: '" + path + "' }] }\n"
}

// signedIn is what the frontend gets.
type signedIn struct {
	Profile  map[string]string
	Identity struct {
		Token    string
		Identity struct {
			Type                string
			UserEntityRef       string
			OwnershipEntityRefs []string
		}
		ExpiresInSeconds int
	} `json:"backstageIdentity"`
}

func (r *running) signIn(t *testing.T) (s signedIn) {
	t.Helper()
	resp, body := r.send(t, http.MethodGet, "/api/auth/guest/refresh", "X-Requested-With", "XMLHttpRequest")
	if err := json.Unmarshal([]byte(body), &s); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("sign-in: %d %s", resp.StatusCode, body)
	}
	return s
}

const aGuest = "auth: { providers: { guest: { dangerouslyAllowOutsideDevelopment: true }, issuer: {} } }\n"

// awaitUser waits until the catalog has the guest.
func (r *running) awaitUser(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		resp, body := r.send(t, http.MethodGet, "/api/catalog/entities/by-name/user/development/guest", "Authorization", "Bearer static-token")
		if resp.StatusCode == http.StatusOK && strings.Contains(body, `"memberOf"`) && strings.Contains(body, `"relations":[{`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the catalog has no guest: %d %s", resp.StatusCode, body)
		}
	}
}

// everywhere is a plugin that tells who calls, and what the caller owns by.
var everywhere = backend.NewPlugin("probe", func(env *backend.PluginEnv) backend.InitFunc {
	router, auth, infos := core.HTTPRouter.From(env), core.HTTPAuth.From(env), core.UserInfos.From(env)
	return func(context.Context) error {
		router().AddAuthPolicy(core.AuthPolicy{Path: "/image", Allow: core.AllowUserCookie})
		who := func(w http.ResponseWriter, r *http.Request) error {
			who, err := auth().Credentials(r, core.Allow{User: true, Service: true, Cookie: strings.HasPrefix(r.URL.Path, "/image")})
			if err != nil {
				return err
			}
			info, err := infos().UserInfo(r.Context(), who)
			if err != nil {
				return err
			}
			apierr.WriteJSON(w, http.StatusOK, info)
			return nil
		}
		router().HandleErr("GET /me", who)
		router().HandleErr("GET /image", who)
		return nil
	}
})

func TestGuestUsesEverything(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, database string) {
		config := database + aGuest + org(t)
		r := start(t, config, issuer, guest.Module, catalogbackend.Plugin, everywhere)
		r.awaitUser(t)
		user := r.signIn(t)
		id := user.Identity.Identity
		ownership := []string{"user:development/guest", "group:development/guests"}
		if d := cmp.Diff(ownership, id.OwnershipEntityRefs); d != "" || id.Type != "user" || id.UserEntityRef != ownership[0] {
			t.Errorf("signed in as %+v", id)
		}
		if s := user.Identity.ExpiresInSeconds; s < 3500 || s > 3600 {
			t.Errorf("expires in %d s", s)
		}
		bearer := "Bearer " + user.Identity.Token
		const entities = "/api/catalog/entities?filter=kind=user"
		if resp, body := r.send(t, http.MethodGet, entities, "Authorization", bearer); resp.StatusCode != 200 || !strings.Contains(body, `"name":"guest"`) {
			t.Errorf("entities: %d %s", resp.StatusCode, body)
		}
		info := `{"userEntityRef":"user:development/guest","ownershipEntityRefs":["user:development/guest","group:development/guests"]}`
		if _, body := r.send(t, http.MethodGet, "/api/probe/me", "Authorization", bearer); body != info {
			t.Errorf("user info %s", body)
		}

		// The cookie lets images in, and nothing else.
		resp, body := r.send(t, http.MethodGet, "/api/probe/.backstage/auth/v1/cookie", "Authorization", bearer)
		if len(resp.Cookies()) != 1 || !strings.Contains(body, "expiresAt") {
			t.Fatalf("cookie: %d %s %v", resp.StatusCode, body, resp.Cookies())
		}
		cookie := resp.Cookies()[0]
		if !cookie.HttpOnly || cookie.Name != "backstage-auth" || strings.Count(cookie.Value, ".") != 2 {
			t.Errorf("cookie %s", cookie)
		}
		if resp, body := r.send(t, http.MethodGet, "/api/probe/image", "Cookie", "backstage-auth="+cookie.Value); resp.StatusCode != 200 || body != info {
			t.Errorf("with the cookie: %d %s", resp.StatusCode, body)
		}
		r.check(t, http.MethodGet, "/api/probe/me", 401, apierr.KindAuthentication, "/me", "Cookie", "backstage-auth="+cookie.Value)
		r.check(t, http.MethodGet, entities, 401, apierr.KindAuthentication, "/entities?filter=kind=user", "Authorization", "Bearer "+cookie.Value)

		// Agents ask on whose behalf they act.
		resp, body = r.send(t, http.MethodPost, "/api/auth/.backstage/actions/v1/actions/"+url.PathEscape("auth:who-am-i")+"/invoke", "Authorization", bearer)
		if resp.StatusCode != 200 || !strings.Contains(body, `"userInfo":`+info) || !strings.Contains(body, `"kind":"User"`) {
			t.Errorf("who-am-i: %d %s", resp.StatusCode, body)
		}
		if resp, body := r.send(t, http.MethodPost, "/api/auth/.backstage/actions/v1/actions/"+url.PathEscape("auth:who-am-i")+"/invoke", "Authorization", "Bearer static-token"); resp.StatusCode != 403 {
			t.Errorf("who-am-i of a service: %d %s", resp.StatusCode, body)
		}

		// Another replica, or the next process, knows the keys of this one.
		next := start(t, config, issuer, guest.Module, catalogbackend.Plugin, everywhere)
		if resp, body := next.send(t, http.MethodGet, "/api/probe/me", "Authorization", bearer); body != info {
			t.Errorf("after a restart: %d %s", resp.StatusCode, body)
		}
		if again := next.signIn(t); again.Identity.Token == user.Identity.Token {
			t.Error("the same token again")
		}
		var set jose.JSONWebKeySet
		_, body = r.send(t, http.MethodGet, "/api/auth/.well-known/jwks.json")
		if err := json.Unmarshal([]byte(body), &set); err != nil || len(set.Keys) != 2 || strings.Contains(body, `"d":`) {
			t.Errorf("keys %s, %v", body, err)
		}
	})
}

func TestBadUserTokens(t *testing.T) {
	t.Parallel()
	r := start(t, memory+"auth: { omitIdentityTokenOwnershipClaim: false, backstageTokenExpiration: 15m, providers: { issuer: {} } }", issuer, everywhere)
	good := r.issue(t, "sub=user:default/jane&ent=group:default/a")
	if _, body := r.send(t, http.MethodGet, "/api/probe/me", "Authorization", "Bearer "+good); body != `{"userEntityRef":"user:default/jane","ownershipEntityRefs":["group:default/a"]}` {
		t.Errorf("ownership of the token: %s", body)
	}
	r.offset.Store(int64(-time.Hour))
	expired := r.issue(t, "sub=user:default/jane")
	r.offset.Store(0)

	part := func(token string, n int) string {
		raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[n])
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	encode := base64.RawURLEncoding.EncodeToString
	header, payload := part(good, 0), part(good, 1)
	signed := func(header, payload string) string {
		private, err := signingkey.Generate(jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		input := encode([]byte(header)) + "." + encode([]byte(payload))
		signature, err := signingkey.Sign(private, jose.ES256, []byte(input))
		if err != nil {
			t.Fatal(err)
		}
		return input + "." + encode(signature)
	}
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"expired":            expired,
		"another subject":    parts[0] + "." + encode([]byte(strings.Replace(payload, "jane", "root", 1))) + "." + parts[2],
		"no signature":       parts[0] + "." + parts[1] + ".",
		"algorithm none":     encode([]byte(strings.Replace(header, "ES256", "none", 1))) + "." + parts[1] + ".",
		"key of its own":     signed(header, payload),
		"unknown key":        signed(`{"typ":"vnd.backstage.user","alg":"ES256","kid":"x"}`, payload),
		"proof as signature": encode([]byte(header)) + "." + parts[1] + "." + strings.Split(strings.Split(payload, `"uip":"`)[1], `"`)[0],
		"limited":            encode([]byte(strings.Replace(header, "user", "limited-user", 1))) + "." + parts[1] + "." + parts[2],
	} {
		if resp, body := r.send(t, http.MethodGet, "/api/probe/me", "Authorization", "Bearer "+token); resp.StatusCode != 401 {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
}

// Two backends with the same keys and different databases.
func TestUserInfoOfWhoHasNotSignedInHere(t *testing.T) {
	t.Parallel()
	private, err := signingkey.Generate(jose.ES384)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte, err error) string {
		path := filepath.Join(dir, name)
		if err == nil {
			err = os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	public := write("public.pem", "PUBLIC KEY", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(private)
	keys := "auth: { keyStore: { provider: static, static: { keys: [{ keyId: ours, algorithm: ES384, publicKeyFile: '" + public +
		"', privateKeyFile: '" + write("private.pem", "PRIVATE KEY", der, err) + "' }] } }, providers: { issuer: {} } }\n"

	there := start(t, memory+keys, issuer)
	here := start(t, memory+keys+org(t), issuer, catalogbackend.Plugin)
	here.awaitUser(t)
	const path = "/api/auth/v1/userinfo"
	token := there.issue(t, "sub=user:development/guest")
	if resp, body := here.send(t, http.MethodGet, path, "Authorization", "Bearer "+token); resp.StatusCode != 200 || body != `{"claims":{"ent":["user:development/guest","group:development/guests"],"sub":"user:development/guest"},"sub":"user:development/guest"}` {
		t.Errorf("a user of the catalog: %d %s", resp.StatusCode, body)
	}
	token = there.issue(t, "sub=user:default/nobody")
	if resp, body := here.send(t, http.MethodGet, path, "Authorization", "Bearer "+token); resp.StatusCode != 404 || body != "User info not found" {
		t.Errorf("a user that is not in the catalog: %d %s", resp.StatusCode, body)
	}
	// Where there is no catalog, it is not known whether there is such a user.
	token = here.issue(t, "sub=user:default/other")
	if resp, body := there.send(t, http.MethodGet, path, "Authorization", "Bearer "+token); resp.StatusCode < 500 {
		t.Errorf("without a catalog: %d %s", resp.StatusCode, body)
	}
}

func TestOwnershipResolverOfAModule(t *testing.T) {
	t.Parallel()
	r := start(t, memory+aGuest+org(t), issuer, guest.Module, catalogbackend.Plugin, resolver("own"))
	r.awaitUser(t)
	if got := r.signIn(t).Identity.Identity.OwnershipEntityRefs; len(got) != 1 || got[0] != "group:default/everybody" {
		t.Errorf("ownership %q", got)
	}
}
