// Package engine makes final entities of what is handed in: it runs the
// processors, keeps what they found, and serves the providers.
//
//	e := engine.New(engine.Config{Store: s, Processors: ps, …})
//	err := e.Connect(ctx, providers)   // providers may now hand entities in
//	lifecycle.Go("processing", e.Run)  // until the plugin stops
package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/flytower/flytower/apierr"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Rules decide which kinds may come from where.
type Rules interface {
	Allowed(entity catalogcommon.Entity, origin catalogcommon.LocationRef) bool
}

// Orchestrator runs one entity through the processors. It keeps nothing.
type Orchestrator struct {
	Processors []catalognode.Processor
	Policy     catalogcommon.Policy
	Rules      Rules
	// LocationTypes are the types that Location entities may point to besides
	// their own.
	LocationTypes []string
	// ResolveURL resolves the relative targets of Location entities.
	ResolveURL func(ref, base string) (string, error)
	// Guard runs a processor so that a panic becomes an error.
	Guard func(ctx context.Context, what string, fn func(context.Context) error) error
	// Observe, if not nil, is told how long a processor took.
	Observe func(ctx context.Context, processor string, took time.Duration, err error)
	// Tracer, if not nil, gets spans of runs, stages and steps.
	Tracer trace.Tracer
}

// Deferred is an entity that processing another one led to.
type Deferred struct {
	Entity      catalogcommon.Entity
	LocationKey string
	// Document and Line are those of [catalognode.EmitOptions].
	Document, Line int
	Order          catalogcommon.KeyOrder
}

// Outcome is what processing an entity found.
type Outcome struct {
	// OK is false if anything went wrong. Then only Errors and Keys count.
	OK        bool
	Entity    catalogcommon.Entity
	Errors    []error
	Deferred  []Deferred
	Relations []catalogcommon.Relation
	Keys      []string
	Cache     cacheState
	// orders are those of the keys of what processors brought in.
	orders []keyOrder
	// Volatile says that the outcome may be another one tomorrow.
	Volatile bool
}

// Text returns the text of the entity that was processed, with its keys in the
// order in which they were handed in.
func (o Outcome) Text(order catalogcommon.KeyOrder) string {
	for _, at := range o.orders {
		order = order.At(at.path, at.order)
	}
	text, _ := o.Entity.TextIn(order)
	return text
}

// Process runs the stages of processing.
func (o *Orchestrator) Process(ctx context.Context, entity catalogcommon.Entity, cache cacheState) Outcome {
	r := &run{o: o, emitted: &collector{}, cache: newCache(cache)}
	var final catalogcommon.Entity
	err := inSpan(ctx, o.Tracer, "ProcessingRun", func() []attribute.KeyValue { return entityAttributes(entity) }, func(ctx context.Context) (err error) {
		final, err = r.stages(ctx, entity)
		return err
	})
	found := r.emitted.close()
	out := Outcome{
		Entity: final, Errors: found.errors, Deferred: found.deferred, Relations: found.relations, Keys: found.keys, orders: found.orders,
		Cache: r.cache.state(), Volatile: r.volatile || len(found.keys) > 0,
	}
	if err != nil {
		out.Errors = append(out.Errors, err)
	}
	if out.OK = len(out.Errors) == 0; !out.OK {
		out.Volatile = true
	}
	return out
}

// depends reports whether processing the entity is known to look at more than
// the entity.
func (o *Orchestrator) depends(entity catalogcommon.Entity) bool {
	return entity.Kind() == "Location" || slices.ContainsFunc(o.Processors, func(p catalognode.Processor) bool {
		v, ok := p.(catalognode.Volatile)
		return ok && v.Depends(entity)
	})
}

type run struct {
	o                *Orchestrator
	emitted          *collector
	cache            *cache
	ref              catalogcommon.Ref
	location, origin catalogcommon.LocationRef
	volatile         bool
	stage            string // that runs, for spans
}

