package catalogbackend_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/defaults/urlreader"
	"github.com/flytower/flytower/internal/testdb"
	unprocessed "github.com/flytower/flytower/plugins/catalog-backend-module-unprocessed"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// errorsOf returns the errors that the catalog shows for an entity: in its
// status, or, if it is not in the catalog, in the list of what failed.
func (p *portal) errorsOf(ref string) (out []map[string]any) {
	p.t.Helper()
	kind, rest, _ := strings.Cut(ref, ":")
	if a := p.do(getMethod, "/entities/by-name/"+kind+"/"+rest, ""); a.status == http.StatusOK {
		var shown struct {
			Status struct {
				Items []struct {
					Level string
					Error map[string]any
				}
			}
		}
		decode(p.t, a.text, &shown)
		for _, i := range shown.Status.Items {
			out = append(out, i.Error)
		}
		return out
	}
	var failed struct {
		Entities []struct {
			Ref    string `json:"entity_ref"`
			Errors []map[string]any
		}
	}
	decode(p.t, p.do(getMethod, "/entities/unprocessed/failed", "").text, &failed)
	for _, e := range failed.Entities {
		if e.Ref == ref {
			out = append(out, e.Errors...)
		}
	}
	return out
}

// conflictsOver returns the refused hand-ins of a ref.
func (p *portal) conflictsOver(ref string) (out []map[string]any) {
	p.t.Helper()
	var all struct{ Entities []map[string]any }
	decode(p.t, p.do(getMethod, "/entities/unprocessed/conflicts", "").text, &all)
	for _, c := range all.Entities {
		if c["entity_ref"] == ref {
			out = append(out, c)
		}
	}
	return out
}

// panics is a processor that panics for entities that ask for it.
type panics struct{}

func (panics) ProcessorName() string { return "panics" }

func (panics) PreProcess(_ context.Context, e catalogcommon.Entity, _ catalognode.Step) (catalogcommon.Entity, error) {
	if e.Annotation("example.com/panic") != "" {
		panic("the processor is broken")
	}
	return e, nil
}

// doc is a component in YAML.
func doc(name, more string) string {
	return "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: " + name + more + "}\nspec: {type: service, lifecycle: experimental, owner: foyer}\n"
}

