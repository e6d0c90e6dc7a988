package authbackend

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

// providers makes the providers that are configured, and their routes.
type providers struct {
	config      core.Config
	log         *slog.Logger
	development bool
	auditor     core.AuditorService
	options     authnode.ProviderOptions // without what differs by provider
	openID      *openIDProvider
}

func (p *providers) bind(ctx context.Context, router core.Router, all []registered) error {
	const key = "auth.providers"
	level := p.config.Sub(key)
	configured := level.Keys("")
	for _, id := range configured {
		if !slices.ContainsFunc(all, func(r registered) bool { return r.id == id }) {
			p.log.WarnContext(ctx, "an auth provider is configured, but no module adds it",
				"provider", id, "position", level.Position(id).String())
		}
	}
	for _, r := range all {
		if !level.Has(r.id) {
			missing(router, r.id, apierr.NotFound("No auth provider registered for '%s'", r.id))
			continue
		}
		o := p.options
		o.ID, o.Config, o.Development = r.id, level.Sub(r.id), p.development
		o.Logger = p.log.With("provider", r.id)
		provider, err := r.factory(ctx, o)
		switch {
		case err == nil:
			p.log.InfoContext(ctx, "auth provider is ready", "provider", r.id)
			provider = p.audited(r.id, provider)
			route(router, r.id, provider)
			p.openID.offer(router, r.id, provider)
		case p.development && ctx.Err() == nil:
			p.log.WarnContext(ctx, "Skipping "+r.id+" auth provider", "error", err)
			missing(router, r.id, apierr.NotFound("Auth provider '%s' is misconfigured; the log of the start says why", r.id))
		default:
			return fmt.Errorf("Failed to initialize %s auth provider, %w", r.id, err) //nolint:revive,staticcheck // operators search for this wording
		}
	}
	return nil
}

// audited puts on record what users do with a provider.
func (p *providers) audited(id string, provider authnode.Provider) authnode.Provider {
	wrap := func(h *authnode.Handler, event string, severity core.Severity) {
		if *h != nil {
			*h = audited(p.auditor, event, severity, id, *h)
		}
	}
	if provider.SignIn.Direct { // there is no dialog, so Frame says only that
		wrap(&provider.Refresh, "sign-in", core.SeverityMedium)
	} else {
		wrap(&provider.Frame, "sign-in", core.SeverityMedium)
		wrap(&provider.Refresh, "session-refresh", core.SeverityLow)
	}
	wrap(&provider.Logout, "sign-out", core.SeverityMedium)
	return provider
}

// route registers the routes of a provider. What it does not offer is left to
// the route that answers for unknown providers.
func route(router core.Router, id string, p authnode.Provider) {
	for _, r := range []struct {
		handler authnode.Handler
		path    string
		methods []string
	}{
		{p.Start, "/start", []string{http.MethodGet}},
		{p.Frame, "/handler/frame", []string{http.MethodGet, http.MethodPost}},
		{p.Refresh, "/refresh", []string{http.MethodGet, http.MethodPost}},
		{p.Logout, "/logout", []string{http.MethodPost}},
	} {
		if r.handler == nil {
			continue
		}
		for _, method := range r.methods {
			router.HandleErr(method+" /"+id+r.path, r.handler)
		}
	}
}

// missing answers all requests for a provider that is not there.
func missing(router core.Router, id string, err error) {
	router.HandleErr("/"+id+"/{path...}", func(http.ResponseWriter, *http.Request) error { return err })
}
