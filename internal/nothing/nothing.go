// Package nothing has core services for backends that do not serve: no route
// is reachable, nothing runs on a schedule, and there is no database.
//
//	backend.WithDefaults(nothing.Factories("scaffolder")...)
package nothing

import (
	"context"
	"database/sql"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Factories returns the factories of the services that serve, listen or keep
// things. plugin is the only plugin that has to start; what else is installed
// may fail.
func Factories(plugin string) []backend.ServiceFactory {
	return []backend.ServiceFactory{
		root(core.RootHTTPRouter, core.HTTPRoot(httpRoot{})),
		root(core.StartupPolicy, backend.StartupPolicy{PluginMayFail: func(id string) bool { return id != plugin }}),
		each(core.HTTPRouter, func() core.Router { return router{} }),
		each(core.Database, func() core.DatabaseService { return database{} }),
		each(core.Scheduler, func() core.SchedulerService { return scheduler{} }),
		each(core.Events, func() core.EventsService { return events{} }),
	}
}

func root[T any](ref backend.RootServiceRef[T], v T) backend.ServiceFactory {
	return backend.NewRootServiceFactory(ref, func(*backend.RootEnv) backend.MakeFunc[T] {
		return func(context.Context) (T, error) { return v, nil }
	})
}

func each[T any](ref backend.ServiceRef[T], made func() T) backend.ServiceFactory {
	return backend.NewServiceFactory(ref, func(*backend.FactoryEnv) backend.MakeFunc[T] {
		return func(context.Context) (T, error) { return made(), nil }
	})
}

// httpRoot listens nowhere.
type httpRoot struct{}

func (httpRoot) Use(string, http.Handler) error      { return nil }
func (httpRoot) Addr() net.Addr                      { return &net.TCPAddr{} }
func (httpRoot) Handler(string) (http.Handler, bool) { return nil, false }
func (httpRoot) Mounts() []string                    { return nil }

// router takes routes that nobody asks for.
type router struct{}

func (router) Handle(string, http.Handler)                                      {}
func (router) HandleFunc(string, func(http.ResponseWriter, *http.Request))      {}
func (router) HandleErr(string, func(http.ResponseWriter, *http.Request) error) {}
func (router) Use(func(http.Handler) http.Handler)                              {}
func (router) AddAuthPolicy(core.AuthPolicy)                                    {}
func (router) Routes() []string                                                 { return nil }

// database says that there is none.
type database struct{}

func absent() error {
	return apierr.New(apierr.KindServiceUnavailable, "there is no database here: this process does one thing and ends")
}

func (database) DB(context.Context) (*sql.DB, error) { return nil, absent() }
func (database) Dialect() core.Dialect               { return core.SQLite }

// Migrate does nothing, so that modules start which use their tables only when
// they are asked to.
func (database) Migrate(context.Context, core.Migrations) error { return nil }

func (database) WriteTx(context.Context, func(*sql.Tx) error) error { return absent() }

// scheduler never runs anything.
type scheduler struct{}

func (scheduler) Schedule(context.Context, core.Task) error { return nil }
func (scheduler) Tasks() []core.TaskInfo                    { return nil }
func (scheduler) Trigger(_ context.Context, id string) error {
	return apierr.NotFound("the task %s does not run here", id)
}
func (scheduler) Cancel(_ context.Context, id string) error {
	return apierr.Conflict("the task %s does not run here", id)
}

// events reach nobody.
type events struct{}

func (events) Publish(context.Context, core.Event) error          { return nil }
func (events) Subscribe(context.Context, core.Subscription) error { return nil }

// Auth knows nobody and signs nothing.
type Auth struct {
	// Plugin is whose service it is.
	Plugin string
}

// Authenticate refuses every token.
func (Auth) Authenticate(context.Context, string, bool) (core.Credentials, error) {
	return core.Credentials{}, apierr.New(apierr.KindAuthentication, "no token is accepted here: this process does not serve")
}

// Own returns the credentials of the plugin, which get no token.
func (a Auth) Own() core.Credentials {
	return core.ServiceCredentials("plugin:"+a.Plugin, core.Token{}, nil, nil)
}

// PluginRequestToken refuses.
func (Auth) PluginRequestToken(_ context.Context, _ core.Credentials, target string) (core.Token, error) {
	return core.Token{}, apierr.New(apierr.KindServiceUnavailable, "the plugin %s cannot be called: there is no running backend here", target)
}

// LimitedUserToken refuses.
func (Auth) LimitedUserToken(context.Context, core.Credentials) (core.Token, time.Time, error) {
	return core.Token{}, time.Time{}, apierr.New(apierr.KindAuthentication, "no token is issued here: this process does not serve")
}

// PublicKeys returns none.
func (Auth) PublicKeys(context.Context) ([]json.RawMessage, error) { return nil, nil }

// Discovery finds no plugin.
type Discovery struct{}

// BaseURL refuses.
func (Discovery) BaseURL(_ context.Context, plugin string) (string, error) {
	return "", apierr.New(apierr.KindServiceUnavailable, "the plugin %s cannot be called: there is no running backend here", plugin)
}

// ExternalBaseURL refuses.
func (d Discovery) ExternalBaseURL(ctx context.Context, plugin string) (string, error) {
	return d.BaseURL(ctx, plugin)
}

// Elsewhere returns none.
func (Discovery) Elsewhere() []string { return nil }
