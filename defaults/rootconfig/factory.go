package rootconfig

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/configschema"
	"github.com/flytower/flytower/core"
)

// Factory makes the configuration from the files that the command line and
// the environment name; see the package comment.
var Factory = NewFactory(Options{})

// NewFactory returns a factory with options. The configuration is loaded
// once, followed while the backend runs, and checked against the schemas of
// the options and of all installed plugins and modules.
func NewFactory(o Options) backend.ServiceFactory {
	return backend.NewRootServiceFactory(core.RootConfig, func(env *backend.RootEnv) backend.MakeFunc[core.ConfigRoot] {
		lifecycle, instance := core.RootLifecycle.From(env), core.InstanceMetadata.From(env)
		return func(ctx context.Context) (core.ConfigRoot, error) {
			root, err := Load(ctx, o)
			if err != nil {
				return nil, err
			}
			root.tell(func(log *slog.Logger) {
				log.Info("Loaded the configuration from " + strings.Join(root.Sources(), ", "))
			})
			adopted := o.merge(instance())
			if err := root.adopt(o, adopted); err != nil {
				return nil, err
			}
			// Feature loaders may install more plugins; their schemas count, too.
			var once sync.Once
			cancel := instance().Subscribe(func(s backend.Status) {
				if len(s.Plugins) == 0 && s.Phase == backend.PhaseStarting {
					return
				}
				once.Do(func() {
					if !o.covers(instance(), adopted) {
						adopted = o.merge(instance())
					}
					root.report(adopted)
				})
			})
			if err := lifecycle().OnStop("stop watching the status", func(context.Context) error { cancel(); return nil }); err != nil {
				return nil, err
			}
			lifecycle().Go("follow the configuration files", root.Watch)
			return root, nil
		}
	})
}

// NewStaticFactory returns a factory of a configuration that consists of the
// given values.
func NewStaticFactory(m map[string]any) backend.ServiceFactory {
	return backend.NewRootServiceFactory(core.RootConfig, func(*backend.RootEnv) backend.MakeFunc[core.ConfigRoot] {
		return func(context.Context) (core.ConfigRoot, error) {
			root := Static(m)
			schema, err := MergeSchemas()
			if err != nil {
				return nil, err
			}
			root.SetSchema(schema)
			return root, nil
		}
	})
}

// sources returns the schemas of the options and of the instance.
func (o Options) sources(instance backend.Instance) []configschema.Source {
	var list []configschema.Source
	for _, s := range o.Schemas {
		list = append(list, configschema.Source{Owner: "the backend system", Value: json.RawMessage(s)})
	}
	return append(list, InstalledSchemas(instance)...)
}

// merged is the schema of everything that was installed at some time. Making
// it is most of the work of a start.
type merged struct {
	sources []configschema.Source
	schema  *configschema.Schema
	err     error // see mergeTolerant
}

func (o Options) merge(instance backend.Instance) merged {
	m := merged{sources: o.sources(instance)}
	m.schema, m.err = mergeTolerant(m.sources)
	return m
}

// covers reports whether nothing was installed since.
func (o Options) covers(instance backend.Instance, m merged) bool {
	return slices.EqualFunc(o.sources(instance), m.sources, func(a, b configschema.Source) bool {
		return a.Owner == b.Owner && bytes.Equal(a.Value, b.Value)
	})
}

// adopt sets the schema, so that the secrets are known from the beginning.
// A strict start fails if schemas contradict each other.
func (r *Root) adopt(o Options, m merged) error {
	if m.schema == nil || m.err != nil && o.Strict {
		return m.err
	}
	r.SetSchema(m.schema)
	if o.Strict {
		return Check(r, m.schema).Invalid()
	}
	return nil
}

// report checks the configuration against the schemas of everything that is
// installed, and logs what it finds, now and after changes.
func (r *Root) report(m merged) {
	if m.err != nil {
		r.tell(func(log *slog.Logger) {
			log.Error("The keys of some plugins are not checked, because their configuration schemas cannot be used", "error", m.err)
		})
	}
	if m.schema == nil {
		return
	}
	r.SetSchema(m.schema)
	r.mu.Lock()
	r.reporting = true
	r.mu.Unlock()
	r.logReport()
}

// mergeTolerant merges schemas. If they contradict each other, it returns
// the error and the schema of those that fit together, so that one plugin
// does not keep the secrets of the others from being known.
func mergeTolerant(sources []configschema.Source) (*configschema.Schema, error) {
	schema, err := MergeSchemas(sources...)
	if err == nil {
		return schema, nil
	}
	var fitting []configschema.Source
	for _, s := range sources {
		with := append(slices.Clip(fitting), s)
		if merged, e := MergeSchemas(with...); e == nil {
			schema, fitting = merged, with
		}
	}
	if schema == nil {
		schema, _ = MergeSchemas() // the framework's own, which its tests merge
	}
	return schema, err
}
