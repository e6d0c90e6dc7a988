package catalogbackend_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/flytower/flytower/internal/testdb"
	unprocessed "github.com/flytower/flytower/plugins/catalog-backend-module-unprocessed"
)

// Scenarios in which the catalog of Backstage fails, by HTTP. The table in
// docs/compatibility-catalog.md names each; those that need the store alone are
// in internal/store/defects_test.go.

// eachReader runs a test on both databases, answered by the index and by the
// tables.
func eachReader(t *testing.T, fn func(t *testing.T, db *testdb.Database, config string)) {
	t.Helper()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		fn(t, db, "")
	})
	t.Run("tables", func(t *testing.T) {
		testdb.Each(t, func(t *testing.T, db *testdb.Database) {
			fn(t, db, "  index: {enabled: false}\n")
		})
	})
}

// names returns the names of the entities in an answer, in their order.
func (a answer) names() string {
	var out []string
	for _, prefix := range []string{"items.", ""} {
		for i := 0; a.get(fmt.Sprintf("%s%d", prefix, i)) != nil; i++ {
			out = append(out, fmt.Sprint(a.get(fmt.Sprintf("%s%d.metadata.name", prefix, i))))
		}
	}
	return strings.Join(out, " ")
}

// Nothing that a client can send is an internal error: ids that are none,
// numbers out of any range, texts that PostgreSQL does not keep.
func TestDefectBadInputIsNoInternalError(t *testing.T) {
	t.Parallel()
	eachReader(t, func(t *testing.T, db *testdb.Database, config string) {
		p := open(t, db, config)
		bad := []string{"none", "0", "-1", "%00", "a%00b", "%FF", "%C0%80", "%ED%A0%80", "9223372036854775807", "99999999999999999999", "00000000-0000-0000-0000-000000000000", "'", "%25", "%5C", strings.Repeat("x", 3000), "%F0%9F%98%80"}
		var requests [][3]string
		for _, v := range bad {
			for _, path := range []string{
				"/locations/%s", "/entities/by-uid/%s", "/entities/by-name/component/default/%s", "/entities/by-name/%s/%s/%s", "/entities/by-name/component/default/%s/ancestry",
				"/locations/by-entity/component/default/%s", "/entities?filter=kind=%s", "/entities?filter=%s", "/entities?limit=%s", "/entities?offset=%s", "/entities?offset=%s&limit=100000", "/entities?offset=%s&limit=1", "/entities?limit=100000&offset=%s&order=asc:kind", "/entities/by-query?limit=100000&offset=%s", "/entities/by-query?limit=%s&offset=%s", "/entities?after=%s", "/entities?fields=%s", "/entities?order=asc:%s", "/entities?order=asc:%s&limit=2",
				"/entities/by-query?filter=%s=%s", "/entities/by-query?limit=%s", "/entities/by-query?offset=%s", "/entities/by-query?cursor=%s", "/entities/by-query?orderField=%s", "/entities/by-query?fullTextFilterTerm=%s",
				"/entities/by-query?fullTextFilterTerm=%s&fullTextFilterFields=metadata.name,%s&orderField=metadata.name", "/entity-facets?facet=%s", "/entity-facets?facet=kind&filter=metadata.name=%s",
			} {
				requests = append(requests, [3]string{getMethod, strings.ReplaceAll(path, "%s", v), ""})
			}
			requests = append(requests, [3]string{deleteMethod, "/locations/" + v, ""}, [3]string{deleteMethod, "/entities/by-uid/" + v, ""},
				[3]string{putMethod, "/locations/" + v, `{"type":"url","target":"http://x/y"}`})
		}
		for _, v := range []string{`"a\u0000b"`, `"\ud800"`, "\"\xff\"", `1e999`, `-1`, `1.5`, `9007199254740993`, `9223372036854775000`, `99999999999999999999`, `null`, `true`, `[]`, `{}`, `""`, `"%"`} {
			for _, r := range [][2]string{
				{"/entities/by-query", `{"limit":%s}`}, {"/entities/by-query", `{"offset":%s}`}, {"/entities/by-query", `{"query":{"kind":%s}}`}, {"/entities/by-query", `{"query":{"kind":{"$in":[%s]}}}`},
				{"/entities/by-query", `{"query":{"kind":{"$hasPrefix":%s}}}`}, {"/entities/by-query", `{"query":{"relations":{"$contains":{"type":%s,"targetRef":%s}}}}`},
				{"/entities/by-query", `{"fullTextFilter":{"term":%s,"fields":[%s]}}`}, {"/entities/by-query", `{"orderBy":[{"field":%s,"order":"asc"}]}`}, {"/entities/by-query", `{"fields":[%s]}`}, {"/entities/by-query", `{"cursor":%s}`},
				{"/entities/by-refs", `{"entityRefs":[%s]}`}, {"/entities/by-refs", `{"entityRefs":["a:b/c"],"query":{"kind":%s}}`}, {"/entity-facets", `{"facets":[%s]}`}, {"/entity-facets", `{"facets":["kind"],"query":{"a":%s}}`},
				{"/refresh", `{"entityRef":%s}`}, {"/locations", `{"type":"url","target":%s}`}, {"/locations?dryRun=true", `{"type":"url","target":%s}`}, {"/locations/by-query", `{"limit":%s}`}, {"/locations/by-query", `{"query":{"target":%s}}`},
				{"/locations/by-query", `{"cursor":%s}`}, {"/validate-entity", `{"entity":{"kind":%s},"location":%s}`}, {"/validate-entity", `{"entity":{"apiVersion":"a","kind":"b","metadata":{"name":%s}},"location":"url:http://x/y"}`},
				{"/analyze-location", `{"location":{"type":"url","target":%s}}`},
			} {
				requests = append(requests, [3]string{postMethod, r[0], strings.ReplaceAll(r[1], "%s", v)})
			}
		}
		for _, r := range requests {
			if a := p.do(r[0], r[1], r[2]); a.status >= 500 {
				t.Errorf("%s %s %s: %d %s", r[0], r[1], r[2], a.status, a.text)
			}
		}
	})
}

