package scaffoldermodulegitlab

import (
	"encoding/json"
	"strconv"
	"strings"

	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// Members of schemas that types of Go do not have.
const (
	numberOrText = `"type":["number","string"]`
	notNegative  = `"minimum":0`
	moment       = `"pattern":"^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(?:\\.\\d{3})?Z$"`
	day          = `"pattern":"^\\d{4}-\\d{2}-\\d{2}$"`
	longText     = `"maxLength":1048576`
)

// refine adds members to the schemas of properties of an input. A name counts
// where it occurs first.
func refine(a scaffoldernode.Action, members map[string]string) scaffoldernode.Action {
	schema := string(a.Input)
	for name, more := range members {
		before, after, ok := strings.Cut(schema, `"`+name+`":{`)
		if !ok || !json.Valid([]byte("{"+more+"}")) {
			panic("scaffoldermodulegitlab: the schema of " + a.ID + " cannot be refined by " + name)
		}
		separator := ","
		if strings.HasPrefix(after, "}") {
			separator = ""
		}
		schema = before + `"` + name + `":{` + more + separator + after
	}
	a.Input = json.RawMessage(schema)
	return a
}

// ref reads the reference to a project or a group: a number, also one that is
// written as a text, or a path.
func ref(v json.RawMessage) string {
	var text string
	if json.Unmarshal(v, &text) == nil {
		return strings.TrimSpace(text)
	}
	var number float64
	if json.Unmarshal(v, &number) == nil {
		return strconv.FormatFloat(number, 'f', -1, 64)
	}
	return ""
}

// example is the example of an action: its steps, in YAML.
func example(description, steps string) []scaffoldernode.ActionExample {
	return []scaffoldernode.ActionExample{{Description: description, Example: "steps:" + strings.ReplaceAll(strings.TrimRight(steps, "\n"), "\n", "\n  ") + "\n"}}
}
