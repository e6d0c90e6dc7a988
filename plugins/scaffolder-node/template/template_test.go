package template_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

func TestErrorsSayWhereWhatAndWhatToDo(t *testing.T) {
	t.Parallel()
	failing := errors.New("no such team")
	env, err := template.NewEnvironment(template.Options{
		Filters: map[string]template.FilterFunc{"team": func(context.Context, template.Value, ...template.Value) (template.Value, error) {
			return nil, failing
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{
		"a\n  ${{ x | uper }}":        `Template error in page at line 2, column 11: Unknown template filter "uper"; did you mean "upper"?`,
		"{% fro x in y %}":            `Template error in page at line 1, column 1: Unknown template tag "fro"; did you mean "for"?; wrap text that is not meant for the template engine in {% raw %} … {% endraw %}`,
		"é${{ 'é' ! }}":               `Template error in page at line 1, column 10: Unexpected character "!"; write "not" for a negation`,
		"${#x}":                       `Template error in page at line 1, column 2: Unterminated comment tag; close it with #}, or wrap text that is not meant for the template engine in {% raw %} … {% endraw %}`,
		"{% include 'x' %}":           `Template error in page at line 1, column 1: Unsupported template-loading tag "include"; a template cannot read other files; define macros in the file that uses them`,
		"${{ 'x' | team }}":           `Template error in page at line 1, column 11: Template filter "team" failed: no such team`,
		"${{ steps.a.output.run() }}": `Template error in page at line 1, column 20: Template value "steps.a.output.run" resolved to undefined and cannot be called`,
	} {
		_, err := renderText(t, env, source, nil)
		if err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", source, err, want)
		}
	}
	if _, err := renderText(t, env, "${{ 'x' | team }}", nil); !errors.Is(err, failing) {
		t.Errorf("%v does not wrap the error of the filter", err)
	}
}

// TestErrorsCannotForgeLogLines: what a template writes into an error has no
// control characters.
func TestErrorsCannotForgeLogLines(t *testing.T) {
	t.Parallel()
	env := plainEnvironment(t, template.Limits{})
	_, err := renderText(t, env, "${{ 'x' | select('a\n\u202eERROR') }}", nil)
	if err == nil || strings.ContainsAny(err.Error(), "\n\u202e") {
		t.Errorf("got %q", err)
	}
}

func TestNamesOfTheHostAreChecked(t *testing.T) {
	t.Parallel()
	none := func(context.Context, template.Value, ...template.Value) (template.Value, error) { return nil, nil }
	for name, wrong := range map[string]bool{"a": false, "a.b_1": false, "": true, "a b": true, "1a": true, "constructor": true, "a.": true} {
		_, err := template.NewEnvironment(template.Options{Filters: map[string]template.FilterFunc{name: none}})
		if (err != nil) != wrong {
			t.Errorf("a filter named %q: %v", name, err)
		}
	}
}

func TestRecordsHaveTheOrderOfJavaScript(t *testing.T) {
	t.Parallel()
	r := template.NewRecord()
	for i, key := range []string{"b", "10", "a", "9", "01", "4294967295", "b", "0"} {
		r.Set(key, template.Number(i))
	}
	if want, got := `{"0":7,"9":3,"10":1,"b":6,"a":2,"01":4,"4294967295":5}`, string(template.AppendJSON(nil, r)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for i := range 100 {
		r.Set(strings.Repeat("k", i+1), template.Number(i))
	}
	if v, ok := r.Get("kkk"); !ok || v != template.Number(2) {
		t.Errorf("kkk is %v, %t", v, ok)
	}
}

func TestWithSharesAndLeavesTheOriginal(t *testing.T) {
	t.Parallel()
	before, err := template.RecordOf(json.RawMessage(`{"parameters":{"a":1},"steps":{"one":{"output":{"x":1}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	after := before.With(template.String("y"), "steps", "two", "output", "url")
	if want, got := `{"parameters":{"a":1},"steps":{"one":{"output":{"x":1}},"two":{"output":{"url":"y"}}}}`, string(template.AppendJSON(nil, after)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want, got := `{"parameters":{"a":1},"steps":{"one":{"output":{"x":1}}}}`, string(template.AppendJSON(nil, before)); got != want {
		t.Errorf("the original became %s", got)
	}
	a, _ := before.Get("parameters")
	b, _ := after.Get("parameters")
	if a != b {
		t.Error("what did not change was copied")
	}
}

func TestFromAndBack(t *testing.T) {
	t.Parallel()
	type point struct {
		X int `json:"x"`
	}
	v, err := template.From(map[string]any{"n": nil, "l": []any{1, "a", true, 2.5}, "s": []string{"b"}, "m": map[string]string{"k": "v"}, "p": point{3}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"n": nil, "l": []any{1.0, "a", true, 2.5}, "s": []any{"b"}, "m": map[string]any{"k": "v"}, "p": map[string]any{"x": 3.0}}
	if diff := cmp.Diff(want, template.ToGo(v)); diff != "" {
		t.Error(diff)
	}
	deep := any("x")
	for range 300 {
		deep = []any{deep}
	}
	if _, err := template.From(deep); !errors.Is(err, template.ErrTooDeep) {
		t.Errorf("a deep value: %v", err)
	}
	if _, err := template.ParseJSON([]byte(strings.Repeat("[", 300))); !errors.Is(err, template.ErrTooDeep) {
		t.Errorf("a deep text: %v", err)
	}
	if _, err := template.From(func() {}); err == nil {
		t.Error("a function became a value")
	}
	if got := string(template.AppendJSON(nil, template.NewArray(template.Number(math.NaN()), template.Undefined{}))); got != "[null,null]" {
		t.Errorf("got %s", got)
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	input, err := template.ParseJSON([]byte(`{"${{ a }}":"plain","n":"${{ a }}","t":"v${{ a }}","gone":"${{ b }}","l":["${{ a }}","${{ b }}"],"bad":"${{ a | nosuch }}","x":true}`))
	if err != nil {
		t.Fatal(err)
	}
	variables, err := template.RecordOf(map[string]any{"a": 7})
	if err != nil {
		t.Fatal(err)
	}
	var failed []string
	x := template.Expander{
		Environment: plainEnvironment(t, template.Limits{}), Cache: template.NewCache(0),
		OnError: func(path string, err error) { failed = append(failed, path+": "+err.Error()) },
	}
	for range 2 {
		failed = nil
		got, err := x.Expand(t.Context(), "input", input, variables)
		if err != nil {
			t.Fatal(err)
		}
		if want := `{"${{ a }}":"plain","n":7,"t":"v7","l":[7,null],"bad":"${{ a | nosuch }}","x":true}`; string(template.AppendJSON(nil, got)) != want {
			t.Errorf("got %s, want %s", template.AppendJSON(nil, got), want)
		}
	}
	if diff := cmp.Diff([]string{`input.bad: Template error in input.bad at line 1, column 9: Unknown template filter "nosuch"`}, failed); diff != "" {
		t.Error(diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Expand(ctx, "input", input, variables); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	cache := template.NewCache(10_000)
	first, err := cache.Parse("one", "${{ a }}", template.Syntax{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := cache.Parse("two", "${{ a }}", template.Syntax{})
	if err != nil || again.Name() != "two" || first.Name() != "one" {
		t.Errorf("names %q and %q, %v", first.Name(), again.Name(), err)
	}
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 500 {
				if _, err := cache.Parse("", strings.Repeat("x", worker*500+i)+"${{ a }}", template.Syntax{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if _, err := cache.Parse("bad", "${{", template.Syntax{}); err == nil {
		t.Error("an error was forgotten")
	}
}

// TestATemplateServesManyRenders at once.
func TestATemplateServesManyRenders(t *testing.T) {
	t.Parallel()
	tmpl, err := template.Parse("", "{% set n = 0 %}{% for x in list.slice() %}{% set n = n + x %}${{ list.push(x) }},{% endfor %}${{ n }} ${{ 'aXa' | replace(r/x/gi, n) }}", template.Syntax{})
	if err != nil {
		t.Fatal(err)
	}
	variables, err := template.RecordOf(map[string]any{"list": []any{1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	env := plainEnvironment(t, template.Limits{})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				if out, err := env.Render(t.Context(), tmpl, variables); err != nil || out != "4,5,6,6 a6a" {
					t.Errorf("got %q, %v", out, err)
				}
			}
		})
	}
	group.Wait()
}
