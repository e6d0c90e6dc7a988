package template

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// FilterFunc is a filter of the host: value | name(args…). Its error becomes
// an [*Error] with CodeCapability; values it returns must not change later.
// Missing arguments are not there, so check len(args).
type FilterFunc func(ctx context.Context, input Value, args ...Value) (Value, error)

// Func is a global function of the host: name(args…).
type Func func(ctx context.Context, args ...Value) (Value, error)

// Options make an [Environment].
type Options struct {
	// Filters are added to the built-in ones, or take their place.
	Filters map[string]FilterFunc
	// Functions and Values are found by name where no variable has it.
	Functions map[string]Func
	Values    map[string]Value
	// Limits bound each render.
	Limits Limits
	// Random returns a number from 0 up to n, for the filter random. The
	// default is the generator of math/rand/v2.
	Random func(n int) int
}

// Environment renders templates. It is safe for concurrent use.
type Environment struct {
	filters     map[string]FilterFunc
	functions   map[string]Func
	values      map[string]Value
	filterNames []string
	limits      Limits
	random      func(n int) int
}

// NewEnvironment returns an environment. It fails if a name of a filter,
// function or value cannot be written in a template.
func NewEnvironment(options Options) (*Environment, error) {
	env := &Environment{
		filters: maps.Clone(options.Filters), functions: maps.Clone(options.Functions), values: maps.Clone(options.Values),
		limits: options.Limits.withDefaults(), random: options.Random,
	}
	if env.random == nil {
		env.random = rand.IntN
	}
	for _, name := range slices.Sorted(maps.Keys(env.filters)) {
		for part := range strings.SplitSeq(name, ".") {
			if err := checkName("filter", name, part); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range slices.Concat(slices.Sorted(maps.Keys(env.functions)), slices.Sorted(maps.Keys(env.values))) {
		if err := checkName("global", name, name); err != nil {
			return nil, err
		}
	}
	env.filterNames = slices.Sorted(maps.Keys(env.filters))
	return env, nil
}

func checkName(what, whole, part string) error {
	if part == "" || tagName(part) != part || isReserved(part) {
		return fmt.Errorf("template %s %q: names consist of letters, digits and _, begin with no digit, and are not constructor, prototype or __proto__", what, whole)
	}
	return nil
}

// Render renders a template to text. The error is an [*Error] or a
// [*LimitError]; the text is then empty.
func (env *Environment) Render(ctx context.Context, t *Template, variables *Record) (string, error) {
	ev := newEvaluator(ctx, env, t, variables)
	return ev.render()
}

// Eval renders a template to a value. A template that is a single expression,
// possibly with comments but with no other text, gives the value of that
// expression: a number stays a number, and what is missing is [Undefined]. Any
// other template gives its text.
func (env *Environment) Eval(ctx context.Context, t *Template, variables *Record) (Value, error) {
	single := t.expression()
	ev := newEvaluator(ctx, env, t, variables)
	if single == nil {
		text, err := ev.render()
		if err != nil {
			return nil, err
		}
		return String(text), nil
	}
	value := ev.eval(single, ev.root())
	ev.pos = t.body[0].pos()
	value = ev.detach(value, 0)
	if ev.err != nil {
		return nil, ev.failure()
	}
	return value, nil
}

// expression returns the expression that the template consists of, or nil.
func (t *Template) expression() expr {
	if len(t.body) != 1 {
		return nil
	}
	output, ok := t.body[0].(*outputStmt)
	if !ok {
		return nil
	}
	return output.value
}
