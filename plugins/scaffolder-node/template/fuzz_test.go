package template_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"unicode/utf8"

	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// FuzzRender: whatever a template says, parsing and rendering end within the
// limits, with UTF-8 or one of the two errors.
func FuzzRender(f *testing.F) {
	_, cases := readReference(f)
	for i := 0; i < len(cases); i += 7 {
		f.Add(cases[i].Template, uint8(i))
	}
	for _, seed := range []string{
		"{% macro m(a, b=1) %}${{ m(a) }}{% endmacro %}{% call(x) m(1) %}${{ x }}{% endcall %}",
		"{% set a = [] %}${{ a.push(a) }}${{ a | sort | join(a) | dump(4) }}",
		"${{ s.split('').reverse().join(s) | replace(r/(?=(a+))\\1?[^\\d]/gi, '$1$&$`') | truncate(-1) }}",
		"${{ range(0, 1/0) }}${{ {length: 1/0} | batch(1/0) }}${{ [[[]]] | flat(1/0) }}",
		"{%- raw -%} {% raw %} {% endraw %} {% endraw -%} ${{ '\xff😀'[1:0:-1] }}",
		"{% switch s %}{% case 1 %}{% default %}{% endswitch %}{% filter indent(99999999) %}a\n{% endfilter %}",
	} {
		f.Add(seed, uint8(0))
	}
	variables, err := template.RecordOf(map[string]any{
		"s": "a😀b", "i": 7, "arr": []any{3, 1, 2}, "obj": map[string]any{"a": 1, "10": nil}, "objs": []any{map[string]any{"n": 1}},
	})
	if err != nil {
		f.Fatal(err)
	}
	limits := template.Limits{Steps: 20_000, TextBytes: 1 << 20, OutputBytes: 1 << 18, RegexpSteps: 100_000, Depth: 100, SourceBytes: 1 << 16}
	env, err := template.NewEnvironment(template.Options{Limits: limits})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, source string, bits uint8) {
		syntax := template.Syntax{Cookiecutter: bits&1 > 0, TrimBlocks: bits&2 > 0, LstripBlocks: bits&4 > 0}
		tmpl, err := template.ParseWithin("f", source, syntax, limits)
		if err != nil {
			checkError(t, err)
			return
		}
		out, err := env.Render(context.Background(), tmpl, variables)
		if err != nil {
			checkError(t, err)
		} else if !utf8.ValidString(out) || len(out) > 1<<20 {
			t.Errorf("%d bytes, valid: %t", len(out), utf8.ValidString(out))
		}
		v, err := env.Eval(context.Background(), tmpl, variables)
		if err != nil {
			checkError(t, err)
		} else if _, err := template.ParseJSON(template.AppendJSON(nil, v)); err != nil {
			t.Errorf("the value of %q is no JSON: %v", source, err)
		}
	})
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var e *template.Error
	var l *template.LimitError
	switch {
	case errors.As(err, &e) && e.Line > 0 && e.Column > 0 && e.Detail != "":
	case errors.As(err, &l) && l.Line > 0 && l.Limit != "":
	default:
		t.Errorf("an error without type or place: %#v", err)
	}
}

func BenchmarkRender(b *testing.B) {
	variables, _ := readReference(b)
	env := referenceEnvironment(b)
	for _, file := range []string{"readme.md", "catalog-info.yaml", "deployment.yaml"} {
		source, err := os.ReadFile("testdata/bench/" + file)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("parse/"+file, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(source)))
			for b.Loop() {
				if _, err := template.Parse(file, string(source), template.Syntax{}); err != nil {
					b.Fatal(err)
				}
			}
		})
		tmpl, err := template.Parse(file, string(source), template.Syntax{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run("render/"+file, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(source)))
			for b.Loop() {
				if _, err := env.Render(context.Background(), tmpl, variables); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
