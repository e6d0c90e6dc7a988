package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Config makes an engine.
type Config struct {
	Store        *store.Store
	Orchestrator *Orchestrator
	Logger       *slog.Logger
	// Woken receives when there may be work; see [store.Options].
	Woken <-chan struct{}
	// Workers is how many entities are processed at a time; 0 is 16, since
	// most of them wait for sources.
	Workers int
	// Interval is how long after its processing a volatile entity is processed
	// again, at random up to half as long again. It must be positive.
	Interval time.Duration
	// Fingerprint names the set of processors and the configuration that they
	// see; when it changes, everything is processed again.
	Fingerprint string
	// OnErrors and OnConflict, if not nil, are told what went wrong. news says
	// that it was something else the last time.
	OnErrors   func(ctx context.Context, e catalognode.ProcessingError, location string, news bool)
	OnConflict func(ctx context.Context, c store.Conflict)
	// Observe, if not nil, is told about each processed entity: unchanged,
	// errors, changed or failed.
	Observe func(ctx context.Context, result string, took, waited time.Duration)
	// OnStitched, if not nil, is told about final forms that were built, and
	// how long that took; 0 where it was a part of storing what was processed.
	OnStitched func(ctx context.Context, done store.Stitched, took time.Duration, err error)
}

// Engine processes what is due.
type Engine struct{ c Config }

// New returns an engine.
func New(c Config) *Engine {
	if c.Workers == 0 {
		c.Workers = 16
	}
	return &Engine{c}
}

const (
	// lease is how long a claim lasts without renewal: the time after which
	// the work of a killed instance is taken over.
	lease = 20 * time.Second
	// renewal is how often claims are renewed.
	renewal = 5 * time.Second
	// retry is how soon what failed for the first time is tried again.
	retry = 5 * time.Second
	// poll is how often work is looked for that nobody announced.
	poll = time.Second
	// batch bounds how many entities are claimed, and saved, at a time.
	batch = 100
	// giveBack bounds how long stopping may take to return claims.
	giveBack = 5 * time.Second
)

// Run processes until the context ends, then gives back what it claimed.
func (e *Engine) Run(ctx context.Context) error {
	changed, err := e.c.Store.Fingerprint(ctx, e.c.Fingerprint, e.c.Interval)
	if err != nil {
		return fmt.Errorf("catalog engine: %w", err)
	}
	if changed {
		e.c.Logger.InfoContext(ctx, "processors or their configuration changed: all entities will be processed again", "within", e.c.Interval)
	}
	p := &pipeline{e: e, work: make(chan store.Work, batch), results: make(chan store.Result, batch), inFlight: map[int64]bool{}}
	var workers, rest sync.WaitGroup
	for range e.c.Workers {
		workers.Go(func() {
			for w := range p.work {
				p.results <- e.process(ctx, w)
			}
		})
	}
	rest.Go(func() { p.save(ctx) })
	rest.Go(func() { p.renew(ctx) })
	rest.Go(func() { e.stitch(ctx) })
	p.claim(ctx)
	close(p.work)
	workers.Wait()
	close(p.results)
	rest.Wait()
	return p.release()
}

// pipeline is the claimed work on its way.
type pipeline struct {
	e       *Engine
	work    chan store.Work
	results chan store.Result

	mu       sync.Mutex
	inFlight map[int64]bool
}

func (p *pipeline) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.inFlight)
}

func (p *pipeline) ids() []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]int64, 0, len(p.inFlight))
	for id := range p.inFlight {
		ids = append(ids, id)
	}
	return ids
}

// claim takes work while there is room, until the context ends.
func (p *pipeline) claim(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.e.c.Woken:
		}
		wait := poll
		for ctx.Err() == nil {
			room := batch - p.count()
			if room < batch/2 {
				wait = 10 * time.Millisecond // results are on their way
				break
			}
			work, err := p.e.c.Store.Claim(ctx, room, lease)
			if err != nil {
				if ctx.Err() == nil {
					p.e.c.Logger.WarnContext(ctx, "claiming entities to process failed; trying again", "error", err)
				}
				break
			}
			if len(work) == 0 {
				break
			}
			p.e.claimed(ctx, len(work))
			for _, w := range p.admit(work) {
				p.work <- w // has room for a batch
			}
		}
		timer.Reset(wait)
	}
}

