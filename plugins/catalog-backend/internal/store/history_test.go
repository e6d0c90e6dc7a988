package store_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
)

var (
	names         = []string{"e0", "e1", "e2", "e3", "e4"}
	fileNames     = []string{"f0", "f1", "f2"}
	providerNames = []string{"p0", "p1", "p2"}
)

// drawItem draws a hand-in. Without a key it leads to leaves at most: a key takes
// the place of none, so three such hand-ins, each of which leads to what takes
// the place of the next, have no state at which they could rest.
func drawItem(t *rapid.T, ref, key string) item {
	programs := rapid.IntRange(0, 5)
	if key == "" {
		programs = rapid.SampledFrom([]int{0, 5})
	}
	return item{ref: ref, key: key, program: programs.Draw(t, "program"), version: rapid.IntRange(0, 2).Draw(t, "version")}
}

// fileItems draws what a file holds. The key of a file's entities is that of
// the file, or none.
func fileItems(t *rapid.T, file string) []item {
	var out []item
	for _, name := range names {
		if rapid.IntRange(0, 2).Draw(t, file+" has "+name) == 0 {
			key := rapid.SampledFrom([]string{"file:" + file, "file:" + file, "file:" + file, ""}).Draw(t, "key")
			out = append(out, drawItem(t, refOf(name), key))
		}
	}
	return out
}

func providerItems(t *rapid.T, provider string) []item {
	var out []item
	for _, name := range names {
		if rapid.IntRange(0, 2).Draw(t, provider+" has "+name) == 0 {
			key := rapid.SampledFrom([]string{provider, provider, provider + " anew", ""}).Draw(t, "key")
			out = append(out, drawItem(t, refOf(name), key))
		}
	}
	return out
}

func sequence(items []item) func(func(store.Deferred, error) bool) {
	return func(yield func(store.Deferred, error) bool) {
		for _, it := range items {
			if !yield(it.deferred(), nil) {
				return
			}
		}
	}
}

// TestHistories plays random histories, and compares what is left, once
// everything is processed, with what providers and files say.
func TestHistories(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w := newWorld(t, db)
		ctx := t.Context()
		rapid.Check(t, func(t *rapid.T) {
			w.eager = rapid.Bool().Draw(t, "search rows at once")
			w.reset(t, ctx)
			w.programs = [][]string{{}, {"f0"}, {"f1"}, {"f2", "f0"}, {"f0", "f1", "f2"}, {"leaves"}}
			w.files["leaves"] = []item{{ref: refOf("e5"), key: "file:leaves"}, {ref: refOf("e6")}}
			for _, f := range fileNames {
				w.files[f] = fileItems(t, f)
			}
			var held []store.Work
			t.Repeat(map[string]func(*rapid.T){
				"full": func(t *rapid.T) {
					provider := rapid.SampledFrom(providerNames).Draw(t, "provider")
					w.full(t, ctx, provider, providerItems(t, provider))
				},
				"full, processed ahead": func(t *rapid.T) {
					provider := rapid.SampledFrom(providerNames).Draw(t, "provider")
					items := providerItems(t, provider)
					if _, err := w.store.ApplyFull(ctx, provider, w.readySequence(t, ctx, w.store, items)); err != nil {
						t.Fatalf("full mutation: %v", err)
					}
					w.handsIn(provider, items)
				},
				"delta": func(t *rapid.T) {
					provider := rapid.SampledFrom(providerNames).Draw(t, "provider")
					w.delta(t, ctx, provider, providerItems(t, provider), rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 3, rapid.ID).Draw(t, "removed"))
				},
				"edit": func(t *rapid.T) {
					file := rapid.SampledFrom(fileNames).Draw(t, "file")
					w.edit(t, ctx, file, fileItems(t, file))
				},
				"process": func(t *rapid.T) { w.step(t, ctx, rapid.IntRange(1, 4).Draw(t, "batch")) },
				"claim": func(t *rapid.T) {
					work, err := w.store.Claim(ctx, 2, leaseTime)
					if err != nil {
						t.Fatalf("claiming: %v", err)
					}
					held = append(held, work...)
				},
				"save late": func(t *rapid.T) { w.save(t, ctx, held); held = nil },
				"release": func(t *rapid.T) {
					ids := make([]int64, len(held))
					for i, h := range held {
						ids[i] = h.ID
					}
					held = nil
					if err := w.store.Release(ctx, ids); err != nil {
						t.Fatalf("releasing: %v", err)
					}
				},
				"lease ends": func(*rapid.T) { w.advance(2 * leaseTime) },
				"restart": func(t *rapid.T) {
					held, w.eager = nil, rapid.Bool().Draw(t, "search rows at once")
					w.restart()
				},
				"stitch": func(t *rapid.T) {
					if _, _, err := w.store.Stitch(ctx, 3, 0); err != nil {
						t.Fatalf("stitching: %v", err)
					}
				},
				"write rows": func(t *rapid.T) {
					if _, err := w.store.WriteRows(ctx, rapid.IntRange(1, 3).Draw(t, "entities")); err != nil {
						t.Fatalf("writing search rows: %v", err)
					}
				},
				"orphans": func(t *rapid.T) {
					if _, err := w.store.RemoveOrphans(ctx, orphanAge); err != nil {
						t.Fatalf("removing orphans: %v", err)
					}
				},
				"delete": func(t *rapid.T) { w.remove(t, ctx, refOf(rapid.SampledFrom(names).Draw(t, "name"))) },
				"refresh": func(t *rapid.T) {
					if _, err := w.store.Refresh(ctx, refOf(rapid.SampledFrom(names).Draw(t, "name"))); err != nil {
						t.Fatalf("refreshing: %v", err)
					}
				},
			})
			w.settle(t, ctx)
			w.check(t, ctx)
			// Handing in the same again may settle who holds what, which depends
			// on what was there when it was first handed in, but only once.
			changes := 0
			for range 3 {
				changes = w.count(t, ctx, "entity_change")
				for _, p := range providerNames {
					w.full(t, ctx, p, slicesOf(w.providers[p]))
				}
				w.settle(t, ctx)
				w.check(t, ctx)
			}
			if again := w.count(t, ctx, "entity_change"); again != changes {
				t.Errorf("handing in what is there already made %d changes", again-changes)
			}
			for n := 1; n > 0; {
				var err error
				if n, err = w.store.WriteRows(ctx, 2); err != nil {
					t.Fatalf("writing search rows: %v", err)
				}
			}
			if n := w.count(t, ctx, "search_behind"); n != 0 {
				t.Errorf("%d entities are still behind", n)
			}
			w.check(t, ctx)
		})
	})
}

