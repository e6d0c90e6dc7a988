package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing/fstest"
	"time"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
	authbackend "github.com/flytower/flytower/plugins/auth-backend"
	guest "github.com/flytower/flytower/plugins/auth-backend-module-guest-provider"
)

const (
	guestUser   = "user:development/guest"
	staticToken = "static-token-1234567890"
	cookieName  = "backstage-auth"
	// patience is how long a backend of the reference may take to start.
	patience = time.Minute
)

// pairs compares in both pairs of backends.
func (r *report) pairs(ctx context.Context, n node) error {
	for _, signInHere := range []bool{true, false} {
		if err := r.pair(ctx, n, signInHere); err != nil {
			return err
		}
	}
	return nil
}

// side is a backend and the plugin in it that tells who calls.
type side struct{ name, url, plugin string }

func (s side) path(p string) string { return s.url + "/api/" + s.plugin + p }

func (r *report) pair(ctx context.Context, n node, signInHere bool) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	here := side{"flytower", "http://localhost:" + ports[0], "probe"}
	there := side{"reference", "http://localhost:" + ports[1], "peer"}
	home := there
	if signInHere {
		home = here
	}
	fmt.Println("== users sign in at " + home.name)
	config := func(of, other side, port string) string {
		foreign := []string{other.plugin}
		if other == home {
			foreign = append(foreign, "auth")
		}
		return fmt.Sprintf(`
app: {baseUrl: 'http://localhost:3000'}
backend:
  baseUrl: %q
  listen: {host: 127.0.0.1, port: %s}
  database: {client: better-sqlite3, connection: ':memory:'}
  auth: {externalAccess: [{type: static, options: {token: %s, subject: ci}}]}
auth: {providers: {guest: {dangerouslyAllowOutsideDevelopment: true}}}
discovery: {endpoints: [{target: '%s/api/{{pluginId}}', plugins: [%s]}]}
`, of.url, port, staticToken, other.url, strings.Join(foreign, ", "))
	}
	stop, err := n.start(ctx, "reference", config(there, here, ports[1]), !signInHere)
	if err != nil {
		return err
	}
	defer stop()
	b := flytower.New(flytower.WithConfig(rootconfig.Options{
		Args: []string{}, Env: []string{}, FS: fstest.MapFS{"app-config.yaml": {Data: []byte(config(here, there, ports[0]))}},
	}))
	b.Add(quiet, probe)
	if signInHere {
		b.Add(authbackend.Plugin, guest.Module)
	}
	if err := b.Start(ctx); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			fmt.Println("warning: the backend did not stop cleanly:", err)
		}
	}()
	if err := until(ctx, there.path("/raw")); err != nil {
		return fmt.Errorf("%w\n%s", err, n.log("reference"))
	}
	return r.compare(ctx, n, here, there, home)
}

func (r *report) compare(ctx context.Context, n node, here, there, home side) error {
	var session struct{ BackstageIdentity struct{ Token string } }
	text, _ := get(ctx, home.url+"/api/auth/guest/refresh", "X-Requested-With", "XMLHttpRequest")
	if err := json.Unmarshal([]byte(text), &session); err != nil {
		return fmt.Errorf("signing in: %w: %s", err, text)
	}
	user := "Bearer " + session.BackstageIdentity.Token
	for _, s := range []side{here, there} {
		other := here
		if s == here {
			other = there
		}
		ask := func(what, path, want string, header ...string) {
			got, _ := get(ctx, s.path(path), header...)
			r.same(s.name+", "+what, want, got)
		}
		ask("user", "/default", guestUser, "Authorization", user)
		ask("user, to the other side", "/relay", guestUser+" by plugin:"+s.plugin, "Authorization", user)
		ask("service, to the other side", "/relay", "plugin:"+s.plugin, "Authorization", "Bearer "+staticToken)
		_, head := get(ctx, s.path("/.backstage/auth/v1/cookie"), "Authorization", user)
		limited := ""
		for _, c := range (&http.Response{Header: head}).Cookies() {
			if c.Name == cookieName {
				limited = c.Value
			}
		}
		ask("its cookie", "/cookie", guestUser, "Cookie", cookieName+"="+limited)
		got, _ := get(ctx, other.path("/cookie"), "Cookie", cookieName+"="+limited)
		r.same(other.name+", cookie of "+s.name, guestUser, got)
		if s == here {
			if err := r.issuedHere(ctx, n, home == here, s, user, limited); err != nil {
				return err
			}
		}
	}
	return nil
}

