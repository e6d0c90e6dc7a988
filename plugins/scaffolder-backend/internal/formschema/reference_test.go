package formschema_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"

	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/formschema"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// TestTheReferenceSaysTheSame compares problems with those of the validator of
// the reference, text for text. The tool formschemas writes the file.
func TestTheReferenceSaysTheSame(t *testing.T) {
	t.Parallel()
	file, err := os.Open("testdata/reference.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	packed, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(packed)
	lines.Buffer(nil, 1<<24)
	n, failed, last := 0, 0, ""
	for ; lines.Scan(); n++ {
		var c struct{ Schema, Value, Answer json.RawMessage }
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		got, want := answer(t, string(c.Schema), string(c.Value)), string(c.Answer)
		if got == want {
			continue
		}
		failed++
		if string(c.Schema) != last { // one is enough to know
			last = string(c.Schema)
			t.Errorf("%s of %s:\n got %s\nwant %s", c.Schema, c.Value, got, want)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if n < 10_000 || failed > 0 {
		t.Errorf("%d of %d differ", failed, n)
	}
}

// answer is what the tool writes.
func answer(t *testing.T, schema, value string) string {
	t.Helper()
	problems, err := formschema.Check(parse(t, schema), parse(t, value))
	if err != nil {
		return `{"throws":true}`
	}
	if problems == nil {
		return "[]"
	}
	list := make([]template.Value, len(problems))
	for i, p := range problems {
		text, err := p.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		list[i] = parse(t, string(text))
	}
	return string(template.AppendJSON(nil, template.NewArray(list...)))
}