// admit notes what was claimed. What is in flight already, since its claim ran
// out before it could be renewed, goes on as it is.
func (p *pipeline) admit(work []store.Work) []store.Work {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(work, func(w store.Work) bool {
		flying := p.inFlight[w.ID]
		p.inFlight[w.ID] = true
		return flying
	})
}

// renew keeps the claims of work in flight.
func (p *pipeline) renew(ctx context.Context) {
	ticker := time.NewTicker(renewal)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if ids := p.ids(); len(ids) > 0 {
				if err := p.e.c.Store.Renew(ctx, ids, lease); err != nil && ctx.Err() == nil {
					p.e.c.Logger.WarnContext(ctx, "renewing the claims of entities in processing failed", "error", err)
				}
			}
		}
	}
}

// save writes results, as many at a time as have come in.
func (p *pipeline) save(ctx context.Context) {
	for r := range p.results {
		rs := []store.Result{r}
	more:
		for len(rs) < batch {
			select {
			case r, ok := <-p.results:
				if !ok {
					break more
				}
				rs = append(rs, r)
			default:
				break more
			}
		}
		if ctx.Err() != nil {
			continue // what was interrupted is no result; release gives it back
		}
		p.saveBatch(ctx, rs)
	}
}

func (p *pipeline) saveBatch(ctx context.Context, rs []store.Result) {
	saved, err := p.e.c.Store.Save(ctx, rs)
	switch {
	case err != nil && len(rs) > 1:
		// One bad result must not hold up the others.
		for i := range rs {
			p.saveBatch(ctx, rs[i:i+1])
		}
		return
	case err != nil:
		if ctx.Err() == nil {
			if p.e.c.Observe != nil {
				p.e.c.Observe(ctx, "failed", 0, rs[0].Work.Waited)
			}
			p.e.c.Logger.ErrorContext(ctx, "storing a processed entity failed; it will be tried again", "entity", rs[0].Work.Ref, "error", err)
		}
		if err := p.e.c.Store.Postpone(context.WithoutCancel(ctx), rs[0].Work.ID, renewal); err != nil {
			p.e.c.Logger.WarnContext(ctx, "postponing an entity failed", "entity", rs[0].Work.Ref, "error", err)
		}
	}
	p.e.stitched(ctx, saved.Stitched, 0, nil)
	p.mu.Lock()
	for _, r := range rs {
		delete(p.inFlight, r.Work.ID)
	}
	p.mu.Unlock()
	for _, c := range saved.Conflicts {
		p.e.c.Logger.WarnContext(ctx, "an entity is claimed from two places; the first stays", "entity", c.Ref, "holder", c.Holder, "refused", c.Wanted)
		if p.e.c.OnConflict != nil {
			p.e.c.OnConflict(ctx, c)
		}
	}
}

// release gives back what was claimed and not settled.
func (p *pipeline) release() error {
	ids := p.ids()
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), giveBack)
	defer cancel()
	if err := p.e.c.Store.Release(ctx, ids); err != nil {
		return fmt.Errorf("giving back %d claimed entities: %w", len(ids), err)
	}
	return nil
}

// stitch builds final forms that are marked, until the context ends.
func (e *Engine) stitch(ctx context.Context) {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for ctx.Err() == nil {
			began := time.Now()
			n, done, err := e.c.Store.Stitch(ctx, batch)
			e.stitched(ctx, done, time.Since(began), err)
			if err != nil && ctx.Err() == nil {
				e.c.Logger.WarnContext(ctx, "building final entities failed; trying again", "error", err)
			}
			if err != nil || n == 0 {
				break
			}
		}
	}
}

// process runs the processors for an entity that is due.
func (e *Engine) process(ctx context.Context, w store.Work) store.Result {
	start := time.Now()
	result := store.Result{Work: w, Cache: w.Cache}
	var outcome Outcome
	entity, err := catalogcommon.ParseEntity([]byte(w.Unprocessed))
	if err != nil {
		outcome = Outcome{Errors: []error{err}, Volatile: true}
	} else {
		outcome = e.c.Orchestrator.Process(ctx, entity, decodeCache(w.Cache))
	}
	result.OK = outcome.OK
	result.Errors = serialize(outcome.Errors)
	if outcome.OK {
		e.fill(&result, outcome)
	}
	result.Hash = hash(result)
	switch {
	case !outcome.OK && result.Hash != w.ResultHash && retry < e.c.Interval:
		// What fails for the first time may be a source that is about to come
		// up; what fails the same way again waits like the rest.
		result.Next = time.Now().Add(retry + rand.N(retry/2+1))
	case outcome.Volatile:
		result.Next = time.Now().Add(e.c.Interval + rand.N(e.c.Interval/2+1))
	}
	if ctx.Err() == nil {
		e.report(ctx, w, entity, outcome, result, start)
	}
	return result
}