func slicesOf(m map[string]item) (out []item) {
	for _, it := range m {
		out = append(out, it)
	}
	slices.SortFunc(out, func(a, b item) int {
		if a.ref < b.ref {
			return -1
		}
		return 1
	})
	return out
}

func (w *world) full(t tb, ctx context.Context, provider string, items []item) store.Report {
	t.Helper()
	r, err := w.store.ApplyFull(ctx, provider, sequence(items))
	if err != nil {
		t.Fatalf("full mutation: %v", err)
	}
	w.handsIn(provider, items)
	return r
}

// handsIn makes the items all that the provider is known to hand in.
func (w *world) handsIn(provider string, items []item) {
	w.providers[provider] = map[string]item{}
	for _, it := range items {
		w.providers[provider][it.ref] = it
	}
}

func (w *world) delta(t tb, ctx context.Context, provider string, added []item, removed []string) store.Report {
	t.Helper()
	var ds []store.Deferred
	for _, it := range added {
		ds = append(ds, it.deferred())
	}
	refs := make([]string, len(removed))
	for i, name := range removed {
		refs[i] = refOf(name)
	}
	r, err := w.store.ApplyDelta(ctx, provider, ds, refs, store.LaneInteractive)
	if err != nil {
		t.Fatalf("delta mutation: %v", err)
	}
	if w.providers[provider] == nil {
		w.providers[provider] = map[string]item{}
	}
	for _, ref := range refs {
		delete(w.providers[provider], ref)
	}
	for _, it := range added {
		w.providers[provider][it.ref] = it
	}
	return r
}

// edit changes a file, and tells the catalog.
func (w *world) edit(t tb, ctx context.Context, file string, items []item) {
	t.Helper()
	w.files[file] = items
	if _, err := w.store.RefreshKeys(ctx, []string{"file:" + file}); err != nil {
		t.Fatalf("refreshing: %v", err)
	}
}

// remove deletes an entity. Those providers that held it have it no longer.
func (w *world) remove(t tb, ctx context.Context, ref string) {
	t.Helper()
	e, ok := w.entities(t, ctx)[ref]
	if !ok {
		return
	}
	for _, provider := range w.lines(t, ctx, fmt.Sprintf("SELECT provider FROM provider_edge WHERE target_id = %d", e.id)) {
		delete(w.providers[provider], ref)
	}
	if found, err := w.store.Delete(ctx, e.uid); err != nil || !found {
		t.Fatalf("deleting: %v, %v", found, err)
	}
}
