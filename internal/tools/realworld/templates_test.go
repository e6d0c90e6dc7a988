package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/yaml12"
	"github.com/flytower/flytower/plugins/catalog-common/kinds"
	scaffolderbackend "github.com/flytower/flytower/plugins/scaffolder-backend"
	scaffoldermodulegitea "github.com/flytower/flytower/plugins/scaffolder-backend-module-gitea"
	scaffoldermodulegithub "github.com/flytower/flytower/plugins/scaffolder-backend-module-github"
	scaffoldermodulegitlab "github.com/flytower/flytower/plugins/scaffolder-backend-module-gitlab"
	scaffoldermoduleutils "github.com/flytower/flytower/plugins/scaffolder-backend-module-utils"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
	"github.com/flytower/flytower/plugins/scaffolder-node/yamlvalue"
)

// templatesDir has templates that people wrote, as the command of this folder
// reads them:
//
//	go test ./internal/tools/realworld -run TestTemplates -v -args -templates DIR
var templatesDir = flag.String("templates", "", "`folder` with real templates; the default is some of the same shapes")

// modules are those whose actions templates may use, beside the built-in ones.
var modules = []backend.Feature{scaffoldermodulegitea.Module, scaffoldermodulegithub.Module, scaffoldermodulegitlab.Module, scaffoldermoduleutils.Module}

// TestTemplates reads templates, asks for their forms, and runs those that use
// only actions that are there to the end, in dry runs with values that their
// forms accept. It prints a table.
func TestTemplates(t *testing.T) {
	templates := distilled()
	files := map[string]string{}
	if *templatesDir != "" {
		templates, files = readTemplates(t, *templatesDir)
	}
	entities := map[string]json.RawMessage{}
	for _, tmpl := range templates {
		entities[tmpl.name] = template.AppendJSON(nil, tmpl.entity)
	}
	s := backendtest.Start(t, append(modules, scaffolderbackend.Plugin, catalogOf(entities), sources(templates, files), backendtest.Silent(),
		backendtest.Config(map[string]any{
			"backend":      map[string]any{"workingDirectory": t.TempDir()},
			"scaffolder":   map[string]any{"defaultEnvironment": map[string]any{"parameters": environment(entities)}},
			"integrations": map[string]any{"gitea": []any{map[string]any{"host": "gitea.example"}}},
		}))...)
	c := s.Client(t)
	var registered []struct {
		ID     string
		Schema struct{ Input json.RawMessage }
	}
	c.Get("/api/scaffolder/v2/actions").Expect(http.StatusOK).JSON(&registered)
	known := map[string]string{}
	for _, a := range registered {
		known[a.ID] = string(a.Schema.Input)
	}
	counts := map[string]int{}
	for _, tmpl := range templates {
		r := tmpl.try(c, known)
		counts["templates"]++
		counts[r.verdict()]++
		if r.form {
			counts["forms"]++
		}
		t.Logf("%-9s %d pages, %2d steps  %s %s", r.verdict(), r.pages, r.steps, tmpl.file, r.detail)
		if !r.form || r.err != nil {
			t.Errorf("%s: %v", tmpl.file, r.err)
		}
		if len(r.unknown) > 0 {
			t.Logf("          inputs that the actions do not have: %s", strings.Join(r.unknown, ", "))
		}
	}
	t.Logf("%d templates, %d forms, %d run to the end, %d use other actions, %d fail",
		counts["templates"], counts["forms"], counts["completed"], counts["excluded"], counts["failed"])
	if counts["completed"] == 0 {
		t.Error("no template runs")
	}
}

var parameter = regexp.MustCompile(`environment\.parameters\.(\w+)`)

// environment has the parameters that templates expect of the operator.
func environment(entities map[string]json.RawMessage) map[string]any {
	found := map[string]any{"none": "none"}
	for _, text := range entities {
		for _, match := range parameter.FindAllSubmatch(text, -1) {
			found[string(match[1])] = "acme"
		}
	}
	return found
}

// real is a template with where it was found.
type real struct {
	file, repo, path string
	name             string // under which the catalog has it
	entity           *template.Record
}