func (e *Engine) fill(result *store.Result, outcome Outcome) {
	outcome.Entity.SetMetadata("uid", result.Work.UID)
	result.Processed = string(outcome.Entity.AppendJSON(nil))
	result.Relations, result.Keys = outcome.Relations, outcome.Keys
	for _, d := range outcome.Deferred {
		sd, err := prepare(d.Entity, d.LocationKey)
		if err != nil {
			continue // emitters checked the envelope, so it has a ref
		}
		result.Deferred = append(result.Deferred, sd)
	}
	result.Cache = ""
	if len(outcome.Cache) > 0 {
		if raw, err := json.Marshal(outcome.Cache); err == nil { // it holds JSON texts
			result.Cache = string(raw)
		}
	}
}

func (e *Engine) report(ctx context.Context, w store.Work, entity catalogcommon.Entity, outcome Outcome, result store.Result, start time.Time) {
	what := "changed"
	switch {
	case result.Hash == w.ResultHash:
		what = "unchanged"
	case !outcome.OK:
		what = "errors"
	}
	if e.c.Observe != nil {
		e.c.Observe(ctx, what, time.Since(start), w.Waited)
	}
	if len(outcome.Errors) > 0 && e.c.OnErrors != nil {
		e.c.OnErrors(ctx, catalognode.ProcessingError{EntityRef: w.Ref, Unprocessed: entity, Errors: outcome.Errors},
			entity.Annotation(catalogcommon.AnnotationLocation), result.Hash != w.ResultHash)
	}
}

func decodeCache(text string) cacheState {
	var state cacheState
	if text != "" {
		_ = json.Unmarshal([]byte(text), &state) // what cannot be read is not there
	}
	return state
}

func serialize(errs []error) string {
	if len(errs) == 0 {
		return ""
	}
	list := make([]map[string]any, len(errs))
	for i, err := range errs {
		list[i] = apierr.Serialize(err)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return `[{"name":"Error","message":"an error that cannot be written as JSON"}]`
	}
	return string(raw)
}

// hash covers all that a result says.
func hash(r store.Result) string {
	var b strings.Builder
	b.WriteString(r.Errors)
	if r.OK {
		b.WriteString(r.Processed)
		for _, part := range [][]string{deferredLines(r.Deferred), relationLines(r.Relations), slices.Clone(r.Keys)} {
			slices.Sort(part)
			b.WriteByte(0)
			b.WriteString(strings.Join(slices.Compact(part), "\n"))
		}
	}
	return catalogcommon.HashJSON([]byte(b.String()))
}

func deferredLines(ds []store.Deferred) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = d.Ref + " " + d.Hash + " " + d.LocationKey
	}
	return out
}

func relationLines(rs []catalogcommon.Relation) []string {
	out := make([]string, len(rs))
	for i, r := range rs {
		out[i] = r.Source.String() + " " + r.Type + " " + r.Target.String()
	}
	return out
}

// prepare checks an entity that is handed in, and brings it into the form in
// which it is kept.
func prepare(entity catalogcommon.Entity, locationKey string) (store.Deferred, error) {
	normal, err := catalogcommon.NormalizeEntity(entity)
	if err != nil {
		return store.Deferred{}, err
	}
	if err := catalogcommon.ValidateEnvelope(normal); err != nil {
		return store.Deferred{}, apierr.Input("Malformed entity envelope, %w", err)
	}
	body := normal.AppendJSON(nil)
	return store.Deferred{Ref: normal.Ref().String(), Body: string(body), Hash: catalogcommon.HashJSON(body), LocationKey: locationKey}, nil
}

