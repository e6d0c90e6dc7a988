// Package appbackend is the app plugin: it serves the built frontend, with
// the configuration that the frontend may see in its page, at / and every path
// that nothing else is mounted at.
//
//	b := flytower.New()
//	b.Add(appbackend.Plugin)
//
// The frontend is the folder dist of the package app, as Backstage's command
// line builds it, unmodified; app.distDir and app.packageName of the
// configuration say where. Where there is none, the plugin says so once in the log and
// serves nothing, and everything else works.
//
// A frontend that was built with a public part (dist/public) is protected:
// who has not signed in gets that part only, which signs in and posts the
// token here in exchange for a cookie.
//
// Modules extend it through the extension points of package appnode.
package appbackend

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/configschema"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/app-backend/internal/assets"
	"github.com/flytower/flytower/plugins/app-backend/internal/frontend"
	"github.com/flytower/flytower/plugins/app-backend/internal/frontendconfig"
	appnode "github.com/flytower/flytower/plugins/app-node"
)

//go:embed config.schema.json
var configSchema string

// Plugin is the app plugin with its defaults.
var Plugin = New()

// Option changes a part of the plugin.
type Option func(*options)

type options struct{ now func() time.Time }

// WithClock sets the clock. Default: [time.Now].
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// New returns the app plugin.
func New(opts ...Option) backend.Feature {
	o := options{now: time.Now}
	for _, opt := range opts {
		opt(&o)
	}
	return backend.NewPlugin("app", o.declare,
		backend.WithDescription("Serves the frontend"),
		core.ConfigSchema(configSchema),
	)
}

func (o options) declare(env *backend.PluginEnv) backend.InitFunc {
	p := &plugin{options: o}
	var (
		log       = core.Logger.From(env)
		config    = core.RootConfig.From(env)
		database  = core.Database.From(env)
		router    = core.HTTPRouter.From(env)
		auth      = core.Auth.From(env)
		httpAuth  = core.HTTPAuth.From(env)
		lifecycle = core.Lifecycle.From(env)
	)
	fallback := &staticFallback{once[http.Handler]{what: "handler of missing static files"}}
	appnode.StaticFallbackHandler.Offer(env, fallback)
	schema := &schemaSetter{once[*configschema.Schema]{what: "configuration schema"}}
	appnode.ConfigSchema.Offer(env, schema)

	return func(ctx context.Context) (err error) {
		p.log, p.config, p.lifecycle = log(), config(), lifecycle()
		p.auth, p.httpAuth = auth(), httpAuth()
		p.fallback, p.schema = fallback.take(), schema.take()
		if p.settings, err = readSettings(p.config); err != nil {
			return err
		}
		router().AddAuthPolicy(core.AuthPolicy{Path: "/", Allow: core.AllowUnauthenticated})
		dir, err := appnode.FindBundle(p.config)
		var none *appnode.NoBundle
		switch {
		case errors.As(err, &none):
			level := slog.LevelInfo
			if none.Named {
				level = slog.LevelError
			}
			p.log.Log(ctx, level, "No frontend is served: "+none.Error())
			router().HandleFunc("/", serveNothing)
			return nil
		case err != nil:
			return err
		}
		serve, err := p.open(ctx, dir, database())
		if err != nil {
			return err
		}
		router().HandleErr("/", serve)
		return nil
	}
}

