package auth_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/auth"
	"github.com/flytower/flytower/internal/configtest"
)

// router has the handlers of the plugins of a process.
type router struct {
	core.HTTPRoot
	mounts map[string]http.Handler
}

func (r router) Handler(path string) (http.Handler, bool) { h, ok := r.mounts[path]; return h, ok }

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestKeysOfUsersOfThisProcessTakeNoNetwork(t *testing.T) {
	t.Parallel()
	users := newIssuer(t)
	var asked atomic.Int32
	signIn := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1); r.URL.Path != "/.well-known/jwks.json" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		apierr.WriteJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: users.keys})
	})
	offline := &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		t.Errorf("%s went to the network", r.URL)
		return nil, http.ErrServerClosed
	})}
	c := newClock()
	p := &process{places: &places{}, clock: c, users: users}
	shared, err := auth.New(configtest.FromYAML(t, "{}"), slog.New(slog.DiscardHandler), router{mounts: map[string]http.Handler{"/api/auth": signIn}}, nil,
		auth.WithClock(c.now), auth.WithHTTPClient(offline))
	if err != nil {
		t.Fatal(err)
	}
	p.use(t, shared)
	for range 3 {
		if !p.ok(t, users.user("user:default/jane", c.now())) {
			t.Error("the token is not good")
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the auth plugin was asked %d times", n)
	}
	if users.fetches.Load() != 0 {
		t.Error("the auth plugin elsewhere was asked")
	}
}

func TestUsersOfAnAuthPluginThatIsPlacedElsewhere(t *testing.T) {
	t.Parallel()
	users := newIssuer(t)
	here := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("the auth plugin of this process was asked")
		w.WriteHeader(http.StatusNotFound)
	})
	c := newClock()
	p := &process{places: &places{elsewhere: []string{"auth"}}, clock: c, users: users}
	p.places.set("auth", users.url)
	shared, err := auth.New(configtest.FromYAML(t, "{}"), slog.New(slog.DiscardHandler), router{mounts: map[string]http.Handler{"/api/auth": here}}, nil, auth.WithClock(c.now))
	if err != nil {
		t.Fatal(err)
	}
	p.use(t, shared)
	if !p.ok(t, users.user("user:default/jane", c.now())) {
		t.Error("the token is not good")
	}
}

func TestConfigSchema(t *testing.T) {
	t.Parallel()
	var check func(path string, schema map[string]any)
	check = func(path string, schema map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		for name, v := range properties {
			p, _ := v.(map[string]any)
			if path != "" && path != ".backend" && p["description"] == nil && p["anyOf"] == nil {
				t.Errorf("%s.%s has no description", path, name)
			}
			check(path+"."+name, p)
		}
		if items, ok := schema["items"].(map[string]any); ok {
			check(path+"[]", items)
		}
	}
	var schema map[string]any
	if err := json.Unmarshal([]byte(auth.ConfigSchema), &schema); err != nil {
		t.Fatal(err)
	}
	check("", schema)
}
