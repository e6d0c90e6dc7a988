package authbackend

import (
	"net/http"

	"github.com/flytower/flytower/core"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

// audited puts on record what users do with a provider.
func audited(auditor core.AuditorService, event string, severity core.Severity, provider string, h authnode.Handler) authnode.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		record := auditor.Begin(r.Context(), core.AuditEvent{
			ID: event, Severity: severity, Request: r, Meta: map[string]any{"provider": provider},
		})
		ctx, outcome := authnode.WithOutcome(r.Context())
		err := h(w, r.WithContext(ctx))
		switch {
		case err != nil:
			record.Fail(ctx, err, nil)
		case outcome.Err != nil:
			record.Fail(ctx, outcome.Err, nil)
		case outcome.UserEntityRef != "":
			record.Success(ctx, map[string]any{"userEntityRef": outcome.UserEntityRef})
		default:
			record.Success(ctx, nil)
		}
		return err
	}
}
