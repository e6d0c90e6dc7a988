package coretest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonschema"
	"github.com/flytower/flytower/defaults/actionsregistry"
	"github.com/flytower/flytower/defaults/auditor"
	"github.com/flytower/flytower/defaults/cache"
	"github.com/flytower/flytower/defaults/events"
	"github.com/flytower/flytower/defaults/metrics"
	"github.com/flytower/flytower/defaults/permissions"
	"github.com/flytower/flytower/defaults/rootconfig"
	"github.com/flytower/flytower/defaults/telemetry"
	"github.com/flytower/flytower/defaults/tracing"
)

const appConfig = `
app: { baseUrl: "http://localhost:3000" }
backend:
  baseUrl: http://localhost:7007
  listen: 127.0.0.1:0
  database: { client: better-sqlite3, connection: ":memory:" }
  auth:
    externalAccess:
      - type: static
        options: { token: outside-token, subject: ci }
  actions: { pluginSources: [demo] }
  auditor: { severityLogLevelMappings: { low: info } }
permission: { enabled: true }
events: { useEventBus: auto }
`

// schemas are those of the services of this family.
func schemas() map[string]string {
	return map[string]string{
		"actions": actionsregistry.ConfigSchema, "auditor": auditor.ConfigSchema, "cache": cache.ConfigSchema,
		"events": events.ConfigSchema, "metrics": metrics.ConfigSchema, "permissions": permissions.ConfigSchema,
		"telemetry": telemetry.ConfigSchema, "tracing": tracing.ConfigSchema,
	}
}

