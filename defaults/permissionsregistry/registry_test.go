package permissionsregistry_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/permissionsregistry"
	"github.com/flytower/flytower/internal/coretest"
)

var (
	readBook   = core.NewResourcePermission("book.read", "read", "book")
	createBook = core.NewPermission("book.create", "create")
)

func prefixRule() core.PermissionRule {
	return core.PermissionRule{
		Name: "HAS_PREFIX", Description: "Title begins with a text", ResourceType: "book",
		ParamsSchema: json.RawMessage(`{"type":"object","properties":{"prefix":{"type":"string"}},"required":["prefix"],"additionalProperties":false}`),
		Apply: func(resource any, params json.RawMessage) (bool, error) {
			var p struct{ Prefix string }
			if err := json.Unmarshal(params, &p); err != nil {
				return false, err
			}
			return strings.HasPrefix(resource.(string), p.Prefix), nil
		},
	}
}

func longRule() core.PermissionRule {
	return core.PermissionRule{
		Name: "IS_LONG", Description: "Title is long", ResourceType: "book",
		Apply: func(resource any, _ json.RawMessage) (bool, error) { return len(resource.(string)) > 5, nil },
	}
}

// library has the books whose refs are their titles, except "gone".
func library(calls *[][]string) core.ResourceType {
	return core.ResourceType{
		Type: "book", Permissions: []core.Permission{readBook}, Rules: []core.PermissionRule{prefixRule(), longRule()},
		GetResources: func(_ context.Context, refs []string) ([]any, error) {
			if calls != nil {
				*calls = append(*calls, refs)
			}
			out := make([]any, len(refs))
			for i, ref := range refs {
				if ref != "gone" {
					out[i] = ref
				}
			}
			return out, nil
		},
	}
}

var tokens = coretest.Tokens{
	"service": core.ServiceCredentials("plugin:permission", core.NewToken("service"), nil, nil),
	"restricted": core.ServiceCredentials("external:ci", core.NewToken("restricted"),
		&core.AccessRestrictions{PermissionNames: []string{"book.create"}}, []string{}),
	"user": core.UserCredentials("user:default/jane", "", core.NewToken("user"), core.NoCredentials().ExpiresAt, false),
	"obo":  core.UserCredentials("user:default/jane", "plugin:permission", core.NewToken("obo"), core.NoCredentials().ExpiresAt, false),
}

func serve(t *testing.T, r *permissionsregistry.Registry) *httptest.Server {
	t.Helper()
	router := coretest.NewRouter()
	r.Mount(router, tokens)
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return server
}

func request(t *testing.T, server *httptest.Server, method, path, token, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/.well-known/backstage/permissions"+path, strings.NewReader(body))
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	r := permissionsregistry.New("library")
	must(t, r.AddPermissions(createBook))
	must(t, r.AddResourceType(library(nil)))
	replaced := createBook
	replaced.Attributes.Action = "update"
	must(t, r.AddPermissions(replaced))
	server := serve(t, r)

	status, body := request(t, server, "GET", "/metadata", "user", "")
	want := `{"permissions":[` +
		`{"type":"basic","name":"book.create","attributes":{"action":"update"}},` +
		`{"type":"resource","name":"book.read","attributes":{"action":"read"},"resourceType":"book"}],` +
		`"rules":[{"name":"HAS_PREFIX","description":"Title begins with a text","resourceType":"book","paramsSchema":` +
		`{"type":"object","properties":{"prefix":{"type":"string"}},"required":["prefix"],"additionalProperties":false,"$schema":"http://json-schema.org/draft-07/schema#"}},` +
		`{"name":"IS_LONG","description":"Title is long","resourceType":"book","paramsSchema":` +
		`{"type":"object","properties":{},"additionalProperties":false,"$schema":"http://json-schema.org/draft-07/schema#"}}]}`
	if status != 200 || body != want {
		t.Errorf("status %d, metadata (-want +got):\n%s", status, cmp.Diff(want, body))
	}
	if status, _ := request(t, server, "GET", "/metadata", "", ""); status != 401 {
		t.Errorf("without credentials: status %d, want 401", status)
	}

	empty := serve(t, permissionsregistry.New("search"))
	if _, body := request(t, empty, "GET", "/metadata", "service", ""); body != `{"permissions":[],"rules":[]}` {
		t.Errorf("empty registry: %s", body)
	}
}

