package catalogmodulegithub_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/fakegithub"
	"github.com/flytower/flytower/internal/providertest"
)

func publish(t *testing.T, c *providertest.Catalog, topic string, body map[string]any) {
	t.Helper()
	if err := c.Publish(t.Context(), topic, body); err != nil {
		t.Errorf("%s: %v", topic, err)
	}
}

// payload is the repository of a webhook.
func payload(gh *fakegithub.Server, repo string, more map[string]any) map[string]any {
	p := map[string]any{
		"name": repo, "html_url": gh.URL + "/acme/" + repo, "owner": map[string]any{"login": "acme"},
		"default_branch": "main", "visibility": "public", "topics": []string{},
	}
	maps.Copy(p, more)
	return p
}

func commit(added, modified, removed []string) map[string]any {
	return map[string]any{"added": added, "modified": modified, "removed": removed}
}

type list = []string

func TestPush(t *testing.T) {
	t.Parallel()
	for label, tc := range map[string]struct {
		keys       string
		ref        string // refs/heads/main if empty
		repository map[string]any
		commits    []any
		want       list // paths behind /acme/; r000's file is there before
		refreshed  list // paths behind url:…/acme/
	}{
		"added":        {commits: []any{commit(list{"catalog-info.yaml", "x.go"}, nil, nil)}, repository: map[string]any{"name": "new"}, want: list{"r000/blob/main/catalog-info.yaml", "new/blob/main/catalog-info.yaml"}},
		"removed":      {commits: []any{commit(nil, nil, list{"catalog-info.yaml"})}, want: list{}},
		"modified":     {commits: []any{commit(nil, list{"catalog-info.yaml"}, nil)}, want: list{"r000/blob/main/catalog-info.yaml"}, refreshed: list{"r000/tree/main/catalog-info.yaml", "r000/blob/main/catalog-info.yaml"}},
		"other files":  {commits: []any{commit(list{"a"}, list{"sub/catalog-info.yaml"}, list{"b"})}, want: list{"r000/blob/main/catalog-info.yaml"}},
		"other branch": {ref: "refs/heads/main2", commits: []any{commit(nil, nil, list{"catalog-info.yaml"})}, want: list{"r000/blob/main/catalog-info.yaml"}},
		"tag":          {ref: "refs/tags/main", commits: []any{commit(nil, nil, list{"catalog-info.yaml"})}, want: list{"r000/blob/main/catalog-info.yaml"}},
		"configured branch": {
			keys: "filters: {branch: dev}", ref: "refs/heads/dev", commits: []any{commit(list{"catalog-info.yaml"}, nil, nil)}, repository: map[string]any{"name": "new"},
			want: list{"r000/blob/dev/catalog-info.yaml", "new/blob/dev/catalog-info.yaml"},
		},
		"removed and added again": {
			commits: []any{commit(nil, nil, list{"catalog-info.yaml"}), commit(list{"catalog-info.yaml"}, nil, nil)},
			want:    list{"r000/blob/main/catalog-info.yaml"},
		},
		"added and removed again": {
			commits: []any{commit(list{"catalog-info.yaml"}, nil, nil), commit(nil, list{"catalog-info.yaml"}, nil), commit(nil, nil, list{"catalog-info.yaml"})},
			want:    list{},
		},
		"filtered out": {
			keys: "filters: {topic: {exclude: [no]}}", repository: map[string]any{"name": "new", "topics": list{"no"}},
			commits: []any{commit(list{"catalog-info.yaml"}, nil, nil)}, want: list{"r000/blob/main/catalog-info.yaml"},
		},
		"other owner": {
			repository: map[string]any{"owner": map[string]any{"login": "other"}}, commits: []any{commit(nil, nil, list{"catalog-info.yaml"})},
			want: list{"r000/blob/main/catalog-info.yaml"},
		},
		"other host": {
			repository: map[string]any{"html_url": "https://github.com/acme/r000"}, commits: []any{commit(nil, nil, list{"catalog-info.yaml"})},
			want: list{"r000/blob/main/catalog-info.yaml"},
		},
		"wildcard": {
			keys: "catalogPath: '/*/catalog-info.yaml'", commits: []any{commit(nil, list{"a/catalog-info.yaml", "catalog-info.yaml"}, list{"b/catalog-info.yaml"})},
			want:      list{"r000/blob/main/*/catalog-info.yaml"},
			refreshed: list{"r000/tree/main/a/catalog-info.yaml", "r000/blob/main/a/catalog-info.yaml", "r000/tree/main/*/catalog-info.yaml", "r000/blob/main/*/catalog-info.yaml"},
		},
		"wildcard, new repository": {
			keys: "catalogPath: '/*/catalog-info.yaml'", commits: []any{commit(list{"a/catalog-info.yaml"}, nil, nil)}, repository: map[string]any{"name": "new"},
			want:      list{"r000/blob/main/*/catalog-info.yaml", "new/blob/main/*/catalog-info.yaml"},
			refreshed: list{"new/tree/main/*/catalog-info.yaml", "new/blob/main/*/catalog-info.yaml"},
		},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			gh := fakegithub.New(t)
			repos(gh, 1)
			c := start(t, gh, config(gh, tc.keys))
			mustRun(t, c)
			repo, ref := "r000", "refs/heads/main"
			if tc.ref != "" {
				ref = tc.ref
			}
			if n, ok := tc.repository["name"].(string); ok {
				repo = n
			}
			publish(t, c, "github.push", map[string]any{"ref": ref, "commits": tc.commits, "repository": payload(gh, repo, tc.repository)})
			var want list
			for _, w := range tc.want {
				want = append(want, gh.URL+"/acme/"+w)
			}
			wantTargets(t, c, want...)
			var keys list
			for _, k := range tc.refreshed {
				keys = append(keys, "url:"+gh.URL+"/acme/"+k)
			}
			if d := cmp.Diff(keys, c.TakeRefreshed()); d != "" {
				t.Errorf("refreshed (-want +got):\n%s", d)
			}
		})
	}
}

