package backend

import (
	"context"
	"fmt"
	"strings"
)

// Feature is what [Backend.Add] adds: a plugin, a module, a service factory, a
// decorator, a feature loader, or a group of features. Feature values are
// immutable and may be added to several backends.
type Feature interface{ feature() }

type (
	// InitFunc starts a plugin or module. It returns when the plugin is ready
	// to serve: routes added, tasks registered. Its context ends when it
	// returns, and earlier when the backend stops or the init limit of
	// [StartupPolicy] passes; work that goes on after it belongs to
	// [Lifecycle].Go.
	InitFunc func(ctx context.Context) error

	// MakeFunc makes an instance of a service. Its context ends when the start
	// of the backend is given up; it must not be kept.
	MakeFunc[T any] func(ctx context.Context) (T, error)

	// LoadFunc returns the features that a feature loader adds.
	LoadFunc func(ctx context.Context) ([]Feature, error)
)

// unit is a plugin or a module.
type unit struct {
	plugin, module string // module is empty for a plugin
	pc             uintptr
	nilDeclare     bool
	declare        func(*declaration) InitFunc
	options        featureOptions
}

func (*unit) feature() {}

func (u *unit) isModule() bool { return u.module != "" }

func (u *unit) String() string {
	if u.isModule() {
		return fmt.Sprintf("module %q of plugin %q", strings.TrimSpace(u.module), u.plugin)
	}
	return fmt.Sprintf("plugin %q", u.plugin)
}

func (u *unit) site() Site { return Site{u.String(), sourceOf(u.pc)} }

// NewPlugin returns the plugin with the given id. An id is letters and
// digits, in groups separated by single dashes, and starts with a letter.
//
// Declare must be pure; see the package documentation.
func NewPlugin(id string, declare func(*PluginEnv) InitFunc, opts ...FeatureOption) Feature {
	u := &unit{plugin: id, pc: callerPC(0), nilDeclare: declare == nil}
	u.declare = func(d *declaration) InitFunc { return declare(&PluginEnv{d}) }
	return u.with(opts)
}

// NewModule returns a module that extends the named plugin. It starts before
// the plugin and shares the plugin's services.
func NewModule(plugin, id string, declare func(*ModuleEnv) InitFunc, opts ...FeatureOption) Feature {
	u := &unit{plugin: plugin, module: id, pc: callerPC(0), nilDeclare: declare == nil}
	if id == "" {
		u.module = noID
	}
	u.declare = func(d *declaration) InitFunc { return declare(&ModuleEnv{d}) }
	return u.with(opts)
}

// noID stands for the missing id of a module, which an empty string would make
// look like a plugin; it is not a valid id either.
const noID = " "

// FeatureOption attaches data to a plugin or module.
type FeatureOption func(*featureOptions)

type featureOptions struct {
	description string
	annotations []annotation
}

type annotation struct {
	key   string
	value any
}

func (u *unit) with(opts []FeatureOption) *unit {
	for _, o := range opts {
		o(&u.options)
	}
	return u
}

// WithDescription describes the plugin or module in one sentence, for
// listings and the graph.
func WithDescription(text string) FeatureOption {
	return func(o *featureOptions) { o.description = text }
}

// WithAnnotation attaches a value that others read with
// [Instance].Annotations. Packages that define a key offer an option of their
// own for it.
func WithAnnotation(key string, value any) FeatureOption {
	return func(o *featureOptions) { o.annotations = append(o.annotations, annotation{key, value}) }
}

// group is several features in one.
type group []Feature

func (group) feature() {}

// Features returns a group: one feature that adds several.
func Features(fs ...Feature) Feature { return group(append([]Feature(nil), fs...)) }
