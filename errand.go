package flytower

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/actions"
	"github.com/flytower/flytower/defaults/actionsregistry"
	"github.com/flytower/flytower/defaults/auditor"
	"github.com/flytower/flytower/defaults/cache"
	"github.com/flytower/flytower/defaults/httpauth"
	"github.com/flytower/flytower/defaults/logger"
	"github.com/flytower/flytower/defaults/metrics"
	"github.com/flytower/flytower/defaults/permissions"
	"github.com/flytower/flytower/defaults/permissionsregistry"
	"github.com/flytower/flytower/defaults/pluginclient"
	"github.com/flytower/flytower/defaults/rootconfig"
	"github.com/flytower/flytower/defaults/roothealth"
	"github.com/flytower/flytower/defaults/rootlogger"
	"github.com/flytower/flytower/defaults/systemmetadata"
	"github.com/flytower/flytower/defaults/telemetry"
	"github.com/flytower/flytower/defaults/tracing"
	"github.com/flytower/flytower/defaults/urlreader"
	"github.com/flytower/flytower/defaults/userinfo"
	"github.com/flytower/flytower/internal/nothing"
	"github.com/flytower/flytower/internal/ownprocess"
)

// Errand is one thing that a plugin does in a backend that does not serve: it
// starts with its modules, does it, and stops. Nothing listens, no database is
// opened, and no other plugin starts; see [core.ErrandService].
//
//	result, err := flytower.Errand{Plugin: "scaffolder", Name: templatedryrun.Errand, With: request}.Do(ctx, config, features...)
type Errand struct {
	// Plugin does it, Name says what, and With is what the plugin is given.
	Plugin, Name string
	With         any
	// Log, if not nil, is told of warnings and errors. The default discards
	// them.
	Log *slog.Logger
}

// Do starts the backend, has the plugin do the errand, and stops the backend.
func (e Errand) Do(ctx context.Context, config rootconfig.Options, features ...backend.Feature) (result any, err error) {
	service := &errandService{name: e.Name}
	log := e.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	config.Schemas = append(append([]string{}, config.Schemas...), ConfigSchemas()...)
	b := backend.New(backend.WithDefaults(append(errandDefaults(e.Plugin), rootconfig.NewFactory(config),
		backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
			return func(context.Context) (*slog.Logger, error) { return log, nil }
		}),
		backend.NewServiceFactory(core.Auth, func(*backend.FactoryEnv) backend.MakeFunc[core.AuthService] {
			return func(context.Context) (core.AuthService, error) { return nothing.Auth{Plugin: e.Plugin}, nil }
		}),
		backend.NewServiceFactory(core.Discovery, func(*backend.FactoryEnv) backend.MakeFunc[core.DiscoveryService] {
			return func(context.Context) (core.DiscoveryService, error) { return nothing.Discovery{}, nil }
		}),
		service.factory())...))
	b.Add(features...).Only(e.Plugin)
	if err := b.Start(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if stopped := b.Stop(context.WithoutCancel(ctx)); err == nil {
			err = stopped
		}
	}()
	return service.run(ctx, e.Plugin, e.With)
}

// errandDefaults are the default services of a backend that does not serve,
// without configuration, logger, discovery and auth.
func errandDefaults(plugin string) []backend.ServiceFactory {
	return append(nothing.Factories(plugin),
		systemmetadata.Factory,
		roothealth.Factory,
		actions.Factory,
		actionsregistry.Factory,
		auditor.Factory,
		cache.Factory,
		httpauth.Factory,
		logger.Factory,
		metrics.Factory,
		permissions.Factory,
		permissionsregistry.Factory,
		pluginclient.Factory,
		telemetry.Factory,
		tracing.Factory,
		urlreader.Factory,
		userinfo.Factory,
	)
}

