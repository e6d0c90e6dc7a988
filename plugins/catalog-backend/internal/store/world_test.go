package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/schema"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// world is a store in a small universe: entities run programs, a program names
// files, and a file holds entities, which emitters of the file hand in.
type world struct {
	db       *testdb.Database
	store    *store.Store
	eager    bool          // search rows are written at once
	now      *atomic.Int64 // milliseconds
	files    map[string][]item
	programs [][]string // the files that each program reads
	// providers are what each provider hands in.
	providers map[string]map[string]item
}

// item is an entity in a file, or of a provider.
type item struct {
	ref     string
	key     string
	program int
	version int
}

const leaseTime = time.Minute

func newWorld(t *testing.T, db *testdb.Database) *world {
	t.Helper()
	if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
		t.Fatalf("migrating: %v", err)
	}
	w := &world{db: db, now: new(atomic.Int64)}
	w.now.Store(1_000_000)
	w.reset(t, t.Context())
	return w
}

// reset empties the world.
func (w *world) reset(t tb, ctx context.Context) {
	t.Helper()
	for _, table := range []string{
		"entity", "entity_due", "entity_dirty", "provider_edge", "entity_edge", "entity_claim", "relation", "refresh_key",
		"entity_search", "search_behind", "search_key", "location", "entity_change", "orphan_candidate", "fingerprint", "entity_twice",
	} {
		if _, err := w.db.DB.ExecContext(ctx, "DELETE FROM "+table); err != nil {
			t.Fatalf("emptying %s: %v", table, err)
		}
	}
	if w.db.Dialect == core.PostgreSQL {
		if _, err := w.db.DB.ExecContext(ctx, "DELETE FROM entity_load"); err != nil {
			t.Fatalf("emptying entity_load: %v", err)
		}
	}
	w.files, w.providers = map[string][]item{}, map[string]map[string]item{}
	w.restart()
}

// restart replaces the store, as if the process had been killed.
func (w *world) restart() { w.store = w.another() }

func (w *world) another() *store.Store {
	return store.New(w.db.Service, store.Options{EagerRows: w.eager, Clock: func() time.Time { return time.UnixMilli(w.now.Load()) }})
}

func (w *world) advance(d time.Duration) { w.now.Add(d.Milliseconds()) }

func refOf(name string) string { return "component:default/" + name }

func (it item) entity() catalogcommon.Entity {
	kind, name, _ := strings.Cut(it.ref, ":default/")
	return catalogcommon.Entity{
		"apiVersion": "backstage.io/v1alpha1",
		"kind":       kind,
		"metadata": map[string]any{
			"name": name, "namespace": "default",
			"tags": []any{"Java", fmt.Sprint("v", it.version)},
		},
		"spec": map[string]any{"program": float64(it.program), "version": float64(it.version), "type": "Service", "note": strings.Repeat("long ", 60)},
	}
}

func (it item) deferred() store.Deferred {
	body := it.entity().AppendJSON(nil)
	return store.Deferred{Ref: it.ref, Body: string(body), Hash: catalogcommon.HashJSON(body), LocationKey: it.key}
}

// emitted are the items that an entity with the program emits.
func (w *world) emitted(ref string, program int) []item {
	var out []item
	seen := map[string]bool{ref: true}
	for _, file := range w.programs[program] {
		for _, it := range w.files[file] {
			if !seen[it.ref] {
				seen[it.ref] = true
				out = append(out, it)
			}
		}
	}
	return out
}

// relations are those that an entity with the program emits.
func relationsOf(ref string, program int) []catalogcommon.Relation {
	source, _ := catalogcommon.ParseRef(ref, catalogcommon.RefDefaults{})
	target := catalogcommon.Ref{Kind: "component", Namespace: "default", Name: fmt.Sprint("e", program%4)}
	return []catalogcommon.Relation{
		{Source: source, Type: "dependsOn", Target: target},
		{Source: target, Type: "dependencyOf", Target: source},
	}
}

