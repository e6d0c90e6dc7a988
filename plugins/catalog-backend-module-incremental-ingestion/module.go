// Package catalogmoduleincrementalingestion takes sources with very many
// entities into the catalog page by page.
//
//	b.Add(catalogbackend.Plugin, catalogmoduleincrementalingestion.Module, staff.Module)
//
// Package incremental of plugins/catalog-node has the contract of the
// providers, which other modules add.
//
// An ingestion goes from the first page of a source to the last one, in bursts
// with pauses between them, by one instance at a time. What a page has is in
// the catalog at once. Each page leaves a mark, so that whatever ends a burst,
// a restart or the loss of the process included, the next one goes on behind
// the last page that was stored. When the last page was stored, the entities
// that no page of this ingestion had are removed, unless the limits of the
// provider's options refuse that. A page that cannot be read is asked for
// again after a while; until then, nothing is removed. Then comes a rest, and
// the next ingestion.
//
// Operators see and control the ingestions below /api/catalog/incremental,
// with the permissions catalog.ingestion.read and catalog.ingestion.manage:
//
//	GET    /incremental/health
//	GET    /incremental/providers
//	GET    /incremental/providers/{provider}
//	POST   /incremental/providers/{provider}/trigger   do what comes next now
//	POST   /incremental/providers/{provider}/start     begin anew with the first page
//	POST   /incremental/providers/{provider}/cancel    stop for a day
//	DELETE /incremental/providers/{provider}           reset, and stop for a day
//	GET    /incremental/providers/{provider}/marks     the pages of the ingestion
//	DELETE /incremental/providers/{provider}/marks     drop what is kept of earlier ones
//	POST   /incremental/cleanup                        reset all
//
// What takes effect does so with the next burst; a burst under way stops
// before its next page.
package catalogmoduleincrementalingestion

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend-module-incremental-ingestion/internal/state"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	"github.com/flytower/flytower/plugins/catalog-node/incremental"
)

// Module offers the extension point for incremental providers, and runs them.
var Module = backend.NewModule("catalog", "incremental-ingestion-entity-provider", declare,
	backend.WithDescription("Takes large sources into the catalog page by page"))

func declare(env *backend.ModuleEnv) backend.InitFunc {
	var (
		processing  = catalognode.Processing.From(env)
		database    = core.Database.From(env)
		router      = core.HTTPRouter.From(env)
		log         = core.Logger.From(env)
		scheduler   = core.Scheduler.From(env)
		events      = core.Events.From(env)
		metrics     = core.Metrics.From(env)
		permissions = core.Permissions.From(env)
		httpAuth    = core.HTTPAuth.From(env)
	)
	added := &providers{}
	incremental.Providers.Offer(env, added)
	return func(ctx context.Context) error {
		all := added.take()
		states, err := state.New(ctx, database())
		if err != nil {
			return err
		}
		observed, err := newGauges(metrics())
		if err != nil {
			return err
		}
		names := make([]string, 0, len(all))
		for _, a := range all {
			names = append(names, a.provider.ProviderName())
			p := &provider{
				addition: a, state: states, scheduler: scheduler(), events: events(), observed: observed,
				log: log().With(slog.String("provider", a.provider.ProviderName())),
			}
			if err := processing().AddProvider(p); err != nil {
				return err
			}
		}
		routes{state: states, providers: names, httpAuth: httpAuth(), permissions: permissions()}.register(router())
		return nil
	}
}

// addition is a provider with its options.
type addition struct {
	provider incremental.Provider
	options  incremental.Options
}

// providers implements [incremental.ProvidersExtensionPoint].
type providers struct {
	mu    sync.Mutex
	taken bool
	all   []addition
}

// take ends the time for additions.
func (p *providers) take() []addition {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = true
	return p.all
}

// minInterval is the shortest time between the begins of two bursts.
const minInterval = 5 * time.Second

// defaultBackoff are the waits after failures.
var defaultBackoff = [...]time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute, 3 * time.Hour}

func (p *providers) AddProvider(provider incremental.Provider, o incremental.Options) error {
	name := provider.ProviderName()
	switch {
	case name == "":
		return apierr.Input("an incremental provider has no name")
	case o.BurstLength <= 0:
		return apierr.Input("the incremental provider %s has no BurstLength", name)
	case o.RestLength < 0 || o.BurstInterval < 0 || slices.ContainsFunc(o.Backoff, func(d time.Duration) bool { return d < 0 }):
		return apierr.Input("the incremental provider %s has a negative duration in its options", name)
	case o.RejectRemovalsAbovePercentage < 0:
		return apierr.Input("the incremental provider %s has a negative RejectRemovalsAbovePercentage", name)
	}
	o.BurstInterval = max(o.BurstInterval, minInterval)
	if len(o.Backoff) == 0 {
		o.Backoff = defaultBackoff[:]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken {
		return apierr.Conflict("incremental ingestion has started: add the provider %s in the init function of a module, not later", name)
	}
	if slices.ContainsFunc(p.all, func(a addition) bool { return a.provider.ProviderName() == name }) {
		return apierr.Conflict("there is an incremental provider named %q already; give each its own name", name)
	}
	p.all = append(p.all, addition{provider, o})
	return nil
}
