package tracing_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/tracing"
	"github.com/flytower/flytower/internal/configtest"
)

func spans(t *testing.T, config string, run func(ctx context.Context, in func(ctx context.Context, fn func(context.Context) error) error)) tracetest.SpanStubs {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	tracer, err := tracing.New("things", configtest.FromYAML(t, config), provider)
	if err != nil {
		t.Fatal(err)
	}
	run(t.Context(), func(ctx context.Context, fn func(context.Context) error) error {
		return core.InSpan(ctx, tracer, "work", fn)
	})
	return exporter.GetSpans()
}

func attributes(s tracetest.SpanStub) map[string]string {
	out := map[string]string{}
	for _, a := range s.Attributes {
		out[string(a.Key)] = a.Value.String()
	}
	return out
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	jane := core.UserCredentials("user:default/jane", "", core.NewToken("x"), time.Time{}, false)
	ci := core.ServiceCredentials("external:ci", core.NewToken("x"), nil, nil)
	for _, tc := range []struct {
		name, config string
		who          *core.Credentials
		want         map[string]string
	}{
		{"nobody known", `{}`, nil, map[string]string{"backstage.plugin.id": "things"}},
		{"user", `{}`, &jane, map[string]string{"backstage.plugin.id": "things", "backstage.principal.type": "user"}},
		{"named user", `backend: { tracing: { capture: { endUser: true } } }`, &jane, map[string]string{"backstage.plugin.id": "things", "backstage.principal.type": "user", "enduser.id": "user:default/jane"}},
		{"service", `backend: { tracing: { capture: { endUser: true } } }`, &ci, map[string]string{"backstage.plugin.id": "things", "backstage.principal.type": "service"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := spans(t, tc.config, func(ctx context.Context, in func(context.Context, func(context.Context) error) error) {
				if tc.who != nil {
					ctx = core.WithSpanPrincipal(ctx, *tc.who)
				}
				if err := in(ctx, func(context.Context) error { return nil }); err != nil {
					t.Error(err)
				}
			})
			if len(got) != 1 {
				t.Fatalf("%d spans", len(got))
			}
			if diff := cmp.Diff(tc.want, attributes(got[0])); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
			if got[0].InstrumentationScope.Name != "backstage-plugin-things" {
				t.Errorf("scope %s", got[0].InstrumentationScope.Name)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	failure := apierr.NotFound("no thing")
	got := spans(t, `backend: { tracing: { plugin: { things: { tracer: { name: mine } } } } }`, func(ctx context.Context, in func(context.Context, func(context.Context) error) error) {
		if err := in(ctx, func(context.Context) error { return failure }); !errors.Is(err, error(failure)) {
			t.Errorf("got %v", err)
		}
		defer func() {
			if recover() == nil {
				t.Error("the panic did not go on")
			}
		}()
		_ = in(ctx, func(context.Context) error { panic("ouch") })
	})
	if len(got) != 2 {
		t.Fatalf("%d spans", len(got))
	}
	failed := got[0]
	if attributes(failed)["error.type"] != "NotFoundError" || failed.Status.Description != "no thing" || len(failed.Events) != 1 || failed.Events[0].Name != "exception" {
		t.Errorf("failed span: %+v", failed)
	}
	if failed.InstrumentationScope.Name != "mine" {
		t.Errorf("scope %s", failed.InstrumentationScope.Name)
	}
	if len(got[1].Events) != 1 || got[1].Events[0].Name != "exception" || got[1].Status.Description != "panic" {
		t.Errorf("span of the panic: %+v", got[1])
	}
}
