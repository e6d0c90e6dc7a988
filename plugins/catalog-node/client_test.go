package catalognode_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/coretest"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// proxy is a flaky way to the catalog.
type proxy struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
	fail     func(n int, r *http.Request) string // n counts requests from 1
}

// newProxy returns a proxy to the catalog of a backend.
func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.requests = append(p.requests, r.Method+" "+r.URL.Path)
		how := ""
		if p.fail != nil {
			how = p.fail(len(p.requests), r)
		}
		p.mu.Unlock()
		p.serve(forward, how, w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) serve(forward http.Handler, how string, w http.ResponseWriter, r *http.Request) {
	status, after, _ := strings.Cut(how, " ")
	switch status {
	case "":
		forward.ServeHTTP(w, r)
	case "broken": // before the catalog got it
		panic(http.ErrAbortHandler)
	case "lost": // after the catalog did it
		forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case "cut":
		answer := httptest.NewRecorder()
		forward.ServeHTTP(answer, r)
		w.Header().Set("Content-Length", fmt.Sprint(answer.Body.Len()))
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
	default:
		var code int
		_, _ = fmt.Sscan(status, &code)
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(code)
	}
}

// failing sets what fails from now on.
func (p *proxy) failing(fail func(n int, r *http.Request) string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests, p.fail = nil, fail
}

func (p *proxy) took() []string { p.mu.Lock(); defer p.mu.Unlock(); return slices.Clone(p.requests) }

// first fails the first requests, each its way.
func first(how ...string) func(int, *http.Request) string {
	return func(n int, _ *http.Request) string {
		if n <= len(how) {
			return how[n-1]
		}
		return ""
	}
}

// world is a catalog with n components, behind a proxy.
type world struct {
	t      *testing.T
	proxy  *proxy
	files  *httptest.Server
	as     core.Credentials
	mu     sync.Mutex
	slept  []time.Duration
	client catalognode.Client
}

func component(name string) string {
	return fmt.Sprintf("apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: %s}\nspec: {type: service, lifecycle: experimental, owner: crew}\n", name)
}

func open(t *testing.T, n int) *world {
	t.Helper()
	w := &world{t: t, as: backendtest.Caller("plugin:test").Credentials()}
	w.files = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), ".yaml")
		if !ok {
			http.NotFound(rw, r)
			return
		}
		_, _ = io.WriteString(rw, component(name))
	}))
	t.Cleanup(w.files.Close)
	var all strings.Builder
	for i := range n {
		all.WriteString("---\n" + component(fmt.Sprintf("c%04d", i)))
	}
	file := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(file, []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	srv := backendtest.Start(t, catalogbackend.Plugin, backendtest.Silent(), backendtest.YAML(fmt.Sprintf(
		"backend: {reading: {allow: [{host: %q}]}}\ncatalog: {locations: [{type: file, target: %q}]}\n", strings.TrimPrefix(w.files.URL, "http://"), file)))
	w.proxy = newProxy(t, srv.PluginURL("catalog"))
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	peers := &coretest.Client{URLs: map[string]string{"catalog": w.proxy.URL}, HTTP: &http.Client{Transport: transport}}
	w.client = catalognode.NewClient(peers, catalognode.WithSleep(func(ctx context.Context, d time.Duration) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.slept = append(w.slept, d)
		return context.Cause(ctx)
	}))
	w.eventually("all entities are there", func() bool {
		page, err := w.client.Query(t.Context(), catalognode.EntitiesQuery{Limit: 1}, w.as)
		return err == nil && page.TotalItems == n+1
	})
	return w
}

func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("it did not happen that %s", what)
		}
	}
}

func names(entities ...catalogcommon.Entity) (out []string) {
	for _, e := range entities {
		out = append(out, e.Name())
	}
	return out
}

