// Package httptelemetry measures and traces HTTP requests, those that a
// backend answers and those that it sends, with the names of the
// OpenTelemetry conventions.
//
//	telemetry, err := httptelemetry.New(providers)
//	handler = telemetry.Middleware("catalog")(handler)
//	client := &http.Client{Transport: telemetry.Transport(http.DefaultTransport)}
//
// Routes are known by the pattern that the router leaves in the request, or
// that it names with [SetRoute]: paths themselves are no attributes, because
// there is no end of them.
package httptelemetry

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/flytower/flytower/core"
)

// HTTP has the instruments for requests. It is safe for concurrent use.
type HTTP struct {
	tracer     trace.Tracer
	traces     bool // there are spans
	propagator propagation.TextMapPropagator
	active     metric.Int64UpDownCounter
	served     metric.Float64Histogram
	sent       metric.Float64Histogram
	now        func() time.Time
	labels     labels
}

// answered is what the labels of a request say.
type answered struct {
	method, plugin, route string
	status                int // 0 while it is not known
}

// labels keeps the labels of requests, which are the same all the time, in the
// forms that the instruments take.
type labels struct {
	mu   sync.RWMutex
	kept map[answered]*labelled
}

type labelled struct {
	attributes []attribute.KeyValue
	add        []metric.AddOption
	record     []metric.RecordOption
}

// maxLabels bounds how many combinations are kept; a backend has far fewer.
const maxLabels = 10_000

func (l *labels) of(a answered) *labelled {
	l.mu.RLock()
	out := l.kept[a]
	l.mu.RUnlock()
	if out != nil {
		return out
	}
	out = &labelled{attributes: []attribute.KeyValue{attribute.String("http.request.method", a.method)}}
	if a.plugin != "" {
		out.attributes = append(out.attributes, attribute.String(pluginAttribute, a.plugin))
	}
	if a.status != 0 {
		out.attributes = append(out.attributes, attribute.Int("http.response.status_code", a.status))
	}
	if a.route != "" {
		out.attributes = append(out.attributes, attribute.String("http.route", a.route))
	}
	if a.status >= http.StatusInternalServerError {
		out.attributes = append(out.attributes, attribute.String("error.type", strconv.Itoa(a.status)))
	}
	set := metric.WithAttributeSet(attribute.NewSet(out.attributes...))
	out.add, out.record = []metric.AddOption{set}, []metric.RecordOption{set}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == nil {
		l.kept = map[answered]*labelled{}
	}
	if len(l.kept) < maxLabels {
		l.kept[a] = out
	}
	return out
}

// New makes the instruments.
func New(providers core.TelemetryProviders) (*HTTP, error) {
	const scope = "flytower.http"
	meter := providers.Meter.Meter(scope)
	_, none := providers.Tracer.(noop.TracerProvider)
	h := &HTTP{
		tracer:     providers.Tracer.Tracer(scope),
		traces:     !none,
		propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
		now:        time.Now,
	}
	buckets := metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10)
	var err error
	if h.active, err = meter.Int64UpDownCounter("http.server.active_requests", metric.WithUnit("{request}"), metric.WithDescription("Requests that are being answered")); err != nil {
		return nil, fmt.Errorf("HTTP telemetry: %w", err)
	}
	if h.served, err = meter.Float64Histogram("http.server.request.duration", metric.WithUnit("s"), buckets, metric.WithDescription("Time that answers took")); err != nil {
		return nil, fmt.Errorf("HTTP telemetry: %w", err)
	}
	if h.sent, err = meter.Float64Histogram("http.client.request.duration", metric.WithUnit("s"), buckets, metric.WithDescription("Time until others answered")); err != nil {
		return nil, fmt.Errorf("HTTP telemetry: %w", err)
	}
	return h, nil
}

type routeKey struct{}

// SetRoute names the route that a request matched: "/entities/{uid}". Outside
// of a measured request it does nothing.
func SetRoute(ctx context.Context, route string) {
	if m := measurementOf(ctx); m != nil {
		m.route.Store(&route)
	}
}

func measurementOf(ctx context.Context) *Measurement {
	m, _ := ctx.Value(routeKey{}).(*Measurement)
	return m
}

// nameRoute takes the route from the pattern of a mux ("GET /entities/{uid}"),
// unless the router has named it.
func nameRoute(ctx context.Context, pattern string) {
	m := measurementOf(ctx)
	if m == nil {
		return
	}
	if _, path, hasMethod := strings.Cut(pattern, " "); hasMethod {
		pattern = strings.TrimLeft(path, " \t")
	}
	m.route.CompareAndSwap(nil, &pattern)
}

const pluginAttribute = "backstage.plugin.id"

// Traces reports whether there are spans.
func (h *HTTP) Traces() bool { return h.traces }

// Measurement is that of a request under way. It is the context of the request,
// too; nil is that of a request that is measured elsewhere.
type Measurement struct {
	context.Context // with the span

	http   *HTTP
	what   answered
	active *labelled
	began  time.Time
	route  atomic.Pointer[string]
}

