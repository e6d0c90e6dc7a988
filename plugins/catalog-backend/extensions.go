package catalogbackend

import (
	"context"
	"sync"

	"github.com/flytower/flytower/apierr"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// extensions collects what modules add. It implements all extension points of
// the plugin.
type extensions struct {
	mu            sync.Mutex
	frozen        bool
	processors    []catalognode.Processor
	providers     []catalognode.EntityProvider
	resolvers     map[string]catalognode.PlaceholderResolver
	handlers      []func(context.Context, catalognode.ProcessingError)
	locationTypes []string
	validators    catalogcommon.Validators
	parser        catalognode.DataParser
	analyzers     []catalognode.LocationAnalyzer
	analysis      catalognode.AnalyzerFactory
	models        []catalognode.ModelSource
}

func newExtensions() *extensions {
	return &extensions{resolvers: map[string]catalognode.PlaceholderResolver{}, locationTypes: []string{"url"}}
}

// freeze ends the time for additions.
func (x *extensions) freeze() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.frozen = true
}

// change makes one addition.
func (x *extensions) change(fn func() error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.frozen {
		return apierr.Conflict("the catalog has started: extend it in the init function of a module, not later")
	}
	return fn()
}

func (x *extensions) AddProcessor(p ...catalognode.Processor) error {
	return x.change(func() error { x.processors = append(x.processors, p...); return nil })
}

func (x *extensions) AddProvider(p ...catalognode.EntityProvider) error {
	return x.change(func() error {
		for _, added := range p {
			for _, there := range x.providers {
				if there.ProviderName() == added.ProviderName() {
					return apierr.Conflict("there is an entity provider named %q already; give each its own name", added.ProviderName())
				}
			}
			x.providers = append(x.providers, added)
		}
		return nil
	})
}

func (x *extensions) AddPlaceholderResolver(key string, resolve catalognode.PlaceholderResolver) error {
	return x.change(func() error {
		if _, taken := x.resolvers[key]; taken {
			return apierr.Conflict("there is a placeholder resolver for $%s already", key)
		}
		x.resolvers[key] = resolve
		return nil
	})
}

func (x *extensions) OnProcessingError(fn func(context.Context, catalognode.ProcessingError)) error {
	return x.change(func() error { x.handlers = append(x.handlers, fn); return nil })
}

func (x *extensions) SetAllowedTypes(types ...string) error {
	return x.change(func() error { x.locationTypes = types; return nil })
}

func (x *extensions) SetFieldValidators(v catalogcommon.Validators) error {
	return x.change(func() error { x.validators = x.validators.With(v); return nil })
}

func (x *extensions) SetDataParser(p catalognode.DataParser) error {
	return x.change(func() error {
		if x.parser != nil {
			return apierr.Conflict("the parser of catalog files was set already")
		}
		x.parser = p
		return nil
	})
}

func (x *extensions) AddModelSource(s ...catalognode.ModelSource) error {
	return x.change(func() error { x.models = append(x.models, s...); return nil })
}

func (x *extensions) AddLocationAnalyzer(a ...catalognode.LocationAnalyzer) error {
	return x.change(func() error { x.analyzers = append(x.analyzers, a...); return nil })
}

func (x *extensions) SetLocationAnalyzer(f catalognode.AnalyzerFactory) error {
	return x.change(func() error {
		if x.analysis != nil {
			return apierr.Conflict("the analyzer of locations was set already; only one module can")
		}
		x.analysis = f
		return nil
	})
}

var (
	_ catalognode.ProcessingExtensionPoint = (*extensions)(nil)
	_ catalognode.LocationsExtensionPoint  = (*extensions)(nil)
	_ catalognode.ModelExtensionPoint      = (*extensions)(nil)
	_ catalognode.AnalysisExtensionPoint   = (*extensions)(nil)
)
