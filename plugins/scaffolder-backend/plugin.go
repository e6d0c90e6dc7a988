// Package scaffolderbackend is the scaffolder plugin: it runs the templates of
// the catalog, as tasks, and serves /api/scaffolder.
//
//	b := flytower.New()
//	b.Add(catalogbackend.Plugin, scaffolderbackend.Plugin)
//
// Modules extend it through the extension points of package scaffoldernode.
package scaffolderbackend

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/actions"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/api"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/engine"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/permissions"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/schema"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/templating"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// Plugin is the scaffolder.
var Plugin = backend.NewPlugin("scaffolder", declare,
	backend.WithDescription("Scaffolder: runs software templates as tasks"),
	core.ConfigSchema(configSchema), core.ConfigCheck(checkIsolation), core.AsksForPermissions(permissions.All()...),
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
		auditor       = core.Auditor.From(env)
		auth          = core.Auth.From(env)
		httpAuth      = core.HTTPAuth.From(env)
		authorizer    = core.Permissions.From(env)
		authorization = core.PermissionsRegistry.From(env)
		peers         = core.PluginClient.From(env)
		catalog       = catalognode.Catalog.From(env)
		bus           = core.Events.From(env)
		meter         = core.Metrics.From(env)
		backendLife   = core.RootLifecycle.From(env)
		discovery     = core.Discovery.From(env)
		errand        = core.Errand.Optional(env)
	)
	x := newExtensions()
	scaffoldernode.Actions.Offer(env, x)
	scaffoldernode.Templating.Offer(env, x)
	scaffoldernode.Autocomplete.Offer(env, x)
	scaffoldernode.Workspaces.Offer(env, x)

	return func(ctx context.Context) error {
		x.freeze()
		settings, err := readSettings(config())
		if err != nil {
			return err
		}
		workspaces, err := settings.workspaces.provider(x.workspaces)
		if err != nil {
			return err
		}
		hosts, err := integration.FromConfig(config())
		if err != nil {
			return err
		}
		language, err := templating.New(hosts, x.filters, x.globals)
		if err != nil {
			return err
		}
		if err := x.actions.Add(actions.All(actions.Parts{
			Reader: urlReader(), Hosts: hosts, Catalog: catalog(), Templating: language, UserTokens: settings.userTokens,
		})...); err != nil {
			return err
		}
		if e, ok := errand(); ok {
			return takeErrands(e, &engine.Runner{
				Actions: &x.actions, Templating: language, Parameters: settings.parameters, Secrets: settings.secrets, WorkDir: settings.workDir, Guard: lifecycle().Guard,
			})
		}
		if err := database().Migrate(ctx, schema.Migrations()); err != nil {
			return err
		}
		store := tasks.NewStore(database())
		store.Limits = settings.limits
		news := newAnnouncer(bus(), log())
		store.Changed = news.tell
		box, err := settings.box(ctx, store.SealingKey)
		if err != nil {
			return err
		}
		if len(settings.keys) == 0 {
			log().InfoContext(ctx, "the secrets of tasks are sealed with a key in the database, which does not protect them from who can read it; set scaffolder.taskSecrets.keys")
		}
		ask := permissions.Asker{Permissions: authorizer(), Rules: authorization()}
		if err := permissions.Register(authorization(), store.Get); err != nil {
			return err
		}
		metrics, err := engine.NewMetrics(meter())
		if err != nil {
			return err
		}
		runner := &engine.Runner{
			Actions: &x.actions, Templating: language, Parameters: settings.parameters, Secrets: settings.secrets, WorkDir: settings.workDir,
			Authorize: func(ctx context.Context, who core.Credentials) (engine.Decide, error) { return ask.Actions(ctx, who) },
			Guard:     lifecycle().Guard, StepTimeout: settings.stepTimeout, Metrics: metrics, Workspaces: workspaces,
		}
		isolated, err := settings.isolation.runner(runner, config(), auth(), discovery(), log())
		if err != nil {
			return err
		}
		if workspaces != nil && !settings.recovery {
			log().WarnContext(ctx, "workspaces are not kept, because scaffolder.taskRecovery.enabled is false", "workspaceProvider", settings.workspaces.name)
		}
		handler := &api.Handler{
			Store: store, Actions: &x.actions, Templating: language, Runner: runner, Isolated: isolated, Box: box, Completers: x.completers,
			Ask: ask, HTTPAuth: httpAuth(), Auth: auth(), Peers: peers(), Auditor: auditor(), Stop: lifecycle().Done(),
		}
		handler.Register(router())
		log().InfoContext(ctx, "Starting scaffolder with the following actions enabled "+strings.Join(x.actions.Names(), ", "))

		// What is registered first stops last: after the tasks whose ends it tells.
		if err := errors.Join(lifecycle().OnStart("begin to announce tasks", news.start), lifecycle().OnStop("announce tasks", news.stop)); err != nil {
			return err
		}
		if err := lifecycle().OnStart("listen to other instances", func(context.Context) error {
			lifecycle().Go("wake-ups", func(ctx context.Context) error {
				return store.Listen(ctx, func(err error, again time.Duration) {
					log().WarnContext(ctx, "what other instances of the scaffolder do is noticed seconds later: the connection for that was lost", "error", err, "retryIn", again)
				})
			})
			return nil
		}); err != nil {
			return err
		}
		queue := &engine.Engine{
			Store: store, Runner: runner, Isolated: isolated, Box: box, Auth: auth(), Logger: log(), Limit: settings.concurrency,
			Lease: settings.lease, Timeout: settings.timeout, Recover: settings.recovery, Auditor: auditor(), MaxAudited: settings.maxAudited,
		}
		if settings.concurrency > 0 {
			if settings.graceful {
				if err := backendLife().BeforeStop("finish the tasks of the scaffolder", queue.Drain); err != nil {
					return err
				}
			}
			if err := lifecycle().OnStart("begin to run tasks", func(context.Context) error {
				lifecycle().Go("tasks", queue.Run)
				return nil
			}); err != nil {
				return err
			}
		} else {
			log().InfoContext(ctx, "scaffolder.concurrentTasksLimit is 0: this instance runs no tasks")
		}
		return settings.schedule(ctx, scheduler(), queue, log())
	}
}
