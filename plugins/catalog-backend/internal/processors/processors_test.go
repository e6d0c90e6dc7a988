package processors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/processors"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entityyaml"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// emitted keeps what a processor emits, as lines.
type emitted struct {
	catalognode.Emitter
	lines []string
}

func (e *emitted) Entity(l catalogcommon.LocationRef, entity catalogcommon.Entity, _ ...catalognode.EmitOption) {
	e.lines = append(e.lines, "entity "+entity.Ref().String()+" at "+l.String())
}

func (e *emitted) Error(l catalogcommon.LocationRef, err error) {
	e.lines = append(e.lines, "error "+string(apierr.KindOf(err))+" at "+l.String())
}

func (e *emitted) Refresh(key string) { e.lines = append(e.lines, "refresh "+key) }

func (e *emitted) KeyOrder(path []string, order catalogcommon.KeyOrder) {
	e.lines = append(e.lines, fmt.Sprintf("order %s of %s", order, strings.Join(path, "/")))
}

// cache is what a processor remembers.
type cache map[string]json.RawMessage

func (c cache) Get(key string) (json.RawMessage, bool) { raw, ok := c[key]; return raw, ok }

func (c cache) Set(key string, v any) error {
	raw, err := json.Marshal(v)
	c[key] = raw
	return err
}

func (c cache) Sub(string) catalognode.ProcessorCache { return c }

// source reads URLs from a map, with an etag for all of it.
type source struct {
	core.URLReaderService
	files map[string]string
	etag  string
	hosts *integration.Hosts
	err   error
}

func (s *source) Search(_ context.Context, u string, o core.ReadOptions) (core.SearchResult, error) {
	text, ok := s.files[u]
	switch {
	case s.err != nil:
		return core.SearchResult{}, s.err
	case !ok:
		return core.SearchResult{}, apierr.NotFound("nothing at %s", u)
	case s.etag != "" && o.ETag == s.etag:
		return core.SearchResult{}, apierr.NotModified("nothing changed")
	}
	return core.SearchResult{ETag: s.etag, Files: []core.FoundFile{{URL: u, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}}}}, nil
}

func (s *source) Read(_ context.Context, u string, _ core.ReadOptions) (core.ReadResult, error) {
	text, ok := s.files[u]
	if !ok {
		return core.ReadResult{}, apierr.NotFound("nothing at %s", u)
	}
	return core.ReadResult{Content: io.NopCloser(strings.NewReader(text))}, nil
}

func (s *source) Resolve(ref, base string) (string, error) { return s.hosts.Resolve(ref, base) }

func newSource(t *testing.T, files map[string]string) *source {
	t.Helper()
	hosts, err := integration.FromConfig(configtest.FromYAML(t, "integrations: {}"))
	if err != nil {
		t.Fatal(err)
	}
	return &source{files: files, hosts: hosts}
}

const two = "kind: Component\napiVersion: v1\nmetadata: {name: a}\n---\n---\nkind: API\napiVersion: v1\nmetadata: {name: b}\n"