// Whatever is wrong with a file or an entity is shown with its reason, and
// with the file, the document in it, and the place in the entity, where there
// is one: for files that were never read well, and for those that were.
func TestEveryProblemIsVisible(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "", unprocessed.Module,
			extends("panics", func(x catalognode.ProcessingExtensionPoint) error { return x.AddProcessor(panics{}) }))
		for _, c := range []struct {
			name string
			text string // of the file; none is served without
			path string // of the file; "/<number>.yaml" if empty
			of   string // whose errors: the location's, unless it says another ref
			want []string
			// at is the document, line, pointer and field of the first error.
			at map[string]any
			// none: the error has no place in the file, and names what was asked for
			target string
		}{
			{name: "invalid YAML", text: doc("a1", "") + "---\nkind: [\n", want: []string{"YAML error"}, at: map[string]any{"document": 2.0, "line": 7.0}},
			{name: "no object", text: doc("a2", "") + "---\n- a\n", want: []string{"Expected object at root"}, at: map[string]any{"document": 2.0, "line": 5.0}},
			{name: "nested too deep", text: "a: " + strings.Repeat("[", 300) + strings.Repeat("]", 300), want: []string{"max depth of 200"}, at: map[string]any{"document": 1.0, "line": 1.0}},
			{name: "invalid envelope", text: doc("a3", "") + "---\nkind: Component\napiVersion: x\nmetadata: {title: x}\n", want: []string{"Entity envelope failed validation"}, at: map[string]any{"document": 2.0, "line": 5.0, "pointer": "/metadata"}},
			{name: "annotations that are no object", text: doc("a4", ", annotations: [x]"), want: []string{"metadata.annotations must be an object"}, at: map[string]any{"document": 1.0, "line": 1.0, "pointer": "/metadata/annotations"}},
			{name: "failing schema", text: doc("a5", "") + "---\n" + strings.Replace(doc("schema", ""), "lifecycle: experimental, ", "", 1), of: "component:default/schema", want: []string{"lifecycle"}, at: map[string]any{"document": 2.0, "line": 5.0, "pointer": "/spec"}},
			{name: "failing policy", text: doc("policy", ", tags: ['no tag!']"), of: "component:default/policy", want: []string{"Policy check failed", "tags.0"}, at: map[string]any{"document": 1.0, "line": 1.0, "field": "tags.0"}},
			{name: "bad kind", text: strings.Replace(doc("unknown", ""), "backstage.io/v1alpha1", "example.com/v7", 1), of: "component:default/unknown", want: []string{"No processor recognized the entity"}, at: map[string]any{"document": 1.0, "line": 1.0}},
			{name: "bad reference", text: strings.Replace(doc("reference", ""), "owner: foyer", "owner: ':x'", 1), of: "component:default/reference", want: []string{":x"}, at: map[string]any{"document": 1.0, "line": 1.0}},
			{name: "denied by rules", text: doc("a6", "") + "---\n" + strings.Replace(doc("denied", ""), "Component", "User", 1), want: []string{"user:default/denied", "catalog.rules"}, at: map[string]any{"document": 2.0, "line": 5.0}},
			{name: "bad placeholder", text: doc("placeholder", ", description: {$text: ./none.md}"), of: "component:default/placeholder", want: []string{"Placeholder $text could not read location ./none.md"}, at: map[string]any{"document": 1.0, "line": 1.0}},
			{name: "panic of a processor", text: doc("a7", "") + "---\n" + doc("panic", ", annotations: {example.com/panic: x}"), of: "component:default/panic", want: []string{"Processor panics", "the processor is broken"}, at: map[string]any{"document": 2.0, "line": 5.0}},
			{name: "file too large", text: "# " + strings.Repeat("x", urlreader.DefaultFileBytes), want: []string{"Unable to read url", "more than 16777216 bytes"}},
			{name: "404", want: []string{"NotFoundError"}},
			{name: "500", path: "/status/500.yaml", want: []string{"Unable to read url", "500"}},
			{name: "connection lost", path: "/broken.yaml", want: []string{"Unable to read url"}},
			{name: "blocked host", target: "http://blocked.example.com/a.yaml", want: []string{"blocked.example.com", "backend.reading.allow"}},
		} {
			t.Run(c.name, func(t *testing.T) {
				path := c.path
				if path == "" {
					path = "/" + strings.ReplaceAll(c.name, " ", "-") + ".yaml"
				}
				target := c.target
				if target == "" {
					target = p.files.URL + path
				}
				if c.text != "" {
					p.source.Store(path, c.text)
				}
				a := p.do(postMethod, "/locations", fmt.Sprintf(`{"type":"url","target":%q}`, target))
				ref := c.of
				if ref == "" {
					ref = fmt.Sprint(a.get("location.entityRef"))
				}
				var errs []map[string]any
				p.eventually("the problem is shown", func() bool { errs = p.errorsOf(ref); return len(errs) > 0 })
				text := fmt.Sprint(errs[0]["name"], ": ", errs[0]["message"])
				for _, want := range c.want {
					if !strings.Contains(text, want) {
						t.Errorf("%q is not in: %s", want, text)
					}
				}
				if got := errs[0]["location"]; got != "url:"+target {
					t.Errorf("location %v, want that of %s", got, target)
				}
				for _, key := range []string{"document", "line", "pointer", "field"} {
					if diff := cmp.Diff(c.at[key], errs[0][key]); diff != "" {
						t.Errorf("%s (-want +have):\n%s\n%v", key, diff, errs[0])
					}
				}
			})
		}
	})
}

// So is a host that takes a request and does not answer.
func TestHostsThatDoNotAnswerAreVisible(t *testing.T) {
	t.Parallel()
	p := open(t, testdb.NewSQLite(t), "", unprocessed.Module, urlreader.NewFactory(urlreader.Options{ReadTimeout: time.Second, TreeTimeout: time.Second}))
	target := p.files.URL + "/silent.yaml"
	ref := fmt.Sprint(p.do(postMethod, "/locations", fmt.Sprintf(`{"type":"url","target":%q}`, target)).get("location.entityRef"))
	var errs []map[string]any
	p.eventually("the problem is shown", func() bool { errs = p.errorsOf(ref); return len(errs) > 0 })
	if text := fmt.Sprint(errs[0]["message"]); !strings.Contains(text, "did not answer within 1s") || errs[0]["location"] != "url:"+target {
		t.Errorf("%v", errs)
	}
}

