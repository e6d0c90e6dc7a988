package scaffoldermoduleutils_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	scaffolderbackend "github.com/flytower/flytower/plugins/scaffolder-backend"
	scaffoldermoduleutils "github.com/flytower/flytower/plugins/scaffolder-backend-module-utils"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// catalogOf is a catalog with one template of the steps.
func catalogOf(steps []any) backend.Feature {
	return backend.NewPlugin("catalog", func(env *backend.PluginEnv) backend.InitFunc {
		router := core.HTTPRouter.From(env)
		return func(context.Context) error {
			router().HandleErr("GET /entities/by-name/{kind}/{namespace}/{name}", func(w http.ResponseWriter, r *http.Request) error {
				if r.PathValue("kind") != "template" {
					return apierr.NotFound("there is no such entity")
				}
				apierr.WriteJSON(w, http.StatusOK, map[string]any{
					"apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": map[string]any{"name": "t"},
					"spec": map[string]any{"type": "attack", "steps": steps},
				})
				return nil
			})
			return nil
		}
	})
}

// run runs a task of steps, each whatever became of those before, and returns
// what its events say of each step.
func run(t *testing.T, steps []any, secrets map[string]string, more ...backend.Feature) string {
	t.Helper()
	for _, s := range steps {
		s.(map[string]any)["if"] = "${{ always() }}"
	}
	s := backendtest.Start(t, append(more, backendtest.SQLite(t), backendtest.Silent(), scaffolderbackend.Plugin, scaffoldermoduleutils.Module, catalogOf(steps),
		backendtest.Config(map[string]any{"backend": map[string]any{"workingDirectory": t.TempDir()}}))...)
	c := s.Client(t)
	var made struct{ ID string }
	c.Post("/api/scaffolder/v2/tasks", map[string]any{"templateRef": "template:default/t", "values": map[string]any{}, "secrets": secrets}).Expect(http.StatusCreated).JSON(&made)
	// The stream ends with the task.
	var told strings.Builder
	for frame := range strings.SplitSeq(c.Get("/api/scaffolder/v2/tasks/"+made.ID+"/eventstream").Expect(http.StatusOK).Text(), "\n\n") {
		_, data, _ := strings.Cut(frame, "data: ")
		var event struct {
			Body struct{ StepID, Status, Message string }
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			t.Fatalf("%q: %v", frame, err)
		}
		fmt.Fprintf(&told, "%s %s %s\n", event.Body.StepID, event.Body.Status, event.Body.Message)
	}
	return told.String()
}

func step(id, action string, input map[string]any) any {
	return map[string]any{"id": id, "name": id, "action": action, "input": input}
}