func TestClientReads(t *testing.T) {
	t.Parallel()
	w := open(t, 3)
	ctx, c := t.Context(), w.client
	if e, err := c.EntityByRef(ctx, "component:default/C0001", w.as); err != nil || e.Name() != "c0001" {
		t.Errorf("by ref: %v, %v", e, err)
	}
	if e, err := c.EntityByRef(ctx, "component:default/none", w.as); err != nil || e != nil {
		t.Errorf("by ref of nothing: %v, %v", e, err)
	}
	some, err := c.EntitiesByRefs(ctx, []string{"component:default/c0002", "component:default/none", "location:default/none", "component:default/c0000"},
		catalognode.EntitiesQuery{Fields: []string{"metadata.name"}, Query: map[string]any{"kind": "component"}}, w.as)
	if err != nil || !slices.Equal(names(some...), []string{"c0002", "", "", "c0000"}) || some[0].Kind() != "" {
		t.Errorf("by refs: %v, %v", some, err)
	}
	q := catalognode.EntitiesQuery{
		Query: map[string]any{"kind": "component"}, OrderBy: "metadata.name", Descending: true, Limit: 2,
		FullText: &catalognode.FullText{Term: "C00", Fields: []string{"metadata.name"}},
	}
	page, err := c.Query(ctx, q, w.as)
	if err != nil || page.TotalItems != 3 || !slices.Equal(names(page.Items...), []string{"c0002", "c0001"}) || page.Previous != "" {
		t.Fatalf("query: %+v, %v", page, err)
	}
	last, err := c.Query(ctx, catalognode.EntitiesQuery{Cursor: page.Next, Limit: 2}, w.as)
	if err != nil || !slices.Equal(names(last.Items...), []string{"c0000"}) || last.Next != "" || last.Previous == "" {
		t.Errorf("next page: %+v, %v", last, err)
	}
	rest, err := c.Query(ctx, catalognode.EntitiesQuery{Query: map[string]any{"kind": "component"}, OrderBy: "metadata.name", Descending: true, Offset: 1, WithoutTotal: true}, w.as)
	if err != nil || rest.TotalItems != 0 || !slices.Equal(names(rest.Items...), []string{"c0001", "c0000"}) {
		t.Errorf("from an offset: %+v, %v", rest, err)
	}
	facets, err := c.Facets(ctx, []string{"kind"}, map[string]any{"spec.type": "service"}, w.as)
	if d := cmp.Diff(map[string][]catalognode.FacetValue{"kind": {{Value: "Component", Count: 3}}}, facets); err != nil || d != "" {
		t.Errorf("facets: %v (-want +got):\n%s", err, d)
	}
	up, err := c.Ancestry(ctx, "component:default/c0001", w.as)
	if err != nil || up.RootEntityRef != "component:default/c0001" || len(up.Items) != 2 || len(up.Items[0].ParentEntityRefs) != 1 || up.Items[1].Entity.Kind() != "Location" {
		t.Errorf("ancestry: %+v, %v", up, err)
	}
	if _, err := c.Ancestry(ctx, "component:default/none", w.as); apierr.KindOf(err) != apierr.KindNotFound {
		t.Errorf("ancestry of nothing: %v", err)
	}
	if _, err := c.Ancestry(ctx, "none", w.as); apierr.KindOf(err) != apierr.KindInput {
		t.Errorf("ancestry of no ref: %v", err)
	}
	bad := catalogcommon.Entity{"apiVersion": "backstage.io/v1alpha1", "kind": "Component", "metadata": map[string]any{"name": "x"}, "spec": map[string]any{"type": "t", "lifecycle": "l"}}
	problems, err := c.Validate(ctx, bad, "url:http://host/x", w.as)
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0].Message, "owner") {
		t.Errorf("validate: %v, %v", problems, err)
	}
	bad.SetSpec("owner", "me")
	if problems, err := c.Validate(ctx, bad, "url:http://host/x", w.as); err != nil || problems != nil {
		t.Errorf("validate what is good: %v, %v", problems, err)
	}
	if _, err := c.Query(ctx, catalognode.EntitiesQuery{Query: map[string]any{"$nope": 1}}, w.as); apierr.KindOf(err) != apierr.KindInput {
		t.Errorf("a bad query: %v", err)
	}
	if _, err := c.Query(ctx, q, core.NoCredentials()); apierr.KindOf(err) != apierr.KindAuthentication {
		t.Errorf("a query of nobody: %v", err)
	}
	var remote *apierr.ResponseError
	if err := c.Refresh(ctx, "component:default/none", w.as); !errors.As(err, &remote) || remote.StatusCode != http.StatusNotFound {
		t.Errorf("refresh of nothing: %v", err)
	}
	if len(w.slept) != 0 {
		t.Errorf("the client slept %v", w.slept)
	}
}