// taskBackend is the backend of a process that was started for one errand. It
// does that and exits, whatever the main package asks it for.
func taskBackend(child *ownprocess.Child) *backend.Backend {
	service := &errandService{name: child.Errand()}
	factory := backend.NewRootServiceFactory(core.Errand, func(env *backend.RootEnv) backend.MakeFunc[core.ErrandService] {
		lifecycle := core.RootLifecycle.From(env)
		return func(context.Context) (core.ErrandService, error) {
			return service, lifecycle().OnStart("the errand", func(context.Context) error {
				lifecycle().Go("the errand", func(ctx context.Context) error {
					result, err := service.run(ctx, child.Plugin(), child)
					if err := child.End(result, err); err != nil {
						fmt.Fprintln(os.Stderr, err)
						os.Exit(1)
					}
					os.Exit(0)
					return nil
				})
				return nil
			})
		}
	})
	b := backend.New(backend.WithDefaults(append(errandDefaults(child.Plugin()),
		rootconfig.NewStaticFactory(child.Config()),
		rootlogger.NewFactory(rootlogger.Options{Writer: os.Stderr, Format: rootlogger.JSON, Level: slog.LevelWarn, Getenv: func(string) string { return "" }}),
		backend.NewServiceFactory(core.Auth, func(*backend.FactoryEnv) backend.MakeFunc[core.AuthService] {
			return func(context.Context) (core.AuthService, error) {
				return childAuth{nothing.Auth{Plugin: child.Plugin()}, child}, nil
			}
		}),
		backend.NewServiceFactory(core.Discovery, func(*backend.FactoryEnv) backend.MakeFunc[core.DiscoveryService] {
			return func(context.Context) (core.DiscoveryService, error) { return childDiscovery{child: child}, nil }
		}),
		factory)...))
	return b.Only(child.Plugin())
}

// childAuth gets tokens from the backend: for calls on behalf of who the
// errand is for, to one plugin each.
type childAuth struct {
	nothing.Auth
	child *ownprocess.Child
}

// PluginRequestToken implements [core.AuthService].
func (a childAuth) PluginRequestToken(ctx context.Context, who core.Credentials, target string) (core.Token, error) {
	var token string
	err := a.child.Call(ctx, ownprocess.MethodToken, ownprocess.TokenRequest{Type: string(who.Principal.Type), User: who.Principal.UserEntityRef, Subject: who.Principal.Subject, Plugin: target}, &token)
	return core.NewToken(token), err
}

// childDiscovery asks the backend where plugins are.
type childDiscovery struct {
	nothing.Discovery
	child *ownprocess.Child
}

// BaseURL implements [core.DiscoveryService].
func (d childDiscovery) BaseURL(ctx context.Context, plugin string) (address string, err error) {
	err = d.child.Call(ctx, ownprocess.MethodBaseURL, plugin, &address)
	return address, err
}

// ExternalBaseURL implements [core.DiscoveryService].
func (d childDiscovery) ExternalBaseURL(ctx context.Context, plugin string) (address string, err error) {
	err = d.child.Call(ctx, ownprocess.MethodExternalBaseURL, plugin, &address)
	return address, err
}

// errandService implements [core.ErrandService].
type errandService struct {
	name string

	mu sync.Mutex
	do func(context.Context, any) (any, error)
}

func (s *errandService) factory() backend.ServiceFactory {
	return backend.NewRootServiceFactory(core.Errand, func(*backend.RootEnv) backend.MakeFunc[core.ErrandService] {
		return func(context.Context) (core.ErrandService, error) { return s, nil }
	})
}

// Take implements [core.ErrandService].
func (s *errandService) Take(name string, do func(context.Context, any) (any, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name != s.name {
		return nil
	}
	if s.do != nil {
		return apierr.Conflict("the errand %q is taken already", name)
	}
	s.do = do
	return nil
}

func (s *errandService) run(ctx context.Context, plugin string, with any) (any, error) {
	s.mu.Lock()
	do := s.do
	s.mu.Unlock()
	if do == nil {
		return nil, fmt.Errorf("the plugin %s does not know how to do %q", plugin, s.name)
	}
	return do(ctx, with)
}
