// Package catalogbackend is the catalog plugin: it takes in the entities that
// files, users and modules hand in, processes them, and answers questions
// about them under /api/catalog.
//
//	b := flytower.New()
//	b.Add(catalogbackend.Plugin)
//
// Modules extend it through the extension points of package catalognode.
package catalogbackend

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/actions"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/api"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/engine"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/index"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/locations"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/permissions"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/processors"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/rules"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/schema"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entityyaml"
	"github.com/flytower/flytower/plugins/catalog-common/model"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Plugin is the catalog.
var Plugin = backend.NewPlugin("catalog", declare,
	backend.WithDescription("Software catalog: ingests, processes and serves entities"),
	core.ConfigSchema(configSchema), core.AsksForPermissions(permissions.All()...),
)

func declare(env *backend.PluginEnv) backend.InitFunc {
	var (
		log           = core.Logger.From(env)
		config        = core.RootConfig.From(env)
		database      = core.Database.From(env)
		router        = core.HTTPRouter.From(env)
		lifecycle     = core.Lifecycle.From(env)
		scheduler     = core.Scheduler.From(env)
		urlReader     = core.URLReader.From(env)
		events        = core.Events.From(env)
		metrics       = core.Metrics.From(env)
		auditor       = core.Auditor.From(env)
		auth          = core.Auth.From(env)
		httpAuth      = core.HTTPAuth.From(env)
		authorizer    = core.Permissions.From(env)
		authorization = core.PermissionsRegistry.From(env)
		published     = core.ActionsRegistry.From(env)
		peers         = core.PluginClient.From(env)
		scmEvents     = catalognode.SCMEvents.From(env)
		telemetry     = core.Telemetry.Optional(env)
	)
	extensions := newExtensions()
	catalognode.Processing.Offer(env, extensions)
	catalognode.Locations.Offer(env, extensions)
	catalognode.Model.Offer(env, extensions)
	catalognode.Analysis.Offer(env, extensions)
	problems := &problems{}
	catalognode.Unprocessed.Offer(env, problems)

	return func(ctx context.Context) error {
		extensions.freeze()
		settings, err := readSettings(config())
		if err != nil {
			return err
		}
		allowed, err := rules.FromConfig(config())
		if err != nil {
			return err
		}
		hosts, err := integration.FromConfig(config())
		if err != nil {
			return err
		}
		if err := database().Migrate(ctx, schema.Migrations()); err != nil {
			return err
		}
		if n, err := locations.Import(ctx, database()); err != nil {
			return err
		} else if n > 0 {
			log().InfoContext(ctx, "took over the registered locations of the Backstage backend that had this database", "locations", n)
		}
		inMemory, err := readIndexSettings(config())
		if err != nil {
			return err
		}
		terms := index.New(database(), index.Options{Logger: log(), MaxMemory: inMemory.maxMemory})
		woken := make(chan struct{}, 1)
		wake := func() {
			terms.Wake()
			select {
			case woken <- struct{}{}:
			default: // a wake-up is on its way already
			}
		}
		state := store.New(database(), store.Options{Wake: wake, EagerRows: !inMemory.enabled})
		if err := lifecycle().OnStart("listen to other instances", func(context.Context) error {
			lifecycle().Go("wake-ups", func(ctx context.Context) error {
				return state.Listen(ctx, wake, func(err error, again time.Duration) {
					log().WarnContext(ctx, "what other instances of the catalog do is noticed a second later: the connection for that was lost", "error", err, "retryIn", again)
				})
			})
			return nil
		}); err != nil {
			return err
		}
		problems.open(state)
		parse := extensions.parser
		if parse == nil {
			parse = processors.YAML(entityyaml.Options{MergeKeys: settings.yamlMerge})
		}
		layered, err := readModel(ctx, extensions.models, modelWarning, log())
		if err != nil {
			return err
		}
		builtin := catalognode.Processor(processors.NewBuiltin())
		if layered != nil {
			builtin = processors.NewModel(layered)
		}
		chain, err := processorChain(settings, extensions, chainParts{
			placeholder: processors.NewPlaceholder(urlReader(), sameRepository(hosts), extensions.resolvers),
			builtin:     builtin,
			file:        processors.NewFile(parse),
			url:         processors.NewURL(urlReader(), parse),
			annotate:    processors.NewAnnotate(urlReader(), editURL(hosts)),
		})
		if err != nil {
			return err
		}
		if err := checkOldConfig(config(), chain, isSet(os.Getenv(skipProcessorsCheck))); err != nil {
			return err
		}
		orchestrator := &engine.Orchestrator{
			Processors:    chain,
			Policy:        catalogcommon.DefaultPolicy(extensions.validators),
			Rules:         allowed,
			LocationTypes: extensions.locationTypes,
			ResolveURL:    urlReader().Resolve,
			Guard:         lifecycle().Guard,
		}
		observe, err := newObserver(metrics(), state)
		if err != nil {
			return err
		}
		refusals, err := countRefusals(metrics())
		if err != nil {
			return err
		}
		orchestrator.Observe = observe.processor
		if providers, ok := telemetry(); ok && !isNoop(providers.Tracer) {
			orchestrator.Tracer = providers.Tracer.Tracer("backstage-plugin-catalog-backend")
		}
		announce := announcer{events: events(), log: log(), handlers: extensions.handlers, turn: &sync.Mutex{}, refused: state.Claimed}
		e := engine.New(engine.Config{
			Store: state, Orchestrator: orchestrator, Logger: log(), Woken: woken, Interval: settings.interval,
			Fingerprint: settings.fingerprint(chain, layered), Observe: observe.entity, OnStitched: observe.finals,
			Limits: settings.limits, OnRefused: refusals, OnErrors: announce.errors, OnConflict: announce.conflict,
		})
		registered := locations.NewRegistered(database(), state.Invalidate, e.DryRun)
		configured := locations.NewConfigured(config(), func(ctx context.Context, err error) {
			log().ErrorContext(ctx, "the changed catalog.locations could not be applied; the old ones stay", "error", err)
		})
		registered.Follow(locations.SCMReactions{
			Events: scmEvents(), Hosts: hosts, Logger: log(), Unregister: settings.scmEvents.unregister, Move: settings.scmEvents.move,
		})
		own := []catalognode.EntityProvider{registered, configured}
		closers := map[string]func(context.Context) error{"catalog.locations": configured.Close, "locations at source hosts": registered.Close}
		if settings.scmEvents.refresh {
			refresher := locations.NewSCMRefresher(scmEvents(), state.RefreshPlaces)
			own = append(own, refresher)
			closers["files at source hosts"] = refresher.Close
		}
		for what, end := range closers {
			if err := lifecycle().OnStop("follow "+what+" no longer", end); err != nil {
				return err
			}
		}
		tables := read.New(database())
		var reader api.Reader = tables
		if inMemory.enabled {
			reader = index.NewReader(terms, tables, int(inMemory.cache))
			if err := observeIndex(metrics(), terms); err != nil {
				return err
			}
			if err := lifecycle().OnStart("load the index", func(context.Context) error {
				lifecycle().Go("index", terms.Run)
				return nil
			}); err != nil {
				return err
			}
		}
		has := &content{reader: reader, locations: registered.Count, relations: state.Relations, now: time.Now}
		if err := has.observe(metrics()); err != nil {
			return err
		}
		if err := permissions.Register(authorization(), reader); err != nil {
			return err
		}
		analysis, err := extensions.newAnalyzer(hosts)
		if err != nil {
			return err
		}
		described := layered
		if described == nil {
			if described, err = model.Compile(model.Default()); err != nil {
				return err
			}
		}
		openAPI, err := api.NewDocument(described)
		if err != nil {
			return err
		}
		handler := &api.Handler{
			Read: reader, Engine: e, Locations: registered, Analyzer: analysis,
			HTTPAuth: httpAuth(), Auth: auth(), Permissions: authorizer(), Rules: authorization(), Auditor: auditor(), Document: openAPI,
			LocationTypes: extensions.locationTypes, Readonly: settings.readonly, RefreshOnConflict: settings.refreshOnConflict,
		}
		handler.Register(router())
		if err := actions.Register(published(), actions.Catalog{Peers: peers(), Model: described, AskForModel: settings.askForModel}); err != nil {
			return err
		}

		providers := settings.providers(extensions.providers, own...)
		if err := e.Connect(ctx, providers, settings.keepOrphanProviders); err != nil {
			return err
		}
		if settings.interval > 0 {
			if err := lifecycle().OnStart("begin processing", func(context.Context) error {
				lifecycle().Go("processing", e.Run)
				return nil
			}); err != nil {
				return err
			}
		} else {
			log().InfoContext(ctx, "catalog.processingInterval is false: this instance serves the catalog and processes nothing")
		}
		return housekeeping(ctx, scheduler(), state, settings)
	}
}

