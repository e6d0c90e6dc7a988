package processors_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/processors"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
	"github.com/flytower/flytower/plugins/catalog-common/entityyaml"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// found keeps what a parser emits.
type found struct {
	catalognode.Emitter
	entities []catalogcommon.Entity
	errors   []error
}

func (f *found) Entity(_ catalogcommon.LocationRef, e catalogcommon.Entity, _ ...catalognode.EmitOption) {
	f.entities = append(f.entities, e)
}

func (f *found) Error(_ catalogcommon.LocationRef, err error) { f.errors = append(f.errors, err) }

// take puts the text of a catalog file through all that looks at it before
// anything is stored, and demands that what comes out is in proportion to what
// went in.
func take(t *testing.T, text string, o entityyaml.Options) *found {
	t.Helper()
	f := &found{}
	location := catalogcommon.LocationRef{Type: "url", Target: "https://host.example.com/a.yaml"}
	if err := processors.YAML(o)(t.Context(), []byte(text), location, f); err != nil {
		t.Fatalf("the parser failed as a whole: %v", err)
	}
	if n, most := len(f.entities)+len(f.errors), strings.Count(text, "\n")+2; n > most {
		t.Fatalf("%d entities and errors of %d lines", n, most)
	}
	policy := catalogcommon.DefaultPolicy(catalogcommon.Validators{})
	builtin := processors.NewBuiltin()
	size := 0
	for _, e := range f.entities {
		if catalogcommon.ValidateEnvelope(e) != nil {
			continue
		}
		_ = e.Ref().String()
		normal, err := catalogcommon.NormalizeEntity(e)
		if err != nil {
			continue
		}
		size += len(normal.AppendJSON(nil))
		if policy(normal) == nil {
			_, _ = builtin.ValidateKind(t.Context(), normal)
		}
		rows, _ := entitysearch.Rows(normal)
		for _, r := range rows {
			if entitysearch.TooLong(r.Key) || entitysearch.TooLong(r.Value) || !catalogcommon.IsStorable(r.Key+r.Value+r.Original) {
				t.Fatalf("row %+v", r)
			}
		}
	}
	// A byte becomes six where it is escaped, and aliases have a budget each.
	if most := 8*len(text) + (strings.Count(text, "\n")+2)*(6*o.MaxAliasBytes+64*o.MaxAliasNodes); size > most {
		t.Fatalf("%d bytes of entities of %d bytes of text", size, len(text))
	}
	return f
}

// limits are smaller than those of the catalog, so that a fuzzer reaches them.
var limits = entityyaml.Options{MaxDepth: 64, MaxAliasNodes: 1000, MaxAliasBytes: 1 << 16}

func FuzzCatalogFiles(f *testing.F) {
	const entity = "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: a, tags: [x, X], annotations: {\"a/b\": \"\\0\"}}\nspec: {type: a, lifecycle: b, owner: c, n: 1e999}\n"
	f.Add(entity + "---\n" + entity)
	f.Add("kind: X\napiVersion: y/z\nmetadata: {name: !!binary AAAA, namespace: '', labels: {a: 1}, links: [{url: ':'}]}\nspec: [1]\n")
	for _, c := range hostile(40, 20) {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			return
		}
		take(t, text, limits)
	})
}

type hostileFile struct{ name, text, want string }

// hostile are files that somebody wrote to do harm, with n levels and keys of
// size bytes.
func hostile(n, size int) []hostileFile {
	head := "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: a}\nspec:\n  type: a\n  lifecycle: b\n  owner: c\n"
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range min(n, 40) {
		bomb += fmt.Sprintf("a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i+1, i+1, i, i, i, i, i, i, i, i, i)
	}
	key := strings.Repeat("k", size)
	return []hostileFile{
		{"nested lists", head + "  deep: " + strings.Repeat("[", n) + strings.Repeat("]", n) + "\n", "depth"},
		{"nested objects", head + "  deep: " + strings.Repeat("{a: ", n) + "1" + strings.Repeat("}", n) + "\n", "depth"},
		{"nested blocks", head + "  deep:\n" + strings.Repeat("  - ", n) + "x\n", "depth"},
		{"never closed", head + "  deep: " + strings.Repeat("[", n), ""},
		{"aliases of aliases", bomb, "alias"},
		{"an alias of itself", "a: &a [*a]\n", "alias"},
		{"merges of merges", strings.ReplaceAll(strings.ReplaceAll(bomb, "[", "{<<: ["), "]", "]}"), ""},
		{"huge key", head + "  " + key + ": 1\n  ? " + key + "x\n  : 2\n", ""},
		{"huge number", head + "  number: " + strings.Repeat("9", size) + "\n  float: 1e" + strings.Repeat("9", size) + "\n  hex: 0x" + strings.Repeat("f", size) + "\n", ""},
		{"huge name", strings.Replace(head, "name: a", "name: "+key, 1), ""},
		{"huge text", head + "  text: |\n    " + key + "\n", ""},
		{"keys that are collections", head + "  ? " + strings.Repeat("{? [", n) + strings.Repeat("]}", n) + "\n  : x\n", ""},
		{"many documents", strings.Repeat("---\n", size), map[bool]string{true: "more than 100000 documents"}[size > 100_000]},
		{"many tags", strings.Replace(head, "name: a", "name: a, tags: ["+strings.Repeat("x,", size/8)+"]", 1), ""},
	}
}

// What somebody wrote to do harm takes time and memory in proportion to its
// size, or is refused.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	for _, c := range hostile(100_000, 1<<20) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := take(t, c.text, entityyaml.Options{MaxAliasNodes: 100_000, MaxAliasBytes: 10 << 20})
			if c.want != "" && (len(f.errors) != 1 || len(f.entities) != 0 || !strings.Contains(strings.ToLower(f.errors[0].Error()), c.want)) {
				t.Errorf("%d entities, errors %.300v, want one that names %s", len(f.entities), f.errors, c.want)
			}
		})
	}
}
