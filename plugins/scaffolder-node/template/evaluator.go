package template

import (
	"context"
	"errors"
	"strings"

	"github.com/flytower/flytower/internal/ecmaregexp"
	"github.com/flytower/flytower/internal/utf16text"
)

// evaluator is one render. Its first error sticks: after it, evaluation does
// nothing more, and every step leaves as soon as it can.
type evaluator struct {
	ctx       context.Context
	env       *Environment
	template  *Template
	variables *Record
	limits    *Limits
	cookie    bool

	// out is what was written; captures use it as a stack
	out []byte
	// pos is the place of what is being evaluated
	pos    int
	err    error
	errPos int

	depth, steps, written, texts, hostCalls int64
	// changed holds what methods made of arrays that belong to the caller
	changed map[*Array]*Array
	// lent is set once a value of a caller could be reached by a callable
	regexps *ecmaregexp.Budget
}

func newEvaluator(ctx context.Context, env *Environment, t *Template, variables *Record) *evaluator {
	return &evaluator{
		ctx: ctx, env: env, template: t, variables: variables, limits: &env.limits, cookie: t.syntax.Cookiecutter,
	}
}

func (ev *evaluator) render() (string, error) {
	ev.out = make([]byte, 0, len(ev.template.source)+len(ev.template.source)/4)
	ev.run(ev.template.body, ev.root())
	if ev.err != nil {
		return "", ev.failure()
	}
	return utf16text.Valid(string(ev.out)), nil
}

// failure is the error of the render, with its place.
func (ev *evaluator) failure() error {
	return placed(ev.err, ev.template.name, ev.template.source, ev.errPos)
}

func (ev *evaluator) setError(err error, pos int) {
	if ev.err == nil {
		ev.err, ev.errPos = err, pos
	}
}

// fail reports what cannot be evaluated, at the current place.
func (ev *evaluator) fail(detail string) Value {
	return ev.failAt(ev.pos, detail)
}

func (ev *evaluator) failAt(pos int, detail string) Value {
	if ev.err == nil {
		ev.setError(&Error{Code: CodeEvaluation, Phase: PhaseEvaluate, Detail: harmless(detail)}, pos)
	}
	return Undefined{}
}

func (ev *evaluator) exceeded(limit string, maximum, observed int64) {
	ev.setError(&LimitError{Phase: PhaseEvaluate, Limit: limit, Max: maximum, Observed: observed}, ev.pos)
}

// checkEvery is how many steps pass between looks at the context.
const checkEvery = 1 << 10

// step charges for n items or parts, and reports whether to go on.
func (ev *evaluator) step(n int64) bool {
	if ev.err != nil {
		return false
	}
	before := ev.steps
	if ev.steps += n; ev.steps > ev.limits.Steps {
		ev.exceeded("Steps", ev.limits.Steps, ev.steps)
		return false
	}
	if before/checkEvery != ev.steps/checkEvery {
		return ev.inTime()
	}
	return true
}

func (ev *evaluator) inTime() bool {
	if err := ev.ctx.Err(); err != nil {
		ev.setError(&LimitError{Phase: PhaseEvaluate, Limit: "Time", err: context.Cause(ev.ctx)}, ev.pos)
	}
	return ev.err == nil
}

// text charges for texts that are read or made, and reports whether to go on.
func (ev *evaluator) text(bytes int) bool {
	if ev.err != nil {
		return false
	}
	before := ev.texts
	if ev.texts += int64(bytes); ev.texts > ev.limits.TextBytes {
		ev.exceeded("TextBytes", ev.limits.TextBytes, ev.texts)
		return false
	}
	if before>>20 != ev.texts>>20 {
		return ev.inTime()
	}
	return true
}

// write adds to the output.
func (ev *evaluator) write(text string) {
	if ev.err != nil {
		return
	}
	if ev.written += int64(len(text)); ev.written > ev.limits.OutputBytes {
		ev.exceeded("OutputBytes", ev.limits.OutputBytes, ev.written)
		return
	}
	ev.out = append(ev.out, text...)
}

// enter charges for a part, and for its depth if it goes on to others.
func (ev *evaluator) enter(pos int) bool {
	ev.pos = pos
	if ev.depth >= ev.limits.Depth && ev.err == nil {
		ev.exceeded("Depth", ev.limits.Depth, ev.depth+1)
	}
	return ev.step(1)
}

// eval evaluates an expression.
func (ev *evaluator) eval(x expr, sc *scope) Value {
	if !ev.enter(x.pos()) {
		return Undefined{}
	}
	ev.depth++
	v := x.eval(ev, sc)
	ev.depth--
	if ev.err != nil {
		return Undefined{}
	}
	return v
}

// run executes statements.
func (ev *evaluator) run(list body, sc *scope) {
	if ev.depth++; ev.depth > ev.limits.Depth && ev.err == nil {
		ev.exceeded("Depth", ev.limits.Depth, ev.depth)
	}
	for _, s := range list {
		if !ev.enter(s.pos()) {
			break
		}
		s.exec(ev, sc)
	}
	ev.depth--
}

// captured returns what statements write.
func (ev *evaluator) captured(list body, sc *scope) string {
	start := len(ev.out)
	ev.run(list, sc)
	text := string(ev.out[start:])
	ev.out = ev.out[:start]
	ev.text(len(text))
	return utf16text.Join(text)
}

