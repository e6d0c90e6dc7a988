package scaffoldermodulegitea

import (
	"context"
	"sync/atomic"
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
		log       = core.Logger.From(env)
		lifecycle = core.Lifecycle.From(env)
		actions   = scaffoldernode.Actions.From(env)
	)
	return func(context.Context) error {
		g, err := open(config(), options{})
		if err != nil {
			return err
		}
		stop := config().Subscribe(func() {
			if err := g.read(config()); err != nil {
				log().Error("the changed configuration for Gitea is wrong; the last good one stays", "error", err)
			}
		})
		end := func() { stop(); g.close() }
		if err := lifecycle().OnStop("close the connections to Gitea", func(context.Context) error { end(); return nil }); err != nil {
			end()
			return err
		}
		return actions().AddActions(g.publish())
	}
}

// gitea is what the action works with.
type gitea struct {
	current atomic.Pointer[settings]
	client  *hostclient.Client
	git     *gitrepo.Client
	now     func() time.Time
	sleep   func(context.Context, time.Duration) error
}

// settings are what the module reads from the configuration, whenever that
// changes.
type settings struct {
	hosts   *integration.Hosts
	commits gitrepo.Defaults
}

// read takes over a configuration. Where it is wrong, the last one stays.
func (g *gitea) read(config core.Config) (err error) {
	s := &settings{}
	if s.commits, err = gitrepo.ReadDefaults(config); err != nil {
		return err
	}
	if s.hosts, err = integration.FromConfig(config); err != nil {
		return err
	}
	g.current.Store(s)
	return nil
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
	g := &gitea{now: o.now, sleep: o.sleep}
	if err := g.read(config); err != nil {
		return nil, err
	}
	transport := egress.New(egress.Options{Trusted: func(host string) bool { return g.current.Load().hosts.Trusts(host) }}).Transport()
	o.http.Transport, o.git.Transport = transport, transport
	g.client, g.git = hostclient.New(o.http), gitrepo.NewClient(o.git)
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
