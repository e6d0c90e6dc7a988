package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/spelling"
	"github.com/flytower/flytower/internal/templatedryrun"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/engine"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/formschema"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/registry"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/templatefile"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Local runs templates of files, dry, without a server and a catalog.
type Local struct {
	Runner  *engine.Runner
	Actions *registry.Registry
}

// DryRun does the errand [templatedryrun.Errand].
func (l Local) DryRun(ctx context.Context, with any) (any, error) {
	in, ok := with.(templatedryrun.Request)
	if !ok {
		return nil, fmt.Errorf("a dry run is asked for with a templatedryrun.Request, not with %T", with)
	}
	r := rehearsal{Local: l, in: in}
	return r.run(ctx)
}

// rehearsal is one dry run of a file.
type rehearsal struct {
	Local
	in                   templatedryrun.Request
	template, parameters *templatefile.File
	source               *source
	result               templatedryrun.Result
}

func (r *rehearsal) run(ctx context.Context) (templatedryrun.Result, error) {
	if err := r.read(); err != nil || len(r.result.Problems) > 0 {
		return r.result, err
	}
	user, err := r.user()
	if err != nil {
		return r.result, err
	}
	path, err := filepath.Abs(r.in.Template)
	if err != nil {
		return r.result, err
	}
	base := (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
	raw, err := r.source.task(r.parameters.Value, user, r.source.info().With(template.String(base), "baseUrl")).MarshalJSON()
	if err != nil {
		return r.result, err
	}
	var spec scaffoldercommon.TaskSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return r.result, apierr.Input("%s: the template cannot be read: %v", r.in.Template, err)
	}
	output, err := r.Runner.Execute(ctx, ctx, &engine.Run{
		ID: "dry-run-" + tasks.NewID(), Spec: spec, Secrets: r.in.Secrets, Journal: r, DryRun: true, AtEnd: r.in.Workspace,
		Initiator: func(context.Context) (core.Credentials, error) { return core.NoCredentials(), nil },
	})
	if ctx.Err() != nil {
		return r.result, context.Cause(ctx)
	}
	if err != nil {
		r.result.Error = string(apierr.KindOf(err)) + ": " + err.Error()
		return r.result, nil
	}
	r.result.Output, err = output.MarshalJSON()
	return r.result, err
}

// Write implements [engine.Journal].
func (r *rehearsal) Write(_ context.Context, body scaffoldercommon.EventBody) error {
	line := templatedryrun.Line{Step: body.StepID, Status: string(body.Status), Message: withoutColours(body.Message)}
	r.result.Log = append(r.result.Log, line)
	if r.in.Log != nil {
		r.in.Log(line)
	}
	return nil
}

func withoutColours(text string) string {
	for _, code := range []string{"31", "32", "33", "39"} {
		text = strings.ReplaceAll(text, "\x1b["+code+"m", "")
	}
	return text
}

// read reads the files and finds what is wrong with them.
func (r *rehearsal) read() error {
	var err error
	if r.template, err = r.file(r.in.Template); err != nil || r.template == nil {
		return err
	}
	if err := r.template.Resolve(); err != nil {
		return r.wrong(err)
	}
	r.checkTemplate()
	if r.in.Parameters == "" {
		r.parameters = &templatefile.File{Name: "no parameters: -p", Value: template.NewRecord()}
	} else if r.parameters, err = r.file(r.in.Parameters); err != nil || r.parameters == nil {
		return err
	}
	if r.parameters.Value == (template.Undefined{}) || r.parameters.Value == (template.Null{}) {
		r.parameters.Value = template.NewRecord()
	}
	values, ok := r.parameters.Value.(*template.Record)
	if !ok {
		r.problem(r.parameters, nil, "has to be an object with the values of the form")
	}
	if len(r.result.Problems) > 0 {
		return nil
	}
	r.parameters.Value = withDefaults(values, r.source.parameters)
	return r.checkParameters()
}

// file reads a file. What is wrong with it becomes a problem, and nil.
func (r *rehearsal) file(name string) (*templatefile.File, error) {
	f, err := templatefile.Read(name)
	if err != nil {
		return nil, r.wrong(err)
	}
	return f, nil
}

// wrong makes an error with a file a problem, and returns any other.
func (r *rehearsal) wrong(err error) error {
	var at *templatefile.Error
	if !errors.As(err, &at) {
		return err
	}
	r.result.Problems = append(r.result.Problems, templatedryrun.Problem{File: at.File, Line: at.Line, Problem: at.Problem})
	return nil
}

func (r *rehearsal) problem(f *templatefile.File, path []any, format string, args ...any) {
	r.result.Problems = append(r.result.Problems, templatedryrun.Problem{
		File: f.Name, Line: f.Line(path...), Key: keyOf(path), Problem: fmt.Sprintf(format, args...),
	})
}

// keyOf writes a path as spec.steps[0].action.
func keyOf(path []any) string {
	var key strings.Builder
	for _, step := range path {
		switch s := step.(type) {
		case int:
			key.WriteString("[" + strconv.Itoa(s) + "]")
		default:
			if key.Len() > 0 {
				key.WriteString(".")
			}
			fmt.Fprint(&key, s)
		}
	}
	return key.String()
}

