package identity

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
)

var update = flag.Bool("update", false, "write the tokens of this backend to testdata/ours.json")

// made are tokens that other software made at the time of the tests, with the
// public keys of those who signed them. internal/tools/tokens writes them with
// jose for Node.
type made struct {
	Keys   struct{ Users, Remote, External []json.RawMessage }
	Tokens []struct {
		Name, Token, Want string
		Cookie            bool
	}
}

// Tokens that other software made are accepted, with all kinds of keys.
func TestTokensOfOthers(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/jose.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden made
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	serve := func(keys []json.RawMessage) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			apierr.WriteJSON(w, http.StatusOK, map[string]any{"keys": keys})
		}))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	srv := backendtest.Start(t, services(), probe("probe"), probe("other"), backendtest.Silent(), backendtest.YAML(`
		discovery:
		  endpoints:
		    - {target: '`+serve(golden.Keys.Users)+`/api/{{pluginId}}', plugins: [auth]}
		    - {target: '`+serve(golden.Keys.Remote)+`/api/{{pluginId}}', plugins: [remote]}
		backend:
		  auth:
		    externalAccess:
		      - {type: legacy, options: {secret: MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwYWI=, subject: old}}
		      - {type: jwks, options: {url: '`+serve(golden.Keys.External)+`', issuer: corp.example, audience: portal, subjectPrefix: corp}}
	`))
	if len(golden.Tokens) < 20 {
		t.Fatalf("there are %d tokens only", len(golden.Tokens))
	}
	for _, tt := range golden.Tokens {
		t.Run(tt.Name, func(t *testing.T) {
			c, path := srv.Client(t).As(backendtest.Nobody()), "/api/probe/default"
			if tt.Cookie {
				c, path = c.Header("Cookie", cookie(tt.Token)["Cookie"]), "/api/probe/cookie"
			} else {
				c = c.Header("Authorization", "Bearer "+tt.Token)
			}
			got := c.Get(path)
			if text := got.Text(); got.Status == http.StatusOK && text != tt.Want || got.Status != http.StatusOK && tt.Want != "401" {
				t.Errorf("got %d %s, want %s", got.Status, text, tt.Want)
			}
		})
	}
}

// ours are tokens that this backend makes. With a key whose signatures are not
// random, they are the same every time; internal/tools/tokens has them
// verified by jose for Node.
type ours struct {
	// Keys are the published ones, of users and of the plugin.
	Users  json.RawMessage `json:"users"`
	Plugin json.RawMessage `json:"plugin"`

	User          string `json:"user"`
	Limited       string `json:"limited"`
	Service       string `json:"service"`
	ServiceOnUser string `json:"serviceOnUser"`
}

func TestTokensOfOurs(t *testing.T) {
	t.Parallel()
	key := func(seed byte) ed25519.PrivateKey {
		return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	}
	sent := make(chan string, 1)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sent <- r.Header.Get("Authorization")[len("Bearer "):]
	}))
	t.Cleanup(elsewhere.Close)
	caller := backend.NewPlugin("caller", func(env *backend.PluginEnv) backend.InitFunc {
		router, httpAuth, plugins := core.HTTPRouter.From(env), core.HTTPAuth.From(env), core.PluginClient.From(env)
		return func(context.Context) error {
			router().HandleErr("GET /call", func(_ http.ResponseWriter, r *http.Request) error {
				who, err := httpAuth().Credentials(r, core.Allow{User: true, Service: true})
				if err != nil {
					return err
				}
				return plugins().Call(r.Context(), core.PluginRequest{Plugin: "remote", Path: "/x", As: who}, nil)
			})
			return nil
		}
	})
	srv := backendtest.Start(t, services(), signIn(), caller, backendtest.Silent(), backendtest.Config(map[string]any{
		"backend": map[string]any{"baseUrl": "http://localhost:7007"},
	}), backendtest.YAML(`
		app: {baseUrl: 'http://localhost:3000'}
		discovery: {endpoints: [{target: {internal: '`+elsewhere.URL+`/api/{{pluginId}}', external: 'http://localhost'}, plugins: [remote]}]}
		auth:
		  providers: {guest: {dangerouslyAllowOutsideDevelopment: true}}
		  omitIdentityTokenOwnershipClaim: false
		  keyStore: {provider: static, `+keyStore(t, "users-1", "EdDSA", key(1))+`}
		backend:
		  auth:
		    pluginKeyStore: {type: static, `+keyStore(t, "plugins-1", "EdDSA", key(2))+`}
		    externalAccess: [{type: static, options: {token: `+staticToken+`, subject: ci}}]
	`))
	client := srv.Client(t).As(backendtest.Nobody())
	call := func(token string) string {
		client.Header("Authorization", "Bearer "+token).Get("/api/caller/call").Expect(http.StatusOK)
		return <-sent
	}
	published := func(path string) json.RawMessage {
		var set struct{ Keys []json.RawMessage }
		client.Get(path).Expect(http.StatusOK).JSON(&set)
		if len(set.Keys) != 1 {
			t.Fatalf("%s: %d keys", path, len(set.Keys))
		}
		return set.Keys[0]
	}
	got := ours{User: guestToken(t, client)}
	got.Limited = cookieOf(t, client, "caller", got.User)
	got.Service, got.ServiceOnUser = call(staticToken), call(got.User)
	got.Users, got.Plugin = published("/api/auth/.well-known/jwks.json"), published("/api/caller/.backstage/auth/v1/jwks.json")

	const file = "testdata/ours.json"
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if text = append(text, '\n'); *update {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
