package scaffoldermoduleutils_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	scaffolderbackend "github.com/flytower/flytower/plugins/scaffolder-backend"
	scaffoldermoduleutils "github.com/flytower/flytower/plugins/scaffolder-backend-module-utils"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
)

// received is what a plugin that is called notes of a request.
type received struct {
	Line, Who, Idempotency, Type, Body string
}

// desk is a plugin that notes requests.
type desk struct {
	mu  sync.Mutex
	all []received
}

func (d *desk) feature() backend.Feature {
	return backend.NewPlugin("desk", func(env *backend.PluginEnv) backend.InitFunc {
		router, auth := core.HTTPRouter.From(env), core.HTTPAuth.From(env)
		return func(context.Context) error {
			answer := func(w http.ResponseWriter, r *http.Request) error {
				who, err := auth().Credentials(r, core.Allow{User: true, Service: true})
				if err != nil {
					return err
				}
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return err
				}
				d.mu.Lock()
				defer d.mu.Unlock()
				d.all = append(d.all, received{r.Method + " " + r.URL.RequestURI(), who.Principal.UserEntityRef, r.Header.Get("Idempotency-Key"), r.Header.Get("Content-Type"), string(body)})
				switch {
				case strings.HasPrefix(r.URL.Path, "/broken"):
					w.Header().Set("Content-Type", "text/plain")
					w.WriteHeader(http.StatusBadGateway)
					_, err = io.WriteString(w, "out of order")
				case strings.HasPrefix(r.URL.Path, "/long"):
					_, err = io.Copy(w, io.LimitReader(endless{}, 11<<20))
				default:
					w.Header().Set("Content-Type", "application/json; charset=utf-8")
					_, err = fmt.Fprintf(w, `{"z":%d,"a":[1]}`, len(d.all))
				}
				return err
			}
			for _, path := range []string{"/tickets", "/broken", "/long"} {
				router().HandleErr(path, answer)
			}
			return nil
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// open starts a backend with the desk and the scaffolder, and returns the
// requests that the desk gets and the action.
func open(t *testing.T) (*desk, scaffoldernode.Action, actiontest.Option) {
	t.Helper()
	d := &desk{}
	s := backendtest.Start(t, backendtest.SQLite(t), backendtest.Silent(), scaffolderbackend.Plugin, scaffoldermoduleutils.Module, d.feature())
	peers := backendtest.Service(t, s, "scaffolder", core.PluginClient)
	who := backendtest.User("user:default/ada").Credentials()
	for _, a := range scaffoldermoduleutils.Actions(peers) {
		if a.ID == "http:backstage:request" {
			return d, a, actiontest.WithContext(func(c *scaffoldernode.ActionContext) { c.Host = as{c.Host, who} })
		}
	}
	t.Fatal("there is no such action")
	return nil, scaffoldernode.Action{}, nil
}

// as is a host with an initiator.
type as struct {
	scaffoldernode.ActionHost
	who core.Credentials
}

func (h as) InitiatorCredentials(context.Context) (core.Credentials, error) { return h.who, nil }

func TestRequestsReachPluginsForTheInitiator(t *testing.T) {
	t.Parallel()
	d, a, initiator := open(t)
	run := actiontest.Run(t, a, map[string]any{
		"method": "POST", "path": "desk/tickets?b=1", "params": map[string]any{"a": "x y"}, "body": map[string]any{"title": "<new>"},
	}, initiator)
	if run.Err != nil {
		t.Fatal(run.Err)
	}
	if diff := cmp.Diff(map[string]any{"a": []any{1.0}, "z": 1.0}, run.Outputs["body"]); diff != "" || run.Outputs["code"] != 200.0 {
		t.Errorf("the outputs are %v\n%s", run.Outputs, diff)
	}
	headers, _ := run.Outputs["headers"].(map[string]any)
	if headers["content-type"] != "application/json; charset=utf-8" {
		t.Errorf("the headers are %v", headers)
	}
	again := actiontest.Run(t, a, map[string]any{
		"method": "POST", "path": "desk/tickets?b=1", "params": map[string]any{"a": "x y"}, "body": map[string]any{"title": "<new>"},
	}, initiator, actiontest.After(run))
	if diff := cmp.Diff(run.Outputs, again.Outputs); diff != "" {
		t.Errorf("after a crash the outputs are others (-first +second):\n%s", diff)
	}
	actiontest.Run(t, a, map[string]any{"method": "GET", "path": "/api/desk/tickets"}, initiator)
	actiontest.Run(t, a, map[string]any{"method": "PUT", "path": "/desk/tickets", "body": "plain", "headers": map[string]any{"content-type": "text/x"}}, initiator,
		actiontest.WithContext(func(c *scaffoldernode.ActionContext) { c.Iteration = "1" }))
	actiontest.Run(t, a, map[string]any{"method": "GET", "path": "/desk/tickets", "useBackstageToken": true}, initiator,
		actiontest.WithContext(func(c *scaffoldernode.ActionContext) {
			c.Secrets["backstageToken"] = backendtest.User("user:default/eve").Credentials().Token()
		}))
	dry := actiontest.WithContext(func(c *scaffoldernode.ActionContext) { c.DryRun = true })
	if run := actiontest.Run(t, a, map[string]any{"method": "DELETE", "path": "/desk/tickets"}, initiator, dry); run.Err != nil || len(run.Outputs) != 0 {
		t.Errorf("a dry run gives %v, %v", run.Outputs, run.Err)
	}
	key := d.all[0].Idempotency
	want := []received{
		{"POST /tickets?a=x+y&b=1", "user:default/ada", key, "application/json", `{"title":"\u003cnew\u003e"}`},
		{"GET /tickets", "user:default/ada", key, "", ""},
		{"PUT /tickets", "user:default/ada", d.all[2].Idempotency, "text/x", "plain"},
		{"GET /tickets", "user:default/eve", key, "", ""},
	}
	if diff := cmp.Diff(want, d.all); diff != "" || len(key) != 32 || d.all[2].Idempotency == key {
		t.Errorf("key %q (-want +got):\n%s", key, diff)
	}
}

func TestBadAnswers(t *testing.T) {
	t.Parallel()
	d, a, initiator := open(t)
	failing := map[string]any{"method": "POST", "path": "/desk/broken"}
	first := actiontest.Run(t, a, failing, initiator)
	if first.Err == nil || first.Err.Error() != "Unable to complete request" || !strings.Contains(first.Log, "out of order") {
		t.Errorf("got %v; the log is %q", first.Err, first.Log)
	}
	failing["continueOnBadResponse"] = true
	again := actiontest.Run(t, a, failing, initiator, actiontest.After(first))
	if diff := cmp.Diff(map[string]any{"message": "out of order"}, again.Outputs["body"]); diff != "" || again.Outputs["code"] != 502.0 || len(d.all) != 2 {
		t.Errorf("%v after %d requests: %v", again.Outputs, len(d.all), again.Err)
	}
	if run := actiontest.Run(t, a, map[string]any{"method": "GET", "path": "/desk/long"}, initiator); run.Err == nil || !strings.Contains(run.Err.Error(), "larger than 10 MB") {
		t.Errorf("a long answer gives %v", run.Err)
	}
	if run := actiontest.Run(t, a, map[string]any{"method": "GET", "path": "/desk/tickets"}); run.Err == nil {
		t.Error("a request without an initiator was answered")
	}
}

// offBackend are paths that try to lead away from the routes of plugins.
var offBackend = []string{
	"", "/", "//evil.example/x", "https://evil.example/x", "http:evil.example", "/../desk/tickets", "desk/../../x", "desk/%2e%2e/x", "desk/%2E./x",
	`desk\..\x`, "desk/a%2f..%2fb", "desk/a%5c..", "desk@evil.example/x", "evil.example:80/x", "/desk/tickets#x", "desk/tick\nets", "/api/", "/api//x", "desk/ x", "[::1]/x",
}

func TestRequestsStayOnTheBackend(t *testing.T) {
	t.Parallel()
	d, a, initiator := open(t)
	for _, path := range offBackend {
		if run := actiontest.Run(t, a, map[string]any{"method": "GET", "path": path}, initiator); run.Err == nil {
			t.Errorf("the path %q was called", path)
		}
	}
	for name, value := range map[string]string{"Host": "evil.example", "idempotency-key": "1", "x-forwarded-for": "127.0.0.1", "a b": "x", "X-A": "x\r\nHost: evil.example"} {
		if run := actiontest.Run(t, a, map[string]any{"method": "GET", "path": "/desk/tickets", "headers": map[string]any{name: value}}, initiator); run.Err == nil {
			t.Errorf("the header %s was sent", name)
		}
	}
	if len(d.all) > 0 {
		t.Errorf("the desk was asked for %v", d.all)
	}
}
