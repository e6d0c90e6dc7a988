package core

import (
	"context"
	"net/http"

	"github.com/flytower/flytower/backend"
)

// Severity grades an audit event.
type Severity string

// Severities; the configuration maps them to log levels.
const (
	SeverityLow      Severity = "low"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

// AuditEvent is something that somebody sets out to do.
type AuditEvent struct {
	// ID is kebab-case, for example "location-mutate".
	ID string
	// Severity is low if empty.
	Severity Severity
	// Request, if not nil, tells who and from where.
	Request *http.Request
	Meta    map[string]any
}

// AuditRecord is an event under way. Call exactly one of its methods.
type AuditRecord interface {
	Success(ctx context.Context, meta map[string]any)
	Fail(ctx context.Context, err error, meta map[string]any)
}

// AuditorService records who did what.
type AuditorService interface {
	// Begin records that something was set out to, and returns what is needed
	// to record how it ended.
	Begin(ctx context.Context, e AuditEvent) AuditRecord
}

// Auditor records who did what.
var Auditor = backend.NewServiceRef[AuditorService]("core.auditor")
