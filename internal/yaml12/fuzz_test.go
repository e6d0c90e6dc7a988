package yaml12_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/internal/yaml12"
)

func FuzzDocuments(f *testing.F) {
	for _, seed := range []string{
		"a: 1\n---\nb: [x, {y: z}]\n", "- {{ foo }}\n", "a: &x {b: *x}\n", "a: |\n  x\n--- >-\n y\n...\n%YAML 1.2\n---\nz", "<<: {a: 1}\n<<: [*b]",
		"a: \"\\uD83D\\uDE00\"\r\nb: '\u2028\x01'", "? [a]\n: !!binary aGk=\n0x1f: .inf", "\ufeff# c\n\t- x", "k: \U0010C000\x02", "{{{{}}}}", "a: 1e400\n'a': ~",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, merge bool) {
		opts := yaml12.Options{MergeKeys: merge, MaxBytes: 1 << 16, MaxDepth: 64, MaxAliasNodes: 1000, MaxAliasBytes: 1 << 16}
		lines := strings.Count(string(text), "\n") + 2
		last := 0
		for doc := range yaml12.Documents(text, opts) {
			if doc.Line <= last || doc.Line > lines {
				t.Fatalf("document at line %d follows one at line %d of %d", doc.Line, last, lines)
			}
			last = doc.Line
			if doc.Err != nil {
				var syntax *yaml12.Error
				if !errors.As(doc.Err, &syntax) {
					t.Fatalf("error %v is no *Error", doc.Err)
				}
				if syntax.Line < 0 || syntax.Line > lines {
					t.Fatalf("error at line %d of %d: %v", syntax.Line, lines, doc.Err)
				}
				continue
			}
			// JSON is YAML: the canonical text of a value reads as that value.
			canonical := jsonvalue.Append(nil, doc.Value)
			again := 0
			for copied := range yaml12.Documents(canonical, yaml12.Options{}) {
				again++
				if copied.Err != nil {
					t.Fatalf("own text %s: %v", canonical, copied.Err)
				}
				if !jsonvalue.Equal(copied.Value, doc.Value) {
					t.Fatalf("%s reads as %s", canonical, jsonvalue.Append(nil, copied.Value))
				}
			}
			if again != 1 {
				t.Fatalf("%s reads as %d documents", canonical, again)
			}
		}
	})
}
