package catalogbackend_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
	"github.com/flytower/flytower/internal/testdb"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
)

const entities = `
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: Ticketing, tags: [java, web], annotations: {example.com/tier: Gold}}
spec: {type: service, lifecycle: production, owner: box-office, system: front-of-house, providesApis: [seats]}
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: foyer-site, tags: [web]}
spec: {type: website, lifecycle: production, owner: foyer, consumesApis: [seats]}
---
apiVersion: backstage.io/v1alpha1
kind: API
metadata: {name: seats}
spec: {type: openapi, lifecycle: production, owner: box-office, definition: "openapi: 3.1.0"}
`

// policy is a permission policy that tests change.
type policy struct {
	mu        sync.Mutex
	decisions map[string]core.Decision // by permission; what is not named is allowed
}

func (p *policy) set(permission string, d core.Decision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decisions = map[string]core.Decision{permission: d}
}

func (p *policy) decide(permission core.Permission) core.Decision {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d, ok := p.decisions[permission.Name]; ok {
		return d
	}
	return core.Decision{Result: core.Allowed}
}

func (p *policy) Authorize(_ context.Context, _ core.Credentials, requests ...core.AuthorizeRequest) ([]core.AuthorizeResult, error) {
	out := make([]core.AuthorizeResult, len(requests))
	for i, r := range requests {
		d := p.decide(r.Permission)
		if out[i] = d.Result; d.Result == core.Conditional {
			out[i] = core.Denied
		}
	}
	return out, nil
}

func (p *policy) AuthorizeConditional(_ context.Context, _ core.Credentials, permissions ...core.Permission) ([]core.Decision, error) {
	out := make([]core.Decision, len(permissions))
	for i, permission := range permissions {
		out[i] = p.decide(permission)
	}
	return out, nil
}

// portal is a backend with the catalog.
type portal struct {
	t       *testing.T
	backend *backend.Backend
	url     string
	policy  *policy
	files   *httptest.Server // serves source
	source  sync.Map         // path to text
	log     journal          // what was logged, from warnings on
}

// journal keeps what is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// open starts a backend and waits until its catalog has the entities.
func open(t *testing.T, db *testdb.Database, config string, more ...backend.Feature) *portal {
	t.Helper()
	p, err := tryOpen(t, db, config, more...)
	if err != nil {
		t.Fatal(err)
	}
	p.eventually("the entities are there", func() bool {
		return p.do("GET", "/entities/by-query?limit=0", "").get("totalItems") == 4.0
	})
	return p
}

func tryOpen(t *testing.T, db *testdb.Database, config string, more ...backend.Feature) (*portal, error) {
	t.Helper()
	p := &portal{t: t, policy: &policy{}}
	p.files = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var status int
		if _, err := fmt.Sscanf(r.URL.Path, "/status/%d.yaml", &status); err == nil {
			w.WriteHeader(status)
			return
		}
		switch r.URL.Path {
		case "/broken.yaml":
			panic(http.ErrAbortHandler)
		case "/silent.yaml":
			<-r.Context().Done()
		}
		text, ok := p.source.Load(r.URL.Path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, text.(string))
	}))
	t.Cleanup(p.files.Close)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(entities), 0o600); err != nil {
		t.Fatal(err)
	}
	locations := fmt.Sprintf("  locations: [{type: file, target: %q}]\n", filepath.Join(dir, "all.yaml"))
	if strings.Contains(config, "  locations:") {
		locations = ""
	}
	text := fmt.Sprintf(`
app: {baseUrl: "http://localhost:3000"}
backend:
  baseUrl: http://localhost:7007
  listen: 127.0.0.1:0
  database: {client: better-sqlite3, connection: ":memory:"}
  reading: {allow: [{host: %q}]}
  auth: {externalAccess: [{type: static, options: {token: outside-token, subject: ci}}]}
catalog:
%s%s`, strings.TrimPrefix(p.files.URL, "http://"), locations, config)
	b := flytower.New(flytower.WithConfig(rootconfig.Options{Args: []string{}, Env: []string{}, FS: fstest.MapFS{"app-config.yaml": {Data: []byte(text)}}}))
	b.Add(catalogbackend.Plugin,
		backend.NewServiceFactory(core.Permissions, func(*backend.FactoryEnv) backend.MakeFunc[core.PermissionsService] {
			return func(context.Context) (core.PermissionsService, error) { return p.policy, nil }
		}),
		backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
			return func(context.Context) (*slog.Logger, error) {
				return slog.New(slog.NewTextHandler(&p.log, &slog.HandlerOptions{Level: slog.LevelWarn})), nil
			}
		}),
		backend.NewServiceFactory(core.Database, func(*backend.FactoryEnv) backend.MakeFunc[core.DatabaseService] {
			return func(context.Context) (core.DatabaseService, error) { return db.Service, nil }
		}),
	)
	b.Add(more...)
	err := b.Start(t.Context())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	if err != nil {
		return nil, err
	}
	server, err := backend.Get(b, core.RootHTTPRouter)
	if err != nil {
		t.Fatal(err)
	}
	p.backend = b
	p.url = "http://" + server.Addr().String() + "/api/catalog"
	return p, nil
}