func TestClientChanges(t *testing.T) {
	t.Parallel()
	w := open(t, 1)
	ctx, c := t.Context(), w.client
	target := w.files.URL + "/extra.yaml"
	check, err := c.CheckLocation(ctx, "url", target, w.as)
	if err != nil || check.Exists || !slices.Contains(names(check.Entities...), "extra") || check.Location.Target != target {
		t.Errorf("check: %+v, %v", check, err)
	}
	if _, err := c.CheckLocation(ctx, "url", w.files.URL+"/none", w.as); apierr.KindOf(err) != apierr.KindInput {
		t.Errorf("check of nothing: %v", err)
	}
	l, err := c.AddLocation(ctx, "url", target, w.as)
	if err != nil || l.ID == "" || l.Target != target {
		t.Fatalf("add: %+v, %v", l, err)
	}
	if _, err := c.AddLocation(ctx, "url", target, w.as); apierr.KindOf(err) != apierr.KindConflict {
		t.Errorf("add again: %v", err)
	}
	if again, err := c.EnsureLocation(ctx, "url", target, w.as); err != nil || again != l {
		t.Errorf("ensure: %+v, %v", again, err)
	}
	w.eventually("the entity is there", func() bool {
		e, err := c.EntityByRef(ctx, "component:default/extra", w.as)
		return err == nil && e != nil
	})
	for how, find := range map[string]func() (catalognode.RegisteredLocation, bool, error){
		"id": func() (catalognode.RegisteredLocation, bool, error) { return c.LocationByID(ctx, l.ID, w.as) },
		"target": func() (catalognode.RegisteredLocation, bool, error) {
			return c.LocationByTarget(ctx, "url", target, w.as)
		},
		"entity": func() (catalognode.RegisteredLocation, bool, error) {
			return c.LocationByEntity(ctx, "component:default/extra", w.as)
		},
	} {
		if got, ok, err := find(); err != nil || !ok || got != l {
			t.Errorf("by %s: %+v, %v, %v", how, got, ok, err)
		}
	}
	for how, find := range map[string]func() (catalognode.RegisteredLocation, bool, error){
		"id": func() (catalognode.RegisteredLocation, bool, error) { return c.LocationByID(ctx, "a/b", w.as) },
		"target": func() (catalognode.RegisteredLocation, bool, error) {
			return c.LocationByTarget(ctx, "file", target, w.as)
		},
		"entity": func() (catalognode.RegisteredLocation, bool, error) {
			return c.LocationByEntity(ctx, "component:default/c0000", w.as)
		},
	} {
		if got, ok, err := find(); err != nil || ok {
			t.Errorf("none by %s: %+v, %v, %v", how, got, ok, err)
		}
	}
	moved, err := c.UpdateLocation(ctx, l.ID, "url", w.files.URL+"/other.yaml", w.as)
	if err != nil || moved.ID != l.ID || moved.Target != w.files.URL+"/other.yaml" {
		t.Errorf("update: %+v, %v", moved, err)
	}
	if all, err := c.Locations(ctx, w.as); err != nil || len(all) != 1 || all[0] != moved {
		t.Errorf("locations: %+v, %v", all, err)
	}
	w.eventually("the other entity is there", func() bool {
		e, err := c.EntityByRef(ctx, "component:default/other", w.as)
		return err == nil && e != nil
	})
	if err := c.Refresh(ctx, "component:default/other", w.as); err != nil {
		t.Errorf("refresh: %v", err)
	}
	e, err := c.EntityByRef(ctx, "component:default/other", w.as)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveEntity(ctx, e.UID(), w.as); err != nil {
		t.Errorf("remove: %v", err)
	}
	drafts, err := c.AnalyzeLocation(ctx, "https://github.com/acme/shop", "catalog.yaml", w.as)
	if err != nil || len(drafts.Existing) != 0 || len(drafts.Generated) != 1 || drafts.Generated[0].Entity.Annotation("github.com/project-slug") != "acme/shop" {
		t.Errorf("analyze: %+v, %v", drafts, err)
	}
	if err := c.RemoveLocation(ctx, l.ID, w.as); err != nil {
		t.Errorf("unregister: %v", err)
	}
	if err := c.RemoveLocation(ctx, l.ID, w.as); apierr.KindOf(err) != apierr.KindNotFound {
		t.Errorf("unregister again: %v", err)
	}
}

