// Package permissionbackend is the permission plugin: it decides, with the
// policy that a module brings, what users may do, under /api/permission.
//
//	b := flytower.New()
//	b.Add(permissionbackend.Plugin, permissionmoduleallowallpolicy.Module)
//
// Plugins ask it through core.Permissions, and frontends directly. It asks
// the policy once per request and permission. A decision that depends on the
// resource is given to plugins as it is, so that they restrict their queries
// by it; where a resource is named, the plugin that has the resource applies
// the conditions, once per request for all its resources.
//
// A request that cannot be decided fails: nothing is allowed then.
package permissionbackend

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

// DefaultBodyLimit is how many bytes an authorize request may have: frontends
// ask for a page of resources at once, and search engines for thousands.
const DefaultBodyLimit = 10 << 20

// Plugin is the permission plugin with its defaults.
var Plugin = New()

// Option changes a part of the plugin.
type Option func(*options)

type options struct {
	now       func() time.Time
	bodyLimit int64
}

// WithClock sets the clock. Default: [time.Now].
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// WithBodyLimit sets how many bytes an authorize request may have. Default:
// [DefaultBodyLimit].
func WithBodyLimit(bytes int64) Option { return func(o *options) { o.bodyLimit = bytes } }

// New returns the permission plugin.
func New(opts ...Option) backend.Feature {
	o := options{now: time.Now, bodyLimit: DefaultBodyLimit}
	for _, opt := range opts {
		opt(&o)
	}
	return backend.NewPlugin("permission", o.declare, backend.WithDescription("Decides what users may do, with the policy that a module brings"))
}

var errNoPolicy = errors.New("No policy module installed! Please install a policy module: add one that calls SetPolicy of permissionnode.Policies, or permissionmoduleallowallpolicy.Module, with which everybody may do everything") //nolint:revive,staticcheck // operators search for the beginning

func (o options) declare(env *backend.PluginEnv) backend.InitFunc {
	var (
		log       = core.Logger.From(env)
		config    = core.RootConfig.From(env)
		router    = core.HTTPRouter.From(env)
		lifecycle = core.Lifecycle.From(env)
		httpAuth  = core.HTTPAuth.From(env)
		userInfo  = core.UserInfos.From(env)
		plugins   = core.PluginClient.From(env)
		auditor   = core.Auditor.From(env)
		place     = core.LocalPermissions.From(env)
		meter     = core.Metrics.From(env)
	)
	policies := &registry{}
	permissionnode.Policies.Offer(env, policies)

	return func(ctx context.Context) error {
		chosen, err := policies.freeze()
		if err != nil {
			return err
		}
		enabled, err := config().BoolOr("permission.enabled", false)
		if err != nil {
			return err
		}
		if !enabled && !chosen.fallback {
			log().WarnContext(ctx, "there is a permission policy, but no plugin asks for it: permission.enabled is not true", "position", config().Position("permission.enabled").String())
		}
		measures, err := newMeasures(meter(), o.now)
		if err != nil {
			return err
		}
		h := &handler{
			measures: measures,
			httpAuth: httpAuth(), userInfo: userInfo(), auditor: auditor(), bodyLimit: o.bodyLimit,
			decider: &decider{
				policy: chosen.policy, measures: measures, guard: lifecycle().Guard,
				shadows: newShadows(chosen.shadows, log(), o.now),
			},
			applier: &applier{plugins: plugins(), guard: lifecycle().Guard},
		}
		router().AddAuthPolicy(core.AuthPolicy{Path: "/health", Allow: core.AllowUnauthenticated})
		router().HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
			apierr.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
		})
		router().HandleErr("POST /authorize", h.authorize)

		// From now on, plugins of this process ask without a request, until the
		// plugin stops. Earlier, their requests wait for it.
		if err := lifecycle().OnStop("decide no more for plugins of this process", func(context.Context) error { place().Set(nil); return nil }); err != nil {
			return err
		}
		place().Set(h)
		return nil
	}
}

// guard runs fn; a panic in it is an error.
type guard func(ctx context.Context, what string, fn func(context.Context) error) error