func programOf(t tb, body string) int {
	t.Helper()
	e, err := catalogcommon.ParseEntity([]byte(body))
	if err != nil {
		t.Fatalf("a stored entity cannot be read: %v", err)
	}
	return int(e.Spec()["program"].(float64))
}

// process is what processors would make of the work.
func (w *world) process(t tb, work store.Work) store.Result {
	t.Helper()
	e, err := catalogcommon.ParseEntity([]byte(work.Unprocessed))
	if err != nil {
		t.Fatalf("%s: %v", work.Ref, err)
	}
	e.SetMetadata("uid", work.UID)
	program := programOf(t, work.Unprocessed)
	r := store.Result{Work: work, OK: true, Processed: string(e.AppendJSON(nil)), Relations: relationsOf(work.Ref, program)}
	text := r.Processed
	for _, it := range w.emitted(work.Ref, program) {
		d := it.deferred()
		r.Deferred = append(r.Deferred, d)
		text += d.Ref + d.Hash + d.LocationKey
	}
	for _, f := range w.programs[program] {
		r.Keys = append(r.Keys, "file:"+f)
	}
	r.Hash = catalogcommon.HashJSON([]byte(text))
	return r
}

// ready processes an item before it is handed in, as far as that goes.
func (w *world) ready(t tb, ctx context.Context, s *store.Store, it item) store.Deferred {
	t.Helper()
	d := it.deferred()
	r := w.process(t, store.Work{UID: s.NewUID(), Ref: d.Ref, Unprocessed: d.Body, Hash: d.Hash})
	var err error
	if r.Entity, err = catalogcommon.ParseEntity([]byte(r.Processed)); err != nil {
		t.Fatalf("%s: %v", it.ref, err)
	}
	if d.Ready, err = s.MakeReady(ctx, r); err != nil {
		t.Errorf("%s: %v", it.ref, err)
	}
	return d
}

func (w *world) readySequence(t tb, ctx context.Context, s *store.Store, items []item) func(func(store.Deferred, error) bool) {
	return func(yield func(store.Deferred, error) bool) {
		for _, it := range items {
			if !yield(w.ready(t, ctx, s, it), nil) {
				return
			}
		}
	}
}

// step processes a batch, and reports how many entities that were.
func (w *world) step(t tb, ctx context.Context, limit int) int {
	t.Helper()
	work, err := w.store.Claim(ctx, limit, leaseTime)
	if err != nil {
		t.Fatalf("claiming: %v", err)
	}
	w.save(t, ctx, work)
	return len(work)
}

func (w *world) save(t tb, ctx context.Context, work []store.Work) store.Saved {
	t.Helper()
	if len(work) == 0 {
		return store.Saved{}
	}
	results := make([]store.Result, len(work))
	for i, it := range work {
		results[i] = w.process(t, it)
	}
	saved, err := w.store.Save(ctx, results)
	if err != nil {
		t.Fatalf("saving: %v", err)
	}
	return saved
}

const orphanAge = 30 * time.Second

// settle works until nothing is left to do, however long that takes.
func (w *world) settle(t tb, ctx context.Context) {
	t.Helper()
	w.advance(2 * leaseTime)
	for steps := 0; steps < 500; {
		n := w.step(t, ctx, 7)
		stitched, _, err := w.store.Stitch(ctx, 5, 0)
		if err != nil {
			t.Fatalf("stitching: %v", err)
		}
		left, err := w.store.CheckLoads(ctx)
		if err != nil {
			t.Fatalf("looking for relations: %v", err)
		}
		if n+stitched > 0 {
			steps++
			continue
		}
		if left {
			continue // until the transactions of other tests have ended
		}
		steps++
		w.advance(2 * orphanAge)
		removed, err := w.store.RemoveOrphans(ctx, orphanAge)
		if err != nil {
			t.Fatalf("removing orphans: %v", err)
		}
		if removed == 0 && w.count(t, ctx, "entity_dirty")+w.dueNow(t, ctx) == 0 {
			return
		}
	}
	t.Fatalf("the catalog does not come to rest")
}

