package actionsregistry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonschema"
	"github.com/flytower/flytower/defaults/actionsregistry"
	"github.com/flytower/flytower/internal/actionfilter"
	"github.com/flytower/flytower/internal/coretest"
)

var tokens = coretest.Tokens{
	"jane": core.UserCredentials("user:default/jane", "", core.NewToken("jane"), time.Time{}, false),
	"bob":  core.UserCredentials("user:default/bob", "", core.NewToken("bob"), time.Time{}, false),
}

// onlyJane allows everything to Jane and nothing to others.
type onlyJane struct{}

func (onlyJane) Authorize(_ context.Context, who core.Credentials, requests ...core.AuthorizeRequest) ([]core.AuthorizeResult, error) {
	results := make([]core.AuthorizeResult, len(requests))
	for i := range results {
		results[i] = core.Denied
		if who.Principal.UserEntityRef == "user:default/jane" {
			results[i] = core.Allowed
		}
	}
	return results, nil
}

func (onlyJane) AuthorizeConditional(context.Context, core.Credentials, ...core.Permission) ([]core.Decision, error) {
	return nil, apierr.NotImplemented("not asked here")
}

type permissionNames struct {
	core.PermissionsRegistryService // nothing else is asked
	names                           []string
}

func (p *permissionNames) AddPermissions(all ...core.Permission) error {
	for _, one := range all {
		p.names = append(p.names, one.Name)
	}
	return nil
}

// trail is an audit service that remembers.
type trail struct {
	mu      sync.Mutex
	entries []string
}

func (t *trail) Begin(_ context.Context, e core.AuditEvent) core.AuditRecord {
	return entry{t, fmt.Sprintf("%s %v %s", e.ID, e.Meta["actionId"], e.Severity)}
}

type entry struct {
	*trail
	text string
}

func (e entry) add(outcome string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.entries = append(e.entries, e.text+" "+outcome)
}
func (e entry) Success(context.Context, map[string]any)     { e.add("ok") }
func (e entry) Fail(context.Context, error, map[string]any) { e.add("failed") }

type greeting struct {
	Name string `json:"name" description:"n"`
}

func fixture(t *testing.T, filter actionfilter.Filter) (*httptest.Server, *trail, *permissionNames) {
	t.Helper()
	audit, names := &trail{}, &permissionNames{}
	r := actionsregistry.New(actionsregistry.Services{
		Plugin: "demo", Auth: tokens, Auditor: audit, Permissions: onlyJane{}, PermissionsRegistry: names,
	}, filter, actionsregistry.WithBodyLimit(1000))
	secret := core.NewPermission("demo.secret", "read")
	for _, a := range []core.Action{
		{
			Name: "greet", Title: "Greet", Description: "Greets", Input: jsonschema.For[greeting](),
			Output:     json.RawMessage(`{"type":"object","properties":{"text":{"type":"string"}},"required":["text"],"additionalProperties":false}`),
			Attributes: core.ActionAttributes{ReadOnly: true, Idempotent: true},
			Examples:   []core.ActionExample{{Description: "Jane", Input: json.RawMessage(`{"name":"Jane"}`)}},
			Run: func(_ context.Context, call core.ActionCall) (any, error) {
				var in greeting
				if err := json.Unmarshal(call.Input, &in); err != nil {
					return nil, err
				}
				switch in.Name {
				case "nobody":
					return nil, apierr.Conflict("nobody is here")
				case "broken":
					return map[string]any{"text": 1}, nil
				}
				return map[string]any{"text": "<" + in.Name + "> " + call.As.Principal.UserEntityRef, "extra": string(call.Input)}, nil
			},
		},
		{
			Name: "login", Secrets: json.RawMessage(`{"type":"object","properties":{"token":{"type":"string","pattern":"^t"}},"required":["token"],"additionalProperties":false}`),
			Run: func(_ context.Context, call core.ActionCall) (any, error) { return len(call.Secrets["token"]), nil },
		},
		{Name: "hidden", Visibility: &secret, Run: func(context.Context, core.ActionCall) (any, error) { return "seen", nil }},
	} {
		if err := r.Register(a); err != nil {
			t.Fatal(err)
		}
	}
	router := coretest.NewRouter()
	r.Mount(router)
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return server, audit, names
}

