package catalogbackend_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/flytower/flytower/internal/testdb"
)

// Forms show the fields of a template in the order in which they were written,
// so the keys of entities keep it: of what is written in the file, of what
// placeholders bring in, and after the entity changed.
func TestKeysKeepTheirOrder(t *testing.T) {
	t.Parallel()
	const (
		text = `
kind: Component
apiVersion: backstage.io/v1alpha1
metadata:
  title: Form
  name: form
  annotations: {z: "1", a: "2"}
spec:
  type: service
  owner: foyer
  lifecycle: production
  pages:
    - title: One
      properties: {name: {type: string, title: Name}, age: {type: number}, "10": {}}
      dependencies: {$yaml: ./more.yaml}
    - {b: 1, a: {$json: ./more.json}}
`
		more  = "zebra: 1\napple: [{y: 1, x: 2}]\n"
		pages = `"pages":[{"title":"One","properties":{"name":{"type":"string","title":"Name"},"age":{"type":"number"},"10":{}},` +
			`"dependencies":{"zebra":1,"apple":[{"y":1,"x":2}]}},{"b":1,"a":{"n":1,"m":{"l":1,"k":2}}}]`
		spec = `"spec":{"type":"service","owner":"foyer","lifecycle":"production",` + pages + `}`
	)
	eachReader(t, func(t *testing.T, db *testdb.Database, config string) {
		p := open(t, db, config)
		p.source.Store("/more.yaml", more)
		p.source.Store("/more.json", `{"n": 1, "m": {"l": 1, "k": 2}}`)
		shown := p.read("/form.yaml", text, "form")
		wants := func(what, text string, wants ...string) {
			t.Helper()
			for _, want := range wants {
				if !strings.Contains(text, want) {
					t.Errorf("%s: %s\nis not in %s", what, want, text)
				}
			}
		}
		wants("by name", shown.text, `{"kind":"Component","apiVersion":"backstage.io/v1alpha1","metadata":{"title":"Form","name":"form","annotations":{"z":"1","a":"2",`, spec)
		wants("a query", p.do(getMethod, "/entities/by-query?filter=metadata.name=form", "").text, spec)
		wants("a list", p.do(getMethod, "/entities?filter=metadata.name=form&fields=spec.pages", "").text, `{"spec":{`+pages+`}}`)
		wants("by refs", p.do(postMethod, "/entities/by-refs", `{"entityRefs":["component:default/form"]}`).text, spec)

		dry := p.do(postMethod, "/locations?dryRun=true", fmt.Sprintf(`{"type":"url","target":%q}`, p.files.URL+"/form.yaml"))
		if dry.status != http.StatusCreated {
			t.Fatalf("dry run: %d %s", dry.status, dry.text)
		}
		wants("a dry run", dry.text, spec)

		// Only the order changes, in the file and in what it brings in.
		p.source.Store("/form.yaml", strings.Replace(text, "  type: service\n  owner: foyer\n", "  owner: foyer\n  type: service\n", 1))
		p.source.Store("/more.yaml", "apple: [{x: 2, y: 1}]\nzebra: 1\n")
		if a := p.do(postMethod, "/refresh", fmt.Sprintf(`{"entityRef":%q}`, "component:default/form")); a.status != http.StatusOK {
			t.Fatalf("refresh: %d %s", a.status, a.text)
		}
		p.eventually("the new order is shown", func() bool {
			text := p.do(getMethod, "/entities/by-name/component/default/form", "").text
			return strings.Contains(text, `"spec":{"owner":"foyer","type":"service","lifecycle":"production","pages"`) &&
				strings.Contains(text, `"dependencies":{"apple":[{"x":2,"y":1}],"zebra":1}`)
		})
	})
}
