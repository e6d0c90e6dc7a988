package scaffolderbackend_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/command"
	scaffolderbackend "github.com/flytower/flytower/plugins/scaffolder-backend"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

const shopTemplate = `apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata: {name: shop}
spec:
  type: service
  parameters:
    - title: Basics
      required: [name]
      properties:
        name: {type: string, pattern: '^[a-z]+$'}
        port: {type: integer, default: 8080}
  steps:
    - id: fetch
      name: Fetch
      action: fetch:template
      input: {url: ./skeleton, values: {name: '${{ parameters.name }}', port: '${{ parameters.port }}', who: '${{ user.ref }}'}}
    - id: sign
      name: Sign
      action: acme:sign
      input: {text: 'by ${{ secrets.token }}'}
    - $yaml: last.yaml
  output:
    z: '${{ steps.sign.output.path }}'
    a: '${{ parameters.name }}'
`

// sign is an action of a module.
var sign = scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "acme:sign", SupportsDryRun: true},
	func(_ context.Context, c *scaffoldernode.ActionContext, in struct {
		Text string `json:"text"`
	}) (out struct {
		Path string `json:"path"`
	}, err error) {
		c.Logger.Info("signing with " + in.Text)
		out.Path = "signature"
		return out, c.Workspace.WriteFile(out.Path, []byte(in.Text), 0o644)
	})