// Connect connects the providers, all at the same time, and takes back what
// providers handed in that are there no longer, unless keep is set.
func (e *Engine) Connect(ctx context.Context, providers []catalognode.EntityProvider, keep bool) error {
	names := make([]string, len(providers))
	errs := make([]error, len(providers))
	var wg sync.WaitGroup
	for i, p := range providers {
		names[i] = p.ProviderName()
		wg.Go(func() {
			err := e.c.Orchestrator.Guard(ctx, "entity provider "+names[i], func(ctx context.Context) error {
				return p.Connect(ctx, connection{e, names[i]})
			})
			if err != nil {
				errs[i] = fmt.Errorf("connecting entity provider %q: %w", names[i], err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || keep {
		return err
	}
	return e.evict(ctx, names)
}

func (e *Engine) evict(ctx context.Context, names []string) error {
	known, err := e.c.Store.Providers(ctx)
	if err != nil {
		return err
	}
	for _, name := range known {
		if slices.Contains(names, name) {
			continue
		}
		e.c.Logger.WarnContext(ctx, "an entity provider is not installed any more: its entities are removed; set catalog.orphanProviderStrategy to keep if another instance has it", "provider", name)
		if _, err := e.c.Store.ApplyFull(ctx, name, func(func(store.Deferred, error) bool) {}); err != nil {
			return err
		}
	}
	return nil
}

// connection is the way of one provider into the catalog.
type connection struct {
	e    *Engine
	name string
}

func (c connection) ApplyFull(ctx context.Context, entities iter.Seq2[catalognode.DeferredEntity, error]) (catalognode.MutationReport, error) {
	r, err := c.e.c.Store.ApplyFull(ctx, c.name, func(yield func(store.Deferred, error) bool) {
		for d, err := range entities {
			var sd store.Deferred
			if err == nil {
				sd, err = prepare(d.Entity, d.LocationKey)
			}
			if !yield(sd, err) || err != nil {
				return
			}
		}
	})
	return c.report(ctx, r), err
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
		sd, err := prepare(a.Entity, a.LocationKey)
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
	return catalognode.MutationReport{Seen: r.Seen, Added: r.Added, Changed: r.Changed, Removed: r.Removed, Conflicts: len(r.Conflicts)}
}

// Refresh implements the refresh of an entity by its ref.
func (e *Engine) Refresh(ctx context.Context, ref string) error {
	if _, err := catalogcommon.ParseRef(ref, catalogcommon.RefDefaults{}); err != nil {
		return err
	}
	found, err := e.c.Store.Refresh(ctx, ref)
	if err != nil {
		return err
	}
	if !found {
		return apierr.NotFound("Entity %s not found", ref)
	}
	return nil
}

// Delete removes the entity with the uid.
func (e *Engine) Delete(ctx context.Context, uid string) error {
	_, err := e.c.Store.Delete(ctx, uid)
	return err
}

// Validate processes an entity as if it had been read at the location.
func (e *Engine) Validate(ctx context.Context, entity catalogcommon.Entity, location catalogcommon.LocationRef) []error {
	entity = entity.Clone()
	for _, name := range []string{catalogcommon.AnnotationLocation, catalogcommon.AnnotationOriginLocation} {
		if _, ok := entity.LookupAnnotation(name); !ok {
			entity.SetAnnotation(name, location.String())
		}
	}
	return e.c.Orchestrator.Process(ctx, entity, nil).Errors
}

// maxDryRun bounds how many entities a dry run follows.
const maxDryRun = 10_000

// DryRun processes the entity and everything that it leads to, and returns
// the processed entities.
func (e *Engine) DryRun(ctx context.Context, root catalogcommon.Entity) ([]catalogcommon.Entity, error) {
	var out []catalogcommon.Entity
	var problems []string
	seen := map[string]bool{}
	for stack := []catalogcommon.Entity{root}; len(stack) > 0; {
		entity := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		ref := entity.Ref().String()
		if seen[ref] {
			return nil, apierr.Input("Duplicate nested entity: %s", ref)
		}
		if seen[ref] = true; len(seen) > maxDryRun {
			return nil, apierr.Input("the location leads to more than %d entities, which a dry run does not follow", maxDryRun)
		}
		outcome := e.c.Orchestrator.Process(ctx, entity.Clone(), nil)
		for _, err := range outcome.Errors {
			problems = append(problems, fmt.Sprintf("%s: %s", apierr.KindOf(err), err))
		}
		if outcome.OK {
			out = append(out, outcome.Entity)
			for _, d := range outcome.Deferred {
				stack = append(stack, d.Entity)
			}
		}
	}
	if len(problems) > 0 {
		return nil, apierr.Input("%s", strings.Join(problems, ", "))
	}
	return out, nil
}
