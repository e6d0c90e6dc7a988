package telemetry_test

import (
	"context"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// keeper keeps the names of spans and of the services that they come from.
type keeper struct{ names []string }

func (k *keeper) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	for _, s := range spans {
		service, _ := s.Resource().Set().Value("service.name")
		k.names = append(k.names, s.Name()+" of "+service.AsString())
	}
	return nil
}

func (*keeper) Shutdown(context.Context) error { return nil }