// processor chain, in the order in which the processors run.
type chainParts struct{ placeholder, builtin, file, url, annotate catalognode.Processor }

func processorChain(s settings, x *extensions, parts chainParts) ([]catalognode.Processor, error) {
	replaced := slices.ContainsFunc(x.processors, func(p catalognode.Processor) bool {
		return p.ProcessorName() == parts.builtin.ProcessorName()
	})
	chain := []catalognode.Processor{parts.placeholder}
	if !replaced {
		chain = append(chain, parts.builtin)
	}
	if !s.disableDefaults {
		chain = append(chain, parts.file, parts.url, parts.annotate)
	}
	chain = append(chain, x.processors...)
	seen := map[string]bool{}
	for _, p := range chain {
		if name := p.ProcessorName(); seen[name] {
			return nil, fmt.Errorf("there are two catalog processors named %q; rename the one that a module adds", name)
		} else {
			seen[name] = true
		}
	}
	chain = slices.DeleteFunc(chain, func(p catalognode.Processor) bool { return s.processors[p.ProcessorName()].disabled })
	slices.SortStableFunc(chain, func(a, b catalognode.Processor) int {
		switch d := s.priority(a) - s.priority(b); {
		case d < 0:
			return -1
		case d > 0:
			return 1
		default:
			return 0
		}
	})
	return chain, nil
}

// isNoop reports whether spans go nowhere, so that none need be made.
func isNoop(p trace.TracerProvider) bool {
	_, off := p.(tracenoop.TracerProvider)
	return off
}