func readTemplates(t *testing.T, dir string) (list []real, files map[string]string) {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join(dir, "MANIFEST.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	judges := kinds.NewSet(kinds.Template())
	for _, line := range strings.Split(strings.TrimSpace(string(manifest)), "\n")[1:] {
		columns := strings.Split(line, "\t")
		text, err := os.ReadFile(filepath.Join(dir, "files", filepath.Base(columns[0])))
		if err != nil {
			t.Fatal(err)
		}
		files[columns[1]+"/"+columns[2]] = string(text)
		for root, err := range yaml12.Roots(text, yaml12.Options{}) {
			if err != nil {
				continue // skeletons are no YAML yet
			}
			v, err := yamlvalue.Of(root)
			if err != nil {
				continue
			}
			entity, ok := v.(*template.Record)
			if !ok || template.Member(entity, "kind") != template.String("Template") {
				continue
			}
			if _, err := judges.Validate(template.ToGo(entity).(map[string]any)); err != nil {
				t.Errorf("%s is no valid template: %v", columns[0], err)
			}
			list = append(list, real{columns[0], columns[1], columns[2], fmt.Sprint("t", len(list)), entity})
		}
	}
	return list, files
}

// result is what became of a template.
type result struct {
	form         bool
	pages, steps int
	excluded     bool
	detail       string
	unknown      []string // inputs that actions do not have
	err          error
}

func entries(r *template.Record) iter.Seq2[string, template.Value] {
	if r == nil {
		r = template.NewRecord()
	}
	return r.All()
}

func (r result) verdict() string {
	switch {
	case r.err != nil:
		return "failed"
	case r.excluded:
		return "excluded"
	}
	return "completed"
}

func (tmpl real) try(c backendtest.Client, known map[string]string) (r result) {
	var form struct {
		Steps []struct{ Schema json.RawMessage }
	}
	answer := c.Get("/api/scaffolder/v2/templates/default/template/" + tmpl.name + "/parameter-schema")
	if r.form = answer.Status == http.StatusOK; !r.form {
		r.err = errors.New(answer.Text())
		return r
	}
	answer.JSON(&form)
	r.pages = len(form.Steps)
	steps, _ := template.Member(template.Member(tmpl.entity, "spec"), "steps").(*template.Array)
	var others []string
	for _, step := range steps.All() {
		r.steps++
		action := template.Text(template.Member(step, "action"))
		schema, ok := known[action]
		if !ok && !slices.Contains(others, action) {
			others = append(others, action)
		}
		// Dry runs look at the inputs of only some actions.
		input, _ := template.Member(step, "input").(*template.Record)
		for key := range entries(input) {
			if ok && !strings.Contains(schema, `"`+key+`":`) {
				r.unknown = append(r.unknown, action+"."+key)
			}
		}
	}
	if len(others) > 0 {
		r.excluded, r.detail = true, "needs "+strings.Join(others, ", ")
		return r
	}
	answers := newAnswers()
	for _, page := range form.Steps {
		schema, err := template.ParseJSON(page.Schema)
		if err != nil {
			r.err = err
			return r
		}
		answers.page(schema)
	}
	for range maxAttempts {
		answer := c.Post("/api/scaffolder/v2/dry-run", map[string]any{"template": tmpl.remote(), "values": answers.values, "directoryContents": []any{}})
		if answer.Status == http.StatusOK {
			var done struct {
				Log []struct {
					Body struct{ Message, Status string }
				}
			}
			answer.JSON(&done)
			for _, line := range done.Log {
				if line.Body.Status == "failed" {
					r.err = errors.New(line.Body.Message)
				}
			}
			return r
		}
		r.err = errors.New(answer.Text())
		var refused struct{ Errors []problem }
		if json.Unmarshal(answer.Body, &refused) != nil || len(refused.Errors) == 0 || !answers.mend(refused.Errors) {
			return r
		}
		r.err = nil
	}
	r.err = errors.New("no values were found that the form accepts")
	return r
}

// remote returns the template with the relative URLs of its fetches made
// whole, as the catalog's location of it would.
func (tmpl real) remote() template.Value {
	var resolve func(v template.Value) template.Value
	resolve = func(v template.Value) template.Value {
		switch v := v.(type) {
		case *template.Array:
			var items []template.Value
			for _, item := range v.All() {
				items = append(items, resolve(item))
			}
			return template.NewArray(items...)
		case *template.Record:
			changed := v
			action := template.Text(template.Member(v, "action"))
			target, ok := template.Member(template.Member(v, "input"), "url").(template.String)
			if ok && strings.HasPrefix(action, "fetch:") && !strings.Contains(string(target), "://") {
				whole := "https://github.com/" + tmpl.repo + "/tree/main/" + path.Join(path.Dir(tmpl.path), string(target))
				changed = v.With(template.String(whole), "input", "url")
			}
			return changed
		}
		return v
	}
	steps := resolve(template.Member(template.Member(tmpl.entity, "spec"), "steps"))
	return tmpl.entity.With(steps, "spec", "steps")
}

// catalogOf is a catalog with entities.
func catalogOf(entities map[string]json.RawMessage) backend.Feature {
	return backend.NewPlugin("catalog", func(env *backend.PluginEnv) backend.InitFunc {
		router := core.HTTPRouter.From(env)
		return func(context.Context) error {
			router().HandleErr("GET /entities/by-name/{kind}/{namespace}/{name}", func(w http.ResponseWriter, r *http.Request) error {
				text, ok := entities[r.PathValue("name")]
				if !ok || r.PathValue("kind") != "template" {
					return apierr.NotFound("there is no such entity")
				}
				apierr.WriteJSON(w, http.StatusOK, text)
				return nil
			})
			// Whatever else a template asks for is there.
			router().HandleErr("POST /entities/by-refs", func(w http.ResponseWriter, r *http.Request) error {
				var in struct{ EntityRefs []string }
				if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
					return err
				}
				items := make([]any, len(in.EntityRefs))
				for i, ref := range in.EntityRefs {
					_, name, _ := strings.Cut(ref, "/")
					items[i] = map[string]any{"apiVersion": "backstage.io/v1alpha1", "kind": "Component", "metadata": map[string]any{
						"name": name, "namespace": "default", "annotations": map[string]any{"backstage.io/managed-by-location": "url:https://github.com/acme/" + name},
					}, "spec": map[string]any{}}
				}
				apierr.WriteJSON(w, http.StatusOK, map[string]any{"items": items})
				return nil
			})
			return nil
		}
	})
}

