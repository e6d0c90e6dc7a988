package engine

import (
	"context"
	"strings"
	"time"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// earlyRun processes the entities of a full mutation before they are stored, so
// that those that turn out to be new are written once, in their final state.
// It is for the first mutation of a provider; all others find next to nothing
// new. What it cannot finish at once (locations that have to be read, errors,
// slow processors) takes the usual way: it is stored, becomes due, and is
// processed as if nothing had been tried.
type earlyRun struct {
	e     *Engine
	ctx   context.Context // of the mutation
	seen  int             // entities
	took  time.Duration   // for them
	tired bool            // the processors are too slow
}

const (
	// patience is how long the processors may take for a window of entities at
	// most, and pace how long for one on average once that is over: much more
	// than those need that wait for nothing.
	patience = 3 * time.Second
	pace     = 2 * time.Millisecond
)

// early returns what processes the entities of the provider ahead; nil if
// nothing does.
func (e *Engine) early(ctx context.Context, provider string) (*earlyRun, error) {
	if e.c.Interval <= 0 {
		return nil, nil // this instance processes nothing
	}
	first, err := e.c.Store.HasNothingOf(ctx, provider)
	if err != nil || !first {
		return nil, err
	}
	return &earlyRun{e: e, ctx: ctx}, nil
}

// window returns what processes an entity of the next window, and what has to
// be called behind the last one.
func (r *earlyRun) window(entities int) (process func(*store.Deferred, catalogcommon.Entity), end func()) {
	if r == nil || r.tired {
		return func(*store.Deferred, catalogcommon.Entity) {}, func() {}
	}
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	began := time.Now()
	return func(d *store.Deferred, entity catalogcommon.Entity) {
			if ctx.Err() == nil {
				d.Ready = r.e.makeReady(ctx, *d, entity)
			}
		}, func() {
			r.seen += entities
			r.took += time.Since(began)
			r.tired = ctx.Err() != nil || r.took > patience+time.Duration(r.seen)*pace
			cancel()
		}
}

// makeReady processes an entity, which it changes; it returns nil if the result
// is not final.
func (e *Engine) makeReady(ctx context.Context, d store.Deferred, entity catalogcommon.Entity) *store.Ready {
	// Nobody should wait for sources here, nor read them twice. What begins
	// with $ may be a placeholder.
	if strings.Contains(d.Body, `"$`) || e.c.Orchestrator.depends(entity) {
		return nil
	}
	start := time.Now()
	result := store.Result{Work: store.Work{UID: e.c.Store.NewUID(), Ref: d.Ref, Lane: store.LaneNew, Unprocessed: d.Body, Hash: d.Hash, LocationKey: d.LocationKey}}
	outcome := e.c.Orchestrator.Process(ctx, entity, nil)
	if !outcome.OK || outcome.Volatile || len(outcome.Deferred) > 0 {
		return nil
	}
	result.OK = true
	e.fill(&result, outcome)
	result.Hash = hash(&result)
	ready, err := e.c.Store.MakeReady(ctx, result)
	if err != nil || ready == nil {
		return nil // the usual way tells what is wrong, if that lasts
	}
	e.report(ctx, result.Work, entity, outcome, result, start)
	return ready
}