func (w *world) dueNow(t tb, ctx context.Context) int {
	t.Helper()
	b, err := w.store.Backlog(ctx)
	if err != nil {
		t.Fatalf("backlog: %v", err)
	}
	return b.Due
}

func (w *world) count(t tb, ctx context.Context, table string) (n int) {
	t.Helper()
	if err := w.db.DB.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatalf("counting %s: %v", table, err)
	}
	return n
}

// stored is an entity as the tables have it.
type stored struct {
	id            int64
	ref, key, uid string
	body, final   string
}

func (w *world) entities(t tb, ctx context.Context) map[string]stored {
	t.Helper()
	out := map[string]stored{}
	w.rows(t, ctx, "SELECT id, ref, COALESCE(location_key, ''), uid, unprocessed, COALESCE(final, '') FROM entity", func(rows *sql.Rows) error {
		var s stored
		err := rows.Scan(&s.id, &s.ref, &s.key, &s.uid, &s.body, &s.final)
		out[s.ref] = s
		return err
	})
	return out
}

func (w *world) rows(t tb, ctx context.Context, query string, scan func(*sql.Rows) error) {
	t.Helper()
	rows, err := w.db.DB.QueryContext(ctx, query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func (w *world) lines(t tb, ctx context.Context, query string) []string {
	t.Helper()
	out := []string{}
	w.rows(t, ctx, query, func(rows *sql.Rows) error {
		var line string
		err := rows.Scan(&line)
		out = append(out, line)
		return err
	})
	slices.Sort(out)
	return out
}

// source is somebody who hands an entity in.
type source struct {
	by string
	item
}

// check compares the tables with what the providers and the files say.
func (w *world) check(t tb, ctx context.Context) {
	t.Helper()
	have := w.entities(t, ctx)
	sources := map[string][]source{}
	live := map[string]bool{}
	var queue []string
	add := func(by string, it item) {
		sources[it.ref] = append(sources[it.ref], source{by, it})
		if !live[it.ref] {
			live[it.ref] = true
			queue = append(queue, it.ref)
		}
	}
	for name, items := range w.providers {
		for _, it := range items {
			add("provider "+name, it)
		}
	}
	for len(queue) > 0 {
		ref := queue[0]
		queue = queue[1:]
		e, ok := have[ref]
		if !ok {
			t.Errorf("%s is handed in and not there", ref)
			continue
		}
		for _, it := range w.emitted(ref, programOf(t, e.body)) {
			add("entity "+ref, it)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(live)), slices.Sorted(maps.Keys(have))); diff != "" {
		t.Fatalf("entities differ from what is handed in (-want +have):\n%s", diff)
	}
	wantEdges, wantClaims := []string{}, []string{}
	haveEdges := w.lines(t, ctx, "SELECT 'provider ' || p.provider || ' -> ' || e.ref FROM provider_edge p JOIN entity e ON e.id = p.target_id"+
		" UNION ALL SELECT 'entity ' || f.ref || ' -> ' || e.ref FROM entity_edge g JOIN entity e ON e.id = g.target_id JOIN entity f ON f.id = g.parent_id")
	relations := map[string]map[catalogcommon.EntityRelation]bool{}
	for ref, e := range have {
		held := false
		for _, s := range sources[ref] {
			line := s.by + " -> " + ref
			// Without a key there is one holder, whoever was first.
			if s.key != e.key || e.key == "" && (held || !slices.Contains(haveEdges, line)) {
				wantClaims = append(wantClaims, line)
				continue
			}
			held = true
			wantEdges = append(wantEdges, line)
			if body := s.deferred().Body; body != e.body {
				t.Errorf("%s has not the text of %s:\n%s", ref, s.by, cmp.Diff(body, e.body))
			}
		}
		if !held {
			t.Errorf("%s is held by %q, under which nobody hands it in: %v", ref, e.key, sources[ref])
		}
		for _, r := range relationsOf(ref, programOf(t, e.body)) {
			from := r.Source.String()
			if relations[from] == nil {
				relations[from] = map[catalogcommon.EntityRelation]bool{}
			}
			relations[from][catalogcommon.EntityRelation{Type: r.Type, TargetRef: r.Target.String()}] = true
		}
	}
	compare := func(what string, want, have []string) {
		slices.Sort(want)
		want = slices.Compact(want)
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s (-want +have):\n%s", what, diff)
		}
	}
	compare("edges", wantEdges, haveEdges)
	compare("refused claims", wantClaims, w.lines(t, ctx, "SELECT CASE WHEN c.provider <> '' THEN 'provider ' || c.provider ELSE 'entity ' || e.ref END || ' -> ' || c.ref"+
		" FROM entity_claim c LEFT JOIN entity e ON e.id = c.parent_id"))
	for ref, e := range have {
		w.checkFinal(t, ctx, ref, e, relations[ref])
	}
	for _, table := range []string{"entity_due", "relation", "refresh_key", "entity_search", "search_behind", "orphan_candidate", "provider_edge", "entity_edge", "entity_twice"} {
		column := map[string]string{"entity_twice": "parent_id", "relation": "origin_id", "provider_edge": "target_id", "entity_edge": "target_id"}[table]
		if column == "" {
			column = "entity_id"
		}
		if left := w.lines(t, ctx, "SELECT DISTINCT CAST("+column+" AS text) FROM "+table+" WHERE "+column+" NOT IN (SELECT id FROM entity)"); len(left) > 0 {
			t.Errorf("%s has rows of entities that are gone: %v", table, left)
		}
	}
}

func (w *world) checkFinal(t tb, ctx context.Context, ref string, e stored, relations map[catalogcommon.EntityRelation]bool) {
	t.Helper()
	if e.final == "" {
		t.Errorf("%s has no final form", ref)
		return
	}
	final, err := catalogcommon.ParseEntity([]byte(e.final))
	if err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
	want, err := catalogcommon.ParseEntity([]byte(e.body))
	if err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
	want.SetMetadata("uid", e.uid)
	want.SetMetadata("etag", final.Etag())
	want.SetRelations(slices.Collect(maps.Keys(relations)))
	if diff := cmp.Diff(string(want.AppendJSONIn(nil, catalogcommon.KeyOrder(e.final))), e.final); diff != "" {
		t.Errorf("final form of %s (-want +have):\n%s", ref, diff)
	}
	rows, _ := entitysearch.Rows(final)
	var wantRows []string
	for _, r := range rows {
		if !r.Derived {
			wantRows = append(wantRows, fmt.Sprintf("%s=%s|%s|%v|%v", r.Key, r.Value, r.Original, r.Null, r.Item))
		}
	}
	slices.Sort(wantRows)
	var haveRows []string
	w.rows(t, ctx, fmt.Sprintf("SELECT k.key, s.value, COALESCE(s.original, s.value), s.item FROM"+
		" (SELECT entity_id, key_id, value, original, item FROM entity_search UNION ALL SELECT entity_id, key_id, value, original, item FROM search_behind_row) s JOIN search_key k ON k.id = s.key_id WHERE s.entity_id = %d", e.id),
		func(rows *sql.Rows) error {
			var key string
			var value, original sql.NullString
			var isItem bool
			err := rows.Scan(&key, &value, &original, &isItem)
			haveRows = append(haveRows, fmt.Sprintf("%s=%s|%s|%v|%v", key, value.String, original.String, !value.Valid, isItem))
			return err
		})
	slices.Sort(haveRows)
	if diff := cmp.Diff(wantRows, haveRows); diff != "" {
		t.Errorf("search rows of %s (-want +have):\n%s", ref, diff)
	}
}
