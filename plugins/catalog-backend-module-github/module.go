package catalogmodulegithub

import (
	"context"
	"fmt"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/githubapi"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Module adds a provider for each entry of catalog.providers.github, the
// analyzer of locations at GitHub, and the bridge from webhooks to the events
// of source hosts.
var Module = backend.NewModule("catalog", "github", declare,
	backend.WithDescription("Finds catalog files in GitHub repositories, and follows webhooks"),
	core.ConfigSchema(ConfigSchema),
)

func declare(env *backend.ModuleEnv) backend.InitFunc {
	var (
		config     = core.RootConfig.From(env)
		log        = core.Logger.From(env)
		scheduler  = core.Scheduler.From(env)
		events     = core.Events.From(env)
		database   = core.Database.From(env)
		github     = githubapi.Service.From(env)
		auth       = core.Auth.From(env)
		processing = catalognode.Processing.From(env)
		analysis   = catalognode.Analysis.From(env)
		catalog    = catalognode.Catalog.From(env)
		scmEvents  = catalognode.SCMEvents.From(env)
	)
	return func(ctx context.Context) error {
		all, err := readSettings(config())
		if err != nil {
			return err
		}
		for _, s := range all {
			if _, err := github().Host(s.host); err != nil {
				return fmt.Errorf("%s: %w", s.key, err)
			}
			p := &provider{
				settings: s, github: github(), scheduler: scheduler(), events: events(), database: database(),
				log: log(),
			}
			if err := processing().AddProvider(p); err != nil {
				return err
			}
		}
		hosts, err := integration.FromConfig(config())
		if err != nil {
			return err
		}
		if err := analysis().AddLocationAnalyzer(&analyzer{github: github(), hosts: hosts, catalog: catalog(), auth: auth()}); err != nil {
			return err
		}
		return newBridge(github(), scmEvents(), log()).start(ctx, events())
	}
}
