package template_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

func plainEnvironment(t testing.TB, limits template.Limits) *template.Environment {
	t.Helper()
	env, err := template.NewEnvironment(template.Options{Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func renderText(t testing.TB, env *template.Environment, source string, variables map[string]any) (string, error) {
	t.Helper()
	vars, err := template.RecordOf(variables)
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := template.Parse("page", source, template.Syntax{})
	if err != nil {
		return "", err
	}
	return env.Render(t.Context(), tmpl, vars)
}

// TestHostileTemplatesMeetALimit: templates that would need much memory or time
// end with the limit that they meet, long before.
func TestHostileTemplatesMeetALimit(t *testing.T) {
	t.Parallel()
	doubling := "{% set a = 'xxxxxxxxxx' %}" + strings.Repeat("{% set a = a ~ a %}", 60)
	for _, c := range []struct{ name, source, limit string }{
		{"huge range", "${{ range(1e) }}", ""},
		{"range without end", "${{ range(1/0) | length }}", "Steps"},
		{"range of huge numbers", "${{ range(0, 99999999999) | length }}", "Steps"},
		{"nested loops", strings.Repeat("{% for x in range(999) %}", 9) + "." + strings.Repeat("{% endfor %}", 9), "Steps"},
		{"text that doubles", doubling, "TextBytes"},
		{"list that doubles", "{% set a = [1] %}" + strings.Repeat("{% set a = a.concat(a) %}", 60), "Steps"},
		{"text of shared lists", "{% set a = ['xxxx'] %}" + strings.Repeat("{% set a = [a, a] %}", 60) + "${{ a }}", "Steps"},
		{"JSON of shared lists", "{% set a = ['xxxx'] %}" + strings.Repeat("{% set a = [a, a] %}", 60) + "${{ a | dump }}", "Steps"},
		{"replacements that grow", "{% set a = 'x' %}" + strings.Repeat("{% set a = a | replace('x', 'xxxxxxxxxx') %}", 20), "TextBytes"},
		{"replacements of nothing", "{% set a = 'xxxxxxxxxx' %}" + strings.Repeat("{% set a = a | replace('', a) %}", 20), "TextBytes"},
		{"replacements in long text", "{% set a = range(10000) | join('xxxxxxxxxx') %}{% for x in range(99) %}{% set b = a | replace('', '') %}{% endfor %}", "Steps"},
		{"joins that grow", "{% set a = 'xxxxxxxxxx' %}" + strings.Repeat("{% set a = range(1000) | join(a) %}", 20), "TextBytes"},
		{"wide center", "${{ 'x' | center(99999999999) }}", ""},
		{"wide indent", "${{ 'a\nb' | indent(16000000) | indent(16000000) | indent(16000000) | indent(16000000) | length }}", "TextBytes"},
		{"wide batch", "${{ [1] | batch(99999999999, 'x') }}", "Steps"},
		{"many slices", "${{ [1] | slice(99999999999) }}", "Steps"},
		{"false length", "${{ {length: 99999999999} | sort }}", "Steps"},
		{"false length in a loop", "{% for x in {length: 99999999999} %}.{% endfor %}", "Steps"},
		{"macro without end", "{% macro m() %}${{ m() }}{% endmacro %}${{ m() }}", "Depth"},
		{"macros that branch", "{% macro m(n) %}{% if n %}${{ m(n-1) }}${{ m(n-1) }}{% endif %}{% endmacro %}${{ m(60) }}", "Steps"},
		{"parentheses", "${{ " + strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000) + " }}", "Depth"},
		{"negations", "${{ " + strings.Repeat("not ", 100_000) + "1 }}", "Depth"},
		{"lists", "${{ " + strings.Repeat("[", 100_000) + " }}", "Depth"},
		{"long sum", "${{ 1" + strings.Repeat("+1", 100_000) + " }}", "Depth"},
		{"long chain of filters", "${{ 1" + strings.Repeat("|abs", 100_000) + " }}", "Depth"},
		{"nested statements", strings.Repeat("{% if 1 %}", 100_000), "Depth"},
		{"list in itself", "{% set a = [1] %}${{ a.push(a) }}${{ a }}", ""},
		{"JSON of a list in itself", "{% set a = [1] %}${{ a.push(a) }}${{ a | dump }}", ""},
		{"regular expression", "${{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' | replace(r/^((a)|a)*\\2$/, '') }}", "RegexpSteps"},
		{"output", "{% set a = range(100000) | join('xxxxxxxxxx') %}" + strings.Repeat("${{ a }}", 20), "OutputBytes"},
		{"sparse numbers", "${{ 1.5.toFixed(9999999) }}", ""},
		{"tags in tags", "${{ ('<' | replace('', '<') ~ '" + strings.Repeat("<a", 50) + strings.Repeat(">", 50) + "') | striptags }}", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := renderText(t, plainEnvironment(t, template.Limits{}), c.source, nil)
			var limit *template.LimitError
			var other *template.Error
			switch {
			case c.limit == "" && !errors.As(err, &other) && err != nil:
				t.Errorf("got %v", err)
			case c.limit != "" && (!errors.As(err, &limit) || limit.Limit != c.limit):
				t.Errorf("got %v, want the limit %s", err, c.limit)
			}
		})
	}
}

// TestNothingLeadsOutOfValues: the ways in which templates of JavaScript
// engines reached the process.
func TestNothingLeadsOutOfValues(t *testing.T) {
	t.Parallel()
	env := plainEnvironment(t, template.Limits{})
	variables := map[string]any{"s": "x", "o": map[string]any{"a": 1}, "l": []any{1}}
	for _, source := range []string{
		`${{ range.constructor("return global.process")() }}`,
		`${{ s.constructor.constructor("return 1")() }}`,
		`${{ s["constructor"]["constructor"]("return 1")() }}`,
		`${{ s["const" ~ "ructor"]("return 1") }}`,
		`${{ l["__pro" ~ "to__"].x() }}`,
		`${{ cycler.__init__.__globals__.os.popen("id").read() }}`,
		`${{ joiner.__class__() }}`,
		`${{ [].map(range) }}`,
		`${{ o.toString() }}`,
		`${{ o.hasOwnProperty("a") }}`,
		`${{ s.replace("x", range) }}`,
		`${{ l.sort(range) }}`,
		`${{ process.exit() }}`,
		`${{ require("fs") }}`,
		`{% set __proto__ = 1 %}`,
		`{% include "/etc/passwd" %}`,
		`{% import "/etc/passwd" as x %}`,
		`${{ range }}`,
		`${{ [range] }}`,
		`${{ {a: range} | dump }}`,
		`${{ l | groupby("constructor") }}`,
		`${{ l | sum("__proto__") }}`,
	} {
		if out, err := renderText(t, env, source, variables); err == nil {
			t.Errorf("%s rendered %q", source, out)
		}
	}
	for source, want := range map[string]string{
		`${{ o["to" ~ "String"] }}${{ o.__class__ }}${{ process }}`: "",
		`${{ o["const" ~ "ructor"] }}`:                              "",
	} {
		if out, err := renderText(t, env, source, variables); err != nil || out != want {
			t.Errorf("%s rendered %q, %v; want %q", source, out, err, want)
		}
	}
}

// TestReservedKeysAreData: variables may have keys that templates cannot name.
func TestReservedKeysAreData(t *testing.T) {
	t.Parallel()
	out, err := renderText(t, plainEnvironment(t, template.Limits{}), "${{ o | dump }}",
		map[string]any{"o": map[string]any{"constructor": 1, "__proto__": map[string]any{"x": 2}}, "prototype": 3})
	if want := `{"__proto__":{"x":2},"constructor":1}`; err != nil || out != want {
		t.Errorf("got %s, %v; want %s", out, err, want)
	}
}

func TestVariablesAreNotChanged(t *testing.T) {
	t.Parallel()
	list := template.NewArray(template.Number(3), template.Number(1))
	variables := template.NewRecord(template.Entry{Key: "list", Value: list}, template.Entry{Key: "same", Value: list})
	tmpl, err := template.Parse("", "${{ list.push(2) }} ${{ list.sort() }} ${{ same }} ${{ same.pop() }}${{ list }}", template.Syntax{})
	if err != nil {
		t.Fatal(err)
	}
	env := plainEnvironment(t, template.Limits{})
	for range 2 {
		out, err := env.Render(t.Context(), tmpl, variables)
		if want := "3 1,2,3 1,2,3 31,2"; err != nil || out != want {
			t.Errorf("got %q, %v; want %q", out, err, want)
		}
	}
	if list.Len() != 2 || list.At(0) != template.Number(3) {
		t.Errorf("the variable became %v", template.ToGo(list))
	}
}

// TestTheContextEndsARender: with limits that allow everything, the context
// still ends a render.
func TestTheContextEndsARender(t *testing.T) {
	t.Parallel()
	const much = 1 << 60
	env := plainEnvironment(t, template.Limits{Steps: much, TextBytes: much, RegexpSteps: much, OutputBytes: much})
	for name, source := range map[string]string{
		"loop":               strings.Repeat("{% for x in range(9999) %}", 9) + strings.Repeat("{% endfor %}", 9),
		"range":              "${{ range(1/0, 2, 0-1) }}${{ range(9999999999) }}",
		"regular expression": "${{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'.split(r/^((a)|a)*\\2$/) }}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmpl, err := template.Parse("", source, template.Syntax{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err = env.Render(ctx, tmpl, nil)
			var limit *template.LimitError
			if !errors.As(err, &limit) || limit.Limit != "Time" || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the limit Time", err)
			}
		})
	}
}

