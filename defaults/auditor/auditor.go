// Package auditor is the default core.auditor: it records in the log who set
// out to do what, and how it ended.
//
//	record := auditor().Begin(ctx, core.AuditEvent{ID: "thing-delete", Severity: core.SeverityMedium, Request: r})
//	if err := store.Delete(ctx, id); err != nil {
//		record.Fail(ctx, err, nil)
//		return err
//	}
//	record.Success(ctx, map[string]any{"id": id})
//
// Each of the two records is one line with the field isAuditEvent, so that a
// log pipeline can put them aside. backend.auditor.severityLogLevelMappings
// gives severities their log level. Records can go elsewhere instead: see
// [WithSink].
package auditor

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/redact"
)

// Status says how far an event has come.
type Status string

// Statuses of an event.
const (
	Initiated Status = "initiated"
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
)

// Record is one line of the audit trail.
type Record struct {
	// Plugin is the id of the plugin in which it happened.
	Plugin   string         `json:"plugin"`
	EventID  string         `json:"eventId"`
	Severity core.Severity  `json:"severityLevel"`
	Actor    Actor          `json:"actor"`
	Request  *Request       `json:"request,omitempty"`
	Meta     map[string]any `json:"meta,omitempty"`
	Status   Status         `json:"status"`
	// Error is the text of the error of a failed event.
	Error string `json:"error,omitempty"`
}

// Actor is who did it, as far as that is known.
type Actor struct {
	// ActorID is a user entity ref or the subject of a service.
	ActorID   string `json:"actorId,omitempty"`
	IP        string `json:"ip,omitempty"`
	Hostname  string `json:"hostname,omitempty"`
	UserAgent string `json:"userAgent,omitempty"`
}

// Request is how it was asked for. URL is as the client sent it.
type Request struct {
	URL    string `json:"url"`
	Method string `json:"method"`
}

// Sink takes the records. It must not keep or change them.
type Sink func(ctx context.Context, r Record)

// Option adjusts the factory.
type Option func(*settings)

type settings struct{ sink func(*slog.Logger) Sink }

// WithSink sends the records to sink instead of the log. It is called by
// several goroutines at once.
func WithSink(sink Sink) Option {
	return func(s *settings) { s.sink = func(*slog.Logger) Sink { return sink } }
}

// Factory is the default factory of core.Auditor.
var Factory = NewFactory()

// NewFactory returns a factory with options.
func NewFactory(opts ...Option) backend.ServiceFactory {
	var s settings
	for _, opt := range opts {
		opt(&s)
	}
	return backend.NewServiceFactory(core.Auditor, func(env *backend.FactoryEnv) backend.MakeFunc[core.AuditorService] {
		plugin, config := core.PluginMetadata.From(env), core.RootConfig.From(env)
		log, auth := core.Logger.From(env), core.HTTPAuth.From(env)
		return func(context.Context) (core.AuditorService, error) {
			levels, err := ReadLevels(config())
			if err != nil {
				return nil, fmt.Errorf("auditor: %w", err)
			}
			if s.sink != nil {
				return New(plugin().ID(), auth(), log(), s.sink(log())), nil
			}
			a := New(plugin().ID(), auth(), log(), LogSink(log(), levels))
			a.wanted = func(ctx context.Context, severity core.Severity) bool {
				return log().Enabled(ctx, levels.of(severity))
			}
			return a, nil
		}
	})
}

// Auditor records the events of one plugin.
type Auditor struct {
	plugin string
	auth   core.HTTPAuthService
	log    *slog.Logger
	sink   Sink
	// wanted, if set, tells of which severity the sink takes records: most
	// events are of reads, which nobody keeps.
	wanted func(context.Context, core.Severity) bool
}

// New returns the auditor of a plugin. Its own troubles go to log.
func New(plugin string, auth core.HTTPAuthService, log *slog.Logger, sink Sink) *Auditor {
	return &Auditor{plugin: plugin, auth: auth, log: log, sink: sink}
}

// Begin records that something was set out to.
func (a *Auditor) Begin(ctx context.Context, e core.AuditEvent) core.AuditRecord {
	if e.Severity == "" {
		e.Severity = core.SeverityLow
	}
	if a.wanted != nil && !a.wanted(ctx, e.Severity) {
		return unwanted{}
	}
	r := Record{
		Plugin: a.plugin, EventID: e.ID, Severity: e.Severity, Meta: maps.Clone(e.Meta), Status: Initiated,
		Actor: Actor{ActorID: "plugin:" + a.plugin},
	}
	if e.Request != nil {
		r.Request = &Request{URL: originalURL(e.Request), Method: e.Request.Method}
		r.Actor = a.actorOf(ctx, e)
	}
	a.sink(ctx, r)
	return &pending{auditor: a, record: r}
}

func (a *Auditor) actorOf(ctx context.Context, e core.AuditEvent) Actor {
	r := e.Request
	actor := Actor{IP: hostOf(r.RemoteAddr), Hostname: hostOf(r.Host), UserAgent: r.UserAgent()}
	who, err := a.auth.Credentials(r, core.Allow{None: true, User: true, Service: true, Cookie: true})
	switch {
	case err != nil:
		a.log.ErrorContext(ctx, "the actor of an audit event is unknown", "eventId", e.ID, "error", err.Error())
	case who.IsUser():
		actor.ActorID = who.Principal.UserEntityRef
	case who.IsService():
		actor.ActorID = who.Principal.Subject
	}
	return actor
}

// originalURL returns what the client sent, but for credentials in the query.
// The URL of r lacks the prefix of the plugin.
func originalURL(r *http.Request) string {
	if r.RequestURI != "" {
		return redact.Query(r.RequestURI)
	}
	return redact.Query(r.URL.RequestURI())
}

func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// unwanted is an event that is not recorded.
type unwanted struct{}

func (unwanted) Success(context.Context, map[string]any)     {}
func (unwanted) Fail(context.Context, error, map[string]any) {}

// pending is an event under way.
type pending struct {
	auditor *Auditor
	record  Record
	once    sync.Once
}

// Success records that it was done.
func (p *pending) Success(ctx context.Context, meta map[string]any) { p.end(ctx, Succeeded, nil, meta) }

// Fail records that it was not done.
func (p *pending) Fail(ctx context.Context, err error, meta map[string]any) {
	p.end(ctx, Failed, err, meta)
}

// end records how it ended, the first time that it is told.
func (p *pending) end(ctx context.Context, status Status, err error, meta map[string]any) {
	p.once.Do(func() {
		r := p.record
		r.Status = status
		if err != nil {
			r.Error = err.Error()
		}
		if len(meta) > 0 {
			r.Meta = maps.Clone(r.Meta)
			if r.Meta == nil {
				r.Meta = map[string]any{}
			}
			maps.Copy(r.Meta, meta)
		}
		p.auditor.sink(ctx, r)
	})
}