// budget is what regular expressions of this render may use.
func (ev *evaluator) budget() *ecmaregexp.Budget {
	if ev.regexps == nil {
		ev.regexps = ecmaregexp.NewBudget(ev.limits.RegexpSteps)
		ev.regexps.Check = ev.ctx.Err
	}
	return ev.regexps
}

// regexpFailed reports the error of a match.
func (ev *evaluator) regexpFailed(err error) {
	switch {
	case err == nil:
	case errors.Is(err, ecmaregexp.ErrBudget):
		ev.exceeded("RegexpSteps", ev.limits.RegexpSteps, ev.limits.RegexpSteps+1)
	case ev.ctx.Err() != nil:
		ev.inTime()
	default:
		ev.fail(err.Error())
	}
}

// items returns the items of an array as this render sees them.
func (ev *evaluator) items(a *Array) []Value {
	if ev.changed != nil {
		if c := ev.changed[a]; c != nil {
			return c.items
		}
	}
	return a.items
}

// setItems changes an array: one of the render itself, or its view of one of
// the caller.
func (ev *evaluator) setItems(a *Array, items []Value) {
	if a.local {
		a.items = items
		return
	}
	if ev.changed == nil {
		ev.changed = map[*Array]*Array{}
	}
	ev.changed[a] = &Array{items: items}
}

// newArray returns an array that belongs to the render, and charges for it.
func (ev *evaluator) newArray(items []Value) Value {
	if !ev.step(int64(len(items))) {
		return Undefined{}
	}
	return &Array{items: items, local: true}
}

// detach makes the value that leaves the render: without what belongs to it.
func (ev *evaluator) detach(v Value, depth int) Value {
	if depth > maxValueDepth {
		return ev.fail(ErrTooDeep.Error())
	}
	switch v := v.(type) {
	case String:
		ev.output(len(v))
		return String(utf16text.Valid(string(v)))
	case SafeString:
		ev.output(len(v))
		return String(utf16text.Valid(string(v)))
	case *Regexp:
		return String(v.String())
	case *Array:
		items := ev.items(v)
		if !ev.step(int64(len(items))) {
			return Undefined{}
		}
		out := make([]Value, len(items))
		for i, item := range items {
			out[i] = ev.detach(item, depth+1)
		}
		return &Array{items: out}
	case *Record:
		if !ev.step(int64(v.Len())) {
			return Undefined{}
		}
		out := &Record{keys: make([]string, 0, v.Len()), values: make([]Value, 0, v.Len())}
		for key, value := range v.All() {
			out.Set(utf16text.Valid(key), ev.detach(value, depth+1))
		}
		return out
	case function:
		return ev.fail("Callable values cannot be coerced")
	}
	return v
}

// output charges for text that leaves the render other than by being written.
func (ev *evaluator) output(bytes int) {
	if ev.written += int64(bytes); ev.written > ev.limits.OutputBytes && ev.err == nil {
		ev.exceeded("OutputBytes", ev.limits.OutputBytes, ev.written)
	}
}

// toText is the text of a value within expressions: undefined and null are
// words, the items of arrays are joined by commas.
func (ev *evaluator) toText(v Value) string {
	switch v := v.(type) {
	case String:
		return string(v)
	case SafeString:
		return string(v)
	case Number:
		return formatNumber(float64(v))
	case Bool:
		if v {
			return "true"
		}
		return "false"
	case Null:
		return "null"
	case Undefined:
		return "undefined"
	case *Record:
		return "[object Object]"
	case *Regexp:
		return v.String()
	case *Array:
		return ev.joined(v, ",", 0)
	}
	ev.fail("Callable values cannot be coerced")
	return ""
}

// joined is the text of the items of an array with a separator between them.
func (ev *evaluator) joined(a *Array, separator string, depth int) string {
	items := ev.items(a)
	if depth > maxValueDepth {
		ev.fail(ErrTooDeep.Error())
	}
	if !ev.step(int64(len(items))) || !ev.text(len(items)*len(separator)) {
		return ""
	}
	var b strings.Builder
	for i, item := range items {
		if i > 0 {
			b.WriteString(separator)
		}
		text := ""
		switch item := item.(type) {
		case Undefined, Null:
		case *Array:
			text = ev.joined(item, ",", depth+1)
		default:
			text = ev.toText(item)
		}
		if !ev.text(len(text)) {
			return ""
		}
		b.WriteString(text)
	}
	return utf16text.Join(b.String())
}

// display is the text of a value in the output, where undefined and null are
// nothing.
func (ev *evaluator) display(v Value) string {
	switch v.(type) {
	case Undefined, Null:
		return ""
	}
	return ev.toText(v)
}

// primitive turns containers into their text.
func (ev *evaluator) primitive(v Value) Value {
	switch v := v.(type) {
	case Undefined, Null, Bool, Number, String:
		return v
	case SafeString:
		return String(v)
	}
	return String(ev.toText(v))
}

func (ev *evaluator) toNumber(v Value) float64 {
	switch v := ev.primitive(v).(type) {
	case Number:
		return float64(v)
	case Bool:
		if v {
			return 1
		}
		return 0
	case Null:
		return 0
	case String:
		ev.text(len(v))
		return parseNumber(string(v))
	}
	return nan
}
