package bundle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/internal/yaml12"
	"github.com/flytower/flytower/plugins/catalog-backend-module-openapi/internal/bundle"
)

const base = "https://host/repo/"

// repository is a source of files by their path.
type repository struct {
	files map[string]string
	mu    sync.Mutex
	read  []string
}

func (r *repository) source() bundle.Source {
	return bundle.Source{
		Read: func(_ context.Context, address string) ([]byte, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.read = append(r.read, strings.TrimPrefix(address, base))
			text, ok := r.files[strings.TrimPrefix(address, base)]
			if !ok {
				return nil, apierr.NotFound("%s is not there", address)
			}
			return []byte(text), nil
		},
		Resolve: func(ref, at string) (string, error) {
			from, err := url.Parse(at)
			if err != nil {
				return "", err
			}
			to, err := from.Parse(ref)
			if err != nil {
				return "", err
			}
			if to.Host != "host" {
				return "", errors.New("this host is not allowed")
			}
			return to.String(), nil
		},
	}
}

func (r *repository) bundle(t testing.TB, l bundle.Limits) (string, error) {
	t.Helper()
	out, err := bundle.NewLimited(r.source(), l).Bundle(t.Context(), base+"root.yaml", []byte(r.files["root.yaml"]))
	return string(out), err
}

func TestBundle(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal(archives, err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			r := &repository{files: map[string]string{}}
			want := ""
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = string(f.Data)
				} else {
					r.files[f.Name] = string(f.Data)
				}
			}
			have, err := r.bundle(t, bundle.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, have); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			slices.Sort(r.read)
			if d := cmp.Diff(slices.Compact(slices.Clone(r.read)), r.read); d != "" {
				t.Errorf("files were read twice:\n%s", d)
			}
			// A bundle leads nowhere else, and is its own bundle.
			alone := &repository{files: map[string]string{"root.yaml": have}}
			again, err := alone.bundle(t, bundle.Limits{})
			if d := cmp.Diff(have, again); d != "" || err != nil || len(alone.read) > 0 {
				t.Errorf("bundled again, with %v read and error %v:\n%s", alone.read, err, d)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	wide := "{"
	for i := range 30 {
		wide += fmt.Sprintf("k%d: {$ref: f%d.yaml}, ", i, i)
	}
	wide += "}"
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no YAML", map[string]string{"root.yaml": "a: [b"}, "https://host/repo/root.yaml cannot be read: "},
		{"nothing", map[string]string{"root.yaml": ""}, "https://host/repo/root.yaml has no object in it"},
		{"text", map[string]string{"root.yaml": "abc"}, "https://host/repo/root.yaml has no object in it"},
		{"key twice", map[string]string{"root.yaml": "a: 1\na: 2"}, `the key "a" is there twice at line 2, column 1`},
		{"list as key", map[string]string{"root.yaml": "? [a]\n: 1"}, "a key must be a string at line 1"},
		{"alias in itself", map[string]string{"root.yaml": "a: &a {b: *a}"}, "alias a is inside of what it refers to"},
		{"missing file", map[string]string{"root.yaml": "a: {$ref: gone.yaml}"}, `https://host/repo/gone.yaml, to which "gone.yaml" in https://host/repo/root.yaml refers, could not be read: https://host/repo/gone.yaml is not there`},
		{"missing file of a file", map[string]string{"root.yaml": "a: {$ref: sub/x.yaml}", "sub/x.yaml": "{b: {$ref: gone.yaml}}"}, `to which "gone.yaml" in https://host/repo/sub/x.yaml refers`},
		{"broken file", map[string]string{"root.yaml": "a: {$ref: x.yaml}", "x.yaml": "a: 1\nb"}, `https://host/repo/x.yaml, to which "x.yaml" in https://host/repo/root.yaml refers, cannot be read: `},
		{"missing part", map[string]string{"root.yaml": "a: {$ref: 'x.yaml#/b/1/c'}", "x.yaml": "b: [1]"}, `the reference "x.yaml#/b/1/c" in https://host/repo/root.yaml leads nowhere: there is no #/b/1 in https://host/repo/x.yaml`},
		{"missing local part", map[string]string{"root.yaml": "a: {$ref: '#/b/c'}\nb: {d: 1}"}, `the reference "#/b/c" in https://host/repo/root.yaml leads nowhere: there is no #/b/c in https://host/repo/root.yaml`},
		{"bad index", map[string]string{"root.yaml": "a: {$ref: '#/b/01'}\nb: [1, 2]"}, "there is no #/b/01"},
		{"anchor", map[string]string{"root.yaml": "a: {$ref: 'x.yaml#b'}", "x.yaml": "{b: 1}"}, "#b is no JSON pointer"},
		{"other host", map[string]string{"root.yaml": "a: {$ref: 'https://evil.example/x.yaml'}"}, `the reference "https://evil.example/x.yaml" in https://host/repo/root.yaml makes no URL: this host is not allowed`},
		{"no URL", map[string]string{"root.yaml": "a: {$ref: '%zz'}"}, `the reference "%zz" in https://host/repo/root.yaml makes no URL: `},
		{"circle of files", map[string]string{"root.yaml": "a: {$ref: x.yaml}", "x.yaml": "$ref: y.yaml", "y.yaml": "$ref: x.yaml"}, "leads nowhere: references go in a circle"},
		{"too many files", map[string]string{"root.yaml": wide}, "leads to more than 20 files"},
		{"too many bytes", map[string]string{"root.yaml": "a: {$ref: x.txt}", "x.txt": strings.Repeat("x", 4000)}, "have more than 3000 bytes"},
		{"too large a result", map[string]string{"root.yaml": "a: [" + strings.Repeat(`"\e", `, 400) + "]"}, "bytes, more than the limit of 3000"},
		{"too many values", map[string]string{"root.yaml": "a: [" + strings.Repeat("1, ", 600) + "]"}, "too large"},
		{"bomb", map[string]string{"root.yaml": "a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b]"}, "too large, perhaps by its aliases"},
		{"too many values by references", map[string]string{
			"root.yaml": "a: [" + strings.Repeat("{$ref: x.yaml, x: 1}, ", 10) + "]", "x.yaml": "a: [" + strings.Repeat("1, ", 60) + "]",
		}, "has more than 500 values"},
		{"too deep", map[string]string{
			"root.yaml": strings.Repeat("a: {", 15) + "$ref: x.yaml" + strings.Repeat("}", 15), "x.yaml": strings.Repeat("a: {", 15) + "b: 1" + strings.Repeat("}", 15),
		}, "nests deeper than 25 levels"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := &repository{files: tc.files}
			out, err := r.bundle(t, bundle.Limits{Files: 20, Bytes: 3000, Nodes: 500, Depth: 25})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %s and the error %v, want %q", out, err, tc.want)
			}
			if kind := apierr.KindOf(err); kind != apierr.KindInput && kind != apierr.KindNotFound {
				t.Errorf("%v is of kind %v", err, kind)
			}
		})
	}
}