// Of a file with several entities that the rules deny, all are told, and of a
// file with several broken documents, too.
func TestAllOffendersOfAFileAreTold(t *testing.T) {
	t.Parallel()
	p := open(t, testdb.NewSQLite(t), "", unprocessed.Module)
	user := func(name string) string { return strings.Replace(doc(name, ""), "Component", "User", 1) }
	p.source.Store("/rules.yaml", strings.Join([]string{user("u1"), doc("fine", ""), user("u2"), user("u3")}, "---\n"))
	p.source.Store("/broken.txt", strings.Join([]string{"a: [\n", doc("fine", ""), "just text\n", "kind: X\n"}, "---\n"))
	for path, want := range map[string][]string{
		"/rules.yaml": {"1 user:default/u1", "3 user:default/u2", "4 user:default/u3"},
		"/broken.txt": {"1 YAML error", "3 Expected object", "4 Entity envelope"},
	} {
		a := p.do(postMethod, "/locations", fmt.Sprintf(`{"type":"url","target":%q}`, p.files.URL+path))
		var errs []map[string]any
		p.eventually("the problems are shown", func() bool {
			errs = p.errorsOf(fmt.Sprint(a.get("location.entityRef")))
			return len(errs) > 0
		})
		if len(errs) != len(want) {
			t.Fatalf("%s: %d errors, want %d: %v", path, len(errs), len(want), errs)
		}
		for i, w := range want {
			document, text, _ := strings.Cut(w, " ")
			if fmt.Sprint(errs[i]["document"]) != document || !strings.Contains(fmt.Sprint(errs[i]["message"]), text) {
				t.Errorf("%s: error %d is %v, want %s", path, i, errs[i], w)
			}
		}
	}
}

// Whoever is refused an entity is listed with the reason, the file and the
// document: another source, another file of the same location, another
// document of the same file. Once that is mended, the list is empty.
func TestConflictsAreListed(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "", unprocessed.Module)
		location := func(targets ...string) string {
			return "apiVersion: backstage.io/v1alpha1\nkind: Location\nmetadata: {name: all}\nspec: {type: url, targets: [" + strings.Join(targets, ", ") + "]}\n"
		}
		p.source.Store("/one.yaml", doc("alone", "")+"---\n"+doc("shared", ", title: of one"))
		p.source.Store("/two.yaml", doc("twice", ", title: first")+"---\n"+doc("shared", ", title: of two")+"---\n"+doc("twice", ", title: second"))
		p.source.Store("/other.yaml", doc("alone", ", title: of another source"))
		p.source.Store("/root.yaml", location("./one.yaml", "./two.yaml"))
		p.read("/root.yaml", location("./one.yaml", "./two.yaml"), "shared")
		for name, title := range map[string]any{"shared": "of one", "twice": "second"} {
			if got := p.do(getMethod, "/entities/by-name/component/default/"+name, "").get("metadata.title"); got != title {
				t.Errorf("%s is %v, want %v", name, got, title)
			}
		}
		p.register("/other.yaml")
		one, two, other := "url:"+p.files.URL+"/one.yaml", "url:"+p.files.URL+"/two.yaml", "url:"+p.files.URL+"/other.yaml"
		all := "location:default/all"
		for _, c := range []struct {
			ref, reason string
			want        map[string]any
		}{
			{"component:default/alone", all + " holds the entity under the location key " + one, map[string]any{
				"new_location_key": other, "existing_location_key": one, "location": other, "document": 1.0, "line": 1.0, "existing_document": nil,
			}},
			{"component:default/shared", all + " leads to the entity more than once, and the first one counts, at " + one + ", document 2", map[string]any{
				"new_location_key": two, "existing_location_key": one, "location": two, "document": 2.0, "line": 5.0, "existing_document": 2.0,
			}},
			{"component:default/twice", "the file " + two + " has the entity more than once, and the last one counts, which is document 3", map[string]any{
				"new_location_key": two, "existing_location_key": two, "location": two, "document": 1.0, "line": 1.0, "existing_document": 3.0,
			}},
		} {
			var got []map[string]any
			p.eventually("the conflict over "+c.ref+" is listed", func() bool { got = p.conflictsOver(c.ref); return len(got) > 0 })
			if len(got) != 1 {
				t.Fatalf("%s: %v", c.ref, got)
			}
			for key, want := range c.want {
				if diff := cmp.Diff(want, got[0][key]); diff != "" {
					t.Errorf("%s: %s (-want +have):\n%s", c.ref, key, diff)
				}
			}
			if reason := fmt.Sprint(got[0]["reason"]); !strings.HasPrefix(reason, c.reason) {
				t.Errorf("%s: the reason is %s", c.ref, reason)
			}
		}
		p.source.Store("/one.yaml", doc("alone", ""))
		p.source.Store("/two.yaml", doc("shared", ", title: of two")+"---\n"+doc("twice", ", title: second"))
		if a := p.do(postMethod, "/refresh", `{"entityRef":"`+all+`"}`); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.text)
		}
		p.eventually("only the conflict with the other source is left", func() bool {
			return len(p.conflictsOver("component:default/shared"))+len(p.conflictsOver("component:default/twice")) == 0 && len(p.conflictsOver("component:default/alone")) == 1
		})
		p.eventually("the document that was refused counts", func() bool {
			return p.do(getMethod, "/entities/by-name/component/default/shared", "").get("metadata.title") == "of two"
		})
	})
}