// issuedHere has jose verify what this side sends, with the keys that it
// publishes.
func (r *report) issuedHere(ctx context.Context, n node, users bool, here side, user, limited string) error {
	all := make([]verification, 0, 4)
	for what, header := range map[string]string{"plugin token": "Bearer " + staticToken, "plugin token for a user": user} {
		sent, _ := get(ctx, here.path("/raw"), "Authorization", header)
		_, sent, _ = strings.Cut(sent, " ")
		all = append(all, verification{Name: what, Token: sent, URL: here.path("/.backstage/auth/v1/jwks.json"), Typ: "vnd.backstage.plugin", Audience: "peer", want: here.plugin})
	}
	if users {
		keys := here.url + "/api/auth/.well-known/jwks.json"
		_, token, _ := strings.Cut(user, " ")
		all = append(all,
			verification{Name: "user token", Token: token, URL: keys, Typ: "vnd.backstage.user", Audience: "backstage", want: guestUser},
			verification{Name: "limited token", Token: limited, URL: keys, Typ: "vnd.backstage.limited-user", want: guestUser})
	}
	return r.verify(ctx, n, all...)
}

// probe is the plugin of this side: it tells who calls, and asks the other
// side who calls there.
var probe = backend.NewPlugin("probe", func(env *backend.PluginEnv) backend.InitFunc {
	router, httpAuth, plugins := core.HTTPRouter.From(env), core.HTTPAuth.From(env), core.PluginClient.From(env)
	return func(context.Context) error {
		tell := func(path string, allow core.Allow) {
			router().HandleErr("GET "+path, func(w http.ResponseWriter, r *http.Request) error {
				c, err := httpAuth().Credentials(r, allow)
				if err == nil {
					fmt.Fprint(w, describe(c.Principal))
				}
				return err
			})
		}
		ask := func(path, at string) {
			router().HandleErr("GET "+path, func(w http.ResponseWriter, r *http.Request) error {
				c, err := httpAuth().Credentials(r, core.Allow{User: true, Service: true})
				if err != nil {
					return err
				}
				resp, err := plugins().Do(r.Context(), core.PluginRequest{Plugin: "peer", Path: at, As: c})
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				_, err = io.Copy(w, resp.Body)
				return err
			})
		}
		router().AddAuthPolicy(core.AuthPolicy{Path: "/cookie", Allow: core.AllowUserCookie})
		tell("/default", core.Allow{})
		tell("/cookie", core.Allow{Cookie: true})
		ask("/relay", "/default")
		ask("/raw", "/raw")
		return nil
	}
})

func describe(p core.Principal) string {
	switch {
	case p.Actor != "":
		return p.UserEntityRef + " by " + p.Actor
	case p.Type == core.PrincipalUser:
		return p.UserEntityRef
	default:
		return p.Subject
	}
}

// quiet keeps the log out of the report.
var quiet = backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
	return func(context.Context) (*slog.Logger, error) { return slog.New(slog.DiscardHandler), nil }
})

func freePorts(n int) (ports []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// get returns the body of an answer, with the status before it unless that is
// 200. Headers are names and values in turn.
func get(ctx context.Context, url string, header ...string) (string, http.Header) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error(), nil
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error(), nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err.Error(), nil
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%d %s", resp.StatusCode, text), resp.Header
	}
	return string(text), resp.Header
}

// until waits for an answer.
func until(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if _, header := get(ctx, url); header != nil && header.Get("Content-Type") == "text/plain; charset=utf-8" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the backend of the reference does not start")
		case <-time.After(200 * time.Millisecond):
		}
	}
}