// Wildcards of SQL mean themselves in searches.
func TestDefectWildcardsInSearches(t *testing.T) {
	t.Parallel()
	eachReader(t, func(t *testing.T, db *testdb.Database, config string) {
		p := open(t, db, config)
		p.source.Store("/a.yaml", strings.Join([]string{doc("plain", ", title: 100 of it"), doc("percent", ", title: 100% of it"), doc("under", ", title: a_b"), doc("slash", ", title: 'a\\b'"), doc("axb", ", title: axb")}, "---\n"))
		p.register("/a.yaml")
		p.eventually("the components are there", func() bool {
			return p.do(getMethod, "/entities/by-query?filter=metadata.title&limit=0", "").get("totalItems") == 5.0
		})
		for term, want := range map[string]string{"100%": "percent", "%": "percent", "a_b": "under", "_": "under", `a\b`: "slash", `\`: "slash", "100": "percent plain"} {
			if got := p.do(getMethod, "/entities/by-query?orderField=metadata.name&fullTextFilterFields=metadata.title&fullTextFilterTerm="+url.QueryEscape(term), "").names(); got != want {
				t.Errorf("full text %q finds %q, want %q", term, got, want)
			}
			body := fmt.Sprintf(`{"orderBy":[{"field":"metadata.name","order":"asc"}],"query":{"metadata.title":{"$hasPrefix":%q}}}`, term)
			want := map[string]string{"100%": "percent", "a_b": "under", `a\b`: "slash", "100": "percent plain"}[term]
			if got := p.do(postMethod, "/entities/by-query", body).names(); got != want {
				t.Errorf("prefix %q finds %q, want %q", term, got, want)
			}
		}
	})
}

// A sort without a direction has cursors that lead on.
func TestDefectCursorsWithoutADirection(t *testing.T) {
	t.Parallel()
	eachReader(t, func(t *testing.T, db *testdb.Database, config string) {
		p := open(t, db, config)
		a := p.do(getMethod, "/entities/by-query?orderField=metadata.name&limit=1&filter=kind=component,kind=api", "")
		got := []string{a.names()}
		for a.get("pageInfo.nextCursor") != nil && len(got) < 9 {
			a = p.do(getMethod, "/entities/by-query?limit=1&cursor="+url.QueryEscape(fmt.Sprint(a.get("pageInfo.nextCursor"))), "")
			got = append(got, a.names())
		}
		if all := strings.Join(got, ", "); all != "foyer-site, seats, Ticketing" {
			t.Errorf("pages: %s", all)
		}
	})
}

// Sorts compare keys in any case, pages of the old list keep what has not the
// field, and a list counts an entity with several values once.
func TestDefectSorts(t *testing.T) {
	t.Parallel()
	eachReader(t, func(t *testing.T, db *testdb.Database, config string) {
		p := open(t, db, config)
		for path, want := range map[string]string{
			"/entities?filter=kind=component,kind=api&order=desc:spec.systemName&order=desc:METADATA.name&limit=9": "Ticketing seats foyer-site",
			"/entities?filter=kind=component,kind=api&order=desc:Spec.Type&limit=9":                                "foyer-site Ticketing seats",
			"/entities?filter=kind=component,kind=api&order=asc:spec.system&limit=9":                               "Ticketing seats foyer-site",
			"/entities?filter=kind=component,kind=api&order=asc:spec.system":                                       "Ticketing",
			"/entities/by-query?filter=kind=component,kind=api&orderField=metadata.tags,asc":                       "Ticketing foyer-site",
			"/entities/by-query?filter=kind=component,kind=api&orderField=metadata.tags,desc":                      "Ticketing foyer-site",
		} {
			a := p.do(getMethod, path, "")
			if got := a.names(); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
			if total := a.get("totalItems"); total != nil && total != 2.0 {
				t.Errorf("%s: %v in total", path, total)
			}
		}
	})
}

// An entity with keys that differ in case only is served, says so, and follows
// its source.
func TestDefectKeysThatDifferInCase(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "")
		text := strings.Replace(doc("cased", ""), "owner: foyer", "owner: foyer, tier: 1, Tier: 2", 1)
		a := p.read("/a.yaml", text, "cased")
		if message := fmt.Sprint(a.get("status.items.0.message")); !strings.Contains(message, "'spec.tier'") || !strings.Contains(message, "casing") {
			t.Errorf("the status does not tell it: %s", a.text)
		}
		if got := p.do(getMethod, "/entities?filter=spec.tier=1", "").names() + p.do(getMethod, "/entities?filter=spec.tier=2", "").names(); !strings.Contains(got, "cased") {
			t.Errorf("no search finds it: %s", got)
		}
		p.source.Store("/a.yaml", strings.Replace(text, "experimental", "production", 1))
		if a := p.do(postMethod, "/refresh", `{"entityRef":"component:default/cased"}`); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.text)
		}
		p.eventually("it follows its source", func() bool { return p.lifecycleOf("cased") == "production" })
	})
}

// Texts with NUL or half a surrogate pair, which PostgreSQL does not keep, do
// no harm to the entities around them.
func TestDefectTextsThatPostgreSQLDoesNotKeep(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "", unprocessed.Module)
		p.source.Store("/a.yaml", strings.Join([]string{doc("before", ""), doc("zero", `, title: "a\0b", annotations: {"x/y": "\uD800"}, "k\0": v`), doc("after", "")}, "---\n"))
		p.register("/a.yaml")
		p.eventually("the others are there", func() bool {
			return p.lifecycleOf("before") == "experimental" && p.lifecycleOf("after") == "experimental"
		})
		p.eventually("it is there, or it is told what is wrong", func() bool {
			return p.lifecycleOf("zero") == "experimental" || len(p.errorsOf("component:default/zero")) > 0
		})
		for _, target := range []string{`http://x/\u0000`, "http://x/" + random(5000)} {
			if a := p.do(postMethod, "/locations", `{"type":"url","target":"`+target+`"}`); a.status != http.StatusBadRequest {
				t.Errorf("registering such a text: %d %s", a.status, a.text)
			}
		}
		for i, c := range []struct{ text, of, want string }{
			{doc("a", "") + "---\n" + doc(`"a\0b"`, ""), "", "U+0000"},
			{doc("a", "") + "---\n" + doc(random(3000), ""), "", "at most 2000"},
			{strings.Replace(doc("related", ""), "foyer", `"group:x/a\0b"`, 1), "component:default/related", "U+0000"},
			{strings.Replace(doc("far", ""), "foyer", "group:x/"+random(5000), 1), "component:default/far", "at most 2000"},
		} {
			path := fmt.Sprintf("/names%d.yaml", i)
			p.source.Store(path, c.text)
			ref := c.of
			if a := p.do(postMethod, "/locations", fmt.Sprintf(`{"type":"url","target":%q}`, p.files.URL+path)); ref == "" {
				ref = fmt.Sprint(a.get("location.entityRef"))
			}
			var errs []map[string]any
			p.eventually("it is told: "+c.want+" of "+path, func() bool { errs = p.errorsOf(ref); return len(errs) > 0 })
			if !strings.Contains(fmt.Sprint(errs), c.want) {
				t.Errorf("%s: %v", path, errs)
			}
		}
	})
}

