package engine

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"runtime"
	"strings"
	"sync"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// prepare checks an entity that is handed in, and brings it into the form in
// which it is kept.
func prepare(handed catalognode.DeferredEntity) (store.Deferred, error) {
	d, _, err := prepared(handed)
	return d, err
}

// prepared is prepare, and returns the entity of which the text is kept, too.
func prepared(handed catalognode.DeferredEntity) (store.Deferred, catalogcommon.Entity, error) {
	normal, err := catalogcommon.NormalizeEntity(handed.Entity)
	if err != nil {
		return store.Deferred{}, nil, err
	}
	if err := catalogcommon.ValidateEnvelope(normal); err != nil {
		return store.Deferred{}, nil, apierr.Input("Malformed entity envelope, %w", err)
	}
	if err := storable([]string{normal.Ref().String()}, handed.LocationKey); err != nil {
		return store.Deferred{}, nil, apierr.Input("Malformed entity envelope, %w", err)
	}
	body, hash := normal.TextIn(handed.Order)
	return store.Deferred{Ref: normal.Ref().String(), Body: body, Hash: hash, LocationKey: handed.LocationKey}, normal, nil
}

// connection is the way of one provider into the catalog.
type connection struct {
	e    *Engine
	name string
}

func (c connection) ApplyFull(ctx context.Context, entities iter.Seq2[catalognode.DeferredEntity, error]) (catalognode.MutationReport, error) {
	c.e.mutations.Add(1)
	defer func() {
		c.e.worked()
		c.e.mutations.Add(-1)
	}()
	early, err := c.e.early(ctx, c.name)
	if err != nil {
		return catalognode.MutationReport{}, err
	}
	r, err := c.e.c.Store.ApplyFullWithin(ctx, c.name, prepareAll(entities, early), c.e.c.Limits[c.name])
	if refused := new(store.RefusedError); errors.As(err, &refused) {
		c.e.c.Logger.ErrorContext(ctx, "a full mutation was refused; nothing was changed. If its source is right, raise or drop rejectRemovalsAbovePercentage and rejectEmptySourceCollections in catalog.providerOptions for the provider",
			"provider", c.name, "seen", refused.Seen, "had", refused.Had, "removed", refused.Removed)
		if c.e.c.OnRefused != nil {
			c.e.c.OnRefused(ctx, c.name)
		}
		return catalognode.MutationReport{}, apierr.Wrap(apierr.KindConflict, err, "Mutation refused")
	}
	if r.Finals > 0 {
		c.e.stitched(ctx, store.Stitched{Changed: r.Finals}, 0, nil)
	}
	return c.report(ctx, r), err
}

// window is how many entities are prepared at the same time.
const window = 256

// prepareAll prepares what the sequence yields, on all processors, and keeps
// its order. early, if not nil, processes it, too. While a window is prepared,
// the next one is read and the one before is passed on.
func prepareAll(entities iter.Seq2[catalognode.DeferredEntity, error], early *earlyRun) iter.Seq2[store.Deferred, error] {
	return func(yield func(store.Deferred, error) bool) {
		next := newPrepared()
		var under *preparedWindow // under way
		defer func() {
			if under != nil {
				under.working.Wait()
			}
		}()
		// flush starts with the next window, and yields the one before.
		flush := func() bool {
			before := under
			if before != nil {
				before.working.Wait()
			}
			under = next
			under.start(early)
			if before == nil {
				next = newPrepared()
				return true
			}
			next = before
			return before.pass(yield)
		}
		for d, err := range entities {
			if err != nil {
				// What came before is of no use without the rest.
				yield(store.Deferred{}, err)
				return
			}
			if next.part = append(next.part, d); len(next.part) == window && !flush() {
				return
			}
		}
		if (len(next.part) == 0 || flush()) && under != nil {
			under.working.Wait()
			under.pass(yield)
		}
	}
}

// preparedWindow is entities that are prepared at the same time.
type preparedWindow struct {
	part    []catalognode.DeferredEntity
	done    []preparedEntity
	working sync.WaitGroup
}

type preparedEntity struct {
	store.Deferred
	err error
}

func newPrepared() *preparedWindow {
	return &preparedWindow{part: make([]catalognode.DeferredEntity, 0, window), done: make([]preparedEntity, window)}
}

