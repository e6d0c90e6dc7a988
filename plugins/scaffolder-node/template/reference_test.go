package template_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/internal/configtest"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// referenceCase is a template with what the reference's engine makes of it.
type referenceCase struct {
	Name      string
	Mode      string
	Template  string
	Syntax    template.Syntax
	Want      json.RawMessage
	Undefined bool
	Number    string
	Error     *failure
	Detail    string
}

type failure struct {
	Name, Code, Phase string
	Line, Column      int
}

// referenceEnvironment has the filters and globals that the answers of the
// reference were made with.
func referenceEnvironment(t testing.TB) *template.Environment {
	t.Helper()
	hosts, err := integration.FromConfig(configtest.FromYAML(t, "integrations: {gitea: [{host: gitea.com}]}"))
	if err != nil {
		t.Fatal(err)
	}
	env, err := template.NewEnvironment(template.Options{
		Filters: scaffoldernode.TemplateFilters(hosts),
		Values: map[string]template.Value{"myval": template.NewRecord(
			template.Entry{Key: "a", Value: template.NewArray(template.Number(1), template.Number(2))},
		)},
		Functions: map[string]template.Func{
			"add": func(_ context.Context, args ...template.Value) (template.Value, error) {
				return template.String(template.Text(args[0]) + template.Text(args[1])), nil
			},
			"ident": func(_ context.Context, args ...template.Value) (template.Value, error) {
				return template.NewArray(args...), nil
			},
			"boom": func(context.Context, ...template.Value) (template.Value, error) {
				return nil, errors.New("boom!")
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func readReference(t testing.TB) (variables *template.Record, cases []referenceCase) {
	t.Helper()
	data, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Variables json.RawMessage
		Cases     []referenceCase
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if variables, err = template.RecordOf(file.Variables); err != nil {
		t.Fatal(err)
	}
	return variables, file.Cases
}

// TestReference renders what the reference rendered. The values, and of errors
// the name, code, phase and line, have to be the same.
func TestReference(t *testing.T) {
	t.Parallel()
	env := referenceEnvironment(t)
	variables, cases := readReference(t)
	if len(cases) != 480 {
		t.Fatalf("%d cases, want 480", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			got, err := render(t.Context(), env, c, variables)
			if c.Error != nil {
				if diff := cmp.Diff(c.Error, failureOf(err)); diff != "" {
					t.Errorf("%s\n(-want +got):\n%s%v\nwant: %s", c.Template, diff, err, c.Detail)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s\n%v", c.Template, err)
			}
			if diff := cmp.Diff(c.want(t), text(got)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", c.Template, diff)
			}
		})
	}
}

func render(ctx context.Context, env *template.Environment, c referenceCase, variables *template.Record) (template.Value, error) {
	tmpl, err := template.Parse("", c.Template, c.Syntax)
	if err != nil {
		return nil, err
	}
	if c.Mode == "value" {
		return env.Eval(ctx, tmpl, variables)
	}
	out, err := env.Render(ctx, tmpl, variables)
	return template.String(out), err
}

// want is the expected value as text: JSON in its order, or what JSON cannot
// say.
func (c referenceCase) want(t *testing.T) string {
	t.Helper()
	switch {
	case c.Undefined:
		return "undefined"
	case c.Number != "":
		return c.Number
	}
	v, err := template.ParseJSON(c.Want)
	if err != nil {
		t.Fatal(err)
	}
	return text(v)
}

func text(v template.Value) string {
	switch v := v.(type) {
	case template.Undefined:
		return "undefined"
	case template.Number:
		return template.Text(v)
	}
	return string(template.AppendJSON(nil, v))
}

func failureOf(err error) *failure {
	var e *template.Error
	if !errors.As(err, &e) {
		return &failure{Name: "no template.Error: " + strconv.Quote(errorText(err))}
	}
	return &failure{e.ErrorName(), string(e.Code), string(e.Phase), e.Line, e.Column}
}

func errorText(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}