func TestURL(t *testing.T) {
	t.Parallel()
	const at = "https://github.com/acme/x/blob/main/catalog-info.yaml"
	location := catalogcommon.LocationRef{Type: "url", Target: at}
	s := newSource(t, map[string]string{at: two})
	s.etag = "1"
	u := processors.NewURL(s, processors.YAML(entityyaml.Options{}))
	remembered := cache{}
	read := func(location catalogcommon.LocationRef, optional bool) []string {
		t.Helper()
		var e emitted
		handled, err := u.ReadLocation(t.Context(), location, optional, catalognode.Step{Emit: &e, Cache: remembered})
		if err != nil || !handled {
			t.Fatalf("ReadLocation = %v, %v", handled, err)
		}
		return e.lines
	}
	want := []string{"refresh url:" + at, "entity component:default/a at url:" + at, "entity api:default/b at url:" + at}
	if diff := cmp.Diff(want, read(location, false)); diff != "" {
		t.Errorf("first (-want +have):\n%s", diff)
	}
	s.files[at] = "not read, since the etag is the same"
	if diff := cmp.Diff(want, read(location, false)); diff != "" {
		t.Errorf("unchanged (-want +have):\n%s", diff)
	}
	none := catalogcommon.LocationRef{Type: "url", Target: "https://github.com/acme/x/blob/main/none.yaml"}
	remembered = cache{}
	if diff := cmp.Diff([]string{"refresh " + none.String(), "error NotFoundError at " + none.String()}, read(none, false)); diff != "" {
		t.Errorf("missing (-want +have):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"refresh " + none.String()}, read(none, true)); diff != "" {
		t.Errorf("optional (-want +have):\n%s", diff)
	}
	s.err = errors.New("the host is down")
	if lines := read(location, true); len(lines) != 2 || !strings.HasPrefix(lines[1], "error ") {
		t.Errorf("a host that is down: %v", lines)
	}
	if handled, err := u.ReadLocation(t.Context(), catalogcommon.LocationRef{Type: "file", Target: "/x"}, false, catalognode.Step{}); handled || err != nil {
		t.Errorf("another type: %v, %v", handled, err)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"a.yaml": two, "sub/b.yaml": "kind: API\napiVersion: v1\nmetadata: {name: c}\n", "bad.yaml": "a: [", "list.yaml": "- 1\n"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := processors.NewFile(processors.YAML(entityyaml.Options{}))
	for _, c := range []struct {
		target   string
		optional bool
		want     []string
	}{
		{"a.yaml", false, []string{"refresh file:a.yaml", "entity component:default/a at file:a.yaml", "entity api:default/b at file:a.yaml"}},
		{"**/b.yaml", false, []string{"refresh file:sub/b.yaml", "entity api:default/c at file:sub/b.yaml"}},
		{"none.yaml", false, []string{"error NotFoundError at file:none.yaml"}},
		{"none*.yaml", false, []string{"error NotFoundError at file:none*.yaml"}},
		{"none.yaml", true, nil},
		{"sub", false, []string{"error Error at file:sub"}},
		{"bad.yaml", false, []string{"refresh file:bad.yaml", "error YAMLParseError at file:bad.yaml"}},
		{"list.yaml", false, []string{"refresh file:list.yaml", "error Error at file:list.yaml"}},
	} {
		t.Run(c.target, func(t *testing.T) {
			t.Parallel()
			var e emitted
			location := catalogcommon.LocationRef{Type: "file", Target: filepath.Join(dir, c.target)}
			handled, err := f.ReadLocation(t.Context(), location, c.optional, catalognode.Step{Emit: &e})
			if err != nil || !handled {
				t.Fatalf("ReadLocation = %v, %v", handled, err)
			}
			var have []string
			for _, line := range e.lines {
				have = append(have, strings.ReplaceAll(line, "file:"+dir+"/", "file:"))
			}
			if diff := cmp.Diff(c.want, have); diff != "" {
				t.Errorf("(-want +have):\n%s", diff)
			}
		})
	}
}

func TestPlaceholder(t *testing.T) {
	t.Parallel()
	const base = "https://github.com/acme/x/blob/main/sub/catalog-info.yaml"
	s := newSource(t, map[string]string{
		"https://github.com/acme/x/tree/main/sub/text.txt": "hello", "https://github.com/acme/x/tree/main/data.json": `{"a":[1]}`,
		"https://github.com/acme/x/tree/main/sub/data.yaml": "b: yes\n", "https://github.com/acme/x/tree/main/sub/two.yaml": "a: 1\n---\nb: 2\n",
	})
	same := func(a, b string) (bool, bool) {
		return strings.HasPrefix(a, "https://github.com/acme/x/") == strings.HasPrefix(b, "https://github.com/acme/x/"), true
	}
	p := processors.NewPlaceholder(s, same, nil)
	for _, c := range []struct{ name, in, want, err, order string }{
		{"text", `{"a":{"$text":"./text.txt"}}`, `{"a":"hello"}`, "", ""},
		{"json", `{"a":[{"$json":"/data.json"}]}`, `{"a":[{"a":[1]}]}`, "", `{"a":[1]} of a/0`},
		{"yaml", `{"a":{"$yaml":"data.yaml"}}`, `{"a":{"b":"yes"}}`, "", `{"b":0} of a`},
		{"unknown key", `{"a":{"$other":"x"}}`, `{"a":{"$other":"x"}}`, "", ""},
		{"several keys", `{"a":{"$text":"text.txt","b":1}}`, `{"a":{"$text":"text.txt","b":1}}`, "", ""},
		{"no text", `{"a":{"$text":1}}`, "", "expected a string", ""},
		{"missing", `{"a":{"$text":"none.txt"}}`, "", "could not read location", ""},
		{"two documents", `{"a":{"$yaml":"two.yaml"}}`, "", "exactly one document", ""},
		{"no JSON", `{"a":{"$json":"text.txt"}}`, "", "failed to parse JSON", ""},
		{"another repository", `{"a":{"$text":"https://github.com/other/y/blob/main/z"}}`, "", "same repository", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var in catalogcommon.Entity
			if err := json.Unmarshal([]byte(c.in), &in); err != nil {
				t.Fatal(err)
			}
			emit := &emitted{}
			out, err := p.PreProcess(t.Context(), in, catalognode.Step{Location: catalogcommon.LocationRef{Type: "url", Target: base}, Emit: emit})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("PreProcess = %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := string(out.AppendJSON(nil)); got != c.want {
				t.Errorf("PreProcess = %s, want %s", got, c.want)
			}
			if order := slices.ContainsFunc(emit.lines, func(line string) bool { return strings.HasPrefix(line, "order ") }); order != (c.order != "") ||
				order && !slices.Contains(emit.lines, "order "+c.order) {
				t.Errorf("emitted %q, want the order %s", emit.lines, c.order)
			}
		})
	}
}

func TestAnnotate(t *testing.T) {
	t.Parallel()
	s := newSource(t, nil)
	a := processors.NewAnnotate(s, func(u string) (string, bool) {
		return strings.Replace(u, "/blob/", "/edit/", 1), strings.HasPrefix(u, "https://github.com/")
	})
	sha := strings.Repeat("0a", 20)
	for _, c := range []struct {
		name, location string
		own            map[string]any
		want           map[string]any
	}{
		{"a known host", "url:https://github.com/acme/x/blob/main/c.yaml", nil, map[string]any{
			"backstage.io/view-url": "https://github.com/acme/x/blob/main/c.yaml", "backstage.io/edit-url": "https://github.com/acme/x/edit/main/c.yaml",
			"backstage.io/source-location": "url:https://github.com/acme/x/tree/main/",
		}},
		{"a commit", "url:https://github.com/acme/x/blob/" + sha + "/c.yaml", nil, map[string]any{
			"backstage.io/view-url": "https://github.com/acme/x/blob/" + sha + "/c.yaml", "backstage.io/source-location": "url:https://github.com/acme/x/tree/" + sha + "/",
		}},
		{"an unknown host", "url:https://example.com/c.yaml", nil, map[string]any{"backstage.io/view-url": "https://example.com/c.yaml"}},
		{"a file", "file:/c.yaml", nil, map[string]any{}},
		{"its own", "url:https://example.com/c.yaml", map[string]any{"backstage.io/view-url": "https://mine"}, map[string]any{"backstage.io/view-url": "https://mine"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			location, err := catalogcommon.ParseLocationRef(c.location)
			if err != nil {
				t.Fatal(err)
			}
			in := catalogcommon.Entity{"metadata": map[string]any{}}
			if c.own != nil {
				in.SetMetadata("annotations", c.own)
			}
			out, err := a.PreProcess(t.Context(), in, catalognode.Step{Location: location, Origin: location})
			if err != nil {
				t.Fatal(err)
			}
			c.want["backstage.io/managed-by-location"], c.want["backstage.io/managed-by-origin-location"] = c.location, c.location
			if diff := cmp.Diff(c.want, out.Metadata()["annotations"]); diff != "" {
				t.Errorf("annotations (-want +have):\n%s", diff)
			}
		})
	}
}