// shop writes a template with its files.
func shop(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	all := map[string]string{
		"template.yaml":          shopTemplate,
		"last.yaml":              "{id: last, name: Last, action: 'debug:log', input: {message: done}}\n",
		"skeleton/README.md":     "${{ values.name }} at ${{ values.port }} for ${{ values.who }}\n",
		"skeleton/bin/run.sh":    "#!/bin/sh\n",
		"p.yaml":                 "name: web\n",
		"expected/README.md":     "web at 8080 for user:default/jane\n",
		"expected/bin/run.sh":    "#!/bin/sh\n",
		"expected/signature":     "by hush",
		"other/README.md":        "web at 80 for user:default/jane\n",
		"other/bin/run.sh":       "#!/bin/sh\n",
		"other/gone.txt":         "old\n",
		"full/already-there.txt": "",
	}
	for name, content := range files {
		all[name] = content
	}
	for name, content := range all {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func flytower(dir string, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = command.Main(command.App{Args: args, Dir: dir, Stdout: &out, Stderr: &err, Features: []backend.Feature{scaffolderbackend.Plugin, withActions(sign)}})
	return code, out.String(), err.String()
}

func TestDryRunOfAFile(t *testing.T) {
	t.Setenv("token", "hush")
	dir := shop(t, nil)
	code, out, stderr := flytower(dir, "scaffolder", "dry-run", "template.yaml", "-p", "p.yaml", "--secret", "token", "--user", "jane", "--diff", "other", "--out", "made")
	if code != 2 || stderr != "" {
		t.Fatalf("code %d\n%s%s", code, out, stderr)
	}
	_, end, _ := strings.Cut(out, "\nFiles ")
	want := `(3):
  README.md*
  bin/
    run.sh*
  signature

Output:
  {
    "z": "signature",
    "a": "web"
  }

Differences:
--- a/README.md
+++ b/README.md
@@ -1,1 +1,1 @@
-web at 80 for user:default/jane
+web at 8080 for user:default/jane
--- a/gone.txt
+++ /dev/null
@@ -1,1 +0,0 @@
-old
signature: was`
	want, _, _ = strings.Cut(want, "signature: was")
	if !strings.HasPrefix(end, want) || !strings.Contains(end, "+++ b/signature") {
		t.Error(cmp.Diff(want, end))
	}
	if strings.Contains(out[:len(out)-len(end)], "hush") || !strings.Contains(out, "[sign] info: signing with ***") {
		t.Errorf("the log shows the secret, or nothing:\n%s", out)
	}
	if made, err := os.ReadFile(filepath.Join(dir, "made", "signature")); err != nil || string(made) != "by hush" {
		t.Errorf("--out wrote %q, %v", made, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "made", "bin", "run.sh")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the script is %v, %v", info, err)
	}
}

func TestDryRunWithoutDifferences(t *testing.T) {
	t.Parallel()
	dir := shop(t, nil)
	if err := os.Chmod(filepath.Join(dir, "expected", "signature"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := flytower(dir, "scaffolder", "dry-run", "template.yaml", "-p", "p.yaml", "--secret", "token=hush", "--user", "jane", "--diff", "expected", "--json")
	var report struct {
		Template string
		Diff     string
		Log      []struct{ Step, Status, Message string }
		Files    []struct {
			Path string
			Size int64
		}
		Output map[string]string
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || stderr != "" {
		t.Fatalf("code %d, %v\n%s%s", code, err, out, stderr)
	}
	if report.Template != "shop" || report.Diff != "" || len(report.Files) != 3 || report.Files[0].Size != 34 || report.Output["a"] != "web" || len(report.Log) < 8 {
		t.Errorf("the report is %s", out)
	}
}

func TestDryRunTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	head := "apiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata: {name: x}\n"
	for name, tt := range map[string]struct {
		template, parameters string
		args                 []string
		stderr               string
	}{
		"a value":            {"", "name: Web\n", nil, "p.yaml:1: name: does not match pattern \"^[a-z]+$\"\n"},
		"a missing value":    {"", "port: 1\n", nil, "p.yaml:1: requires property \"name\"\n"},
		"no object":          {"", "- a\n", nil, "p.yaml:1: has to be an object with the values of the form\n"},
		"no YAML":            {"", "a: [\n", nil, "p.yaml:"},
		"no such file":       {"", "", []string{"scaffolder", "dry-run", "gone.yaml"}, "gone.yaml: cannot be read: no such file or directory\n"},
		"no template":        {"- a\n", "", nil, "template.yaml:1: is no template: it has to be an object\n"},
		"another kind":       {"apiVersion: v1\nkind: Component\nmetadata: {name: x}\nspec: {type: x, steps: []}\n", "", nil, "template.yaml:1: apiVersion: is v1; only scaffolder.backstage.io/v1beta3 is known\ntemplate.yaml:2: kind: is Component, not Template\n"},
		"no steps":           {head + "spec:\n  type: x\n", "", nil, "template.yaml:4: spec.steps: has to be a list of steps\n"},
		"an unknown action":  {head + "spec:\n  type: x\n  steps:\n    - id: a\n      action: fetch:plane\n", "", nil, "template.yaml:8: spec.steps[0].action: there is no action fetch:plane here; did you mean fetch:plain?\n"},
		"no action":          {head + "spec:\n  type: x\n  steps:\n    - id: a\n", "", nil, "template.yaml:7: spec.steps[0].action: has to be the id of an action\n"},
		"an id twice":        {head + "spec:\n  type: x\n  steps:\n    - {id: a, action: 'debug:log'}\n    - {id: a, action: 'debug:log'}\n", "", nil, "template.yaml:8: spec.steps[1].id: a is the id of steps[0], too; the output of only one of them can be used\n"},
		"an outside include": {head + "spec:\n  type: x\n  steps: {$yaml: ../../etc/passwd}\n", "", nil, "template.yaml:6: $yaml: ../../etc/passwd cannot be read: path escapes from parent; included files have to be in the folder of the template\n"},
		"a failing step":     {head + "spec:\n  type: x\n  steps:\n    - {id: a, action: 'fetch:plain', input: {url: ./nothing}}\n", "", nil, "Error: "},
		"a step's input":     {head + "spec:\n  type: x\n  steps:\n    - {id: a, action: 'fetch:plain', input: {uri: ./nothing}}\n", "", nil, "InputError: Invalid input passed to action fetch:plain, instance requires property \"url\", instance is not allowed to have the additional property \"uri\"\n"},
		"a missing secret":   {head + "spec:\n  type: x\n  secrets: {schema: {type: object, required: [key]}}\n  steps: []\n", "", nil, "template.yaml:6: spec.secrets.schema: secrets.key is required; give secrets with --secret\n"},
		"a full folder":      {"", "name: x\n", []string{"scaffolder", "dry-run", "template.yaml", "--out", "full"}, "flytower: --out: the folder "},
		"an unset variable":  {"", "name: x\n", []string{"scaffolder", "dry-run", "template.yaml", "--secret", "NO_SUCH_VARIABLE"}, "flytower: --secret NO_SUCH_VARIABLE: there is no environment variable"},
		"no configuration":   {"", "name: x\n", []string{"scaffolder", "dry-run", "template.yaml", "--config", "none.yaml"}, "flytower: did not start: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{}
			if tt.template != "" {
				files["template.yaml"] = tt.template
			}
			if tt.parameters != "" {
				files["p.yaml"] = tt.parameters
			}
			args := tt.args
			if args == nil {
				args = []string{"scaffolder", "dry-run", "template.yaml", "-p", "p.yaml"}
			}
			code, out, stderr := flytower(shop(t, files), args...)
			if code != 1 || !strings.HasPrefix(stderr, tt.stderr) {
				t.Errorf("code %d\n%s\n%s", code, out, cmp.Diff(tt.stderr, stderr))
			}
		})
	}
}

// A remote skeleton is read by the reader of the configuration.
func TestDryRunReadsURLs(t *testing.T) {
	t.Parallel()
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("licence\n")) }))
	t.Cleanup(host.Close)
	address := strings.TrimPrefix(host.URL, "http://")
	dir := shop(t, map[string]string{
		"template.yaml": strings.Replace(shopTemplate, "$yaml: last.yaml", "{id: get, action: 'fetch:plain:file', input: {url: '"+host.URL+"/LICENSE', targetPath: LICENSE}}", 1),
		"app.yaml":      "backend: {reading: {allow: [{host: '" + address + "'}]}}\n",
	})
	code, out, stderr := flytower(dir, "scaffolder", "dry-run", "template.yaml", "-p", "p.yaml", "--secret", "token=a", "--out", "made", "--config", "app.yaml")
	got, err := os.ReadFile(filepath.Join(dir, "made", "LICENSE"))
	if code != 0 || err != nil || string(got) != "licence\n" {
		t.Errorf("code %d, %q, %v\n%s%s", code, got, err, out, stderr)
	}
	if code, _, stderr = flytower(dir, "scaffolder", "dry-run", "template.yaml", "-p", "p.yaml", "--secret", "token=a"); code != 1 || !strings.Contains(stderr, "backend.reading.allow") {
		t.Errorf("without the configuration: code %d, %s", code, stderr)
	}
}
