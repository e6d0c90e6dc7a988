package appbackend

import (
	"net/http"
	"sync"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/configschema"
	appnode "github.com/flytower/flytower/plugins/app-node"
)

// once holds what a module may set once, before the plugin starts.
type once[T any] struct {
	what string

	mu     sync.Mutex
	value  T
	set    bool
	frozen bool
}

func (o *once[T]) put(v T, isNil bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case isNil:
		return apierr.Input("the %s of the app plugin must not be nil", o.what)
	case o.frozen:
		return apierr.Conflict("the app plugin has started: set its %s in the init function of a module, not later", o.what)
	case o.set:
		return apierr.Conflict("the %s of the app plugin is already set, by another module", o.what)
	}
	o.value, o.set = v, true
	return nil
}

// take returns what was set, and ends the time for setting it.
func (o *once[T]) take() T {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frozen = true
	return o.value
}

// staticFallback implements [appnode.StaticFallback].
type staticFallback struct{ once[http.Handler] }

// Set implements [appnode.StaticFallback].
func (f *staticFallback) Set(h http.Handler) error { return f.put(h, h == nil) }

// schemaSetter implements [appnode.SchemaSetter].
type schemaSetter struct {
	once[*configschema.Schema]
}

// Set implements [appnode.SchemaSetter].
func (s *schemaSetter) Set(schema *configschema.Schema) error { return s.put(schema, schema == nil) }

var (
	_ appnode.StaticFallback = (*staticFallback)(nil)
	_ appnode.SchemaSetter   = (*schemaSetter)(nil)
)