// start prepares what is in the window, on all processors.
func (w *preparedWindow) start(early *earlyRun) {
	workers := min(runtime.GOMAXPROCS(0), len(w.part))
	process, end := early.window(len(w.part))
	w.working.Go(func() {
		defer end()
		var parts sync.WaitGroup
		defer parts.Wait()
		for n := range workers {
			parts.Go(func() {
				for i := n; i < len(w.part); i += workers {
					var entity catalogcommon.Entity
					d := &w.done[i]
					if d.Deferred, entity, d.err = prepared(w.part[i]); d.err == nil {
						process(&d.Deferred, entity)
					}
				}
			})
		}
	})
}

// pass yields what is ready, up to an error, and empties the window.
func (w *preparedWindow) pass(yield func(store.Deferred, error) bool) bool {
	for i := range w.part {
		if !yield(w.done[i].Deferred, w.done[i].err) || w.done[i].err != nil {
			return false
		}
	}
	clear(w.part)
	clear(w.done)
	w.part = w.part[:0]
	return true
}

// maxInteractive is how many entities a delta may have that somebody may wait
// for; a larger one comes from a source that is being read.
const maxInteractive = 100

func (c connection) ApplyDelta(ctx context.Context, d catalognode.Delta) (catalognode.MutationReport, error) {
	added, removed, err := prepareDelta(d)
	if err != nil {
		return catalognode.MutationReport{}, err
	}
	lane := store.LaneInteractive
	if len(added) > maxInteractive {
		lane = store.LaneNew
	}
	r, err := c.e.c.Store.ApplyDelta(ctx, c.name, added, removed, lane)
	return c.report(ctx, r), err
}

// Transactional is implemented by the connections of an [Engine], for
// providers that keep what they hand in beside the catalog.
type Transactional interface {
	// ApplyFound applies the change that find finds in the transaction t, in
	// which it may write down what belongs to the change. It may be called
	// again. handed returns the refs of what the provider hands in.
	ApplyFound(ctx context.Context, find func(t *sql.Tx, handed func() ([]string, error)) (catalognode.Delta, error)) (catalognode.MutationReport, error)
}

// ApplyFound implements [Transactional].
func (c connection) ApplyFound(ctx context.Context, find func(*sql.Tx, func() ([]string, error)) (catalognode.Delta, error)) (catalognode.MutationReport, error) {
	r, err := c.e.c.Store.ApplyFound(ctx, c.name, store.LaneInteractive, func(t *sql.Tx, handed func() ([]string, error)) ([]store.Deferred, []string, error) {
		d, err := find(t, handed)
		if err != nil {
			return nil, nil, err
		}
		return prepareDelta(d)
	})
	return c.report(ctx, r), err
}

func prepareDelta(d catalognode.Delta) ([]store.Deferred, []string, error) {
	added := make([]store.Deferred, 0, len(d.Added))
	for _, a := range d.Added {
		sd, err := prepare(a)
		if err != nil {
			return nil, nil, err
		}
		added = append(added, sd)
	}
	removed := make([]string, len(d.Removed))
	for i, ref := range d.Removed {
		removed[i] = strings.ToLower(ref)
	}
	return added, removed, nil
}

func (c connection) Refresh(ctx context.Context, keys ...string) error {
	stored := make([]string, len(keys))
	for i, k := range keys {
		stored[i] = StoredKey(k)
	}
	_, err := c.e.c.Store.RefreshKeys(ctx, stored)
	return err
}

func (c connection) report(ctx context.Context, r store.Report) catalognode.MutationReport {
	for _, conflict := range r.Conflicts {
		c.e.c.Logger.WarnContext(ctx, "a provider hands in an entity that is claimed from another place; the first stays",
			"provider", c.name, "entity", conflict.Ref, "holder", conflict.Holder, "refused", conflict.Wanted)
	}
	if len(r.Twice) > 0 {
		c.e.c.Logger.WarnContext(ctx, "a provider handed entities in more than once in one full mutation; the last of each counts",
			"provider", c.name, "count", len(r.Twice), "first", r.Twice[:min(len(r.Twice), 10)])
	}
	return catalognode.MutationReport{Seen: r.Seen, Added: r.Added, Changed: r.Changed, Removed: r.Removed, Conflicts: len(r.Conflicts)}
}
