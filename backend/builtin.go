package backend

import (
	"context"
	"log/slog"
	"time"
)

// Services that the backend itself provides or uses.
var (
	// RootLogger is the logger of the backend. There is no default: without a
	// factory, the backend discards what it has to say.
	RootLogger = NewRootServiceRef[*slog.Logger]("core.rootLogger")

	// StartupPolicies says what must start, and how long things may take. By
	// default everything must start, within the default limits.
	StartupPolicies = NewRootServiceRef[StartupPolicy]("core.startupPolicy").WithDefault(defaultPolicy)

	// PluginLifecycle is the lifecycle of a plugin. It is built in; it can be
	// decorated, and not be replaced.
	PluginLifecycle = NewServiceRef[Lifecycle]("core.lifecycle")

	// BackendLifecycle is the lifecycle of the backend. It is built in; it can
	// be decorated, and not be replaced. Each consumer has a view of its own,
	// and a decorator is made for each.
	BackendLifecycle = NewRootServiceRef[RootLifecycle]("core.rootLifecycle")

	// PluginMetadata tells a plugin, its modules and its services which plugin
	// they belong to. It is built in and can be neither replaced nor decorated.
	PluginMetadata = NewServiceRef[Metadata]("core.pluginMetadata")

	// InstanceMetadata describes the backend. It is built in and can be neither
	// replaced nor decorated.
	InstanceMetadata = NewRootServiceRef[Instance]("core.rootInstanceMetadata")
)

// builtIn maps the ids of built-in services to their descriptors.
func builtIn(id string) (s *service, decoratable, ok bool) {
	switch id {
	case "core.lifecycle":
		return PluginLifecycle.s, true, true
	case "core.rootLifecycle":
		return BackendLifecycle.s, true, true
	case "core.pluginMetadata":
		return PluginMetadata.s, false, true
	case "core.rootInstanceMetadata":
		return InstanceMetadata.s, false, true
	}
	return nil, false, false
}

// Metadata identifies a plugin.
type Metadata struct{ id string }

// ID returns the id of the plugin.
func (m Metadata) ID() string { return m.id }

// The default limits of [StartupPolicy].
const (
	DefaultInitTimeout = 5 * time.Minute
	DefaultHookTimeout = 30 * time.Second
	DefaultStopTimeout = time.Minute
)

// StartupPolicy says which plugins and modules the backend can start without,
// and how long things may take.
type StartupPolicy struct {
	PluginMayFail func(plugin string) bool         // nil: no plugin may fail
	ModuleMayFail func(plugin, module string) bool // nil: no module may fail

	InitTimeout time.Duration // of one init, with the services it is the first to need; 0 is DefaultInitTimeout
	HookTimeout time.Duration // of one hook, or one goroutine to end; 0 is DefaultHookTimeout
	StopTimeout time.Duration // of the whole stop; 0 is DefaultStopTimeout
}

func (p StartupPolicy) withDefaults() StartupPolicy {
	if p.PluginMayFail == nil {
		p.PluginMayFail = func(string) bool { return false }
	}
	if p.ModuleMayFail == nil {
		p.ModuleMayFail = func(string, string) bool { return false }
	}
	if p.InitTimeout <= 0 {
		p.InitTimeout = DefaultInitTimeout
	}
	if p.HookTimeout <= 0 {
		p.HookTimeout = DefaultHookTimeout
	}
	if p.StopTimeout <= 0 {
		p.StopTimeout = DefaultStopTimeout
	}
	return p
}

func defaultPolicy(ref RootServiceRef[StartupPolicy]) ServiceFactory {
	return NewRootServiceFactory(ref, func(*RootEnv) MakeFunc[StartupPolicy] {
		return func(context.Context) (StartupPolicy, error) { return StartupPolicy{}, nil }
	})
}

// Instance describes the backend that a service or plugin runs in.
type Instance interface {
	// Status returns the current state of the backend and of each plugin.
	Status() Status

	// Graph returns the wiring as data.
	Graph() Graph

	// Annotations returns the values that installed plugins and modules have
	// attached under the key with [WithAnnotation], in the order in which the
	// features were added.
	Annotations(key string) []Annotation

	// Subscribe calls fn with the status now, and after changes, until cancel
	// is called or the backend has stopped. Calls do not overlap; states that
	// pass while fn runs are skipped.
	Subscribe(fn func(Status)) (cancel func())
}

// Annotation is a value that a plugin or module carries.
type Annotation struct {
	Plugin string
	Module string // empty for a plugin
	Source string // where the plugin or module is declared
	Value  any
}

type instanceView struct{ b *Backend }

func (v instanceView) Status() Status                          { return v.b.Status() }
func (v instanceView) Graph() Graph                            { return v.b.Graph() }
func (v instanceView) Subscribe(fn func(Status)) (stop func()) { return v.b.subscribe(fn) }

func (v instanceView) Annotations(key string) []Annotation {
	var out []Annotation
	for _, p := range v.b.resolved().parts {
		for _, a := range p.options.annotations {
			if a.key == key {
				out = append(out, Annotation{p.plugin, p.module, sourceOf(p.pc), a.value})
			}
		}
	}
	return out
}
