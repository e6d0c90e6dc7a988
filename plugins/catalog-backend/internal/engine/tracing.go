package engine

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// inSpan runs fn in a span, whose attributes are made only if it is recorded.
// Without a tracer it costs nothing.
func inSpan(ctx context.Context, tracer trace.Tracer, name string, attributes func() []attribute.KeyValue, fn func(context.Context) error) error {
	if tracer == nil {
		return fn(ctx)
	}
	return core.InSpan(ctx, tracer, name, func(ctx context.Context) error {
		if span := trace.SpanFromContext(ctx); span.IsRecording() {
			span.SetAttributes(attributes()...)
		}
		return fn(ctx)
	})
}

func entityAttributes(e catalogcommon.Entity) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("backstage.entity.apiVersion", e.APIVersion()),
		attribute.String("backstage.entity.kind", e.Kind()),
		attribute.String("backstage.entity.metadata.namespace", e.Namespace()),
		attribute.String("backstage.entity.metadata.name", e.Name()),
	}
}

// inStage runs a stage of processing in a span.
func (r *run) inStage(ctx context.Context, stage string, e catalogcommon.Entity, fn func(context.Context) error) error {
	r.stage = stage
	return inSpan(ctx, r.o.Tracer, "ProcessingStage", func() []attribute.KeyValue {
		return append(entityAttributes(e), attribute.String("backstage.catalog.processor.stage", stage))
	}, fn)
}

// inStep runs a step of a processor in a span.
func (r *run) inStep(ctx context.Context, processor string, fn func(context.Context) error) error {
	return inSpan(ctx, r.o.Tracer, "ProcessingStep", func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.String("backstage.entity.kind", r.ref.Kind),
			attribute.String("backstage.entity.metadata.namespace", r.ref.Namespace),
			attribute.String("backstage.entity.metadata.name", r.ref.Name),
			attribute.String("backstage.catalog.processor.stage", r.stage),
			attribute.String("backstage.catalog.processor.name", processor),
		}
	}, fn)
}

// claimed notes in a span how much work was taken.
func (e *Engine) claimed(ctx context.Context, items int) {
	_ = inSpan(ctx, e.c.Orchestrator.Tracer, "TaskPipelineLoop",
		func() []attribute.KeyValue { return []attribute.KeyValue{attribute.Int("itemCount", items)} },
		func(context.Context) error { return nil })
}

// stitched reports final forms that were built, or the failure to. took is 0
// where they were built in the transaction that stored what they are made of.
func (e *Engine) stitched(ctx context.Context, done store.Stitched, took time.Duration, err error) {
	if e.c.OnStitched != nil && (err != nil || done.Changed+done.Unchanged > 0) && ctx.Err() == nil {
		e.c.OnStitched(ctx, done, took, err)
	}
}
