package catalogmodulegithuborg

import (
	"context"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration/githubapi"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Module adds a provider for each entry of catalog.providers.githubOrg.
var Module = New()

// Option changes how users and teams become entities.
type Option func(*options)

type options struct {
	users    UserTransformer
	teams    TeamTransformer
	verified bool
}

// WithUsers makes the entities of users by t; see [DefaultUser].
func WithUsers(t UserTransformer) Option { return func(o *options) { o.users = t } }

// WithTeams makes the entities of teams by t; see [DefaultTeam].
func WithTeams(t TeamTransformer) Option { return func(o *options) { o.teams = t } }

// WithVerifiedEmails asks for [User.VerifiedEmails], which needs a permission
// on the organization.
func WithVerifiedEmails() Option { return func(o *options) { o.verified = true } }

// New returns the module with options.
func New(opts ...Option) backend.Feature {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return backend.NewModule("catalog", "github-org", func(env *backend.ModuleEnv) backend.InitFunc { return declare(env, o) },
		backend.WithDescription("Brings members and teams of GitHub organizations into the catalog"),
		core.ConfigSchema(ConfigSchema),
	)
}

func declare(env *backend.ModuleEnv, o options) backend.InitFunc {
	var (
		config     = core.RootConfig.From(env)
		log        = core.Logger.From(env)
		scheduler  = core.Scheduler.From(env)
		events     = core.Events.From(env)
		database   = core.Database.From(env)
		github     = githubapi.Service.From(env)
		processing = catalognode.Processing.From(env)
	)
	return func(context.Context) error {
		all, err := readSettings(config())
		if err != nil {
			return err
		}
		for _, s := range all {
			api, err := github().Host(s.host)
			if err != nil {
				return wrong(config(), s, "githubUrl", err.Error(), "")
			}
			if len(s.orgs) == 0 && !api.HasApps() {
				return wrong(config(), s, "orgs", "is missing, and no GitHub App is configured for "+s.host, "name the organizations, or add the app below integrations.github")
			}
			p := &provider{
				settings: s, options: o, github: github(), scheduler: scheduler(), events: events(), database: database(),
				log: log(),
			}
			if err := processing().AddProvider(retired("GithubOrgEntityProvider:"+s.id), p); err != nil {
				return err
			}
		}
		return nil
	}
}

func wrong(c core.Config, s settings, key, problem, remedy string) error {
	return &core.ConfigError{Key: s.key + "." + key, Position: c.Position(s.key), Problem: problem, Remedy: remedy}
}