// Of many who register a location at the same moment, one does, and the others
// are told that it is there.
func TestDefectRegistrationsAtTheSameMoment(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "")
		p.source.Store("/a.yaml", guide)
		statuses := make([]int, 12)
		var all sync.WaitGroup
		for i := range statuses {
			all.Go(func() {
				statuses[i] = p.do(postMethod, "/locations", fmt.Sprintf(`{"type":"url","target":%q}`, p.files.URL+"/a.yaml")).status
			})
		}
		all.Wait()
		slices.Sort(statuses)
		if statuses[0] != http.StatusCreated || statuses[1] != http.StatusConflict || statuses[len(statuses)-1] != http.StatusConflict {
			t.Errorf("statuses: %v", statuses)
		}
		if list := p.do(getMethod, "/locations", ""); list.get("0.data") == nil || list.get("1.data") != nil {
			t.Errorf("locations: %s", list.text)
		}
	})
}

// A file that two locations lead to stays while one of them does.
func TestDefectASecondParentKeepsAnEntity(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "")
		location := func(name string) string {
			return "apiVersion: backstage.io/v1alpha1\nkind: Location\nmetadata: {name: " + name + "}\nspec: {type: url, target: ./shared.yaml}\n"
		}
		p.source.Store("/shared.yaml", doc("shared", ""))
		p.read("/one.yaml", location("one"), "shared")
		p.source.Store("/two.yaml", location("two"))
		p.register("/two.yaml")
		parents := func() any {
			return p.do(getMethod, "/entities/by-name/component/default/shared/ancestry", "").get("items.0.parentEntityRefs")
		}
		p.eventually("both lead to it", func() bool { return fmt.Sprint(parents()) == "[location:default/one location:default/two]" })
		uid := p.do(getMethod, "/entities/by-name/component/default/shared", "").get("metadata.uid")
		for i, left := range []string{"two", "one"} {
			gone := []string{"one", "two"}[i]
			if i == 1 { // the other way round: the second one goes first
				p.register("/one.yaml")
				p.eventually("both lead to it again", func() bool { return fmt.Sprint(parents()) == "[location:default/one location:default/two]" })
			}
			for _, l := range []string{gone} {
				id := p.do(getMethod, "/locations/by-entity/location/default/"+l, "").get("id")
				if a := p.do(deleteMethod, fmt.Sprint("/locations/", id), ""); a.status != http.StatusNoContent {
					t.Fatalf("%d %s", a.status, a.text)
				}
			}
			p.eventually("one leads to it", func() bool { return fmt.Sprint(parents()) == "[location:default/"+left+"]" })
			a := p.do(getMethod, "/entities/by-name/component/default/shared", "")
			if a.get("metadata.uid") != uid || strings.Contains(a.text, "backstage.io/orphan") {
				t.Errorf("without %s: %d %s", gone, a.status, a.text)
			}
		}
	})
}