// Value implements [context.Context].
func (m *Measurement) Value(key any) any {
	if _, ok := key.(routeKey); ok {
		return m
	}
	return m.Context.Value(key)
}

// Begin measures the answer to r by a plugin ("" for the server itself). The
// context that it makes of ctx, which may say more than that of r, goes on to
// the handler. A request that is measured already, by what stands around the
// caller, is not counted again.
func (h *HTTP) Begin(ctx context.Context, r *http.Request, plugin string) (context.Context, *Measurement) {
	if again := measurementOf(ctx); again != nil {
		return ctx, nil
	}
	m := &Measurement{http: h, what: answered{method: knownMethod(r.Method), plugin: plugin}, began: h.now()}
	m.active = h.labels.of(m.what)
	if carriesTrace(r.Header) {
		ctx = h.propagator.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	if h.traces {
		ctx, _ = h.tracer.Start(ctx, spanName(r.Method), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(m.active.attributes...))
	}
	m.Context = ctx
	h.active.Add(m, 1, m.active.add...)
	return m, m
}

// carriesTrace reports whether the propagator would find anything.
func carriesTrace(h http.Header) bool { return h["Traceparent"] != nil || h["Baggage"] != nil }

// End is to be called once, with the status of the answer.
func (m *Measurement) End(status int) {
	if m == nil {
		return
	}
	h := m.http
	h.active.Add(m, -1, m.active.add...)
	m.what.status = status
	if name := m.route.Load(); name != nil {
		m.what.route = *name
	}
	done := h.labels.of(m.what)
	if h.traces {
		span := trace.SpanFromContext(m.Context)
		if span.IsRecording() {
			if m.what.route != "" {
				span.SetName(spanName(m.what.method) + " " + m.what.route)
			}
			if status >= http.StatusInternalServerError {
				span.SetStatus(codes.Error, "")
			}
			span.SetAttributes(done.attributes...)
		}
		span.End()
	}
	h.served.Record(m, h.now().Sub(m.began).Seconds(), done.record...)
}

// Middleware measures what a handler of the plugin answers.
func (h *HTTP) Middleware(plugin string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, measurement := h.Begin(r.Context(), r, plugin)
			measured := r.WithContext(ctx)
			recorder := &recorder{ResponseWriter: w}
			finished := false
			defer func() {
				if measured.Pattern != "" {
					nameRoute(measured.Context(), measured.Pattern)
				}
				status := recorder.status
				switch {
				case status != 0:
				case finished:
					status = http.StatusOK
				default:
					status = http.StatusInternalServerError // the handler panicked
				}
				measurement.End(status)
			}()
			next.ServeHTTP(recorder, measured)
			finished = true
		})
	}
}

// recorder remembers the status. Unwrap gives http.ResponseController the
// powers of the writer below.
type recorder struct {
	http.ResponseWriter
	status int
}

// Unwrap returns the writer below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// WriteHeader remembers the first final status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implies the status 200.
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Flush flushes the writer below, for handlers that ask for http.Flusher.
func (r *recorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

// Hijack hands the connection over; what follows is no HTTP any more.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil && r.status == 0 {
		r.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

// Transport measures the requests that base sends, and tells the receivers
// which trace they belong to.
func (h *HTTP) Transport(base http.RoundTripper) http.RoundTripper { return &transport{h, base} }

type transport struct {
	http *HTTP
	base http.RoundTripper
}

// RoundTrip sends r.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	began := t.http.now()
	labels := []attribute.KeyValue{
		attribute.String("http.request.method", knownMethod(r.Method)), attribute.String("server.address", r.URL.Hostname()),
	}
	ctx, span := t.http.tracer.Start(r.Context(), spanName(r.Method), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(labels...))
	defer span.End()
	sent := r.Clone(ctx) // a transport must not change the request
	t.http.propagator.Inject(ctx, propagation.HeaderCarrier(sent.Header))
	resp, err := t.base.RoundTrip(sent)
	if err != nil {
		labels = append(labels, attribute.String("error.type", fmt.Sprintf("%T", err)))
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	} else {
		labels = append(labels, attribute.Int("http.response.status_code", resp.StatusCode))
		if resp.StatusCode >= http.StatusBadRequest {
			span.SetStatus(codes.Error, "")
		}
	}
	span.SetAttributes(labels...)
	t.http.sent.Record(ctx, t.http.now().Sub(began).Seconds(), metric.WithAttributes(labels...))
	return resp, err
}

// spanName returns how a span of a request begins; clients may invent
// methods, and there must be an end of names.
func spanName(method string) string {
	if method = knownMethod(method); method == "_OTHER" {
		return "HTTP"
	}
	return method
}

// knownMethod bounds the number of methods.
func knownMethod(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT":
		return method
	default:
		return "_OTHER"
	}
}