// serveNothing answers where there is no frontend. Somebody else may have
// something to show at /.
func serveNothing(w http.ResponseWriter, r *http.Request) {
	if next, ok := core.IndexFallback(r); ok {
		next.ServeHTTP(w, r)
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

// plugin is what the plugin is made of.
type plugin struct {
	options
	settings  settings
	log       *slog.Logger
	config    core.ConfigRoot
	lifecycle backend.Lifecycle
	auth      core.AuthService
	httpAuth  core.HTTPAuthService
	fallback  http.Handler
	schema    *configschema.Schema
}

// handler answers a request, or returns the error that does.
type handler func(http.ResponseWriter, *http.Request) error

// open prepares what is in the folder.
func (p *plugin) open(ctx context.Context, dir string, database core.DatabaseService) (handler, error) {
	config, err := p.frontendConfig(ctx, dir)
	if err != nil {
		return nil, err
	}
	var store *assets.Store
	bundles := map[string]assets.Bundle{}
	if p.settings.keep {
		store = assets.New(database, p.log, p.now)
	}
	entry := func(dir, namespace string, private bool, fallback http.Handler) (*frontend.EntryPoint, error) {
		o := frontend.Options{Dir: dir, Config: config, PublicPath: p.settings.publicPath, Fallback: fallback, Private: private, Now: p.now}
		if store != nil {
			o.Kept = store.In(namespace)
		}
		e, err := frontend.Open(o)
		if err != nil {
			return nil, err
		}
		bundles[namespace] = e
		return e, p.lifecycle.OnStop("close the frontend", func(context.Context) error { return e.Close() })
	}

	publicDir := filepath.Join(dir, "public")
	protected := p.settings.public && isFolder(publicDir)
	main, err := entry(dir, assets.Main, protected, p.fallback)
	if err != nil {
		return nil, err
	}
	serve := main.Serve
	if protected {
		public, err := entry(publicDir, assets.Public, false, nil)
		if err != nil {
			return nil, err
		}
		origins, err := p.trustedOrigins()
		if err != nil {
			return nil, err
		}
		g := &guard{main: main.Serve, public: public.Serve, auth: p.auth, httpAuth: p.httpAuth, origins: origins}
		serve = g.serve
	}
	p.log.InfoContext(ctx, "Serving the frontend", "dir", dir, "protected", protected)
	if store != nil {
		err = p.lifecycle.OnStart("keep static files", func(context.Context) error {
			p.lifecycle.Go("static files", func(ctx context.Context) error { store.Run(ctx, bundles); return nil })
			return nil
		})
	}
	return serve, err
}

func isFolder(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

// frontendConfig returns what the frontend sees, nil if it is to be left as it
// was built.
func (p *plugin) frontendConfig(ctx context.Context, dir string) (*frontendconfig.Config, error) {
	if !p.settings.inject {
		return nil, nil
	}
	schema := p.schema
	if schema == nil {
		text, err := frontend.Schema(dir)
		if err != nil {
			return nil, fmt.Errorf("the frontend in %s: %w", dir, err)
		}
		if text == nil {
			p.log.WarnContext(ctx, "The frontend gets no configuration: its build has no .config-schema.json, which says what it may see. Build it with a current Backstage CLI", "dir", dir)
		} else if schema, err = parseSchema(text); err != nil {
			return nil, fmt.Errorf("the frontend in %s: .config-schema.json: %w", dir, err)
		}
	}
	config, err := frontendconfig.New(p.config, schema)
	if err != nil {
		return nil, fmt.Errorf("the configuration does not fit the frontend in %s; mend it, or build the frontend again if its schema is out of date: %w", dir, err)
	}
	return config, nil
}

func parseSchema(text []byte) (*configschema.Schema, error) {
	sources, err := configschema.ParseSerialized(text)
	if err != nil {
		return nil, err
	}
	return configschema.Merge(sources...)
}

// trustedOrigins refuses sign-ins that other sites post in the name of a user.
func (p *plugin) trustedOrigins() (*http.CrossOriginProtection, error) {
	origins := http.NewCrossOriginProtection()
	var problems []error
	for _, key := range []string{"app.baseUrl", "backend.baseUrl"} {
		text, err := p.config.StringOr(key, "")
		if err != nil {
			return nil, err
		}
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			problems = append(problems, origins.AddTrustedOrigin(strings.ToLower(u.Scheme+"://"+u.Host)))
		}
	}
	return origins, errors.Join(problems...)
}