// Any number of refs may be asked for, in requests that every backend takes.
func TestClientDividesRefs(t *testing.T) {
	t.Parallel()
	w := open(t, 2)
	sizes := []int64{}
	w.proxy.failing(func(_ int, r *http.Request) string { sizes = append(sizes, r.ContentLength); return "" })
	long := strings.Repeat("x", 250)
	refs := make([]string, 2600)
	for i := range refs {
		refs[i] = fmt.Sprintf("component:default/%s%d", long[:(i%5)*60], i)
	}
	refs[0], refs[2599] = "component:default/c0000", "component:default/c0001"
	got, err := w.client.EntitiesByRefs(t.Context(), refs, catalognode.EntitiesQuery{}, w.as)
	if err != nil || len(got) != len(refs) || got[0].Name() != "c0000" || got[1] != nil || got[2599].Name() != "c0001" {
		t.Fatalf("%d entities, %v", len(got), err)
	}
	if len(sizes) < 4 || slices.Max(sizes) > 93<<10 {
		t.Errorf("requests of %v bytes, want several of at most 93 KiB", sizes)
	}
	if got, err := w.client.EntitiesByRefs(t.Context(), nil, catalognode.EntitiesQuery{}, w.as); err != nil || len(got) != 0 {
		t.Errorf("of none: %v, %v", got, err)
	}
}

// Streams come whole and once, whatever happens on the way.
func TestClientStreams(t *testing.T) {
	t.Parallel()
	w := open(t, 1203)
	w.proxy.failing(func(n int, _ *http.Request) string {
		return []string{"", "cut", "503 1", "", "broken", "429", ""}[n%7]
	})
	seen := map[string]bool{}
	q := catalognode.EntitiesQuery{Query: map[string]any{"kind": "component"}, Fields: []string{"metadata.name"}}
	for e, err := range w.client.StreamEntities(t.Context(), q, w.as) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[e.Name()] {
			t.Errorf("%s came twice", e.Name())
		}
		seen[e.Name()] = true
	}
	if len(seen) != 1203 {
		t.Errorf("%d entities came, want 1203", len(seen))
	}
	w.proxy.failing(nil)
	n := 0
	for range w.client.StreamEntities(t.Context(), catalognode.EntitiesQuery{Limit: 10}, w.as) {
		if n++; n == 15 {
			break
		}
	}
	if got := len(w.proxy.took()); got != 2 {
		t.Errorf("%d pages of 10 for 15 entities, want 2", got)
	}
	w.proxy.failing(func(n int, _ *http.Request) string { return map[bool]string{true: "500"}[n > 1] })
	n = 0
	var last error
	for _, err := range w.client.StreamEntities(t.Context(), catalognode.EntitiesQuery{}, w.as) {
		if n++; err != nil {
			last = err
		}
	}
	if n != 501 || last == nil {
		t.Errorf("%d items, and %v at the end, want an error after a page", n, last)
	}
	w.proxy.failing(nil)
	for i := range 5 {
		if _, err := w.client.AddLocation(t.Context(), "url", fmt.Sprintf("%s/l%d.yaml", w.files.URL, i), w.as); err != nil {
			t.Fatal(err)
		}
	}
	targets := []string{}
	for l, err := range w.client.StreamLocations(t.Context(), catalognode.LocationsQuery{Limit: 2, Query: map[string]any{"type": "url"}}, w.as) {
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, strings.TrimPrefix(l.Target, w.files.URL))
	}
	slices.Sort(targets)
	if d := cmp.Diff([]string{"/l0.yaml", "/l1.yaml", "/l2.yaml", "/l3.yaml", "/l4.yaml"}, targets); d != "" {
		t.Errorf("locations (-want +got):\n%s", d)
	}
}