func (r *run) stages(ctx context.Context, entity catalogcommon.Entity) (catalogcommon.Entity, error) {
	if err := catalogcommon.ValidateEnvelope(entity); err != nil {
		return nil, apierr.Wrap(apierr.KindInput, err, "Entity envelope failed validation before processing")
	}
	r.ref = entity.Ref()
	r.emitted.ref = r.ref
	var err error
	if r.location, err = entity.Location(); err != nil {
		return nil, err
	}
	if r.origin, err = entity.OriginLocation(); err != nil {
		return nil, err
	}
	r.emitted.location, r.emitted.origin = r.location, r.origin
	if err := r.inStage(ctx, "preProcessEntity", entity, func(ctx context.Context) (err error) {
		entity, err = r.preProcess(ctx, entity)
		return err
	}); err != nil {
		return nil, err
	}
	if err := r.inStage(ctx, "enforcePolicy", entity, func(context.Context) error { return r.o.Policy(entity) }); err != nil {
		return nil, apierr.Wrap(apierr.KindInput, err, "Policy check failed for "+r.ref.String())
	}
	if err := r.inStage(ctx, "validateEntityKind", entity, func(ctx context.Context) error { return r.validate(ctx, entity) }); err != nil {
		return nil, err
	}
	if entity.Kind() == "Location" {
		r.volatile = true
		if err := r.inStage(ctx, "readLocation", entity, func(ctx context.Context) error { return r.readLocations(ctx, entity) }); err != nil {
			return nil, err
		}
	}
	if err := r.inStage(ctx, "postProcessEntity", entity, func(ctx context.Context) (err error) {
		entity, err = r.postProcess(ctx, entity)
		return err
	}); err != nil {
		return nil, err
	}
	r.checkRules()
	return entity, nil
}

// checkRules tells all entities that the rules do not allow: one of them is
// enough to refuse the others of the file, and who mends it should not have to
// find one after the other.
func (r *run) checkRules() {
	for _, d := range r.emitted.snapshot() {
		if r.o.Rules.Allowed(d.Entity, r.origin) {
			continue
		}
		location, _ := d.Entity.Location() // the emitter set it
		err := apierr.NotAllowed("Entity %s at %s, originated at %s, is not of an allowed kind for that location; allow the kind in catalog.rules, or in the rules of the location",
			d.Entity.Ref(), location, r.origin)
		err.Fields = place(location.String(), d.Document, d.Line)
		r.emitted.Error(location, err)
	}
}

func (r *run) step(p catalognode.Processor) catalognode.Step {
	return catalognode.Step{Location: r.location, Origin: r.origin, Emit: r.emitted, Cache: r.cache.of(p.ProcessorName())}
}

// call runs a method of a processor.
func (r *run) call(ctx context.Context, p catalognode.Processor, doing string, fn func(context.Context) error) error {
	start := time.Now()
	err := r.inStep(ctx, p.ProcessorName(), func(ctx context.Context) error { return r.o.Guard(ctx, "processor "+p.ProcessorName(), fn) })
	if r.o.Observe != nil {
		r.o.Observe(ctx, p.ProcessorName(), time.Since(start), err)
	}
	if err != nil {
		return apierr.Wrap(apierr.KindInput, err, fmt.Sprintf("Processor %s threw an error while %s", p.ProcessorName(), doing))
	}
	return nil
}

