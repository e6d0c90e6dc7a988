package engine

import (
	"strings"
	"unicode"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/redact"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// What a task may use, beside what each of its texts may. Real templates are
// far below; these stop what grows without end.
const (
	maxSteps      = 1_000
	maxIterations = 10_000
	// maxExpanded bounds the texts that the input, each or output of a step
	// becomes, in bytes.
	maxExpanded = 32 << 20
	// maxLog bounds what the actions of a run log, in bytes.
	maxLog = 16 << 20
	// maxLearned bounds the texts of a run that exist only because of secrets,
	// in bytes: looking for them in the log takes memory.
	maxLearned = 256 << 10
)

func checkSteps(spec scaffoldercommon.TaskSpec) error {
	if n := len(spec.Steps); n > maxSteps {
		return apierr.Input("the template has %d steps, %d are allowed", n, maxSteps)
	}
	return nil
}

func checkIterations(step scaffoldercommon.TaskStep, n int) error {
	if n > maxIterations {
		return apierr.Input("each of the step %s has %d items, %d are allowed", step.ID, n, maxIterations)
	}
	return nil
}

// full reports whether a line is more than the log of the run may have, and
// whether it is the first that is. Lines that tell how steps are always fit.
func (x *execution) full(body scaffoldercommon.EventBody) (full, first bool) {
	if body.Status != "" || body.StepID == "" {
		return false, false
	}
	size := int64(len(body.Message))
	used := x.logged.Add(size)
	return used > maxLog, used > maxLog && used-size <= maxLog
}

// tokens are values of a step that are there only because of secrets, and too
// short to be looked for in other steps: a letter of a secret, or its length.
type tokens map[string]bool

func (t tokens) add(text string) {
	if text = strings.TrimSpace(text); text != "" {
		t[text] = true
	}
}

// mask replaces the tokens where they are whole words, and those that are no
// words where they are the whole text or a value of JSON.
func (t tokens) mask(text string) string {
	if len(t) == 0 {
		return text
	}
	if t[strings.TrimSpace(text)] {
		return redact.Mask
	}
	for token := range t {
		if strings.ContainsFunc(token, func(r rune) bool { return !isWord(r) }) {
			inJSON := string(template.AppendJSON(nil, template.String(token)))
			text = strings.NewReplacer(inJSON, `"`+redact.Mask+`"`, `": `+token, `": `+redact.Mask, `":`+token, `":`+redact.Mask).Replace(text)
		}
	}
	var out strings.Builder
	for text != "" {
		end := strings.IndexFunc(text, func(r rune) bool { return !isWord(r) })
		if end < 0 {
			end = len(text)
		}
		word := text[:end]
		if t[word] {
			word = redact.Mask
		}
		out.WriteString(word)
		text = text[end:]
		next := strings.IndexFunc(text, isWord)
		if next < 0 {
			next = len(text)
		}
		out.WriteString(text[:next])
		text = text[next:]
	}
	return out.String()
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// hideValue hides the secrets of the run in the texts of a value.
func (x *execution) hideValue(v template.Value) template.Value {
	switch v := v.(type) {
	case template.String:
		return template.String(x.redact(string(v)))
	case *template.Array:
		items := make([]template.Value, v.Len())
		for i, item := range v.All() {
			items[i] = x.hideValue(item)
		}
		return template.NewArray(items...)
	case *template.Record:
		r := template.NewRecord()
		for key, item := range v.All() {
			r.Set(x.redact(key), x.hideValue(item))
		}
		return r
	}
	return v
}