func (p *portal) eventually(what string, holds func() bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("it did not happen that %s", what)
		}
	}
}

type answer struct {
	status int
	header http.Header
	text   string
}

// do sends a request; a body that is no JSON needs a content type before it,
// divided by a line break.
func (p *portal) do(method, path, body string) answer {
	p.t.Helper()
	contentType := "application/json"
	if kind, rest, ok := strings.Cut(body, "\n"); ok && strings.Contains(kind, "/") {
		contentType, body = kind, rest
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer outside-token")
	if body != "" {
		req.Header.Set("Content-Type", contentType)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// get returns the value at a dotted path of the body; numbers are indexes.
func (a answer) get(path string) any {
	var v any
	if json.Unmarshal([]byte(a.text), &v) != nil {
		return nil
	}
	for part := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(in) {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	return v
}

const (
	getMethod    = http.MethodGet
	postMethod   = http.MethodPost
	putMethod    = http.MethodPut
	deleteMethod = http.MethodDelete
)

func TestReads(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "")
		for _, c := range []struct {
			name, method, path, body string
			want                     string
		}{
			{"all", getMethod, "/entities?fields=metadata.name&order=asc:metadata.name&filter=kind=component", "", `[{"metadata":{"name":"foyer-site"}},{"metadata":{"name":"Ticketing"}}]`},
			{"or", getMethod, "/entities?fields=kind&order=asc:kind&filter=kind=api&filter=spec.type=website", "", `[{"kind":"API"},{"kind":"Component"}]`},
			{"tag", getMethod, "/entities?fields=metadata.name&filter=metadata.tags.java", "", `[{"metadata":{"name":"Ticketing"}}]`},
			{"annotation", getMethod, "/entities?fields=metadata.annotations.example.com/tier&filter=metadata.annotations.example.com/tier=gold", "", `[{"metadata":{"annotations":{"example.com/tier":"Gold"}}}]`},
			{"none", getMethod, "/entities?filter=kind=nothing", "", `[]`},
			{"by query", getMethod, "/entities/by-query?filter=kind=component&orderField=metadata.name,desc&fields=metadata.name", "", `{"items":[{"metadata":{"name":"Ticketing"}},{"metadata":{"name":"foyer-site"}}],"totalItems":2,"pageInfo":{}}`},
			{"by query without total", getMethod, "/entities/by-query?filter=kind=component&totalItems=exclude&limit=0", "", `{"items":[],"totalItems":0,"pageInfo":{}}`},
			{"text", getMethod, "/entities/by-query?fullTextFilterTerm=ICKET&fullTextFilterFields=metadata.name,metadata.title&fields=kind", "", `{"items":[{"kind":"Component"}],"totalItems":1,"pageInfo":{}}`},
			{"predicate", postMethod, "/entities/by-query", `{"query":{"$all":[{"kind":"component"},{"$not":{"spec.type":{"$in":["website"]}}}]},"fields":["metadata.name"]}`, `{"items":[{"metadata":{"name":"Ticketing"}}],"totalItems":1,"pageInfo":{}}`},
			{"relation", postMethod, "/entities/by-query", `{"query":{"relations":{"$contains":{"type":"ownedBy","targetRef":"group:default/foyer"}}},"fields":["metadata.name"]}`, `{"items":[{"metadata":{"name":"foyer-site"}}],"totalItems":1,"pageInfo":{}}`},
			{"by refs", postMethod, "/entities/by-refs?filter=kind=component", `{"entityRefs":["component:default/foyer-site","api:default/seats","component:default/none","component:default/foyer-site"],"fields":["kind"]}`, `{"items":[{"kind":"Component"},null,null,{"kind":"Component"}]}`},
			{"facets", getMethod, "/entity-facets?facet=kind&facet=metadata.tags&facet=nothing&filter=kind=component", "", `{"facets":{"kind":[{"value":"Component","count":2}],"metadata.tags":[{"value":"java","count":1},{"value":"web","count":2}],"nothing":[]}}`},
			{"facets of a predicate", postMethod, "/entity-facets", `{"facets":["spec.type"],"query":{"kind":"api"}}`, `{"facets":{"spec.type":[{"value":"openapi","count":1}]}}`},
			{"locations", getMethod, "/locations", "", `[]`},
			{"locations by query", postMethod, "/locations/by-query", "", `{"items":[],"pageInfo":{},"totalItems":0}`},
		} {
			t.Run(c.name, func(t *testing.T) {
				a := p.do(c.method, c.path, c.body)
				if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json; charset=utf-8" {
					t.Fatalf("%d %s: %s", a.status, a.header, a.text)
				}
				if diff := cmp.Diff(canonical(t, c.want), canonical(t, a.text)); diff != "" {
					t.Errorf("(-want +have):\n%s", diff)
				}
			})
		}
		t.Run("one entity", func(t *testing.T) {
			a := p.do(getMethod, "/entities/by-name/COMPONENT/default/ticketing", "")
			uid, _ := a.get("metadata.uid").(string)
			if a.status != http.StatusOK || uid == "" {
				t.Fatalf("%d %s", a.status, a.text)
			}
			if b := p.do(getMethod, "/entities/by-uid/"+uid, ""); b.text != a.text {
				t.Errorf("by uid: %d %s", b.status, b.text)
			}
			want := `[{"type":"ownedBy","targetRef":"group:default/box-office"},{"type":"partOf","targetRef":"system:default/front-of-house"},{"type":"providesApi","targetRef":"api:default/seats"}]`
			raw, err := json.Marshal(a.get("relations"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(canonical(t, want), canonical(t, string(raw))); diff != "" {
				t.Errorf("relations (-want +have):\n%s", diff)
			}
		})
		t.Run("ancestry", func(t *testing.T) {
			a := p.do(getMethod, "/entities/by-name/component/default/ticketing/ancestry", "")
			if a.get("rootEntityRef") != "component:default/ticketing" || a.get("items.1.entity.kind") != "Location" || a.get("items.0.parentEntityRefs.0") == nil {
				t.Errorf("%d %s", a.status, a.text)
			}
		})
		t.Run("document", func(t *testing.T) {
			var doc struct {
				OpenAPI string
				Paths   map[string]any
			}
			if err := json.Unmarshal([]byte(p.do(getMethod, "/openapi.json", "").text), &doc); err != nil {
				t.Fatal(err)
			}
			if doc.OpenAPI != "3.1.0" || doc.Paths["/api/catalog/entities/by-name/{kind}/{namespace}/{name}"] == nil {
				t.Errorf("version %s, paths %v", doc.OpenAPI, slices.Sorted(maps.Keys(doc.Paths)))
			}
			if !strings.Contains(fmt.Sprint(p.do(getMethod, "/openapi.json", "").get("components.schemas.ComponentEntity.properties.spec.required")), "lifecycle") {
				t.Error("the document does not say what a component needs")
			}
		})
	})
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%q is no JSON: %v", text, err)
	}
}

func canonical(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%q is no JSON: %v", text, err)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	p := open(t, testdb.NewSQLite(t), "")
	for _, c := range []struct {
		method, path, body string
		status             int
		name, message      string
	}{
		{getMethod, "/entities?bogus=1", "", 400, "InputError", "Unknown query parameter 'bogus'"},
		{getMethod, "/entities?filter=", "", 400, "InputError", "Empty value found for query parameter 'filter'"},
		{getMethod, "/entities?limit=x", "", 400, "InputError", "request/query/limit must be integer"},
		{getMethod, "/entities?limit=1&limit=2", "", 400, "InputError", "request/query/limit must be integer"},
		{getMethod, "/entities?limit=-1", "", 400, "InputError", "request/query/limit must be >= 0"},
		{getMethod, "/entities?limit=0", "", 400, "InputError", "Invalid limit, must be greater than zero"},
		{getMethod, "/entities?after=zzz", "", 400, "InputError", "Malformed after cursor, could not be parsed"},
		{getMethod, "/entities?order=name", "", 400, "InputError", "<asc or desc>:<field name>"},
		{getMethod, "/entities?filter==x", "", 400, "InputError", "is not a valid statement"},
		{getMethod, "/entities?fields=a[0]", "", 400, "InputError", "array type fields are not supported"},
		{getMethod, "/entities/by-query?cursor=zzz", "", 400, "InputError", "Malformed cursor"},
		{getMethod, "/entities/by-query?totalItems=maybe", "", 400, "InputError", "include, exclude"},
		{getMethod, "/entities/by-query?orderField=a,up", "", 400, "InputError", "must be asc or desc"},
		{postMethod, "/entities/by-query", `{"limit":"1"}`, 400, "InputError", "request/body/limit must be number"},
		{postMethod, "/entities/by-query", `{"limit":-1}`, 400, "InputError", "limit"},
		{postMethod, "/entities/by-query", `{"cursor":""}`, 400, "InputError", "Cursor cannot be empty"},
		{postMethod, "/entities/by-query", `{"query":{"$nope":1}}`, 400, "InputError", "Invalid query"},
		{postMethod, "/entities/by-query", `{"query":{"spec":{"$contains":{"a":1}}}}`, 400, "InputError", "Object form of $contains is not supported"},
		{postMethod, "/entities/by-query", `{x`, 400, "InputError", "JSON"},
		{postMethod, "/entities/by-query", "text/plain\nhello", 400, "InputError", "unsupported media type text/plain"},
		{postMethod, "/entities/by-refs", `{}`, 400, "InputError", "entityRefs"},
		{postMethod, "/entities/by-refs?fields=kind", `{"entityRefs":[]}`, 400, "InputError", "Unknown query parameter 'fields'"},
		{getMethod, "/entities/by-name/component/default/none", "", 404, "NotFoundError", "No entity named 'none' found, with kind 'component' in namespace 'default'"},
		{getMethod, "/entities/by-name/component/default/none/ancestry", "", 404, "NotFoundError", "No such entity component:default/none"},
		{getMethod, "/entities/by-uid/none", "", 404, "NotFoundError", "No entity with uid none"},
		{getMethod, "/entity-facets", "", 400, "InputError", "must have required property 'facet'"},
		{postMethod, "/entity-facets", `{}`, 400, "InputError", "Missing or empty facets parameter"},
		{postMethod, "/refresh", `{"entityRef":"component:default/none"}`, 404, "NotFoundError", "Entity component:default/none not found"},
		{postMethod, "/refresh", `{"entityRef":"a:b/c","more":1}`, 400, "InputError", "must NOT have additional properties"},
		{postMethod, "/refresh", `{}`, 400, "InputError", "must have required property 'entityRef'"},
		{postMethod, "/validate-entity", `{"location":"url:http://x/y"}`, 400, "InputError", "must have required property 'entity'"},
		{postMethod, "/locations", `{"type":"url"}`, 400, "InputError", "target"},
		{postMethod, "/locations", `{"type":"file","target":"/etc/passwd"}`, 400, "InputError", `["url"]`},
		{postMethod, "/locations", `{"type":"url","target":"http://x/y","more":1}`, 400, "InputError", "Malformed request"},
		{postMethod, "/locations", `{"type":"url","target":"javascript:alert(1)"}`, 400, "InputError", ""},
		{postMethod, "/locations/by-query", `{"limit":0}`, 400, "InputError", "Limit must be a positive integer"},
		{postMethod, "/locations/by-query", `{"cursor":"%"}`, 400, "InputError", "Malformed cursor"},
		{postMethod, "/locations/by-query", `{"query":{"kind":"x"}}`, 400, "InputError", "Invalid filter predicate"},
		{getMethod, "/locations/none", "", 404, "NotFoundError", "Found no location with ID none"},
		{deleteMethod, "/locations/none", "", 404, "NotFoundError", "Found no location with ID none"},
		{putMethod, "/locations/none", `{"type":"url","target":"http://x/y"}`, 404, "NotFoundError", "Found no location with ID none"},
		{getMethod, "/locations/by-entity/component/default/none", "", 404, "NotFoundError", "found no entity for ref component:default/none"},
		{getMethod, "/locations/by-entity/component/default/ticketing", "", 404, "NotFoundError", "Found no location with type file"},
		{postMethod, "/analyze-location", `{"location":{"type":"url","target":"no url"}}`, 400, "InputError", "The given location.target is not a URL"},
		{postMethod, "/analyze-location", `{"location":{"type":"url","target":"http://x/y","presence":"optional"}}`, 400, "InputError", "additional properties"},
	} {
		t.Run(c.method+" "+c.path+" "+c.body, func(t *testing.T) {
			a := p.do(c.method, c.path, c.body)
			message, _ := a.get("error.message").(string)
			if a.status != c.status || a.get("error.name") != c.name || !strings.Contains(message, c.message) || a.get("response.statusCode") != float64(c.status) {
				t.Errorf("%d %s", a.status, a.text)
			}
		})
	}
	if a := p.do(getMethod, "/nothing/here", ""); a.status != http.StatusNotFound {
		t.Errorf("an unknown route: %d %s", a.status, a.text)
	}
}

// TestCursors walks pages by GET and POST in turn, there and back.
func TestCursors(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "")
		names := func(a answer) string {
			var out []string
			for i := 0; a.get(fmt.Sprintf("items.%d", i)) != nil; i++ {
				out = append(out, fmt.Sprint(a.get(fmt.Sprintf("items.%d.metadata.name", i))))
			}
			return strings.Join(out, " ")
		}
		first := p.do(getMethod, "/entities/by-query?limit=1&filter=kind=component,kind=api&orderField=metadata.name&fields=metadata.name", "")
		cursor, _ := first.get("pageInfo.nextCursor").(string)
		raw, err := base64.StdEncoding.DecodeString(cursor)
		if err != nil || !bytes.Contains(raw, []byte(`"query":`)) || first.get("pageInfo.prevCursor") != nil || first.get("totalItems") != 3.0 {
			t.Fatalf("%s: %v", first.text, err)
		}
		second := p.do(postMethod, "/entities/by-query", fmt.Sprintf(`{"limit":1,"cursor":%q,"fields":["metadata.name"]}`, cursor))
		third := p.do(getMethod, "/entities/by-query?limit=1&fields=metadata.name&cursor="+fmt.Sprint(second.get("pageInfo.nextCursor")), "")
		if got := names(first) + ", " + names(second) + ", " + names(third); got != "foyer-site, seats, Ticketing" {
			t.Errorf("pages: %s", got)
		}
		if third.get("pageInfo.nextCursor") != nil || third.get("totalItems") != 3.0 {
			t.Errorf("last page: %s", third.text)
		}
		back := p.do(postMethod, "/entities/by-query", fmt.Sprintf(`{"limit":1,"cursor":%q,"fields":["metadata.name"]}`, third.get("pageInfo.prevCursor")))
		start := p.do(getMethod, "/entities/by-query?limit=1&fields=metadata.name&cursor="+fmt.Sprint(back.get("pageInfo.prevCursor")), "")
		if got := names(back) + ", " + names(start); got != "seats, foyer-site" || start.get("pageInfo.prevCursor") != nil || start.get("pageInfo.nextCursor") == nil {
			t.Errorf("pages back: %s: %s", got, start.text)
		}
	})
}