// Two instances with different providers share a database: with
// orphanProviderStrategy keep they leave each other alone, and without, the
// log says what is removed, and what to set.
func TestDefectProvidersOfOtherInstances(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		const keep = "  orphanProviderStrategy: keep\n"
		first := opened(t, db, keep, provides("first"))
		first.eventually("the entity of the first instance is there", func() bool { return first.lifecycleOf("first") == "y" })
		second := opened(t, db, keep, provides("second"))
		first.eventually("the entities of both are there", func() bool { return first.lifecycleOf("first") == "y" && second.lifecycleOf("second") == "y" })
		third := opened(t, db, "")
		third.eventually("what nobody has here goes", func() bool {
			return third.do(getMethod, "/entities?filter=kind=component,metadata.name=first", "").text == "[]"
		})
		for _, want := range []string{"level=WARN", "catalog.orphanProviderStrategy to keep", "provider=first", "provider=second"} {
			if !strings.Contains(third.log.String(), want) {
				t.Errorf("%q is not in the log:\n%s", want, third.log.String())
			}
		}
	})
}

// random is a text that cannot be compressed.
func random(n int) string {
	var b strings.Builder
	source := rand.New(rand.NewPCG(1, 2))
	for range n {
		b.WriteByte("abcdefghijklmnopqrstuvwxyz0123456789"[source.IntN(36)])
	}
	return b.String()
}