func TestEveryConfigKeyIsDescribed(t *testing.T) {
	t.Parallel()
	for name, text := range schemas() {
		var schema map[string]any
		if err := json.Unmarshal([]byte(text), &schema); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := jsonschema.Compile(json.RawMessage(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		undescribed(t, name, schema)
	}
}

func undescribed(t *testing.T, at string, schema map[string]any) {
	t.Helper()
	for _, group := range []string{"properties", "definitions"} {
		members, _ := schema[group].(map[string]any)
		for key, v := range members {
			sub := v.(map[string]any)
			if key != "backend" && sub["description"] == nil && sub["$ref"] == nil {
				t.Errorf("%s.%s has no description", at, key)
			}
			undescribed(t, at+"."+key, sub)
		}
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if sub, ok := schema[key].(map[string]any); ok {
			undescribed(t, at+"[]", sub)
		}
	}
	list, _ := schema["anyOf"].([]any)
	for _, sub := range list {
		undescribed(t, at, sub.(map[string]any))
	}
}

// start starts a backend with all defaults and returns its address.
func start(t *testing.T, features ...backend.Feature) (b *backend.Backend, url string) {
	t.Helper()
	b = flytower.New(flytower.WithConfig(rootconfig.Options{
		Args: []string{}, Env: []string{}, FS: fstest.MapFS{"app-config.yaml": {Data: []byte(appConfig)}},
		Schemas: slices.Collect(maps.Values(schemas())),
	}))
	b.Add(features...)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	server, err := backend.Get(b, core.RootHTTPRouter)
	if err != nil {
		t.Fatal(err)
	}
	return b, "http://" + server.Addr().String()
}

func get(t *testing.T, method, url, token, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

type greeting struct {
	Name string `json:"name"`
}

// demo uses every service of this family.
func demo(told chan<- string) backend.Feature {
	return backend.NewPlugin("demo", func(env *backend.PluginEnv) backend.InitFunc {
		router, actions, registry := core.HTTPRouter.From(env), core.ActionsRegistry.From(env), core.PermissionsRegistry.From(env)
		client, permissions, cache := core.Actions.From(env), core.Permissions.From(env), core.Cache.From(env)
		events, meter, tracer, auth := core.Events.From(env), core.Metrics.From(env), core.Tracing.From(env), core.HTTPAuth.From(env)
		return func(ctx context.Context) error {
			counter, err := meter().Int64Counter("demo.greetings")
			if err != nil {
				return err
			}
			if err := registry().AddPermissions(core.NewPermission("demo.use", "read")); err != nil {
				return err
			}
			err = actions().Register(core.Action{
				Name: "greet", Input: jsonschema.For[greeting](), Attributes: core.ActionAttributes{ReadOnly: true},
				Run: func(ctx context.Context, call core.ActionCall) (any, error) {
					var in greeting
					if err := json.Unmarshal(call.Input, &in); err != nil {
						return nil, err
					}
					return "hello " + in.Name, core.InSpan(ctx, tracer(), "greet", func(ctx context.Context) error {
						counter.Add(ctx, 1, metric.WithAttributes())
						if err := cache().Set(ctx, "last", in, time.Minute); err != nil {
							return err
						}
						return events().Publish(ctx, core.Event{Topic: "greeted", Payload: call.Input})
					})
				},
			})
			if err != nil {
				return err
			}
			err = events().Subscribe(ctx, core.Subscription{ID: "log", Topics: []string{"greeted"}, OnEvent: func(_ context.Context, e core.Event) error {
				told <- string(e.Payload)
				return nil
			}})
			if err != nil {
				return err
			}
			router().HandleErr("GET /all/{what}", func(w http.ResponseWriter, r *http.Request) error {
				who, err := auth().Credentials(r, core.Allow{Service: true})
				if err != nil {
					return err
				}
				allowed, err := permissions().Authorize(r.Context(), who, core.AuthorizeRequest{Permission: core.NewPermission("demo.use", "read")})
				if err != nil {
					return err
				}
				list, err := client().List(r.Context(), who)
				if err != nil {
					return err
				}
				var last greeting
				found, err := cache().Get(r.Context(), "last", &last)
				fmt.Fprint(w, allowed[0], " ", len(list), " ", found, " ", last.Name)
				return err
			})
			return nil
		}
	})
}

func TestTheDefaultsFitTogether(t *testing.T) {
	t.Parallel()
	told := make(chan string, 1)
	_, url := start(t, demo(told))
	const token = "outside-token"

	status, body := get(t, "POST", url+"/api/demo/.backstage/actions/v1/actions/demo%3Agreet/invoke", token, `{"name":"Jane"}`)
	if status != 200 || body != `{"output":"hello Jane"}` {
		t.Errorf("invoke: %d %s", status, body)
	}
	if got := <-told; got != `{"name":"Jane"}` {
		t.Errorf("the subscriber was told %s", got)
	}
	if status, body = get(t, "GET", url+"/api/demo/all/of-it", token, ""); status != 200 || body != "ALLOW 1 true Jane" {
		t.Errorf("client side: %d %s", status, body)
	}
	status, body = get(t, "GET", url+"/api/demo/.well-known/backstage/permissions/metadata", token, "")
	if want := `{"permissions":[{"type":"basic","name":"demo.use","attributes":{"action":"read"}}],"rules":[]}`; status != 200 || body != want {
		t.Errorf("metadata: %d %s", status, body)
	}
	if status, body = get(t, "GET", url+"/api/demo/.backstage/actions/v1/actions", "", ""); status != 401 {
		t.Errorf("without credentials: %d %s", status, body)
	}

	status, body = get(t, "GET", url+"/metrics", "", "")
	if status != 200 {
		t.Fatalf("metrics: %d %s", status, body)
	}
	for _, want := range []string{
		`demo_greetings_total{otel_scope_name="backstage-plugin-demo"`,
		`http_server_request_duration_seconds_count{backstage_plugin_id="demo",http_request_method="GET",http_response_status_code="200",http_route="/all/{what}"`,
		`http_response_status_code="401"`,
		`flytower_plugin_state{backstage_plugin_id="demo"`,
		`flytower_plugin_panics_total{backstage_plugin_id="demo"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if t.Failed() {
		for line := range strings.SplitSeq(body, "\n") {
			if strings.HasPrefix(line, "http_server") || strings.HasPrefix(line, "flytower") || strings.HasPrefix(line, "demo") {
				t.Log(line)
			}
		}
	}
}