func call(t *testing.T, server *httptest.Server, method, path, token, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/.backstage/actions"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := server.Client().Do(req)
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

func TestList(t *testing.T) {
	t.Parallel()
	server, _, names := fixture(t, actionfilter.Filter{})
	status, body := call(t, server, "GET", "/v1/actions", "jane", "")
	if status != 200 {
		t.Fatalf("status %d: %s", status, body)
	}
	var got struct{ Actions []json.RawMessage }
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := `{"id":"demo:greet","name":"greet","title":"Greet","description":"Greets","pluginId":"demo",` +
		`"attributes":{"destructive":false,"idempotent":true,"readOnly":true},` +
		`"examples":[{"description":"Jane","input":{"name":"Jane"}}],` +
		`"schema":{"input":{"type":"object","properties":{"name":{"type":"string","description":"n"}},"required":["name"],"additionalProperties":false,"$schema":"http://json-schema.org/draft-07/schema#"},` +
		`"output":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"],"additionalProperties":false,"$schema":"http://json-schema.org/draft-07/schema#"}}}`
	if len(got.Actions) != 3 {
		t.Fatalf("%d actions, want 3: %s", len(got.Actions), body)
	}
	if diff := cmp.Diff(want, string(got.Actions[0])); diff != "" {
		t.Errorf("action (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(got.Actions[1]), `"attributes":{"destructive":true,"idempotent":false,"readOnly":false}`) {
		t.Errorf("defaults of attributes: %s", got.Actions[1])
	}
	if diff := cmp.Diff([]string{"demo.secret"}, names.names); diff != "" {
		t.Errorf("registered permissions (-want +got):\n%s", diff)
	}
	if _, body := call(t, server, "GET", "/v1/actions", "bob", ""); strings.Contains(body, "hidden") {
		t.Errorf("Bob sees what he may not: %s", body)
	}
}

func TestListIsFiltered(t *testing.T) {
	t.Parallel()
	server, _, _ := fixture(t, actionfilter.Filter{Exclude: []actionfilter.Rule{{Attributes: map[string]bool{"destructive": true}}}})
	if _, body := call(t, server, "GET", "/v1/actions", "jane", ""); strings.Contains(body, "login") || !strings.Contains(body, "greet") {
		t.Errorf("got %s", body)
	}
	server, _, _ = fixture(t, actionfilter.Filter{Sources: []string{"other"}})
	if _, body := call(t, server, "GET", "/v1/actions", "jane", ""); body != `{"actions":[]}` {
		t.Errorf("got %s", body)
	}
}

func TestInvoke(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, path, token, body string
		filter                  actionfilter.Filter
		status                  int
		want, not               string
		audit                   string
	}{
		{name: "v1", path: "/v1/actions/demo:greet/invoke", body: `{"name":"Jo"}`, status: 200, want: `{"output":{"text":"<Jo> user:default/jane"}}`, audit: "action-invoke demo:greet  ok"},
		{name: "escaped id", path: "/v1/actions/demo%3Agreet/invoke", body: `{"name":"Jo"}`, status: 200, want: `{"output":`},
		{name: "unknown input is dropped", path: "/v1/actions/demo:greet/invoke", body: `{"name":"Jo","more":1}`, status: 200, want: `{"output":`},
		{name: "v2", path: "/v2/actions/demo:greet/invoke", body: `{"input":{"name":"Jo"}}`, status: 200, want: `{"output":{"text":`},
		{name: "nobody", path: "/v1/actions/demo:greet/invoke", token: "-", body: `{}`, status: 403, want: `NotAllowedError`},
		{name: "unknown", path: "/v1/actions/demo:nope/invoke", body: `{}`, status: 404, want: `Action \"demo:nope\" not found`},
		{name: "filtered", path: "/v1/actions/demo:greet/invoke", body: `{"name":"Jo"}`, filter: actionfilter.Filter{Exclude: []actionfilter.Rule{{ID: "demo:g*"}}}, status: 404, want: `NotFoundError`},
		{name: "not visible", path: "/v1/actions/demo:hidden/invoke", token: "bob", body: `{}`, status: 404, want: `NotFoundError`},
		{name: "visible", path: "/v1/actions/demo:hidden/invoke", body: ``, status: 200, want: `{"output":"seen"}`, audit: "action-invoke demo:hidden medium ok"},
		{
			name: "bad input", path: "/v1/actions/demo:greet/invoke", body: `{}`, status: 400, audit: "action-invoke demo:greet  failed",
			want: `"cause":{"issues":[{"code":"invalid_type","expected":"string","received":"undefined","path":["name"],"message":"Required"}],"message":"name: Required","name":"ZodError"}`,
		},
		{name: "bad output", path: "/v1/actions/demo:greet/invoke", body: `{"name":"broken"}`, status: 500, want: `Invalid output`},
		{name: "action error", path: "/v1/actions/demo:greet/invoke", body: `{"name":"nobody"}`, status: 409, want: `"name":"ConflictError"`, audit: "action-invoke demo:greet  failed"},
		{name: "broken body", path: "/v1/actions/demo:greet/invoke", body: `{`, status: 400, want: `SyntaxError`},
		{name: "large body", path: "/v1/actions/demo:greet/invoke", body: `{"name":"` + strings.Repeat("x", 2000) + `"}`, status: 413, want: `PayloadTooLargeError`},
		{name: "v2 with a list", path: "/v2/actions/demo:greet/invoke", body: `[]`, status: 400, want: `InputError`},
		{name: "secrets", path: "/v2/actions/demo:login/invoke", body: `{"secrets":{"token":"tttt"}}`, status: 200, want: `{"output":4}`},
		{name: "secrets missing", path: "/v1/actions/demo:login/invoke", body: `{}`, status: 400, want: `requires secrets`},
		{name: "secrets unexpected", path: "/v2/actions/demo:greet/invoke", body: `{"input":{"name":"Jo"},"secrets":{"token":"t"}}`, status: 400, want: `does not take secrets`},
		{name: "secrets are not repeated", path: "/v2/actions/demo:login/invoke", body: `{"secrets":{"token":"hunter2"}}`, status: 400, want: `Invalid secrets`, not: "hunter2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server, audit, _ := fixture(t, tc.filter)
			token := "jane"
			if tc.token != "" {
				token = strings.Trim(tc.token, "-")
			}
			status, body := call(t, server, "POST", tc.path, token, tc.body)
			if status != tc.status || !strings.Contains(body, tc.want) || tc.not != "" && strings.Contains(body, tc.not) {
				t.Errorf("status %d, want %d; body %s, want %s", status, tc.status, body, tc.want)
			}
			if tc.audit != "" {
				if diff := cmp.Diff([]string{tc.audit}, audit.entries); diff != "" {
					t.Errorf("audit trail (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestRegisterErrors(t *testing.T) {
	t.Parallel()
	run := func(context.Context, core.ActionCall) (any, error) { return nil, nil }
	for _, tc := range []struct {
		action core.Action
		want   string
	}{
		{core.Action{Run: run}, "without a name"},
		{core.Action{Name: "x"}, "no Run function"},
		{core.Action{Name: "dup", Run: run}, "registered before"},
		{core.Action{Name: "x", Run: run, Output: json.RawMessage(`{"type":"odd"}`)}, "action demo:x: output"},
	} {
		r := actionsregistry.New(actionsregistry.Services{Plugin: "demo"}, actionfilter.Filter{})
		if err := r.Register(core.Action{Name: "dup", Run: run}); err != nil {
			t.Fatal(err)
		}
		if err := r.Register(tc.action); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want %q", err, tc.want)
		}
	}
}
