package permissions_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/permissions"
	"github.com/flytower/flytower/internal/coretest"
)

var (
	create = core.NewPermission("thing.create", "create")
	read   = core.NewResourcePermission("thing.read", "read", "thing")
	other  = core.NewPermission("other", "")
	jane   = core.UserCredentials("user:default/jane", "", core.NewToken("jane"), time.Time{}, false)
)

// policy is a permission plugin: item decides one item of a request.
func policy(t *testing.T, item func(token string, item map[string]any) map[string]any) (*coretest.Client, *[]string) {
	t.Helper()
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || r.URL.Path != "/authorize" {
			t.Errorf("unexpected request %s %s", r.Method, r.URL.Path)
		}
		var body struct{ Items []map[string]any }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		answer := []map[string]any{}
		for _, i := range body.Items {
			decided := item(r.Header.Get("Authorization"), i)
			if decided == nil {
				continue
			}
			if decided["id"] == nil {
				decided["id"] = i["id"]
			}
			answer = append(answer, decided)
			delete(i, "id")
			text, _ := json.Marshal(i)
			bodies = append(bodies, string(text))
		}
		apierr.WriteJSON(w, 200, map[string]any{"items": answer})
	}))
	t.Cleanup(server.Close)
	return &coretest.Client{URLs: map[string]string{"permission": server.URL}, HTTP: server.Client()}, &bodies
}

func TestServicesAreDecidedLocally(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name         string
		restrictions *core.AccessRestrictions
		want         []core.AuthorizeResult // create, read, other
	}{
		{"unrestricted", nil, []core.AuthorizeResult{"ALLOW", "ALLOW", "ALLOW"}},
		{"empty", &core.AccessRestrictions{}, []core.AuthorizeResult{"ALLOW", "ALLOW", "ALLOW"}},
		{"names", &core.AccessRestrictions{PermissionNames: []string{"other", "thing.read"}}, []core.AuthorizeResult{"DENY", "ALLOW", "ALLOW"}},
		{"actions", &core.AccessRestrictions{PermissionActions: []string{"create"}}, []core.AuthorizeResult{"ALLOW", "DENY", "DENY"}},
		{"both", &core.AccessRestrictions{PermissionNames: []string{"thing.read"}, PermissionActions: []string{"create"}}, []core.AuthorizeResult{"DENY", "DENY", "DENY"}},
	} {
		for _, enabled := range []bool{true, false} {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				s := permissions.New(&coretest.Client{}, permissions.Options{Enabled: enabled})
				who := core.ServiceCredentials("external:ci", core.NewToken("x"), tc.restrictions, nil)
				got, err := s.Authorize(t.Context(), who, core.AuthorizeRequest{Permission: create}, core.AuthorizeRequest{Permission: read}, core.AuthorizeRequest{Permission: other})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("results (-want +got):\n%s", diff)
				}
				decisions, err := s.AuthorizeConditional(t.Context(), who, create, read, other)
				if err != nil {
					t.Fatal(err)
				}
				for i, d := range decisions {
					if d.Result != tc.want[i] {
						t.Errorf("conditional %d: got %s, want %s", i, d.Result, tc.want[i])
					}
				}
			})
		}
	}
}

func TestDisabledAllowsUsers(t *testing.T) {
	t.Parallel()
	s := permissions.New(&coretest.Client{}, permissions.Options{})
	got, err := s.Authorize(t.Context(), jane, core.AuthorizeRequest{Permission: create})
	if err != nil || got[0] != core.Allowed {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	client, bodies := policy(t, func(token string, item map[string]any) map[string]any {
		if token != "Bearer jane" {
			t.Errorf("token %q", token)
		}
		if item["resourceRef"] == "b" {
			return map[string]any{"result": "DENY"}
		}
		return map[string]any{"result": "ALLOW"}
	})
	s := permissions.New(client, permissions.Options{Enabled: true})
	got, err := s.Authorize(t.Context(), jane,
		core.AuthorizeRequest{Permission: read, ResourceRef: "a"}, core.AuthorizeRequest{Permission: read, ResourceRef: "b"}, core.AuthorizeRequest{Permission: create})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]core.AuthorizeResult{"ALLOW", "DENY", "ALLOW"}, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	readJSON := `"permission":{"attributes":{"action":"read"},"name":"thing.read","resourceType":"thing","type":"resource"}`
	want := []string{
		`{` + readJSON + `,"resourceRef":"a"}`, `{` + readJSON + `,"resourceRef":"b"}`,
		`{"permission":{"attributes":{"action":"create"},"name":"thing.create","type":"basic"}}`,
	}
	if diff := cmp.Diff(want, *bodies); diff != "" {
		t.Errorf("request items (-want +got):\n%s", diff)
	}
}

