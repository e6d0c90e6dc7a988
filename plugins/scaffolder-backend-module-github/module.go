package scaffoldermodulegithub

import (
	"context"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/egress"
	"github.com/flytower/flytower/integration/githubapi"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

// Module adds the actions of GitHub and the autocompletion "github" to the
// scaffolder.
var Module = backend.NewModule("scaffolder", "github", declare,
	backend.WithDescription("Actions of templates that publish to GitHub and set repositories up"),
)

func declare(env *backend.ModuleEnv) backend.InitFunc {
	var (
		config       = core.RootConfig.From(env)
		github       = githubapi.Service.From(env)
		catalog      = catalognode.Catalog.From(env)
		lifecycle    = core.Lifecycle.From(env)
		actions      = scaffoldernode.Actions.From(env)
		autocomplete = scaffoldernode.Autocomplete.From(env)
	)
	return func(context.Context) error {
		hosts, err := integration.FromConfig(config())
		if err != nil {
			return err
		}
		defaults, err := gitrepo.ReadDefaults(config())
		if err != nil {
			return err
		}
		userTokens, err := config().BoolOr("scaffolder.requireScmUserCredentials", false)
		if err != nil {
			return err
		}
		client := gitrepo.NewClient(gitrepo.Options{Transport: egress.New(egress.Options{Trusted: hosts.Trusts}).Transport()})
		if err := lifecycle().OnStop("close the connections to git servers", func(context.Context) error {
			client.Close()
			return nil
		}); err != nil {
			return err
		}
		p := Parts{
			GitHub: github(), Hosts: hosts, Catalog: catalog(), UserTokens: userTokens,
			Git: &gitrepo.Publisher{Client: client, Defaults: defaults},
		}
		if err := actions().AddActions(p.Actions()...); err != nil {
			return err
		}
		return autocomplete().AddAutocompleteProvider("github", p.Complete)
	}
}

// Parts are what the actions work with, for backends that register them by
// themselves.
type Parts struct {
	GitHub *githubapi.Hosts
	Hosts  *integration.Hosts
	// Catalog tells who the reviewers of environments are.
	Catalog catalognode.Client
	// Git pushes. Its defaults are those of commits by the API, too.
	Git *gitrepo.Publisher
	// UserTokens is scaffolder.requireScmUserCredentials: steps have to be given
	// the token of the user.
	UserTokens bool
	// Sleep replaces the clock in tests.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Actions returns all actions of the module.
func (p Parts) Actions() []scaffoldernode.Action {
	return []scaffoldernode.Action{
		p.publish(), p.createRepository(), p.pushRepository(), p.pullRequest(),
		p.dispatch(), p.createAutolink(), p.protectBranch(), p.createDeployKey(), p.createEnvironment(),
		p.createIssue(), p.labelIssue(), p.enablePages(), p.createWebhook(),
	}
}

func (p Parts) sleep(ctx context.Context, d time.Duration) error {
	if p.Sleep != nil {
		return p.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func example(description, yaml string) scaffoldernode.ActionExample {
	return scaffoldernode.ActionExample{Description: description, Example: yaml}
}
