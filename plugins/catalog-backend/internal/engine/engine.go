package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	// Limits are those of full mutations, by the name of the provider.
	// OnRefused, if not nil, is told about mutations that they refused.
	Limits    map[string]store.Limits
	OnRefused func(ctx context.Context, provider string)
}

// Engine processes what is due.
type Engine struct {
	c Config
	// mutations is how many full mutations are under way, lastWork when there
	// was something to do for the last time, in nanoseconds since 1970.
	mutations, lastWork atomic.Int64
}

// New returns an engine.
func New(c Config) *Engine {
	if c.Workers == 0 {
		c.Workers = 16
	}
	return &Engine{c: c}
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
	result.Errors = serialize(outcome.Errors, func() map[string]any { return e.place(ctx, w, entity) })
	if outcome.OK {
		e.fill(&result, outcome)
	}
	result.Hash = hash(&result)
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
	result.Processed = outcome.Text(catalogcommon.KeyOrder(result.Work.Unprocessed))
	result.Entity = outcome.Entity
	result.Relations, result.Keys = outcome.Relations, outcome.Keys
	for _, d := range outcome.Deferred {
		sd, err := prepare(catalognode.DeferredEntity{Entity: d.Entity, LocationKey: d.LocationKey, Order: d.Order})
		if err != nil {
			continue // emitters checked the envelope, so it has a ref
		}
		sd.Document, sd.Line = d.Document, d.Line
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

// place returns where an entity was read.
func (e *Engine) place(ctx context.Context, w store.Work, entity catalogcommon.Entity) map[string]any {
	location := entity.Annotation(catalogcommon.AnnotationLocation)
	if location == "" {
		return nil
	}
	document, line, err := e.c.Store.Place(ctx, w.ID)
	if err != nil && ctx.Err() == nil {
		e.c.Logger.WarnContext(ctx, "where an entity was read could not be looked up", "entity", w.Ref, "error", err)
	}
	return place(location, document, line)
}

// maxErrors is how many errors of an entity are kept.
const maxErrors = 200

// serialize returns the errors of an entity as JSON, with the place of the
// entity where they name no other one.
func serialize(errs []error, place func() map[string]any) string {
	if len(errs) == 0 {
		return ""
	}
	own := place()
	list := make([]map[string]any, 0, min(len(errs), maxErrors))
	for _, err := range errs {
		if len(list) == maxErrors {
			list = append(list, map[string]any{"name": "Error", "message": fmt.Sprintf("%d more errors are not shown", len(errs)-maxErrors)})
			break
		}
		text := Describe(err)
		if at := text["location"]; at == nil || at == own["location"] && text["document"] == nil {
			maps.Copy(text, own)
		}
		list = append(list, text)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return `[{"name":"Error","message":"an error that cannot be written as JSON"}]`
	}
	return string(raw)
}

// hash covers all that a result says.
func hash(r *store.Result) string {
	buffer := hashBuffers.Get().(*[]byte)
	defer hashBuffers.Put(buffer)
	text := append((*buffer)[:0], r.Errors...)
	defer func() {
		if cap(text) <= 1<<20 { // let the collector have the rare huge one
			*buffer = text
		}
	}()
	if r.OK {
		text = append(text, r.Processed...)
		for _, part := range [][]string{deferredLines(r.Deferred), r.RelationLines(), slices.Clone(r.Keys)} {
			slices.Sort(part)
			text = append(text, 0)
			for i, line := range slices.Compact(part) {
				if i > 0 {
					text = append(text, '\n')
				}
				text = append(text, line...)
			}
		}
	}
	return catalogcommon.HashJSON(text)
}

var hashBuffers = sync.Pool{New: func() any { return new([]byte) }}

func deferredLines(ds []store.Deferred) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = fmt.Sprint(d.Ref, " ", d.Hash, " ", d.LocationKey, " ", d.Document, " ", d.Line)
	}
	return out
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

// Refresh implements the refresh of an entity by its ref.
func (e *Engine) Refresh(ctx context.Context, ref string) error {
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
// the texts of the processed entities.
func (e *Engine) DryRun(ctx context.Context, root catalogcommon.Entity) ([]json.RawMessage, error) {
	out := []json.RawMessage{}
	var problems []string
	seen := map[string]bool{}
	for stack := []Deferred{{Entity: root}}; len(stack) > 0; {
		next := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		ref := next.Entity.Ref().String()
		if seen[ref] {
			return nil, apierr.Input("Duplicate nested entity: %s", ref)
		}
		if seen[ref] = true; len(seen) > maxDryRun {
			return nil, apierr.Input("the location leads to more than %d entities, which a dry run does not follow", maxDryRun)
		}
		outcome := e.c.Orchestrator.Process(ctx, next.Entity.Clone(), nil)
		for _, err := range outcome.Errors {
			problems = append(problems, fmt.Sprintf("%s: %s", apierr.KindOf(err), err))
		}
		if outcome.OK {
			out = append(out, json.RawMessage(outcome.Text(next.Order)))
			stack = append(stack, outcome.Deferred...)
		}
	}
	if len(problems) > 0 {
		return nil, apierr.Input("%s", strings.Join(problems, ", "))
	}
	return out, nil
}