func TestNobodyAsksWithoutToken(t *testing.T) {
	t.Parallel()
	client, _ := policy(t, func(token string, _ map[string]any) map[string]any {
		if token != "" {
			t.Errorf("token %q", token)
		}
		return map[string]any{"result": "DENY"}
	})
	got, err := permissions.New(client, permissions.Options{Enabled: true}).Authorize(t.Context(), core.NoCredentials(), core.AuthorizeRequest{Permission: create})
	if err != nil || got[0] != core.Denied {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestBatched(t *testing.T) {
	t.Parallel()
	client, bodies := policy(t, func(_ string, item map[string]any) map[string]any {
		refs, ok := item["resourceRef"].([]any)
		if !ok || len(refs) == 1 {
			return map[string]any{"result": "ALLOW"}
		}
		var results []string
		for _, ref := range refs {
			results = append(results, map[bool]string{true: "ALLOW", false: "DENY"}[ref == "a"])
		}
		return map[string]any{"result": results}
	})
	s := permissions.New(client, permissions.Options{Enabled: true, Batched: true})
	got, err := s.Authorize(t.Context(), jane,
		core.AuthorizeRequest{Permission: read, ResourceRef: "a"}, core.AuthorizeRequest{Permission: create}, core.AuthorizeRequest{Permission: read, ResourceRef: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]core.AuthorizeResult{"ALLOW", "ALLOW", "DENY"}, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if len(*bodies) != 2 || !strings.Contains((*bodies)[0], `"resourceRef":["a","b"]`) {
		t.Errorf("items: %s", *bodies)
	}
}

func TestBatchedScalarIsForAll(t *testing.T) {
	t.Parallel()
	client, _ := policy(t, func(string, map[string]any) map[string]any { return map[string]any{"result": "DENY"} })
	s := permissions.New(client, permissions.Options{Enabled: true, Batched: true})
	got, err := s.Authorize(t.Context(), jane, core.AuthorizeRequest{Permission: read, ResourceRef: "a"}, core.AuthorizeRequest{Permission: read, ResourceRef: "b"})
	if err != nil || got[0] != core.Denied || got[1] != core.Denied {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestConditional(t *testing.T) {
	t.Parallel()
	client, _ := policy(t, func(_ string, item map[string]any) map[string]any {
		if _, ok := item["resourceRef"]; ok {
			t.Error("a conditional request named a resource")
		}
		return map[string]any{
			"result": "CONDITIONAL", "pluginId": "things", "resourceType": "thing",
			"conditions": map[string]any{"not": map[string]any{"rule": "IS_OWNER", "resourceType": "thing", "params": map[string]any{"claims": []string{"x"}}}},
		}
	})
	got, err := permissions.New(client, permissions.Options{Enabled: true}).AuthorizeConditional(t.Context(), jane, read)
	if err != nil {
		t.Fatal(err)
	}
	want := []core.Decision{{
		Result: core.Conditional, PluginID: "things", ResourceType: "thing",
		Conditions: &core.PermissionCriteria{Not: &core.PermissionCriteria{Rule: "IS_OWNER", ResourceType: "thing", Params: json.RawMessage(`{"claims":["x"]}`)}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decisions (-want +got):\n%s", diff)
	}
}

func TestBadAnswersAreErrors(t *testing.T) {
	t.Parallel()
	for name, item := range map[string]map[string]any{
		"no decision":      nil,
		"other id":         {"id": "x", "result": "ALLOW"},
		"unknown result":   {"result": "MAYBE"},
		"null result":      {"result": nil},
		"missing result":   {},
		"conditional":      {"result": "CONDITIONAL", "pluginId": "p", "resourceType": "thing", "conditions": map[string]any{"rule": "R", "resourceType": "thing"}},
		"too many results": {"result": []string{"ALLOW", "ALLOW"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, _ := policy(t, func(string, map[string]any) map[string]any { return item })
			got, err := permissions.New(client, permissions.Options{Enabled: true}).Authorize(t.Context(), jane, core.AuthorizeRequest{Permission: read, ResourceRef: "a"})
			if err == nil {
				t.Errorf("got %v without an error", got)
			}
		})
	}
	for name, item := range map[string]map[string]any{
		"no conditions":    {"result": "CONDITIONAL", "pluginId": "p", "resourceType": "thing"},
		"empty conditions": {"result": "CONDITIONAL", "pluginId": "p", "resourceType": "thing", "conditions": map[string]any{"allOf": []any{}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, _ := policy(t, func(string, map[string]any) map[string]any { return item })
			if got, err := permissions.New(client, permissions.Options{Enabled: true}).AuthorizeConditional(t.Context(), jane, read); err == nil {
				t.Errorf("got %v without an error", got)
			}
		})
	}
}

func TestErrorsPassThrough(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		apierr.Write(w, r, apierr.ServiceUnavailable("starting"), "")
	}))
	t.Cleanup(server.Close)
	client := &coretest.Client{URLs: map[string]string{"permission": server.URL}}
	_, err := permissions.New(client, permissions.Options{Enabled: true}).Authorize(t.Context(), jane, core.AuthorizeRequest{Permission: create})
	if !errors.Is(err, apierr.ServiceUnavailable("")) {
		t.Errorf("got %v", err)
	}
}

// A permission plugin that is down allows nothing, and answers again as soon
// as it is up.
func TestUnreachableIsUnavailable(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Items []struct{ ID string } }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		apierr.WriteJSON(w, 200, map[string]any{"items": []any{map[string]any{"id": body.Items[0].ID, "result": "ALLOW"}}})
	}))
	defer server.Close()
	client := &coretest.Client{URLs: map[string]string{"permission": "http://" + server.Listener.Addr().String()}}
	s := permissions.New(client, permissions.Options{Enabled: true})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Authorize(gone, jane, core.AuthorizeRequest{Permission: create}); !errors.Is(err, context.Canceled) || errors.Is(err, apierr.ServiceUnavailable("")) {
		t.Errorf("who goes away gets %v", err)
	}
	down := &coretest.Client{URLs: map[string]string{"permission": "http://127.0.0.1:1"}}
	got, err := permissions.New(down, permissions.Options{Enabled: true}).Authorize(t.Context(), jane, core.AuthorizeRequest{Permission: create})
	if !errors.Is(err, apierr.ServiceUnavailable("")) || got != nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("got %v, %v", got, err)
	}
	server.Start()
	if got, err := s.Authorize(t.Context(), jane, core.AuthorizeRequest{Permission: create}); err != nil || got[0] != core.Allowed {
		t.Errorf("got %v, %v", got, err)
	}
}