// TestTasksThatAttack: what the actions of the module could be misused for, in
// tasks. Steps whose ids begin with bad have to fail.
func TestTasksThatAttack(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret.yaml"), []byte("kept: secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:link"}, func(_ context.Context, c *scaffoldernode.ActionContext, _ struct{}) (struct{}, error) {
		return struct{}{}, os.Symlink(outside, filepath.Join(c.Workspace.Name(), "out"))
	})
	var hits atomic.Int64
	internal := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(internal.Close)
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		next := string(rune('b' + i))
		bomb += next + ": &" + next + " [" + strings.TrimSuffix(strings.Repeat("*"+string(rune('a'+i))+",", 10), ",") + "]\n"
	}
	content := map[string]any{"a": 1}
	steps := []any{
		step("link", "test:link", map[string]any{}),
		step("write", "roadiehq:utils:fs:write", map[string]any{"path": "bomb.yaml", "content": bomb}),
		step("deep", "roadiehq:utils:fs:write", map[string]any{"path": "deep.json", "content": strings.Repeat("[", 100_000)}),
		step("long", "roadiehq:utils:fs:write", map[string]any{"path": "long", "content": strings.Repeat("a", 50_000) + "!"}),
		step("bad-link", "roadiehq:utils:fs:write", map[string]any{"path": "out/x", "content": "evil"}),
		step("bad-append", "roadiehq:utils:fs:append", map[string]any{"path": "out/secret.yaml", "content": "evil"}),
		step("bad-parse", "roadiehq:utils:fs:parse", map[string]any{"path": "out/secret.yaml"}),
		step("bad-merge", "roadiehq:utils:merge", map[string]any{"path": "out/secret.yaml", "content": content}),
		step("bad-json", "roadiehq:utils:json:merge", map[string]any{"path": "out/new.json", "content": content}),
		step("bad-zip", "roadiehq:utils:zip", map[string]any{"path": ".", "outputPath": "out/x.zip"}),
		step("bad-above", "roadiehq:utils:zip", map[string]any{"path": "../..", "outputPath": "x.zip"}),
		step("replace", "roadiehq:utils:fs:replace", map[string]any{"files": []any{map[string]any{"file": "out/**", "find": "kept", "replaceWith": "evil"}}}),
		step("bad-link-zip", "roadiehq:utils:zip", map[string]any{"path": "out", "outputPath": "x.zip"}),
		step("bad-bomb", "roadiehq:utils:fs:parse", map[string]any{"path": "bomb.yaml", "parser": "yaml"}),
		step("bad-bombs", "roadiehq:utils:fs:parse", map[string]any{"path": "bomb.yaml", "parser": "multiyaml"}),
		step("bad-merged", "roadiehq:utils:merge", map[string]any{"path": "bomb.yaml", "content": content}),
		step("bad-content", "roadiehq:utils:merge", map[string]any{"path": "bomb.yaml", "content": bomb}),
		step("bad-deep", "roadiehq:utils:fs:parse", map[string]any{"path": "deep.json", "parser": "json"}),
		step("bad-regexp", "roadiehq:utils:fs:replace", map[string]any{"files": []any{map[string]any{"file": "long", "find": `^(?=((a+)+)$)\1b`, "matchRegex": true, "replaceWith": "x"}}}),
		step("bad-growth", "roadiehq:utils:fs:replace", map[string]any{"files": []any{
			map[string]any{"file": "long", "find": "a", "replaceWith": strings.Repeat("a", 1000)}, map[string]any{"file": "long", "find": "a", "replaceWith": strings.Repeat("a", 1000)},
		}}),
		step("request", "http:backstage:request", map[string]any{"method": "GET", "path": "/desk/tickets", "headers": map[string]any{"x-secret": "${{ secrets.word }}"}}),
		step("bad-status", "http:backstage:request", map[string]any{"method": "POST", "path": "/desk/broken", "body": "${{ secrets.word }}"}),
	}
	for i, path := range append(offBackend[1:len(offBackend):len(offBackend)], internal.URL+"/x", "//"+internal.URL[len("http://"):], "169.254.169.254/latest", "desk/..%2f..%2fx") {
		steps = append(steps, step(fmt.Sprint("bad-request", i), "http:backstage:request", map[string]any{"method": "GET", "path": path}))
	}
	links := backend.NewModule("scaffolder", "test", func(env *backend.ModuleEnv) backend.InitFunc {
		actions := scaffoldernode.Actions.From(env)
		return func(context.Context) error { return actions().AddActions(link) }
	})
	told := run(t, steps, map[string]string{"word": "open sesame"}, links, (&desk{}).feature())
	for _, s := range steps {
		id := s.(map[string]any)["id"].(string)
		if failed := strings.Contains(told, "\n"+id+" failed "); failed != strings.HasPrefix(id, "bad") {
			t.Errorf("step %s failed is %t", id, failed)
		}
	}
	for _, hidden := range []string{"kept", "sesame", "xxxxx"} {
		if strings.Contains(told, hidden) {
			t.Errorf("the events tell %q", hidden)
		}
	}
	if t.Failed() {
		t.Logf("%.20000s", told)
	}
	left, err := os.ReadDir(outside)
	if err != nil || len(left) != 1 || hits.Load() > 0 {
		t.Errorf("outside there is %v, %v; %d requests", left, err, hits.Load())
	}
	if text, err := os.ReadFile(filepath.Join(outside, "secret.yaml")); err != nil || string(text) != "kept: secret\n" {
		t.Errorf("what is outside is now %q, %v", text, err)
	}
}
