package permissionbackend_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	permissionbackend "github.com/flytower/flytower/plugins/permission-backend"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

// policyModule brings a policy.
func policyModule(f permissionnode.PolicyFunc) backend.Feature {
	return backend.NewModule("permission", "test-policy", func(env *backend.ModuleEnv) backend.InitFunc {
		policies := permissionnode.Policies.From(env)
		return func(context.Context) error { return policies().SetPolicy(f) }
	})
}

// A shelf has books; a rule tells those of an author.
var (
	book     = permissionnode.ResourceType{Plugin: "shelf", Type: "book"}
	isAuthor = permissionnode.NewRule[author](book, "IS_AUTHOR")
	authors  = map[string]string{"emma": "austen", "ulysses": "joyce", "persuasion": "austen"}
)

type author struct {
	Name string `json:"name"`
}

// calls counts how often something was asked.
type calls struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *calls) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[what]++
}

func (c *calls) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = nil
	return n
}

// shelf is a plugin with books.
func shelf(loads *calls) backend.Feature {
	return backend.NewPlugin("shelf", func(env *backend.PluginEnv) backend.InitFunc {
		registry := core.PermissionsRegistry.From(env)
		return func(context.Context) error {
			return registry().AddResourceType(core.ResourceType{
				Type: book.Type,
				Rules: []core.PermissionRule{{
					Name: "IS_AUTHOR", ParamsSchema: json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}`),
					Apply: func(resource any, raw json.RawMessage) (bool, error) {
						var p author
						err := json.Unmarshal(raw, &p)
						return resource == p.Name, err
					},
				}},
				GetResources: func(_ context.Context, refs []string) ([]any, error) {
					loads.add(strings.Join(refs, " "))
					out := make([]any, len(refs))
					for i, ref := range refs {
						if a, ok := authors[ref]; ok {
							out[i] = a
						}
					}
					return out, nil
				},
			})
		}
	})
}

// decide is the policy of these tests: the name of a permission says what it
// decides.
func decide(_ context.Context, q permissionnode.Query, user *permissionnode.User) (core.Decision, error) {
	verb, arg, _ := strings.Cut(q.Permission.Name, ":")
	switch verb {
	case "allow":
		return permissionnode.Allow(), nil
	case "deny":
		return permissionnode.Deny(), nil
	case "by":
		return book.When(isAuthor.With(author{arg})), nil
	case "notby":
		return book.When(permissionnode.Not(isAuthor.With(author{arg}))), nil
	case "for":
		if user != nil && strings.Contains(strings.Join(user.Info.OwnershipEntityRefs, " ")+" "+user.Credentials.Principal.Actor, arg) {
			return permissionnode.Allow(), nil
		}
		return permissionnode.Deny(), nil
	case "elsewhere":
		return permissionnode.ResourceType{Plugin: "missing", Type: "book"}.When(isAuthor.With(author{"x"})), nil
	case "unknownrule":
		return book.When(permissionnode.NewRule[author](book, "NONE").With(author{"x"})), nil
	case "badparams":
		return book.When(permissionnode.NewRule[[]int](book, "IS_AUTHOR").With([]int{1})), nil
	case "empty":
		return book.When(permissionnode.AllOf()), nil
	case "odd":
		return core.Decision{Result: "PERHAPS"}, nil
	case "none":
		return core.Decision{}, nil
	case "named":
		return core.Decision{}, apierr.ServiceUnavailable("the oracle sleeps")
	case "error":
		return core.Decision{}, errors.New("secret: 42")
	default:
		panic("no such permission")
	}
}

// item is an item of a request, in JSON.
func item(id, name, ref string) string {
	p := fmt.Sprintf(`{"type":"basic","name":%q,"attributes":{}}`, name)
	if ref != "" {
		p = fmt.Sprintf(`{"type":"resource","name":%q,"attributes":{"action":"read"},"resourceType":"book"}`, name)
	}
	if ref == "" || ref == "-" {
		return fmt.Sprintf(`{"id":%q,"permission":%s}`, id, p)
	}
	return fmt.Sprintf(`{"id":%q,"permission":%s,"resourceRef":%s}`, id, p, ref)
}

func items(all ...string) json.RawMessage {
	return json.RawMessage(`{"items":[` + strings.Join(all, ",") + `]}`)
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	var loads calls
	srv := backendtest.Start(t, permissionbackend.Plugin, policyModule(decide), shelf(&loads),
		backendtest.YAML("permission: {enabled: true}"), backendtest.Ownership("user:default/jane", "group:default/editors"), backendtest.Silent())
	jane, search := backendtest.User("user:default/jane"), backendtest.UserThrough("user:default/jane", "plugin:search")
	conditional := `{"id":"1","result":"CONDITIONAL","pluginId":"shelf","resourceType":"book","conditions":{"rule":"IS_AUTHOR","resourceType":"book","params":{"name":"austen"}}}`
	for _, tt := range []struct {
		name   string
		as     backendtest.Identity
		body   any
		status int
		want   string // the items, or a part of the error
		loads  map[string]int
	}{
		{name: "nothing", as: jane, body: items(), status: 200, want: `[]`},
		{name: "basic", as: jane, body: items(item("1", "allow", ""), item("2", "deny", "")), status: 200, want: `[{"id":"1","result":"ALLOW"},{"id":"2","result":"DENY"}]`},
		{name: "one id twice", as: jane, body: items(item("1", "allow", ""), item("1", "deny", "")), status: 200, want: `[{"id":"1","result":"ALLOW"},{"id":"1","result":"DENY"}]`},
		{name: "a definite decision for a list", as: jane, body: items(item("1", "allow", `["emma","x"]`)), status: 200, want: `[{"id":"1","result":"ALLOW"}]`},
		{
			name: "conditions are applied once for all items", as: jane, status: 200,
			body: items(item("1", "by:austen", `"emma"`), item("2", "allow", `"emma"`), item("3", "by:austen", `["ulysses","emma","gone"]`), item("4", "notby:austen", `["ulysses","gone"]`)),
			want: `[{"id":"1","result":"ALLOW"},{"id":"2","result":"ALLOW"},{"id":"3","result":["DENY","ALLOW","DENY"]},{"id":"4","result":["ALLOW","DENY"]}]`, loads: map[string]int{"emma ulysses gone": 1},
		},
		{name: "a plugin gets the conditions", as: search, body: items(item("1", "by:austen", "-"), item("2", "deny", "-")), status: 200, want: `[` + conditional + `,{"id":"2","result":"DENY"}]`},
		{name: "an empty ref is none", as: search, body: items(item("1", "by:austen", `""`)), status: 200, want: `[` + conditional + `]`},
		{name: "ownership", as: jane, body: items(item("1", "for:group:default/editors", ""), item("2", "for:group:default/others", "")), status: 200, want: `[{"id":"1","result":"ALLOW"},{"id":"2","result":"DENY"}]`},
		{name: "the policy sees the plugin", as: search, body: items(item("1", "for:plugin:search", "")), status: 200, want: `[{"id":"1","result":"ALLOW"}]`},
		{name: "unknown members", as: jane, body: json.RawMessage(`{"items":[{"id":"1","x":1,"permission":{"type":"basic","name":"allow","attributes":{"y":2},"resourceType":"book","z":3}}],"w":4}`), status: 200, want: `[{"id":"1","result":"ALLOW"}]`},

		{name: "a user without a ref", as: jane, body: items(item("1", "by:austen", "-")), status: 400, want: "Direct user requests without a resourceRef are not allowed"},
		{name: "a user with an empty ref", as: jane, body: items(item("1", "by:austen", `""`)), status: 400, want: "Direct user requests"},
		{name: "nobody", as: backendtest.Nobody(), body: items(), status: 401, want: "Missing credentials"},
		{name: "service", as: backendtest.Caller("plugin:search"), body: items(), status: 403, want: "This endpoint does not allow 'service' credentials"},

		{name: "no items", as: jane, body: json.RawMessage(`{}`), status: 400, want: "no list of items"},
		{name: "no body", as: jane, status: 400, want: "no list of items"},
		{name: "id of another type", as: jane, body: json.RawMessage(`{"items":[{"id":1}]}`), status: 400, want: "must be a string"},
		{name: "no id", as: jane, body: json.RawMessage(`{"items":[{"permission":{"type":"basic","name":"x","attributes":{}}}]}`), status: 400, want: "items[0]: id is missing"},
		{name: "no permission", as: jane, body: json.RawMessage(`{"items":[{"id":"1"}]}`), status: 400, want: "permission is missing"},
		{name: "another type", as: jane, body: json.RawMessage(`{"items":[{"id":"1","permission":{"type":"other","name":"x","attributes":{}}}]}`), status: 400, want: "basic or resource"},
		{name: "no name", as: jane, body: json.RawMessage(`{"items":[{"id":"1","permission":{"type":"basic","attributes":{}}}]}`), status: 400, want: "name is missing"},
		{name: "no attributes", as: jane, body: json.RawMessage(`{"items":[{"id":"1","permission":{"type":"basic","name":"x"}}]}`), status: 400, want: "attributes is missing"},
		{name: "another action", as: jane, body: json.RawMessage(`{"items":[{"id":"1","permission":{"type":"basic","name":"x","attributes":{"action":"fly"}}}]}`), status: 400, want: "create, read, update or delete"},
		{name: "no resource type", as: jane, body: json.RawMessage(`{"items":[{"id":"1","permission":{"type":"resource","name":"x","attributes":{}}}]}`), status: 400, want: "resourceType is missing"},
		{name: "ref for a basic permission", as: jane, body: json.RawMessage(`{"items":[{"id":"1","permission":{"type":"basic","name":"x","attributes":{}},"resourceRef":"a"}]}`), status: 400, want: "this is a basic one"},
		{name: "null ref", as: jane, body: items(item("1", "allow", `null`)), status: 400, want: "a string or a list of strings"},
		{name: "empty list of refs", as: jane, body: items(item("1", "allow", `[]`)), status: 400, want: "empty list"},
		{name: "list with null", as: jane, body: items(item("1", "allow", `["a",null]`)), status: 400, want: "null in the list"},
		{name: "list of numbers", as: jane, body: items(item("1", "allow", `[1]`)), status: 400, want: "list of strings"},

		{name: "conditional basic permission", as: jane, body: items(item("1", "by:austen", "")), status: 500, want: "Conditional decision returned from permission policy for non-resource permission by:austen"},
		{name: "conditions of another type", as: jane, body: json.RawMessage(`{"items":[{"id":"1","permission":{"type":"resource","name":"by:x","attributes":{},"resourceType":"film"},"resourceRef":"a"}]}`), status: 500, want: "Invalid resource conditions returned from permission policy for permission by:x"},
		{name: "empty conditions", as: jane, body: items(item("1", "empty", `"emma"`)), status: 500, want: "criteria.allOf must not be empty"},
		{name: "an unknown decision", as: jane, body: items(item("1", "odd", "")), status: 500, want: "PERHAPS"},
		{name: "no decision", as: jane, body: items(item("1", "none", "")), status: 500, want: "want ALLOW"},
		{name: "a plugin that is nowhere", as: jane, body: items(item("1", "elsewhere", `"a"`)), status: 404, want: "the plugin missing did not apply the conditions"},
		{name: "an unknown rule", as: jane, body: items(item("1", "unknownrule", `"emma"`)), status: 500, want: "Permission rule 'NONE' does not exist"},
		{name: "bad parameters", as: jane, body: items(item("1", "badparams", `"emma"`)), status: 400, want: "Parameters to rule are invalid", loads: map[string]int{"emma": 1}},
		{name: "a policy with a named error", as: jane, body: items(item("1", "allow", ""), item("2", "named", "")), status: 503, want: "the oracle sleeps"},
		{name: "a policy with another error", as: jane, body: items(item("1", "allow", ""), item("2", "error", "")), status: 500, want: "An internal error occurred"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			loads.take()
			answer := srv.Client(t).As(tt.as).Post("/api/permission/authorize", tt.body).Expect(tt.status)
			if tt.status != http.StatusOK {
				if text := answer.Text(); !strings.Contains(text, tt.want) || strings.Contains(text, "secret") || strings.Contains(text, `"result"`) {
					t.Errorf("the error is %s\nand should have: %s", text, tt.want)
				}
				if tt.loads == nil {
					return
				}
			} else if want := `{"items":` + tt.want + `}`; answer.Text() != want {
				t.Errorf("got  %s\nwant %s", answer.Text(), want)
			}
			if diff := cmp.Diff(tt.loads, loads.take()); diff != "" {
				t.Errorf("the shelf was asked for (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHealthIsPublic(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, permissionbackend.Plugin, policyModule(decide), backendtest.YAML("permission: {enabled: true}"))
	if got := srv.Client(t).As(backendtest.Nobody()).Get("/api/permission/health").Expect(200).Text(); got != `{"status":"ok"}` {
		t.Error(got)
	}
	srv.Client(t).As(backendtest.User("")).Get("/api/permission/.well-known/backstage/permissions/metadata").Expect(404)
}

// A policy is asked once for each permission of a request, however many
// resources there are.
func TestThePolicyIsAskedOncePerPermission(t *testing.T) {
	t.Parallel()
	var asked, loads calls
	srv := backendtest.Start(t, permissionbackend.Plugin, shelf(&loads), backendtest.YAML("permission: {enabled: true}"),
		policyModule(func(ctx context.Context, q permissionnode.Query, user *permissionnode.User) (core.Decision, error) {
			asked.add(q.Permission.Name)
			return decide(ctx, q, user)
		}))
	var all []string
	for i := range 50 {
		id := strconv.Itoa(i)
		all = append(all, item(id, "by:austen", `"book`+id+`"`), item(id, "by:joyce", `"ulysses"`), item(id, "allow", ""))
	}
	srv.Client(t).As(backendtest.User("")).Post("/api/permission/authorize", items(all...)).Expect(200)
	if diff := cmp.Diff(map[string]int{"by:austen": 1, "by:joyce": 1, "allow": 1}, asked.take()); diff != "" {
		t.Error(diff)
	}
	if n := len(loads.take()); n != 1 {
		t.Errorf("the shelf was asked %d times", n)
	}
}

// A panic of a policy fails the request, and nothing else.
func TestPanicsFailClosed(t *testing.T) {
	t.Parallel()
	var loads calls
	srv := backendtest.Start(t, permissionbackend.Plugin, policyModule(decide), shelf(&loads), backendtest.AllowPanics(), backendtest.Silent())
	c := srv.Client(t).As(backendtest.User(""))
	for _, body := range []any{items(item("1", "panic", "")), items(item("1", "allow", ""), item("2", "panic", ""))} {
		if text := c.Post("/api/permission/authorize", body).Expect(500).Text(); strings.Contains(text, "ALLOW") {
			t.Error(text)
		}
	}
	c.Post("/api/permission/authorize", items(item("1", "allow", ""))).Expect(200)
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, permissionbackend.New(permissionbackend.WithBodyLimit(1000)), policyModule(decide), backendtest.Silent())
	c := srv.Client(t).As(backendtest.User(""))
	c.Post("/api/permission/authorize", items(item("1", "allow", ""))).Expect(200)
	c.Post("/api/permission/authorize", items(item("1", "allow", `"`+strings.Repeat("x", 1000)+`"`))).Expect(413)
}

// A megabyte of refs is no problem with the default limit.
func TestLargeRequests(t *testing.T) {
	t.Parallel()
	var loads calls
	srv := backendtest.Start(t, permissionbackend.Plugin, policyModule(decide), shelf(&loads))
	refs := make([]string, 20_000)
	for i := range refs {
		refs[i] = fmt.Sprintf("book-with-a-rather-long-name-to-fill-the-body-%d", i)
	}
	refs[7] = "emma"
	list, err := json.Marshal(refs)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Items []struct{ Result []core.AuthorizeResult }
	}
	text := srv.Client(t).As(backendtest.User("")).Post("/api/permission/authorize", items(item("1", "by:austen", string(list)))).Expect(200).Body
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	got := answer.Items[0].Result
	if len(got) != len(refs) || got[7] != core.Allowed || got[8] != core.Denied {
		t.Errorf("%d results, %v", len(got), got[:min(10, len(got))])
	}
}
