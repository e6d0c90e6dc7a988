// Package permissionmoduledeclarativepolicy brings a permission policy that
// the configuration describes, as roles with rules:
//
//	b.Add(permissionbackend.Plugin, permissionmoduledeclarativepolicy.Module)
//
//	permission:
//	  enabled: true
//	  policy:
//	    roles:
//	      - name: everybody
//	        members: ['*']
//	        rules:
//	          - allow: [catalog.*]
//	            actions: [read]
//	          - allow: [catalog.entity.refresh, catalog.entity.delete]
//	            resourceType: catalog-entity
//	            when: {rule: IS_ENTITY_OWNER, params: {claims: [$ownerRefs]}}
//	      - name: platform
//	        members: [group:default/platform]
//	        rules:
//	          - allow: ['*']
//
// Without permission.policy in the configuration it does nothing. An edit
// applies at once; a broken one is logged with the place of each mistake, and
// the last good policy stays. When the rules that plugins publish are known,
// conditions that do not fit them are logged, too.
//
// POST /api/permission/policy/explain tells why a user may or may not do
// something. It needs the permission permission.policy.explain.
package permissionmoduledeclarativepolicy

import (
	"context"
	_ "embed"
	"log/slog"
	"reflect"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	"github.com/flytower/flytower/plugins/permission-backend-module-declarative-policy/internal/rules"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

//go:embed config.schema.json
var configSchema string

// key is where the policy stands in the configuration.
const key = "permission.policy"

// Module brings the policy.
var Module = backend.NewModule("permission", "declarative-policy", declare,
	backend.WithDescription("Decides with the roles and rules of the configuration"), core.ConfigSchema(configSchema),
	core.ConfigCheck(checkConfigured), core.ExplainsPolicy(explainConfigured), core.AsksForPermissions(PermissionExplain))

func declare(env *backend.ModuleEnv) backend.InitFunc {
	var (
		policies    = permissionnode.Policies.From(env)
		log         = core.Logger.From(env)
		config      = core.RootConfig.From(env)
		lifecycle   = core.Lifecycle.From(env)
		router      = core.HTTPRouter.From(env)
		auth        = core.Auth.From(env)
		httpAuth    = core.HTTPAuth.From(env)
		userInfo    = core.UserInfos.From(env)
		permissions = core.Permissions.From(env)
		plugins     = core.PluginClient.From(env)
		auditor     = core.Auditor.From(env)
		catalog     = catalognode.Catalog.From(env)
		meter       = core.Metrics.From(env)
	)
	return func(ctx context.Context) error {
		if !config().Has(key) {
			return nil
		}
		p := &policy{config: config(), log: log(), changed: make(chan struct{}, 1)}
		set, err := p.read()
		if err != nil {
			return err
		}
		p.set.Store(set)
		if p.shadow, err = p.config.BoolOr(key+".shadow", false); err != nil {
			return err
		}
		if p.shadow {
			err = policies().AddShadow(key, p)
		} else {
			err = policies().SetPolicy(p)
		}
		if err != nil {
			return err
		}
		if err := p.measure(meter()); err != nil {
			return err
		}
		p.inform(ctx, "the permission policy was read", set)
		cancel := p.config.Subscribe(p.reload)
		if err := lifecycle().OnStop("stop following the permission policy", func(context.Context) error { cancel(); return nil }); err != nil {
			return err
		}
		e := &explainer{
			policy: p, httpAuth: httpAuth(), userInfo: userInfo(), permissions: permissions(),
			plugins: plugins(), auditor: auditor(), catalog: catalog(), own: auth().Own(),
		}
		router().HandleErr("POST /policy/explain", e.explain)
		v := &verifier{plugins: plugins(), log: log(), own: auth().Own()}
		return lifecycle().OnStart("begin to check the permission policy", func(context.Context) error {
			lifecycle().Go("check the permission policy", func(ctx context.Context) error {
				v.run(ctx, p)
				return nil
			})
			return nil
		})
	}
}

// policy is that of the configuration, as it is now.
type policy struct {
	config core.ConfigRoot
	log    *slog.Logger
	shadow bool
	set    atomic.Pointer[rules.Set]
	// broken is what is wrong with the policy of the configuration, where set
	// is an older one.
	broken atomic.Pointer[error]
	// raw is what was read last, to tell changes of it from others. Only
	// reload uses it, which is called by one goroutine at a time.
	raw any
	// changed has a value when set is new.
	changed chan struct{}
}

// Decide implements [permissionnode.Policy].
func (p *policy) Decide(_ context.Context, q permissionnode.Query, user *permissionnode.User) (core.Decision, error) {
	var who *rules.Subject
	if user != nil {
		who = &rules.Subject{User: user.Info.UserEntityRef, Owns: user.Info.OwnershipEntityRefs}
	}
	return p.set.Load().Evaluate(q.Permission, who).Decision, nil
}

func (p *policy) read() (*rules.Set, error) {
	p.raw, _ = p.config.Value(key)
	return rules.Parse(p.config.Sub(key))
}

// reload follows a change of the configuration.
func (p *policy) reload() {
	ctx, before := context.Background(), p.raw
	if !p.config.Has(key) {
		p.log.WarnContext(ctx, "permission.policy is gone from the configuration: the last policy stays until the backend is started again")
		return
	}
	set, err := p.read()
	if reflect.DeepEqual(before, p.raw) {
		return
	}
	if err != nil {
		p.broken.Store(&err)
		p.log.ErrorContext(ctx, "the permission policy was edited and is broken: the last good one stays", "error", err)
		return
	}
	p.broken.Store(nil)
	if shadow, err := p.config.BoolOr(key+".shadow", false); err == nil && shadow != p.shadow {
		p.log.WarnContext(ctx, "a change of permission.policy.shadow takes effect when the backend is started again", "position", p.config.Position(key+".shadow").String())
	}
	p.set.Store(set)
	p.inform(ctx, "the permission policy was edited and is in effect", set)
	select {
	case p.changed <- struct{}{}:
	default: // somebody is told already
	}
}

// measure lets a broken policy be noticed by those who do not read the log:
// the backend would not start with it.
func (p *policy) measure(meter metric.Meter) error {
	_, err := meter.Int64ObservableGauge("permission.policy.broken", metric.WithDescription("1 while the policy of the configuration is broken and an older one is in effect"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			if p.broken.Load() != nil {
				o.Observe(1)
			} else {
				o.Observe(0)
			}
			return nil
		}))
	return err
}

func (p *policy) inform(ctx context.Context, message string, set *rules.Set) {
	n := 0
	for i := range set.Roles {
		n += len(set.Roles[i].Rules)
	}
	p.log.InfoContext(ctx, message, "roles", len(set.Roles), "rules", n, "shadow", p.shadow)
}