func TestPagesOfTheOldList(t *testing.T) {
	t.Parallel()
	p := open(t, testdb.NewSQLite(t), "")
	first := p.do(getMethod, "/entities?filter=kind=component&limit=1&fields=metadata.name", "")
	const want = `</entities?filter=kind%3Dcomponent&limit=1&fields=metadata.name&after=eyJsaW1pdCI6MSwib2Zmc2V0IjoxfQ%3D%3D>; rel="next"`
	if link := first.header.Get("Link"); link != want {
		t.Errorf("link = %s", link)
	}
	second := p.do(getMethod, "/entities?filter=kind=component&limit=1&fields=metadata.name&after=eyJsaW1pdCI6MSwib2Zmc2V0IjoxfQ%3D%3D", "")
	if first.get("0.metadata.name") != "foyer-site" || second.get("0.metadata.name") != "Ticketing" || second.header.Get("Link") != "" {
		t.Errorf("pages: %s, %s, link %s", first.text, second.text, second.header.Get("Link"))
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "")
		uid, _ := p.do(getMethod, "/entities/by-name/component/default/ticketing", "").get("metadata.uid").(string)
		status := func(method, path, body string, want int) {
			t.Helper()
			if a := p.do(method, path, body); a.status != want {
				t.Errorf("%s %s: %d %s, want %d", method, path, a.status, a.text, want)
			}
		}
		text := func(method, path, body, want string) {
			t.Helper()
			if a := p.do(method, path, body); a.status != http.StatusOK || a.text != want {
				t.Errorf("%s %s: %d %s, want %s", method, path, a.status, a.text, want)
			}
		}
		p.policy.set("catalog.entity.read", core.Decision{Result: core.Denied})
		text(getMethod, "/entities", "", `[]`)
		text(getMethod, "/entities/by-query", "", `{"items":[],"totalItems":0,"pageInfo":{}}`)
		text(postMethod, "/entities/by-refs", `{"entityRefs":["component:default/ticketing"]}`, `{"items":[null]}`)
		text(getMethod, "/entity-facets?facet=kind", "", `{"facets":{"kind":[]}}`)
		status(getMethod, "/entities/by-name/component/default/ticketing", "", 404)
		status(getMethod, "/entities/by-uid/"+uid, "", 404)
		status(getMethod, "/entities/by-name/component/default/ticketing/ancestry", "", 403)

		kinds := core.PermissionCriteria{Rule: "IS_ENTITY_KIND", ResourceType: "catalog-entity", Params: json.RawMessage(`{"kinds":["API"]}`)}
		owner := core.PermissionCriteria{Rule: "IS_ENTITY_OWNER", ResourceType: "catalog-entity", Params: json.RawMessage(`{"claims":["group:default/foyer"]}`)}
		p.policy.set("catalog.entity.read", core.Decision{Result: core.Conditional, Conditions: &core.PermissionCriteria{AnyOf: []core.PermissionCriteria{kinds, owner}}})
		text(getMethod, "/entities?fields=metadata.name", "", `[{"metadata":{"name":"seats"}},{"metadata":{"name":"foyer-site"}}]`)
		text(getMethod, "/entities/by-query?limit=0", "", `{"items":[],"totalItems":2,"pageInfo":{}}`)
		status(getMethod, "/entities/by-name/component/default/ticketing", "", 404)
		status(getMethod, "/entities/by-name/component/default/foyer-site", "", 200)
		p.policy.set("catalog.entity.read", core.Decision{Result: core.Conditional, Conditions: &core.PermissionCriteria{Not: &core.PermissionCriteria{AllOf: []core.PermissionCriteria{kinds}}}})
		status(getMethod, "/entities/by-name/api/default/seats", "", 404)

		p.policy.set("catalog.entity.delete", core.Decision{Result: core.Denied})
		status(deleteMethod, "/entities/by-uid/"+uid, "", 403)
		p.policy.set("catalog.entity.delete", core.Decision{Result: core.Conditional, Conditions: &kinds})
		status(deleteMethod, "/entities/by-uid/"+uid, "", 403)
		p.policy.set("catalog.entity.refresh", core.Decision{Result: core.Denied})
		status(postMethod, "/refresh", `{"entityRef":"component:default/ticketing"}`, 403)
		p.policy.set("catalog.entity.validate", core.Decision{Result: core.Denied})
		status(postMethod, "/validate-entity", `{"entity":{"apiVersion":"v1","kind":"X","metadata":{"name":"x"}},"location":"url:http://x/y"}`, 403)
		p.policy.set("catalog.location.create", core.Decision{Result: core.Denied})
		status(postMethod, "/locations", `{"type":"url","target":"http://x/y"}`, 403)
		status(putMethod, "/locations/x", `{"type":"url","target":"http://x/y"}`, 403)
		p.policy.set("catalog.location.delete", core.Decision{Result: core.Denied})
		status(deleteMethod, "/locations/x", "", 403)
		p.policy.set("catalog.location.analyze", core.Decision{Result: core.Denied})
		status(postMethod, "/analyze-location", `{"location":{"type":"url","target":"http://x/y"}}`, 403)
		p.policy.set("catalog.location.read", core.Decision{Result: core.Denied})
		text(getMethod, "/locations", "", `[]`)
		status(getMethod, "/locations/x", "", 404)
	})
}