// checkTemplate checks the entity and its steps.
func (r *rehearsal) checkTemplate() {
	entity, ok := r.template.Value.(*template.Record)
	if !ok {
		r.problem(r.template, nil, "is no template: it has to be an object")
		return
	}
	r.source = &source{entity: entity}
	text := func(path ...any) string {
		v := template.Value(entity)
		for _, key := range path {
			v = template.Member(v, fmt.Sprint(key))
		}
		s, ok := v.(template.String)
		if !ok || s == "" {
			r.problem(r.template, path, "has to be a text")
		}
		return string(s)
	}
	if version := text("apiVersion"); version != "" && version != scaffoldercommon.APIVersion {
		r.problem(r.template, []any{"apiVersion"}, "is %s; only %s is known", version, scaffoldercommon.APIVersion)
	}
	if kind := text("kind"); kind != "" && kind != "Template" {
		r.problem(r.template, []any{"kind"}, "is %s, not Template", kind)
	}
	name := text("metadata", "name")
	r.result.Template, r.source.ref = name, "template:default/"+strings.ToLower(cmp.Or(name, "dry-run"))
	text("spec", "type")
	switch r.source.spec("parameters").(type) {
	case template.Undefined, *template.Array, *template.Record:
	default:
		r.problem(r.template, []any{"spec", "parameters"}, "has to be an object, or a list of objects: the pages of the form")
	}
	r.checkSteps()
	all := func(template.Value) (bool, error) { return true, nil }
	r.source.parameters, _, _ = keep(r.source.spec("parameters"), all)
	r.source.steps, _, _ = keep(r.source.spec("steps"), all)
}

func (r *rehearsal) checkSteps() {
	at := []any{"spec", "steps"}
	steps, ok := r.source.spec("steps").(*template.Array)
	if !ok {
		r.problem(r.template, at, "has to be a list of steps")
		return
	}
	taken := map[string]int{}
	for i, item := range steps.All() {
		path := []any{"spec", "steps", i}
		step, ok := item.(*template.Record)
		if !ok {
			r.problem(r.template, path, "has to be an object with an action")
			continue
		}
		id, _ := template.Member(step, "id").(template.String)
		if id == "" {
			id = template.String("step-" + strconv.Itoa(i+1))
		}
		if first, ok := taken[string(id)]; ok {
			r.problem(r.template, append(path, "id"), "%s is the id of steps[%d], too; the output of only one of them can be used", id, first)
		}
		taken[string(id)] = i
		action, _ := template.Member(step, "action").(template.String)
		switch _, err := r.Actions.Get(string(action)); {
		case action == "":
			r.problem(r.template, append(path, "action"), "has to be the id of an action")
		case err != nil:
			problem := fmt.Sprintf("there is no action %s here", action)
			if near := spelling.Nearest(string(action), r.Actions.Names()); near != "" {
				problem += "; did you mean " + near + "?"
			} else {
				problem += "; add the module that has it to the program"
			}
			r.problem(r.template, append(path, "action"), "%s", problem)
		}
		switch template.Member(step, "input").(type) {
		case template.Undefined, template.Null, *template.Record:
		default:
			r.problem(r.template, append(path, "input"), "has to be an object")
		}
	}
}

// checkParameters compares the parameters and the secrets with the form.
func (r *rehearsal) checkParameters() error {
	for i, page := range r.source.parameters {
		problems, err := formschema.Check(page, r.parameters.Value)
		if err != nil {
			r.problem(r.template, []any{"spec", "parameters", i}, "the values cannot be checked: %v", err)
		}
		for _, p := range problems {
			r.problem(r.parameters, p.Path, "%s", p.Message)
		}
	}
	secrets, err := template.From(r.in.Secrets)
	if err != nil {
		return err
	}
	var wrong invalid
	if err := r.source.checkSecrets(secrets); errors.As(err, &wrong) {
		for _, p := range wrong {
			r.problem(r.template, []any{"spec", "secrets", "schema"}, "%s; give secrets with --secret", p.Message)
		}
	} else if err != nil {
		return err
	}
	return nil
}

// withDefaults adds the defaults of fields that have no value, as the form
// would. Those in conditional parts of a form are left out.
func withDefaults(values *template.Record, pages []template.Value) *template.Record {
	for _, page := range pages {
		properties, _ := template.Member(page, "properties").(*template.Record)
		if properties == nil {
			continue
		}
		for name, property := range properties.All() {
			if _, given := values.Get(name); given {
				continue
			}
			if field, ok := property.(*template.Record); ok {
				if v, ok := field.Get("default"); ok {
					values = values.With(v, name)
				}
			}
		}
	}
	return values
}

// user makes the user that the template sees.
func (r *rehearsal) user() (template.Value, error) {
	if r.in.User == "" {
		return template.NewRecord(), nil
	}
	ref, err := catalogcommon.ParseRef(r.in.User, catalogcommon.RefDefaults{Kind: "user"})
	if err != nil {
		return nil, apierr.Input("the user %q is no reference of an entity, such as user:default/jane: %v", r.in.User, err)
	}
	return template.From(map[string]any{
		"ref": strings.ToLower(ref.String()),
		"entity": map[string]any{
			"apiVersion": "backstage.io/v1alpha1", "kind": "User",
			"metadata": map[string]any{"name": ref.Name, "namespace": ref.Namespace}, "spec": map[string]any{"profile": map[string]any{}, "memberOf": []any{}},
		},
	})
}