func TestApplyConditions(t *testing.T) {
	t.Parallel()
	has := func(prefix string) string {
		return `{"rule":"HAS_PREFIX","resourceType":"book","params":{"prefix":"` + prefix + `"}}`
	}
	long := `{"rule":"IS_LONG","resourceType":"book"}`
	item := func(id, ref, conditions string) string {
		return `{"id":"` + id + `","resourceRef":` + ref + `,"resourceType":"book","conditions":` + conditions + `,"result":"CONDITIONAL"}`
	}
	items := func(all ...string) string { return `{"items":[` + strings.Join(all, ",") + `]}` }
	deep := strings.Repeat(`{"not":`, 80) + long + strings.Repeat(`}`, 80)

	for _, tc := range []struct {
		name, token, body string
		status            int
		want              string // the body, or a part of the error
	}{
		{name: "rule", body: items(item("a", `"dune"`, has("du"))), status: 200, want: `{"items":[{"id":"a","result":"ALLOW"}]}`},
		{name: "on behalf of a user", token: "obo", body: items(item("a", `"dune"`, has("x"))), status: 200, want: `{"items":[{"id":"a","result":"DENY"}]}`},
		{name: "list of refs", body: items(item("a", `["dune","gone","emma"]`, has("e"))), status: 200, want: `{"items":[{"id":"a","result":["DENY","DENY","ALLOW"]}]}`},
		{name: "missing below not", body: items(item("a", `"gone"`, `{"not":`+has("x")+`}`)), status: 200, want: `{"items":[{"id":"a","result":"DENY"}]}`},
		{name: "tree", body: items(item("a", `["middlemarch","dune"]`, `{"allOf":[{"anyOf":[`+has("m")+`,`+has("d")+`]},`+long+`,{"not":`+has("x")+`}]}`)), status: 200, want: `{"items":[{"id":"a","result":["ALLOW","DENY"]}]}`},
		{name: "params null", body: items(item("a", `"middlemarch"`, `{"rule":"IS_LONG","resourceType":"book","params":null}`)), status: 200, want: `{"items":[{"id":"a","result":"ALLOW"}]}`},
		{name: "no items", body: `{"items":[]}`, status: 200, want: `{"items":[]}`},
		{name: "direct user", token: "user", body: items(), status: 403, want: `"name":"NotAllowedError"`},
		{name: "nobody", token: "-", body: items(), status: 401, want: `Missing credentials`},
		{name: "wrong body", body: `{"nope":1}`, status: 400, want: `"name":"InputError"`},
		{name: "broken body", body: `{`, status: 400, want: `"name":"SyntaxError"`},
		{name: "no id", body: `{"items":[{"resourceRef":"a","resourceType":"book","conditions":` + long + `}]}`, status: 400, want: `items[0]: id`},
		{name: "empty refs", body: items(item("a", `[]`, long)), status: 400, want: `resourceRef`},
		{name: "empty allOf", body: items(item("a", `"dune"`, `{"allOf":[]}`)), status: 400, want: `must not be empty`},
		{name: "ambiguous", body: items(item("a", `"dune"`, `{"allOf":[`+long+`],"rule":"IS_LONG"}`)), status: 400, want: `exactly one of`},
		{name: "too deep", body: items(item("a", `"dune"`, deep)), status: 400, want: `nests deeper`},
		{name: "unknown types", body: `{"items":[{"id":"a","resourceRef":"x","resourceType":"nope","conditions":{"rule":"R","resourceType":"nope"}}]}`, status: 400, want: `Unexpected resource types: nope.`},
		{name: "other type in rule", body: items(item("a", `"dune"`, `{"rule":"R","resourceType":"nope"}`)), status: 400, want: `for resource type`},
		{name: "unknown rule", body: items(item("a", `"dune"`, `{"rule":"NOPE","resourceType":"book"}`)), status: 500, want: `Permission rule 'NOPE' does not exist for resource type 'book'`},
		{name: "bad params", body: items(item("a", `"dune"`, `{"rule":"HAS_PREFIX","resourceType":"book","params":{}}`)), status: 400, want: `Parameters to rule are invalid; caused by`},
		{name: "no loader", body: `{"items":[{"id":"a","resourceRef":"x","resourceType":"shelf","conditions":{"rule":"IS_TALL","resourceType":"shelf"}}]}`, status: 501, want: `"name":"NotImplementedError"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := permissionsregistry.New("library")
			must(t, r.AddResourceType(library(nil)))
			must(t, r.AddRules(core.PermissionRule{Name: "IS_TALL", ResourceType: "shelf", Apply: func(any, json.RawMessage) (bool, error) { return true, nil }}))
			must(t, r.Freeze(t.Context()))
			token := "service"
			if tc.token != "" {
				token = strings.Trim(tc.token, "-")
			}
			status, body := request(t, serve(t, r), "POST", "/apply-conditions", token, tc.body)
			if status != tc.status {
				t.Errorf("status %d, want %d: %s", status, tc.status, body)
			}
			if status == 200 && body != tc.want || !strings.Contains(body, tc.want) {
				t.Errorf("got %s, want %s", body, tc.want)
			}
		})
	}
}

func TestResourcesAreLoadedOnce(t *testing.T) {
	t.Parallel()
	var calls [][]string
	r := permissionsregistry.New("library")
	must(t, r.AddResourceType(library(&calls)))
	long := `{"rule":"IS_LONG","resourceType":"book"}`
	status, body := request(t, serve(t, r), "POST", "/apply-conditions", "service", `{"items":[`+
		`{"id":"1","resourceRef":["a","b"],"resourceType":"book","conditions":`+long+`},`+
		`{"id":"2","resourceRef":"a","resourceType":"book","conditions":`+long+`}]}`)
	if status != 200 {
		t.Fatalf("status %d: %s", status, body)
	}
	if diff := cmp.Diff([][]string{{"a", "b"}}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// Conditions tell about resources that the caller may not be allowed to read.
func TestWhoMayApplyConditions(t *testing.T) {
	t.Parallel()
	r := permissionsregistry.New("library")
	must(t, r.AddResourceType(library(nil)))
	server := serve(t, r)
	for token, want := range map[string]int{"service": 200, "obo": 200, "user": 403, "restricted": 403, "": 401} {
		status, body := request(t, server, "POST", "/apply-conditions", token, `{"items":[{"id":"1","resourceRef":"a","resourceType":"book","conditions":{"rule":"IS_LONG","resourceType":"book"}}]}`)
		if status != want {
			t.Errorf("token %q: status %d, want %d: %s", token, status, want, body)
		}
	}
}

func TestRepeatedRefsAreDecidedOnce(t *testing.T) {
	t.Parallel()
	applied := 0
	r := permissionsregistry.New("library")
	books := library(nil)
	books.Rules = []core.PermissionRule{{Name: "COUNT", ResourceType: "book", Apply: func(any, json.RawMessage) (bool, error) {
		applied++
		return true, nil
	}}}
	must(t, r.AddResourceType(books))
	status, body := request(t, serve(t, r), "POST", "/apply-conditions", "service", `{"items":[`+
		`{"id":"1","resourceRef":["a","gone","a","gone","a"],"resourceType":"book","conditions":{"rule":"COUNT","resourceType":"book"}}]}`)
	if status != 200 || body != `{"items":[{"id":"1","result":["ALLOW","DENY","ALLOW","DENY","ALLOW"]}]}` || applied != 1 {
		t.Errorf("status %d, applied %d times: %s", status, applied, body)
	}
}

func TestWorkEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r := permissionsregistry.New("library")
	books, applied := library(nil), 0
	books.Rules = []core.PermissionRule{{Name: "COUNT", ResourceType: "book", Apply: func(any, json.RawMessage) (bool, error) {
		applied++
		cancel()
		return true, nil
	}}}
	must(t, r.AddResourceType(books))
	router := coretest.NewRouter()
	r.Mount(router, tokens)
	req := httptest.NewRequestWithContext(ctx, "POST", "/.well-known/backstage/permissions/apply-conditions", strings.NewReader(
		`{"items":[{"id":"1","resourceRef":["a","b","c"],"resourceType":"book","conditions":{"rule":"COUNT","resourceType":"book"}}]}`))
	req.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer service"}}
	router.ServeHTTP(httptest.NewRecorder(), req)
	if applied != 1 {
		t.Errorf("applied to %d resources after the client left", applied)
	}
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	server := serve(t, permissionsregistry.New("library", permissionsregistry.WithBodyLimit(20)))
	status, body := request(t, server, "POST", "/apply-conditions", "service", `{"items":[],"x":"`+strings.Repeat("y", 30)+`"}`)
	if status != 413 || !strings.Contains(body, "PayloadTooLargeError") {
		t.Errorf("status %d: %s", status, body)
	}
}

func TestRegistrationErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		add  func(r *permissionsregistry.Registry) error
		want string
	}{
		{"duplicate type", func(r *permissionsregistry.Registry) error { return r.AddResourceType(library(nil)) }, "added before"},
		{"duplicate rule", func(r *permissionsregistry.Registry) error { return r.AddRules(longRule()) }, "two rules named IS_LONG"},
		{"foreign rule", func(r *permissionsregistry.Registry) error {
			return r.AddResourceType(core.ResourceType{Type: "shelf", Rules: []core.PermissionRule{longRule()}})
		}, "is for resource type book"},
		{"foreign permission", func(r *permissionsregistry.Registry) error {
			return r.AddResourceType(core.ResourceType{Type: "shelf", Permissions: []core.Permission{readBook}})
		}, "not for resource type shelf"},
		{"no apply", func(r *permissionsregistry.Registry) error {
			return r.AddRules(core.PermissionRule{Name: "X", ResourceType: "book"})
		}, "no Apply"},
		{"bad schema", func(r *permissionsregistry.Registry) error {
			rule := longRule()
			rule.Name, rule.ParamsSchema = "X", json.RawMessage(`{"type":1}`)
			return r.AddRules(rule)
		}, "parameters of rule X"},
		{"no name", func(r *permissionsregistry.Registry) error { return r.AddPermissions(core.Permission{}) }, "without a name"},
		{"frozen permissions", func(r *permissionsregistry.Registry) error {
			_ = r.Freeze(t.Context())
			return r.AddPermissions(createBook)
		}, "after the plugin has started"},
		{"frozen types", func(r *permissionsregistry.Registry) error {
			_ = r.Freeze(t.Context())
			return r.AddResourceType(core.ResourceType{Type: "shelf"})
		}, "after the plugin has started"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := permissionsregistry.New("library")
			must(t, r.AddResourceType(library(nil)))
			if err := tc.add(r); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	r := permissionsregistry.New("library")
	must(t, r.AddResourceType(library(nil)))
	c := core.PermissionCriteria{AllOf: []core.PermissionCriteria{{Not: &core.PermissionCriteria{Rule: "IS_LONG", ResourceType: "book"}}}}
	if ok, err := r.Apply(c, "emma"); err != nil || !ok {
		t.Errorf("got %v, %v", ok, err)
	}
	if ok, err := r.Apply(c, nil); err != nil || ok {
		t.Errorf("nil resource: got %v, %v", ok, err)
	}
	if _, err := r.Apply(core.PermissionCriteria{}, "emma"); !errors.Is(err, apierr.Input("")) {
		t.Errorf("empty criteria: %v", err)
	}
	if _, err := r.Apply(core.PermissionCriteria{Rule: "X", ResourceType: "shelf"}, "emma"); !errors.Is(err, apierr.Input("")) {
		t.Errorf("unknown type: %v", err)
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	r := permissionsregistry.New("library")
	must(t, r.AddResourceType(library(nil)))
	must(t, r.AddRules(core.PermissionRule{
		Name: "BY", ResourceType: "book", ParamsSchema: json.RawMessage(`{"type":"object","properties":{"author":{"type":"string"}},"required":["author"]}`),
		Apply: func(any, json.RawMessage) (bool, error) { return true, nil },
		Query: func(params json.RawMessage) (any, error) {
			var p struct{ Author string }
			return map[string]string{"author": p.Author}, json.Unmarshal(params, &p)
		},
	}))
	for _, tc := range []struct {
		rule, of, params string
		want             error
	}{
		{"BY", "book", `{"author":"austen"}`, nil},
		{"BY", "book", `{}`, apierr.Input("")},
		{"BY", "shelf", `{"author":"austen"}`, apierr.Input("")},
		{"IS_LONG", "book", ``, apierr.NotImplemented("")},
		{"NOPE", "book", ``, apierr.New(apierr.KindError, "")},
	} {
		q, err := r.Query(tc.rule, tc.of, json.RawMessage(tc.params))
		if !errors.Is(err, tc.want) || tc.want == nil && q == nil {
			t.Errorf("%s of %s: %v, %v", tc.rule, tc.of, q, err)
		}
	}
}

func FuzzCriteria(f *testing.F) {
	for _, c := range []string{
		`{"rule":"IS_LONG","resourceType":"book"}`, `{"not":{"rule":"HAS_PREFIX","resourceType":"book","params":{"prefix":"d"}}}`,
		`{"allOf":[{"anyOf":[]}]}`, `{"allOf":null}`, `{"rule":1}`, `[]`, `{"not":{"not":{"not":{}}}}`,
	} {
		f.Add(c)
	}
	r := permissionsregistry.New("library")
	if err := r.AddResourceType(library(nil)); err != nil {
		f.Fatal(err)
	}
	router := coretest.NewRouter()
	r.Mount(router, tokens)
	f.Fuzz(func(t *testing.T, criteria string) {
		req := httptest.NewRequest("POST", "/.well-known/backstage/permissions/apply-conditions",
			strings.NewReader(`{"items":[{"id":"a","resourceRef":["dune","gone"],"resourceType":"book","conditions":`+criteria+`}]}`))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer service")
		w := httptest.NewRecorder()
		router.ServeHTTP(w, req)
		if w.Code != 200 {
			return
		}
		var answer struct{ Items []struct{ Result []string } }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		for _, item := range answer.Items {
			if len(item.Result) == 2 && item.Result[1] != "DENY" {
				t.Errorf("a missing resource was allowed by %s", criteria)
			}
		}
	})
}