func TestClientTriesAgain(t *testing.T) {
	t.Parallel()
	w := open(t, 1)
	ctx := t.Context()
	read := func(ctx context.Context) error {
		_, err := w.client.EntityByRef(ctx, "component:default/c0000", w.as)
		return err
	}
	l, err := w.client.AddLocation(ctx, "url", w.files.URL+"/a.yaml", w.as)
	if err != nil {
		t.Fatal(err)
	}
	for label, tc := range map[string]struct {
		fail  []string
		call  func(context.Context) error
		fails bool
		tries int
		slept time.Duration // at least
	}{
		"broken":              {fail: []string{"broken", "502", "504"}, call: read, tries: 4},
		"for too long":        {fail: []string{"broken", "502", "504", "503"}, call: read, fails: true, tries: 4},
		"when it is asked to": {fail: []string{"429 7", "503 2"}, call: read, tries: 3, slept: 9 * time.Second},
		"not after an hour":   {fail: []string{"503 3600"}, call: read, fails: true, tries: 1},
		"not what is refused": {fail: []string{"500"}, call: read, fails: true, tries: 1},
		"a cut answer":        {fail: []string{"cut"}, call: read, tries: 2},
		"what is not the same": {fail: []string{"broken"}, fails: true, tries: 1, call: func(ctx context.Context) error {
			_, err := w.client.AddLocation(ctx, "url", w.files.URL+"/b.yaml", w.as)
			return err
		}},
		"what is the same": {fail: []string{"lost"}, tries: 2, call: func(ctx context.Context) error {
			_, err := w.client.EnsureLocation(ctx, "url", w.files.URL+"/c.yaml", w.as)
			return err
		}},
		"what is done": {fail: []string{"lost"}, tries: 2, call: func(ctx context.Context) error { return w.client.RemoveLocation(ctx, l.ID, w.as) }},
		"not without time": {fail: []string{"503 20"}, fails: true, tries: 1, call: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			return read(ctx)
		}},
	} {
		w.proxy.failing(first(tc.fail...))
		w.slept = nil
		err := tc.call(ctx)
		if (err != nil) != tc.fails {
			t.Errorf("%s: %v", label, err)
		}
		var slept time.Duration
		for _, d := range w.slept {
			slept += d
		}
		if took := w.proxy.took(); len(took) != tc.tries || slept < tc.slept || len(w.slept) != tc.tries-1 {
			t.Errorf("%s: %v after %v", label, took, w.slept)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	w.proxy.failing(func(n int, _ *http.Request) string {
		if n == 2 {
			cancel()
		}
		return "503"
	})
	if err := read(ended); err == nil || len(w.proxy.took()) > 2 {
		t.Errorf("after the end of the context: %v, %d tries", err, len(w.proxy.took()))
	}
}

// The client of a plugin in the same backend needs no network.
func TestClientInTheSameBackend(t *testing.T) {
	t.Parallel()
	var c catalognode.Client
	asks := backend.NewPlugin("asks", func(env *backend.PluginEnv) backend.InitFunc {
		catalog := catalognode.Catalog.From(env)
		return func(context.Context) error { c = catalog(); return nil }
	})
	backendtest.Start(t, catalogbackend.Plugin, asks)
	who := backendtest.Caller("plugin:asks").Credentials()
	if facets, err := c.Facets(t.Context(), []string{"kind"}, nil, who); err != nil || len(facets["kind"]) != 0 {
		t.Errorf("%v, %v", facets, err)
	}
}
