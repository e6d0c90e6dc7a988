package scaffoldermodulegitlab

import (
	"context"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/egress"
	"github.com/flytower/flytower/integration/hostclient"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

// Module brings the actions of GitLab, and the autocomplete provider gitlab.
var Module = backend.NewModule("scaffolder", "gitlab", declare,
	backend.WithDescription("Actions of the scaffolder for GitLab"),
)

func declare(env *backend.ModuleEnv) backend.InitFunc {
	var (
		config       = core.RootConfig.From(env)
		lifecycle    = core.Lifecycle.From(env)
		actions      = scaffoldernode.Actions.From(env)
		autocomplete = scaffoldernode.Autocomplete.From(env)
	)
	return func(context.Context) error {
		g, err := open(config(), options{})
		if err != nil {
			return err
		}
		if err := lifecycle().OnStop("close the connections to GitLab", func(context.Context) error { g.close(); return nil }); err != nil {
			g.close()
			return err
		}
		if err := actions().AddActions(g.actions()...); err != nil {
			return err
		}
		return autocomplete().AddAutocompleteProvider("gitlab", g.complete)
	}
}

// options replace the clock in tests.
type options struct {
	http  hostclient.Options
	git   gitrepo.Options
	now   func() time.Time
	sleep func(context.Context, time.Duration) error
}

// open reads the configuration and makes the clients.
func open(config core.Config, o options) (*gitlab, error) {
	settings, err := readSettings(config)
	if err != nil {
		return nil, err
	}
	hosts, err := integration.FromConfig(config)
	if err != nil {
		return nil, err
	}
	transport := egress.New(egress.Options{Trusted: hosts.Trusts}).Transport()
	o.http.Transport, o.git.Transport = transport, transport
	g := &gitlab{settings: settings, hosts: hosts, client: hostclient.New(o.http), git: gitrepo.NewClient(o.git), now: o.now, sleep: o.sleep}
	if g.now == nil {
		g.now = time.Now
	}
	if g.sleep == nil {
		g.sleep = sleep
	}
	return g, nil
}

func (g *gitlab) close() {
	g.client.Close()
	g.git.Close()
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *gitlab) actions() []scaffoldernode.Action {
	return []scaffoldernode.Action{
		g.ensureGroup(), g.groupAccess(), g.migrateGroup(), g.createIssue(), g.editIssue(),
		g.createProjectAccessToken(), g.createProjectDeployToken(), g.createProjectVariable(),
		g.pushToRepo(), g.userInfo(), g.publish(), g.publishMergeRequest(), g.triggerPipeline(),
	}
}