// slow is a permission plugin that answers when it is released.
type slow struct {
	coretest.Client
	asked   chan int
	release chan struct{}
}

func (s *slow) Call(ctx context.Context, r core.PluginRequest, out any) error {
	text, err := json.Marshal(r.JSON)
	if err != nil {
		return err
	}
	var body struct {
		Items []struct {
			ID     string `json:"id"`
			Result string `json:"result"`
		} `json:"items"`
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return err
	}
	s.asked <- len(body.Items)
	select {
	case <-s.release:
	case <-ctx.Done():
		return ctx.Err()
	}
	for i := range body.Items {
		body.Items[i].Result = "ALLOW"
	}
	if text, err = json.Marshal(body); err != nil {
		return err
	}
	return json.Unmarshal(text, out)
}

func TestSameChecksAreAskedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plugin := &slow{asked: make(chan int, 10), release: make(chan struct{})}
		s := permissions.New(plugin, permissions.Options{Enabled: true})
		bob := core.UserCredentials("user:default/bob", "", core.NewToken("bob"), time.Time{}, false)
		ask := func(who core.Credentials, permissions ...core.Permission) {
			var requests []core.AuthorizeRequest
			for _, p := range permissions {
				requests = append(requests, core.AuthorizeRequest{Permission: p})
			}
			go func() {
				got, err := s.Authorize(context.Background(), who, requests...)
				if err != nil || len(got) != len(permissions) || got[0] != core.Allowed {
					t.Errorf("got %v, %v", got, err)
				}
			}()
			synctest.Wait()
		}
		ask(jane, create)
		ask(jane, create)               // waits for the first
		ask(jane, create, other, other) // asks for one more, once
		ask(bob, create)                // another caller
		close(plugin.release)
		synctest.Wait()
		close(plugin.asked)
		var asked []int
		for n := range plugin.asked {
			asked = append(asked, n)
		}
		if diff := cmp.Diff([]int{1, 1, 1}, asked); diff != "" {
			t.Errorf("items per request (-want +got):\n%s", diff)
		}
	})
}

func TestThoseWhoWaitAskAgainWhenTheFirstGoesAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plugin := &slow{asked: make(chan int, 10), release: make(chan struct{})}
		s := permissions.New(plugin, permissions.Options{Enabled: true})
		first, leave := context.WithCancel(context.Background())
		ask := func(ctx context.Context, want error) {
			go func() {
				if _, err := s.Authorize(ctx, jane, core.AuthorizeRequest{Permission: create}); !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			}()
			synctest.Wait()
		}
		ask(first, context.Canceled)
		ask(context.Background(), nil)
		leave()
		synctest.Wait()
		close(plugin.release)
		synctest.Wait()
		if n := len(plugin.asked); n != 2 {
			t.Errorf("asked %d times, want 2", n)
		}
	})
}

func BenchmarkLocalDecision(b *testing.B) {
	s := permissions.New(&coretest.Client{}, permissions.Options{Enabled: true})
	who := core.ServiceCredentials("external:ci", core.NewToken("x"), &core.AccessRestrictions{PermissionNames: []string{"a", "b", "thing.create"}}, nil)
	for b.Loop() {
		if _, err := s.Authorize(b.Context(), who, core.AuthorizeRequest{Permission: create}); err != nil {
			b.Fatal(err)
		}
	}
}