// sources reads from all repositories: the files that are known of them, and
// those that templates want to work with.
func sources(templates []real, files map[string]string) backend.Feature {
	wanted := map[string]string{"README.md": "# ${{ values.name }}\n", "catalog-info.yaml": "kind: Component\n", "src/${{ values.name }}.txt": "x"}
	for _, tmpl := range templates {
		steps, _ := template.Member(template.Member(tmpl.entity, "spec"), "steps").(*template.Array)
		if steps == nil {
			continue
		}
		for _, step := range steps.All() {
			in := template.Member(step, "input")
			names := []template.Value{template.Member(in, "path")}
			if list, ok := template.Member(in, "files").(*template.Array); ok {
				for _, f := range list.All() {
					names = append(names, template.Member(f, "from"))
				}
			}
			for _, name := range names {
				want(wanted, template.Text(name))
			}
		}
	}
	return backend.NewServiceFactory(core.URLReader, func(*backend.FactoryEnv) backend.MakeFunc[core.URLReaderService] {
		return func(context.Context) (core.URLReaderService, error) { return repositories{files, wanted}, nil }
	})
}

// want adds a file and, since it is not known where its folder is fetched to,
// the same in each folder of its path.
func want(files map[string]string, name string) {
	name = strings.TrimPrefix(path.Clean(name), "/")
	if name == "." || strings.Contains(name, "{") || strings.HasPrefix(name, "..") {
		return
	}
	for {
		content := "x\n"
		switch path.Ext(name) {
		case ".json":
			content = "{}"
		case ".yaml", ".yml":
			content = "kind: x\n"
		}
		if path.Ext(name) != "" && files[name] == "" {
			files[name] = content
		}
		_, rest, ok := strings.Cut(name, "/")
		if !ok {
			return
		}
		name = rest
	}
}

type repositories struct{ files, wanted map[string]string }

func (r repositories) Read(context.Context, string, core.ReadOptions) (core.ReadResult, error) {
	return core.ReadResult{Content: io.NopCloser(strings.NewReader("x: 1\n"))}, nil
}

func (r repositories) ReadTree(_ context.Context, url string, _ core.TreeOptions) (core.TreeResult, error) {
	below := strings.Replace(strings.TrimPrefix(url, "https://github.com/"), "/tree/main/", "/", 1) + "/"
	found := tree{}
	for name, content := range r.wanted {
		found[name] = content
	}
	for name, content := range r.files {
		if rest, ok := strings.CutPrefix(name, below); ok {
			found[rest] = content
		}
	}
	return found, nil
}

func (repositories) Search(context.Context, string, core.ReadOptions) (core.SearchResult, error) {
	return core.SearchResult{}, nil
}

func (repositories) Resolve(ref, _ string) (string, error) { return ref, nil }

type tree map[string]string

func (tree) Files() []core.TreeFile { return nil }
func (tree) ETag() string           { return "" }
func (tree) Close() error           { return nil }

func (f tree) WriteTo(_ context.Context, dir string) error {
	for name, content := range f {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}