// References with something beside them must not make copies without end.
func TestManyCopies(t *testing.T) {
	t.Parallel()
	files := map[string]string{"root.yaml": "a: {$ref: f0.yaml, x: 1}"}
	const levels = 30
	for i := range levels {
		files[fmt.Sprintf("f%d.yaml", i)] = fmt.Sprintf("a: {$ref: f%d.yaml, x: 1}\nb: {$ref: f%d.yaml, x: 2}\nlevel: %d", i+1, i+1, i)
	}
	files[fmt.Sprintf("f%d.yaml", levels)] = "end: true"
	r := &repository{files: files}
	out, err := r.bundle(t, bundle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out, "level: 29"); n != 20 {
		t.Errorf("%d copies", n)
	}
}

func FuzzBundle(f *testing.F) {
	archives, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var texts [3]string
		for i, file := range archive.Files[:min(3, len(archive.Files))] {
			texts[i] = string(file.Data)
		}
		f.Add(texts[0], texts[1], texts[2])
	}
	f.Add("{a: {$ref: x.yaml}, b: {$ref: 'x.yaml#/b/c', d: 1}}", "b: {c: {$ref: '#', e: 1}}", "")
	f.Add("a: {$ref: y.yaml#/a}", "a: {$ref: 'y.yaml#/b'}", "{b: {$ref: x.yaml}, a: {$ref: 'root.yaml#/a/c'}}")
	f.Fuzz(func(t *testing.T, root, x, y string) {
		r := &repository{files: map[string]string{"root.yaml": root, "x.yaml": x, "y.yaml": y}}
		limits := bundle.Limits{Files: 5, Bytes: 1 << 20, Nodes: 5000, Depth: 60}
		out, err := r.bundle(t, limits)
		if err != nil {
			return
		}
		// The result is YAML that needs nothing else and is its own bundle.
		if _, err := yaml12.Parse([]byte(out), yaml12.Options{}); err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		alone := &repository{files: map[string]string{"root.yaml": out}}
		again, err := alone.bundle(t, bundle.Limits{})
		if err != nil || len(alone.read) > 0 {
			t.Fatalf("%v, read %v for\n%s", err, alone.read, out)
		}
		if out != again {
			t.Fatalf("(-once +twice):\n%s", cmp.Diff(out, again))
		}
		if !strings.Contains(root, "$ref") {
			before, after := values(t, root), values(t, out)
			if !bytes.Equal(before, after) {
				t.Fatalf("%s became %s", before, after)
			}
		}
	})
}

// values returns the canonical JSON of a document of YAML.
func values(t *testing.T, text string) []byte {
	t.Helper()
	for doc := range yaml12.Documents([]byte(text), yaml12.Options{}) {
		if doc.Err != nil {
			t.Fatal(doc.Err)
		}
		return jsonvalue.Append(nil, doc.Value)
	}
	return nil
}