func (r *run) preProcess(ctx context.Context, entity catalogcommon.Entity) (catalogcommon.Entity, error) {
	for _, p := range r.o.Processors {
		if v, ok := p.(catalognode.Volatile); ok && v.Depends(entity) {
			r.volatile = true
		}
		pre, ok := p.(catalognode.PreProcessor)
		if !ok {
			continue
		}
		err := r.call(ctx, p, "preprocessing", func(ctx context.Context) (err error) {
			entity, err = pre.PreProcess(ctx, entity, r.step(p))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return entity, nil
}

func (r *run) postProcess(ctx context.Context, entity catalogcommon.Entity) (catalogcommon.Entity, error) {
	for _, p := range r.o.Processors {
		post, ok := p.(catalognode.PostProcessor)
		if !ok {
			continue
		}
		err := r.call(ctx, p, "postprocessing", func(ctx context.Context) (err error) {
			entity, err = post.PostProcess(ctx, entity, r.step(p))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return entity, nil
}

func (r *run) validate(ctx context.Context, entity catalogcommon.Entity) error {
	if now := entity.Ref(); !now.Equal(r.ref) {
		return apierr.Conflict("Fatal: The entity kind, namespace, or name changed during processing, from %s to %s", r.ref, now)
	}
	if err := catalogcommon.ValidateEntity(entity); err != nil {
		return apierr.Wrap(apierr.KindConflict, err, "Entity envelope for "+r.ref.String()+" failed validation after preprocessing")
	}
	known := false
	for _, p := range r.o.Processors {
		validator, ok := p.(catalognode.KindValidator)
		if !ok {
			continue
		}
		err := r.call(ctx, p, "validating the entity "+r.ref.String(), func(ctx context.Context) error {
			mine, err := validator.ValidateKind(ctx, entity)
			known = known || mine
			return err
		})
		if err != nil {
			return err
		}
	}
	if !known {
		return apierr.Input("No processor recognized the entity %s as valid, possibly caused by a foreign kind or apiVersion", r.ref)
	}
	return nil
}

// readLocations reads what a Location entity points to.
func (r *run) readLocations(ctx context.Context, entity catalogcommon.Entity) error {
	typ := entity.SpecString("type")
	if typ == "" {
		typ = r.location.Type
	}
	if typ != r.location.Type && !slices.Contains(r.o.LocationTypes, typ) {
		allowed, _ := json.Marshal(r.o.LocationTypes)
		r.emitted.Error(r.location, apierr.Input("Registered locations must be of an allowed type %s", allowed))
		return nil
	}
	optional := entity.SpecString("presence") == "optional"
	var targets []string
	if t := entity.SpecString("target"); t != "" {
		targets = append(targets, t)
	}
	targets = append(targets, entity.SpecStrings("targets")...)
	for _, target := range targets {
		if typ == "file" && (strings.HasSuffix(target, "/") || strings.HasSuffix(target, string(filepath.Separator))) {
			return apierr.Input("file type location %s is a directory; name a file, or add a pattern such as *.yaml", target)
		}
		if typ == r.location.Type {
			resolved, err := r.resolve(typ, target)
			if err != nil {
				return apierr.Input("could not resolve the target %q of %s against %s: %w", target, r.ref, r.location, err)
			}
			target = resolved
		}
		if err := r.readLocation(ctx, catalogcommon.LocationRef{Type: typ, Target: target}, optional); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) resolve(typ, target string) (string, error) {
	switch typ {
	case "file":
		if !strings.HasPrefix(target, ".") {
			return target, nil
		}
		return filepath.Join(filepath.Dir(r.location.Target), filepath.FromSlash(target)), nil
	case "url":
		return r.o.ResolveURL(target, r.location.Target)
	default:
		return target, nil
	}
}

func (r *run) readLocation(ctx context.Context, location catalogcommon.LocationRef, optional bool) error {
	for _, p := range r.o.Processors {
		reader, ok := p.(catalognode.LocationReader)
		if !ok {
			continue
		}
		handled := false
		step := r.step(p)
		step.Cache = step.Cache.Sub(location.Target)
		err := r.call(ctx, p, fmt.Sprintf("reading %s", location), func(ctx context.Context) (err error) {
			handled, err = reader.ReadLocation(ctx, location, optional, step)
			return err
		})
		if err != nil {
			return located{err, location.String()}
		}
		if handled {
			return nil
		}
	}
	return apierr.Input("No processor was able to handle reading of %s", location)
}
