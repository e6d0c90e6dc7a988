package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/auth"
	"github.com/flytower/flytower/defaults/httpauth"
	"github.com/flytower/flytower/defaults/userinfo"
	authbackend "github.com/flytower/flytower/plugins/auth-backend"
	guest "github.com/flytower/flytower/plugins/auth-backend-module-guest-provider"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// now is when the tests happen.
var now = time.Date(2030, time.January, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

// services are those that deal with credentials, at that time.
func services() backend.Feature {
	return backend.Features(
		auth.NewFactory(auth.WithClock(clock)), userinfo.NewFactory(userinfo.WithClock(clock)),
		backend.NewServiceFactory(core.HTTPAuth, func(env *backend.FactoryEnv) backend.MakeFunc[core.HTTPAuthService] {
			plugin, tokens, discovery := core.PluginMetadata.From(env), core.Auth.From(env), core.Discovery.From(env)
			return func(context.Context) (core.HTTPAuthService, error) {
				return httpauth.New(plugin().ID(), tokens(), discovery(), httpauth.WithClock(clock)), nil
			}
		}),
	)
}

// signIn is the auth plugin, where guests sign in.
func signIn() backend.Feature {
	return backend.Features(authbackend.New(authbackend.WithClock(clock)), guest.Module)
}

// probe is a plugin that tells who calls. Of its routes, one has the policy of
// all routes, one lets cookies in, and two let everybody in, of which one
// looks at the credentials nevertheless; the last asks the plugin "other" who
// calls it, for the caller.
func probe(id string) backend.Feature {
	return backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc {
		router, httpAuth, plugins := core.HTTPRouter.From(env), core.HTTPAuth.From(env), core.PluginClient.From(env)
		return func(context.Context) error {
			who := func(allow core.Allow) func(http.ResponseWriter, *http.Request) error {
				return func(w http.ResponseWriter, r *http.Request) error {
					c, err := httpAuth().Credentials(r, allow)
					if err == nil {
						fmt.Fprint(w, describe(c.Principal))
					}
					return err
				}
			}
			router().AddAuthPolicy(core.AuthPolicy{Path: "/cookie", Allow: core.AllowUserCookie})
			router().AddAuthPolicy(core.AuthPolicy{Path: "/public", Allow: core.AllowUnauthenticated})
			router().HandleErr("GET /default", who(core.Allow{}))
			router().HandleErr("GET /cookie", who(core.Allow{Cookie: true}))
			router().HandleErr("GET /public/asks", who(core.Allow{}))
			router().HandleErr("GET /public/page", func(w http.ResponseWriter, _ *http.Request) error {
				fmt.Fprint(w, "anybody")
				return nil
			})
			router().HandleErr("GET /relay", func(w http.ResponseWriter, r *http.Request) error {
				c, err := httpAuth().Credentials(r, core.Allow{User: true, Service: true})
				if err != nil {
					return err
				}
				resp, err := plugins().Do(r.Context(), core.PluginRequest{Plugin: "other", Path: "/default", As: c})
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				text := make([]byte, 1000)
				n, _ := resp.Body.Read(text)
				w.WriteHeader(resp.StatusCode)
				_, err = w.Write(text[:n])
				return err
			})
			return nil
		}
	})
}

// describe is a principal in a few words.
func describe(p core.Principal) string {
	switch {
	case p.Type == core.PrincipalNone:
		return "nobody"
	case p.Actor != "":
		return p.UserEntityRef + " by " + p.Actor
	case p.Type == core.PrincipalUser:
		return p.UserEntityRef
	case p.Restrictions != nil:
		return fmt.Sprintf("%s (%s)", p.Subject, strings.Join(p.Restrictions.PermissionActions, " "))
	default:
		return p.Subject
	}
}

// peer signs tokens, and serves its keys below every path.
type peer struct {
	key *ecdsa.PrivateKey
	kid string
	url string
}

func newPeer(t testing.TB, kid string) *peer {
	t.Helper()
	p := &peer{key: newKey(t), kid: kid}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		apierr.WriteJSON(w, http.StatusOK, p.set())
	}))
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

func (p *peer) set() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: p.kid, Algorithm: "ES256"}}}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keyStore writes the key pair, and returns the configuration of a static key
// store with it, in one line.
func keyStore(t testing.TB, kid, algorithm string, key crypto.Signer) string {
	t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return fmt.Sprintf("static: {keys: [{keyId: %s, algorithm: %s, publicKeyFile: '%s', privateKeyFile: '%s'}]}",
		kid, algorithm, write("public.pem", "PUBLIC KEY", public), write("private.pem", "PRIVATE KEY", private))
}

// guestToken signs the guest in.
func guestToken(t testing.TB, c backendtest.Client) string {
	t.Helper()
	var session struct{ BackstageIdentity struct{ Token string } }
	c.As(backendtest.Nobody()).Get("/api/auth/guest/refresh").Expect(http.StatusOK).JSON(&session)
	return session.BackstageIdentity.Token
}

// cookieOf returns the cookie that a user gets for a token.
func cookieOf(t testing.TB, c backendtest.Client, plugin, token string) string {
	t.Helper()
	r := c.As(backendtest.Token(token)).Get("/api/" + plugin + "/.backstage/auth/v1/cookie").Expect(http.StatusOK)
	for _, cookie := range (&http.Response{Header: r.Header}).Cookies() {
		if cookie.Name == httpauth.CookieName {
			return cookie.Value
		}
	}
	t.Fatal("no cookie was set")
	return ""
}