const guide = `
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: audio-guide}
spec: {type: service, lifecycle: experimental, owner: foyer}
`

func TestLocations(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "")
		p.source.Store("/guide.yaml", guide)
		p.source.Store("/bad.yaml", strings.Replace(guide, "owner: foyer", "owner: ''", 1))
		target := p.files.URL + "/guide.yaml"
		body := fmt.Sprintf(`{"type":"url","target":%q}`, target)

		dry := p.do(postMethod, "/locations?dryRun=true", body)
		if dry.status != http.StatusCreated || dry.get("exists") != false || dry.get("entities.0.kind") != "Location" || dry.get("entities.1.metadata.name") != "audio-guide" || dry.get("location.id") != "url:"+target {
			t.Fatalf("dry run: %d %s", dry.status, dry.text)
		}
		if bad := p.do(postMethod, "/locations?dryRun=true", fmt.Sprintf(`{"type":"url","target":%q}`, p.files.URL+"/bad.yaml")); bad.status != http.StatusBadRequest {
			t.Errorf("dry run of something bad: %d %s", bad.status, bad.text)
		}
		created := p.do(postMethod, "/locations", body)
		id, _ := created.get("location.id").(string)
		if created.status != http.StatusCreated || id == "" || !strings.HasSuffix(created.text, `"entities":[]}`) && !strings.Contains(created.text, `"entities":[]`) {
			t.Fatalf("create: %d %s", created.status, created.text)
		}
		p.eventually("the entity of the location is there", func() bool {
			return p.do(getMethod, "/entities/by-name/component/default/audio-guide", "").status == http.StatusOK
		})
		if again := p.do(postMethod, "/locations", body); again.status != http.StatusConflict || again.get("error.name") != "ConflictError" {
			t.Errorf("create again: %d %s", again.status, again.text)
		}
		p.source.Store("/guide.yaml", strings.Replace(guide, "experimental", "production", 1))
		if again := p.do(postMethod, "/locations?onConflict=refresh", body); again.status != http.StatusCreated || again.get("location.id") != id {
			t.Errorf("create again and refresh: %d %s", again.status, again.text)
		}
		p.eventually("the location is read again", func() bool {
			return p.do(getMethod, "/entities/by-name/component/default/audio-guide", "").get("spec.lifecycle") == "production"
		})
		for _, path := range []string{"/locations/" + id, "/locations/by-entity/component/default/audio-guide"} {
			if one := p.do(getMethod, path, ""); one.get("target") != target {
				t.Errorf("%s: %d %s", path, one.status, one.text)
			}
		}
		if list := p.do(getMethod, "/locations", ""); list.get("0.data.id") != id {
			t.Errorf("list: %s", list.text)
		}
		p.source.Store("/other.yaml", strings.Replace(guide, "audio-guide", "visual-guide", 1))
		other := p.do(putMethod, "/locations/"+id, fmt.Sprintf(`{"type":"url","target":%q}`, p.files.URL+"/other.yaml"))
		if other.status != http.StatusOK || other.get("entityRef") != created.get("location.entityRef") {
			t.Errorf("update: %d %s", other.status, other.text)
		}
		p.eventually("the entity of the new target replaces the old one", func() bool {
			return p.do(getMethod, "/entities/by-name/component/default/visual-guide", "").status == http.StatusOK &&
				p.do(getMethod, "/entities/by-name/component/default/audio-guide", "").status == http.StatusNotFound
		})
		uid := fmt.Sprint(p.do(getMethod, "/entities/by-name/component/default/visual-guide", "").get("metadata.uid"))
		if gone := p.do(deleteMethod, "/entities/by-uid/"+uid, ""); gone.status != http.StatusNoContent || gone.text != "" {
			t.Errorf("delete: %d %s", gone.status, gone.text)
		}
		p.eventually("the source brings the deleted entity back", func() bool {
			a := p.do(getMethod, "/entities/by-name/component/default/visual-guide", "")
			return a.status == http.StatusOK && a.get("metadata.uid") != uid
		})
		if gone := p.do(deleteMethod, "/locations/"+id, ""); gone.status != http.StatusNoContent {
			t.Errorf("unregister: %d %s", gone.status, gone.text)
		}
		if a := p.do(getMethod, "/entities/by-name/component/default/visual-guide", ""); a.status != http.StatusNotFound {
			t.Errorf("the entity of the unregistered location: %d %s", a.status, a.text)
		}
		valid := p.do(postMethod, "/validate-entity", `{"entity":{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"name":"x"},"spec":{"type":"a","lifecycle":"b"}},"location":"url:http://x/y"}`)
		if message := fmt.Sprint(valid.get("errors.0.message")); valid.status != http.StatusBadRequest || !strings.Contains(message, "owner") {
			t.Errorf("validate: %d %s", valid.status, valid.text)
		}
	})
}

