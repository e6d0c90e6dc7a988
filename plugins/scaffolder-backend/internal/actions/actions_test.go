package actions_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/actions"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/templating"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
)

func action(t *testing.T, id string) scaffoldernode.Action {
	t.Helper()
	hosts, err := integration.FromConfig(configtest.FromYAML(t, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	language, err := templating.New(hosts, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := actions.All(actions.Parts{Hosts: hosts, Templating: language})
	i := slices.IndexFunc(all, func(a scaffoldernode.Action) bool { return a.ID == id })
	if i < 0 {
		t.Fatalf("there is no action %s", id)
	}
	return all[i]
}

// beside makes the files of a template in a folder.
func beside(t *testing.T, files map[string]string) actiontest.Option {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "skeleton", "link")); err != nil {
		t.Fatal(err)
	}
	return actiontest.WithContext(func(c *scaffoldernode.ActionContext) { c.Template.BaseURL = "file://" + dir + "/template.yaml" })
}

func TestNothingLeavesWorkspaceOrTemplate(t *testing.T) {
	t.Parallel()
	files := beside(t, map[string]string{"skeleton/${{ values.name }}.txt": "x"})
	for name, try := range map[string]struct {
		id    string
		input map[string]any
	}{
		"a source above the template":  {"fetch:plain", map[string]any{"url": "../other"}},
		"a target above the workspace": {"fetch:plain", map[string]any{"url": "./skeleton", "targetPath": "../x"}},
		"a file above the template":    {"fetch:plain:file", map[string]any{"url": "../../etc/passwd", "targetPath": "x"}},
		"a file behind a link":         {"fetch:plain:file", map[string]any{"url": "skeleton/link", "targetPath": "x"}},
		"a rendered name":              {"fetch:template", map[string]any{"url": "./skeleton", "values": map[string]any{"name": "../../x"}}},
		"deleting":                     {"fs:delete", map[string]any{"files": []string{"../*"}}},
		"renaming":                     {"fs:rename", map[string]any{"files": []map[string]any{{"from": "/etc/passwd", "to": "x"}}}},
		"listing":                      {"fs:readdir", map[string]any{"paths": []string{"a/../.."}}},
		"writing an entity":            {"catalog:write", map[string]any{"filePath": "../x.yaml", "entity": map[string]any{"metadata": map[string]any{}}}},
	} {
		if run := actiontest.Run(t, action(t, try.id), try.input, files); run.Err == nil {
			t.Errorf("%s was done by %s", name, try.id)
		}
	}
	run := actiontest.Run(t, action(t, "fetch:template"), map[string]any{"url": "./skeleton", "values": map[string]any{"name": "a"}}, files)
	if run.Err != nil || run.File("a.txt") != "x" {
		t.Fatalf("an honest template fails: %v", run.Err)
	}
}

func TestEntitiesAreWrittenInTheirOrder(t *testing.T) {
	t.Parallel()
	entity := map[string]any{"kind": "Component", "metadata": map[string]any{"name": "on", "annotations": map[string]any{"a": "1"}}}
	run := actiontest.Run(t, action(t, "catalog:write"), map[string]any{"entity": entity})
	if run.Err != nil {
		t.Fatal(run.Err)
	}
	want := "kind: Component\nmetadata:\n  annotations:\n    a: \"1\"\n    backstage.io/source-template: template:default/mock\n  name: \"on\"\n"
	if diff := cmp.Diff(want, run.File("catalog-info.yaml")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheWorkspaceIsRendered(t *testing.T) {
	t.Parallel()
	files := []actiontest.Option{
		actiontest.WithFile("tpl/${{ values.name }}.md", "# ${{ values.name }}"), actiontest.WithFile("tpl/raw/x", "${{ values.name }}"),
		actiontest.WithFile("app/there.md", "old"), actiontest.WithFile("tpl/there.md", "new"),
		actiontest.WithContext(func(c *scaffoldernode.ActionContext) {
			if err := c.Workspace.Symlink("/etc/passwd", "tpl/link"); err != nil {
				t.Error(err)
			}
		}),
	}
	values := map[string]any{"name": "shop"}
	run := actiontest.Run(t, action(t, "workspace:template"), map[string]any{
		"sourcePath": "./tpl", "targetPath": "./app", "values": values, "copyWithoutTemplating": []string{"raw"},
	}, files...)
	if run.Err != nil || run.File("app/shop.md") != "# shop" || run.File("app/raw/x") != "${{ values.name }}" || run.File("app/there.md") != "old" {
		t.Fatalf("a folder: %v", run.Err)
	}
	for input, want := range map[string]string{"tpl": "within template path", "tpl/a": "within template path", "../x": "outside its parent"} {
		run := actiontest.Run(t, action(t, "workspace:template"), map[string]any{"sourcePath": "tpl", "targetPath": input}, files...)
		if run.Err == nil || !strings.Contains(run.Err.Error(), want) {
			t.Errorf("rendering into %s: %v", input, run.Err)
		}
	}
	one := map[string]any{"sourcePath": "tpl/${{ values.name }}.md", "targetPath": "a/b.md", "values": values}
	run = actiontest.Run(t, action(t, "workspace:template:file"), one, files...)
	if run.Err != nil || run.File("a/b.md") != "# shop" {
		t.Fatalf("a file: %v", run.Err)
	}
	one["sourcePath"] = "tpl/link"
	if run := actiontest.Run(t, action(t, "workspace:template:file"), one, files...); run.Err == nil {
		t.Error("a file behind a link was rendered")
	}
}
