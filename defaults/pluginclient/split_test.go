package pluginclient_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/auth"
	"github.com/flytower/flytower/defaults/database"
	"github.com/flytower/flytower/defaults/discovery"
	"github.com/flytower/flytower/defaults/httpauth"
	"github.com/flytower/flytower/defaults/httprouter"
	"github.com/flytower/flytower/defaults/logger"
	"github.com/flytower/flytower/defaults/pluginclient"
	"github.com/flytower/flytower/defaults/roothealth"
	"github.com/flytower/flytower/defaults/roothttprouter"
	"github.com/flytower/flytower/defaults/userinfo"
	"github.com/flytower/flytower/internal/configtest"
)

// deployment is one or more backends that find each other.
type deployment struct {
	t       *testing.T
	dir     string            // of the databases
	urls    map[string]string // of the backend by plugin
	updates []func(yaml string)
}

// start starts a backend with the plugins.
func (d *deployment) start(plugins map[string]backend.Feature, network http.RoundTripper) {
	d.t.Helper()
	config, update := configtest.Live(d.t, d.config())
	b := backend.New().Add(
		auth.Factory, discovery.Factory, httpauth.Factory, httprouter.Factory, userinfo.Factory,
		roothealth.Factory, roothttprouter.Factory, logger.Factory, database.Factory,
		backend.NewRootServiceFactory(core.RootConfig, func(*backend.RootEnv) backend.MakeFunc[core.ConfigRoot] {
			return func(context.Context) (core.ConfigRoot, error) { return config, nil }
		}),
		backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
			return func(context.Context) (*slog.Logger, error) { return slog.New(slog.DiscardHandler), nil }
		}),
	)
	if network == nil {
		b.Add(pluginclient.Factory)
	} else {
		b.Add(pluginclient.NewFactory(pluginclient.WithNetwork(network)))
	}
	for _, p := range plugins {
		b.Add(p)
	}
	if err := b.Start(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			d.t.Error(err)
		}
	})
	root, err := backend.Get(b, core.RootHTTPRouter)
	if err != nil {
		d.t.Fatal(err)
	}
	for id := range plugins {
		d.urls[id] = "http://" + root.Addr().String()
	}
	d.updates = append(d.updates, update)
	for _, update := range d.updates {
		update(d.config())
	}
}

func (d *deployment) config() string {
	yaml := "backend: {baseUrl: 'http://portal', listen: '127.0.0.1:0', auth: {externalAccess: [{type: static, options: {token: static-token, subject: ci}}]},\n" +
		"  database: {client: better-sqlite3, connection: {directory: '" + d.dir + "'}}}\n"
	if len(d.updates) > 0 || len(d.urls) > 0 {
		yaml += "discovery:\n  endpoints:\n"
		for id, url := range d.urls {
			yaml += "    - {target: '" + url + "/api/{{pluginId}}', plugins: [" + id + "]}\n"
		}
	}
	return yaml
}

// report is what the last plugin of a chain tells about its caller.
type report struct {
	Plugin string
	Caller string
	Owns   []string
}

// link is a plugin that calls the next one on behalf of its caller. The last
// one reports who called.
func link(id, next string) backend.Feature {
	return backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc {
		router, who := core.HTTPRouter.From(env), core.HTTPAuth.From(env)
		client, users := core.PluginClient.From(env), core.UserInfos.From(env)
		return func(context.Context) error {
			router().HandleErr("GET /chain", func(w http.ResponseWriter, r *http.Request) error {
				caller, err := who().Credentials(r, core.Allow{User: true, Service: true})
				if err != nil {
					return err
				}
				out := report{Plugin: id, Caller: caller.String()}
				if next != "" {
					if err := client().Call(r.Context(), core.PluginRequest{Plugin: next, Path: "/chain", As: caller}, &out); err != nil {
						return err
					}
				} else if caller.IsUser() {
					info, err := users().UserInfo(r.Context(), caller)
					if err != nil {
						return err
					}
					out.Owns = info.OwnershipEntityRefs
				}
				apierr.WriteJSON(w, http.StatusOK, out)
				return nil
			})
			return nil
		}
	})
}