func TestReadonly(t *testing.T) {
	t.Parallel()
	p := open(t, testdb.NewSQLite(t), "  readonly: true\n")
	p.source.Store("/guide.yaml", guide)
	body := fmt.Sprintf(`{"type":"url","target":%q}`, p.files.URL+"/guide.yaml")
	for _, c := range []struct {
		method, path string
		status       int
	}{{postMethod, "/locations", 403}, {postMethod, "/locations?dryRun=true", 201}, {putMethod, "/locations/x", 403}, {deleteMethod, "/locations/x", 403}} {
		if a := p.do(c.method, c.path, body); a.status != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, a.status, a.text, c.status)
		}
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	p := open(t, testdb.NewSQLite(t), "")
	p.source.Store("/guide.yaml", guide)
	act := func(name, input string) answer {
		return p.do(postMethod, "/.backstage/actions/v1/actions/catalog:"+name+"/invoke", input)
	}
	if a := act("get-catalog-entity", `{"name":"ticketing"}`); a.get("output.kind") != "Component" {
		t.Errorf("get: %d %s", a.status, a.text)
	}
	if a := act("get-catalog-entity", `{"name":"none"}`); a.get("error.name") != "InputError" {
		t.Errorf("get nothing: %d %s", a.status, a.text)
	}
	if a := act("query-catalog-entities", `{"query":{"kind":"component"},"limit":1,"orderFields":{"field":"metadata.name","order":"desc"}}`); a.get("output.items.0.metadata.name") != "Ticketing" || a.get("output.totalItems") != 2.0 || a.get("output.hasMoreEntities") != true {
		t.Errorf("query: %d %s", a.status, a.text)
	}
	if a := act("validate-entity", `{"entity":"kind: Component\nmetadata: {name: x}"}`); a.get("output.isValid") != false || a.get("output.isValidYaml") != true || a.get("output.errors.0") == nil {
		t.Errorf("validate: %d %s", a.status, a.text)
	}
	if a := act("validate-entity", `{"entity":"{"}`); a.get("output.isValidYaml") != false {
		t.Errorf("validate no YAML: %d %s", a.status, a.text)
	}
	if a := act("refresh-catalog-entity", `{"name":"seats","kind":"API"}`); a.get("output.entityRef") != "api:default/seats" {
		t.Errorf("refresh: %d %s", a.status, a.text)
	}
	if a := act("get-catalog-model-description", `{}`); !strings.Contains(fmt.Sprint(a.get("output.description")), "Component") {
		t.Errorf("describe: %d %s", a.status, a.text)
	}
	registered := act("register-entity", fmt.Sprintf(`{"locationUrl":%q}`, p.files.URL+"/guide.yaml"))
	if id, _ := registered.get("output.locationId").(string); id == "" {
		t.Fatalf("register: %d %s", registered.status, registered.text)
	}
	if a := act("unregister-entity", fmt.Sprintf(`{"type":{"locationUrl":%q}}`, p.files.URL+"/guide.yaml")); a.status != http.StatusOK {
		t.Errorf("unregister: %d %s", a.status, a.text)
	}
	if a := p.do(getMethod, "/locations", ""); a.text != "[]" {
		t.Errorf("locations after unregistering: %s", a.text)
	}
}