func TestLimitsOfASource(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		source string
		limits template.Limits
		want   string
	}{
		{strings.Repeat("x", 11), template.Limits{SourceBytes: 10}, "Template page exceeded the limit SourceBytes of 10 (observed 11) at line 1, column 1"},
		{"a\n${{ [1, 2, 3] }}", template.Limits{Nodes: 5}, "Template page exceeded the limit Nodes of 5 (observed 6) at line 2, column 12"},
		{"${{ (((1))) }}", template.Limits{Depth: 3}, "Template page exceeded the limit Depth of 3 (observed 4) at line 1, column 7"},
	} {
		_, err := template.ParseWithin("page", c.source, template.Syntax{}, c.limits)
		var limit *template.LimitError
		if !errors.As(err, &limit) || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.source, err, c.want)
		}
	}
}

func TestHostCallsAreCounted(t *testing.T) {
	t.Parallel()
	calls := 0
	env, err := template.NewEnvironment(template.Options{
		Limits: template.Limits{HostCalls: 3},
		Functions: map[string]template.Func{"f": func(context.Context, ...template.Value) (template.Value, error) {
			calls++
			return nil, nil
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = renderText(t, env, "{% for x in range(9) %}${{ f() }}{% endfor %}", nil)
	var limit *template.LimitError
	if !errors.As(err, &limit) || limit.Limit != "HostCalls" || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
}