// Queries for locations, where empty conditions hold for nothing.
func TestQueriesForLocations(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "")
		for _, path := range []string{"/a.yaml", "/b.yaml", "/c_d.yaml"} {
			p.source.Store(path, guide)
			p.register(path)
		}
		at := p.files.URL
		for query, want := range map[string]float64{
			`{"target":"` + at + `/a.yaml"}`:                                             1,
			`{"TARGET":"` + strings.ToUpper(at) + `/A.YAML"}`:                            1,
			`{"target":{"$hasPrefix":"` + at + `/"}}`:                                    3,
			`{"target":{"$hasPrefix":"` + at + `/c%"}}`:                                  0,
			`{"target":{"$in":["` + at + `/a.yaml","` + at + `/b.yaml"]},"type":"url"}`:  2,
			`{"$not":{"target":"` + at + `/a.yaml"}}`:                                    2,
			`{"$any":[{"target":"` + at + `/a.yaml"},{"target":"` + at + `/c_d.yaml"}]}`: 2,
			`{"entityRef":{"$exists":true}}`:                                             3,
			`{"$all":[]}`:                                                                0, `{"$any":[]}`: 0, `{}`: 3,
		} {
			a := p.do(postMethod, "/locations/by-query", `{"query":`+query+`}`)
			if a.status != http.StatusOK || a.get("totalItems") != want {
				t.Errorf("%s: %d %s, want %v", query, a.status, a.text, want)
			}
		}
		first := p.do(postMethod, "/locations/by-query", `{"limit":2}`)
		second := p.do(postMethod, "/locations/by-query", fmt.Sprintf(`{"cursor":%q}`, first.get("pageInfo.nextCursor")))
		if first.get("items.1.id") == nil || second.get("items.0.id") == nil || second.get("items.1") != nil || second.get("pageInfo.nextCursor") != nil || second.get("totalItems") != 3.0 {
			t.Errorf("pages: %s, %s", first.text, second.text)
		}
	})
}
