package scaffoldermodulegitea

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

// Module brings the action publish:gitea.
var Module = backend.NewModule("scaffolder", "gitea", declare,
	backend.WithDescription("The action of the scaffolder for Gitea and Forgejo"),
)

func declare(env *backend.ModuleEnv) backend.InitFunc {
	var (
		config    = core.RootConfig.From(env)
		lifecycle = core.Lifecycle.From(env)
		actions   = scaffoldernode.Actions.From(env)
	)
	return func(context.Context) error {
		g, err := open(config(), options{})
		if err != nil {
			return err
		}
		if err := lifecycle().OnStop("close the connections to Gitea", func(context.Context) error { g.close(); return nil }); err != nil {
			g.close()
			return err
		}
		return actions().AddActions(g.publish())
	}
}

// gitea is what the action works with.
type gitea struct {
	hosts    *integration.Hosts
	defaults gitrepo.Defaults
	client   *hostclient.Client
	git      *gitrepo.Client
	now      func() time.Time
	sleep    func(context.Context, time.Duration) error
}

// options replace the clock in tests.
type options struct {
	http  hostclient.Options
	git   gitrepo.Options
	now   func() time.Time
	sleep func(context.Context, time.Duration) error
}

// open reads the configuration and makes the clients.
func open(config core.Config, o options) (*gitea, error) {
	defaults, err := gitrepo.ReadDefaults(config)
	if err != nil {
		return nil, err
	}
	hosts, err := integration.FromConfig(config)
	if err != nil {
		return nil, err
	}
	transport := egress.New(egress.Options{Trusted: hosts.Trusts}).Transport()
	o.http.Transport, o.git.Transport = transport, transport
	g := &gitea{hosts: hosts, defaults: defaults, client: hostclient.New(o.http), git: gitrepo.NewClient(o.git), now: o.now, sleep: o.sleep}
	if g.now == nil {
		g.now = time.Now
	}
	if g.sleep == nil {
		g.sleep = sleep
	}
	return g, nil
}

func (g *gitea) close() {
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
