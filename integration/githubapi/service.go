package githubapi

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/egress"
	"github.com/flytower/flytower/integration/githubapp"
	"github.com/flytower/flytower/integration/hostclient"
)

// Service is the service of the hosts. It needs no factory to be added: by
// default the hosts below integrations.github are used, and the service
// follows changes of the configuration.
var Service = backend.NewRootServiceRef[*Hosts]("flytower.integration.github").WithDefault(
	func(ref backend.RootServiceRef[*Hosts]) backend.ServiceFactory { return newFactory(ref, Options{}) })

// NewFactory returns a factory of [Service] with options.
func NewFactory(o Options) backend.ServiceFactory { return newFactory(Service, o) }

func newFactory(ref backend.RootServiceRef[*Hosts], o Options) backend.ServiceFactory {
	return backend.NewRootServiceFactory(ref, func(env *backend.RootEnv) backend.MakeFunc[*Hosts] {
		config := core.RootConfig.From(env)
		logger := core.RootLogger.From(env)
		lifecycle := core.RootLifecycle.From(env)
		return func(context.Context) (*Hosts, error) {
			h, err := New(config(), o)
			if err != nil {
				return nil, err
			}
			log := logger().With(slog.String("service", ref.ID()))
			stop := config().Subscribe(func() {
				if err := h.Reload(config()); err != nil {
					log.Error("the changed configuration of the integrations is wrong; the last good one stays", "error", err)
				}
			})
			err = lifecycle().OnStop("close the connections to GitHub", func(context.Context) error {
				stop()
				h.Close()
				return nil
			})
			if err != nil {
				stop()
				h.Close()
				return nil, err
			}
			return h, nil
		}
	}, backend.Lazy())
}

// Options configure [Hosts]. The zero value has defaults for all.
type Options struct {
	// Client sets how hosts are treated, and replaces the clock in tests. Its
	// Transport, if set, replaces the egress guard.
	Client hostclient.Options
}

// Hosts are the configured GitHub hosts. It is safe for concurrent use.
type Hosts struct {
	options Options
	client  *hostclient.Client
	current atomic.Pointer[state]
}

// state is what follows from the configuration.
type state struct {
	hosts *integration.Hosts
	apis  map[string]*connection
}

// connection is one host as it is configured now.
type connection struct {
	integration integration.GitHub
	credentials *githubapp.Source
}

// New returns the hosts of the configuration. The caller closes them.
func New(config core.Config, o Options) (*Hosts, error) {
	h := &Hosts{options: o}
	client := o.Client
	if client.Transport == nil {
		client.Transport = egress.New(egress.Options{Trusted: func(host string) bool {
			s := h.current.Load()
			return s != nil && s.hosts.Trusts(host)
		}}).Transport()
	}
	h.client = hostclient.New(client)
	if err := h.Reload(config); err != nil {
		h.client.Close()
		return nil, err
	}
	return h, nil
}

// Reload takes over another configuration. Where it is wrong, the error says
// so and the last good one stays.
func (h *Hosts) Reload(config core.Config) error {
	hosts, err := integration.FromConfig(config)
	if err != nil {
		return err
	}
	s := &state{hosts: hosts, apis: map[string]*connection{}}
	for _, g := range hosts.GitHub {
		if _, ok := s.apis[g.Host]; !ok {
			s.apis[g.Host] = &connection{g, githubapp.New(githubapp.Options{Integration: g, Client: h.client, Now: h.options.Client.Now})}
		}
	}
	h.current.Store(s)
	return nil
}

// Close closes idle connections.
func (h *Hosts) Close() { h.client.Close() }

// Host returns the API of a host, with its port where that is not the
// default. A host that is not configured, or has no API, is a not-found error.
// The API follows changes of the configuration.
func (h *Hosts) Host(host string) (*API, error) {
	api := &API{hosts: h, host: strings.ToLower(host)}
	if _, err := api.connection(); err != nil {
		return nil, err
	}
	return api, nil
}

// API is the API of one host.
type API struct {
	hosts *Hosts
	host  string
}

// HostName returns the name of the host, such as "github.com".
func (a *API) HostName() string { return a.host }

func (a *API) connection() (*connection, error) {
	c, ok := a.hosts.current.Load().apis[a.host]
	switch {
	case !ok:
		return nil, apierr.NotFound("there is no GitHub integration for the host %q; add one below integrations.github", a.host)
	case c.integration.APIBaseURL == "":
		return nil, apierr.NotFound("the GitHub integration for the host %q has no apiBaseUrl; add it below integrations.github", a.host)
	}
	return c, nil
}

// Installations returns the installations of the GitHub Apps that are
// configured for the host; those of one app, if appID is not 0. Suspended
// ones, and those of owners that are not allowed, are left out. What was read
// within maxAge is not read again.
func (a *API) Installations(ctx context.Context, appID int64, maxAge time.Duration) ([]githubapp.Installation, error) {
	c, err := a.connection()
	if err != nil {
		return nil, err
	}
	found, err := c.credentials.Installations(ctx, appID, maxAge)
	if err != nil {
		return nil, fmt.Errorf("finding the installations at %s: %w", a.host, err)
	}
	return found, nil
}

// HasApps reports whether any GitHub App is configured for the host.
func (a *API) HasApps() bool {
	c, err := a.connection()
	return err == nil && len(c.integration.Apps) > 0
}

// HasCredentials reports whether a token or a GitHub App is configured for the
// host. Some reads, such as searches for code, need one.
func (a *API) HasCredentials() bool {
	c, err := a.connection()
	return err == nil && (len(c.integration.Apps) > 0 || !c.integration.Token.IsZero())
}

// AsApp reports whether requests about the owner are sent as a GitHub App,
// which may read less than the token of a person.
func (a *API) AsApp(ctx context.Context, owner string) (bool, error) {
	c, err := a.connection()
	if err != nil {
		return false, err
	}
	credential, err := c.credentials.Credentials(ctx, owner, "")
	if err != nil {
		return false, fmt.Errorf("finding the credential for %s at %s: %w", owner, a.host, err)
	}
	return credential.IsApp(), nil
}
