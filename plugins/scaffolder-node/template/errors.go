package template

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/flytower/flytower/internal/spelling"
)

// Code is the kind of an [Error].
type Code string

const (
	// CodeSyntax: the template cannot be parsed.
	CodeSyntax Code = "syntax_error"
	// CodeEvaluation: an expression cannot be evaluated.
	CodeEvaluation Code = "evaluation_error"
	// CodeCapability: a filter or global function of the host failed.
	CodeCapability Code = "capability_error"
)

// Phase tells when a template failed.
type Phase string

const (
	// PhaseParse is before anything is evaluated.
	PhaseParse Phase = "parse"
	// PhaseEvaluate is the render itself.
	PhaseEvaluate Phase = "evaluate"
)

// Error reports a template that cannot be parsed or rendered.
type Error struct {
	// Template is the name of the template, such as a path; it may be empty.
	Template string
	Code     Code
	Phase    Phase
	// Line and Column begin at 1. Columns count characters.
	Line, Column int
	// Detail says what is wrong.
	Detail string
	// Remedy says what to do about it, where that is not obvious.
	Remedy string
	err    error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("Template error")
	if e.Template != "" {
		b.WriteString(" in " + e.Template)
	}
	fmt.Fprintf(&b, " at line %d, column %d: %s", e.Line, e.Column, e.Detail)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// ErrorName is the name of the error on the wire.
func (*Error) ErrorName() string { return "TemplateRenderError" }

// Unwrap returns the error of the host's filter or function, if one failed.
func (e *Error) Unwrap() error { return e.err }

// LimitError reports a template that would have used more than it may.
type LimitError struct {
	// Template is the name of the template; it may be empty.
	Template string
	Phase    Phase
	// Line and Column begin at 1.
	Line, Column int
	// Limit names the field of [Limits] that was reached, or is "Time" if the
	// context of the render ended.
	Limit string
	// Max is the limit, and Observed what was needed at least. Both are 0 for
	// the limit Time.
	Max, Observed int64
	err           error
}

func (e *LimitError) Error() string {
	var b strings.Builder
	b.WriteString("Template")
	if e.Template != "" {
		b.WriteString(" " + e.Template)
	}
	if e.err != nil {
		fmt.Fprintf(&b, " was given up at line %d, column %d: %v", e.Line, e.Column, e.err)
		return b.String()
	}
	fmt.Fprintf(&b, " exceeded the limit %s of %d (observed %d) at line %d, column %d", e.Limit, e.Max, e.Observed, e.Line, e.Column)
	return b.String()
}

// ErrorName is the name of the error on the wire.
func (*LimitError) ErrorName() string { return "TemplateLimitError" }

// Unwrap returns the error of the context, if the render was given up.
func (e *LimitError) Unwrap() error { return e.err }

const (
	maxQuoted  = 200
	maxMessage = 1024
	maxGuessed = 64
)

// quote shows a text of the template in a message.
func quote(text string) string {
	if runes := []rune(text); len(runes) > maxQuoted {
		text = string(runes[:maxQuoted]) + "…"
	}
	return harmless(string(AppendJSON(nil, String(text))))
}

// harmless replaces characters that could forge log lines or their order.
func harmless(text string) string {
	hidden := func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == 0x2028 || r == 0x2029
	}
	if strings.ContainsFunc(text, hidden) {
		var b strings.Builder
		for _, r := range text {
			if hidden(r) {
				fmt.Fprintf(&b, `\u%04x`, r)
			} else {
				b.WriteRune(r)
			}
		}
		text = b.String()
	}
	if runes := []rune(text); len(runes) > maxMessage {
		text = string(runes[:maxMessage]) + "…"
	}
	return text
}

// unknown words the error about a name that nothing has.
func unknown(what, name string, known []string) string {
	detail := fmt.Sprintf("Unknown %s %s", what, quote(name))
	if len(name) > maxGuessed {
		return detail
	}
	if near := spelling.Nearest(name, known); near != "" {
		detail += fmt.Sprintf("; did you mean %s?", quote(near))
	}
	return detail
}

// placed fills in where an error of the parser or evaluator is.
func placed(err error, name, source string, offset int) error {
	line, column := position(source, offset)
	var e *Error
	var l *LimitError
	switch {
	case errors.As(err, &e):
		e.Template, e.Line, e.Column = name, line, column
	case errors.As(err, &l):
		l.Template, l.Line, l.Column = name, line, column
	}
	return err
}

func position(source string, offset int) (line, column int) {
	before := source[:min(max(offset, 0), len(source))]
	line = strings.Count(before, "\n") + 1
	before = before[strings.LastIndexByte(before, '\n')+1:]
	return line, len([]rune(before)) + 1
}