// signIn is the plugin that signs users in, with as much as verifying needs.
func signIn(key *ecdsa.PrivateKey) backend.Feature {
	return backend.NewPlugin("auth", func(env *backend.PluginEnv) backend.InitFunc {
		router, who := core.HTTPRouter.From(env), core.HTTPAuth.From(env)
		return func(context.Context) error {
			router().AddAuthPolicy(core.AuthPolicy{Path: "/", Allow: core.AllowUnauthenticated})
			router().HandleFunc("GET /.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
				apierr.WriteJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k", Algorithm: "ES256"}}})
			})
			router().HandleErr("GET /v1/userinfo", func(w http.ResponseWriter, r *http.Request) error {
				user, err := who().Credentials(r, core.Allow{User: true, Cookie: true})
				if err != nil {
					return err
				}
				ref := user.Principal.UserEntityRef
				apierr.WriteJSON(w, http.StatusOK, map[string]any{"claims": map[string]any{"sub": ref, "ent": []string{ref, "group:default/team"}}})
				return nil
			})
			return nil
		}
	})
}

// userToken returns a token as the auth plugin issues it.
func userToken(t *testing.T, key *ecdsa.PrivateKey) string {
	sign := func(header, payload string) string {
		enc := base64.RawURLEncoding
		text := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(payload))
		sum := sha256.Sum256([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return text + "." + enc.EncodeToString(sig)
	}
	iat, exp := time.Now().Unix(), time.Now().Add(time.Hour).Unix()
	limited := sign(`{"typ":"vnd.backstage.limited-user","alg":"ES256","kid":"k"}`, fmt.Sprintf(`{"sub":"user:default/jane","iat":%d,"exp":%d}`, iat, exp))
	return sign(`{"typ":"vnd.backstage.user","alg":"ES256","kid":"k"}`,
		fmt.Sprintf(`{"sub":"user:default/jane","aud":"backstage","iat":%d,"exp":%d,"uip":%q}`, iat, exp, limited[strings.LastIndex(limited, ".")+1:]))
}

// A plugin that moves to another process changes the configuration only.
func TestOneProcessOrThree(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plugins := map[string]backend.Feature{
		"auth": signIn(key), "scaffolder": link("scaffolder", "catalog"), "catalog": link("catalog", "search"), "search": link("search", ""),
	}
	for name, c := range map[string]struct {
		groups    [][]string
		databases []string // of plugins that publish a key, as they call elsewhere
	}{
		"one process":   {[][]string{{"auth", "scaffolder", "catalog", "search"}}, nil},
		"two processes": {[][]string{{"auth", "scaffolder", "search"}, {"catalog"}}, []string{"catalog", "scaffolder"}},
		"four":          {[][]string{{"auth"}, {"scaffolder"}, {"catalog"}, {"search"}}, []string{"catalog", "scaffolder"}},
	} {
		groups := c.groups
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &deployment{t: t, dir: t.TempDir(), urls: map[string]string{}}
			for _, ids := range groups {
				group := map[string]backend.Feature{}
				for _, id := range ids {
					group[id] = plugins[id]
				}
				var network http.RoundTripper
				if len(groups) == 1 {
					network = noNetwork{t}
				}
				d.start(group, network)
			}
			transport := &http.Transport{}
			t.Cleanup(transport.CloseIdleConnections)
			for caller, c := range map[string]struct {
				token  string
				status int
				want   report
			}{
				"user":    {userToken(t, key), 200, report{"search", "user:default/jane by plugin:catalog", []string{"user:default/jane", "group:default/team"}}},
				"service": {"static-token", 200, report{"search", "plugin:catalog", nil}},
				"nobody":  {"", 401, report{}},
			} {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, d.urls["scaffolder"]+"/api/scaffolder/chain", nil)
				if c.token != "" {
					req.Header.Set("Authorization", "Bearer "+c.token)
				}
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				var got report
				if resp.StatusCode != c.status {
					t.Errorf("%s: %s, %v", caller, resp.Status, apierr.FromResponse(resp))
				} else if c.status == 200 {
					if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
						t.Error(err)
					}
				}
				resp.Body.Close()
				if d := cmp.Diff(c.want, got); d != "" {
					t.Errorf("%s:\n%s", caller, d)
				}
			}
			files, err := filepath.Glob(filepath.Join(d.dir, "*.sqlite"))
			if err != nil {
				t.Fatal(err)
			}
			var opened []string
			for _, f := range files {
				opened = append(opened, strings.TrimSuffix(filepath.Base(f), ".sqlite"))
			}
			if d := cmp.Diff(c.databases, opened); d != "" {
				t.Errorf("databases that were opened:\n%s", d)
			}
		})
	}
}