// A push that does not name all that changed leads to a full run.
func TestPushesThatNameTooLittle(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	repos(gh, 1)
	c := start(t, gh, config(gh, ""))
	mustRun(t, c)
	for label, body := range map[string]map[string]any{
		"forced":           {"forced": true, "commits": []any{}},
		"too many commits": {"commits": slices.Repeat([]any{commit(nil, nil, nil)}, 2048)},
	} {
		body["ref"], body["repository"] = "refs/heads/main", payload(gh, "r000", nil)
		publish(t, c, "github.push", body)
		if d := cmp.Diff(list{refresh}, c.TakeTriggered()); d != "" {
			t.Errorf("%s: triggered (-want +got):\n%s", label, d)
		}
	}
	c.Busy(apierr.Conflict("it runs"))
	body := map[string]any{"ref": "refs/heads/main", "forced": true, "repository": payload(gh, "r000", nil)}
	publish(t, c, "github.push", body)
	c.Busy(apierr.ServiceUnavailable("broken"))
	if err := c.Publish(t.Context(), "github.push", body); err == nil {
		t.Error("a trigger that failed is not reported")
	}
}

func TestRepositoryWebhooks(t *testing.T) {
	t.Parallel()
	const file = "/blob/main/catalog-info.yaml"
	from := func(key string, v any) map[string]any { return map[string]any{key: map[string]any{"from": v}} }
	for label, tc := range map[string]struct {
		keys, action string
		name         string
		repository   map[string]any
		changes      map[string]any
		want         list // r000's file is there before
	}{
		"archived":          {action: "archived", repository: map[string]any{"archived": true}, want: list{}},
		"archived, allowed": {keys: "filters: {allowArchived: true}", action: "archived", repository: map[string]any{"archived": true}, want: list{"acme/r000" + file}},
		"unarchived":        {action: "unarchived", name: "new", want: list{"acme/r000" + file, "acme/new" + file}},
		"deleted":           {action: "deleted", want: list{}},
		"created":           {action: "created", name: "new", want: list{"acme/r000" + file}},
		"renamed":           {action: "renamed", name: "new", changes: map[string]any{"repository": from("name", "r000")}, want: list{"acme/new" + file}},
		"renamed out":       {keys: "filters: {repository: r.*}", action: "renamed", name: "new", changes: map[string]any{"repository": from("name", "r000")}, want: list{}},
		"transferred in":    {action: "transferred", name: "new", changes: transferredFrom("other"), want: list{"acme/r000" + file, "acme/new" + file}},
		"transferred out": {
			action: "transferred", repository: map[string]any{"html_url": "/other/r000", "owner": map[string]any{"login": "other"}}, changes: transferredFrom("acme"),
			want: list{},
		},
		"topic added":    {keys: "filters: {topic: {exclude: [no]}}", action: "edited", repository: map[string]any{"topics": list{"no"}}, want: list{}},
		"default branch": {action: "edited", repository: map[string]any{"default_branch": "trunk"}, changes: from("default_branch", "main"), want: list{"acme/r000/blob/trunk/catalog-info.yaml"}},
		"privatized":     {keys: "filters: {visibility: [public]}", action: "privatized", repository: map[string]any{"visibility": "private"}, want: list{}},
		"file missing":   {keys: "validateLocationsExist: true", action: "unarchived", name: "r001", want: list{}},
		"file there":     {keys: "validateLocationsExist: true", action: "unarchived", name: "full", want: list{"acme/full" + file}},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			gh := fakegithub.New(t)
			repos(gh, 1)
			c := start(t, gh, config(gh, tc.keys))
			mustRun(t, c)
			gh.Change(func(w *fakegithub.World) {
				w.AddRepository(fakegithub.Repository{Owner: "acme", Name: "full", DefaultBranch: "main", Files: map[string]string{"main:catalog-info.yaml": "x"}})
			})
			repo := "r000"
			if tc.name != "" {
				repo = tc.name
			}
			if at, ok := tc.repository["html_url"].(string); ok {
				tc.repository["html_url"] = gh.URL + at
			}
			publish(t, c, "github.repository", map[string]any{"action": tc.action, "repository": payload(gh, repo, tc.repository), "changes": tc.changes})
			var want list
			for _, w := range tc.want {
				want = append(want, gh.URL+"/"+w)
			}
			wantTargets(t, c, want...)
		})
	}
}

// transferredFrom is the change of a transfer.
func transferredFrom(owner string) map[string]any {
	return map[string]any{"owner": map[string]any{"from": map[string]any{"organization": map[string]any{"login": owner}}}}
}

func TestMalformedWebhooks(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	repos(gh, 1)
	c := start(t, gh, config(gh, ""))
	mustRun(t, c)
	for _, body := range []any{"text", 7, map[string]any{}, map[string]any{"repository": nil}, map[string]any{"repository": map[string]any{"name": "x", "html_url": ":"}}} {
		if err := c.Publish(t.Context(), "github.push", body); err == nil {
			t.Errorf("%v was taken for a webhook", body)
		}
	}
	wantTargets(t, c, gh.URL+"/acme/r000/blob/main/catalog-info.yaml")
}
