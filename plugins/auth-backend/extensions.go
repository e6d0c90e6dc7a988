package authbackend

import (
	"regexp"
	"strings"
	"sync"

	"github.com/flytower/flytower/apierr"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

// extensions collects what modules add. It implements the extension points of
// the plugin.
type extensions struct {
	mu        sync.Mutex
	frozen    bool
	providers []registered
	ownership authnode.OwnershipResolver
}

// registered is a provider that a module has added.
type registered struct {
	id      string
	factory authnode.ProviderFactory
}

func newExtensions() *extensions { return &extensions{} }

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
		return apierr.Conflict("the auth plugin has started: extend it in the init function of a module, not later")
	}
	return fn()
}

// providerID is what a provider id looks like. Other routes of the plugin
// begin with "v1" or a dot.
var providerID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)

// Register implements [authnode.ProviderRegistry].
func (x *extensions) Register(id string, f authnode.ProviderFactory) error {
	if !providerID.MatchString(id) || strings.EqualFold(id, "v1") {
		return apierr.Input("%q cannot be the id of an auth provider: use a letter and then letters, digits, \".\", \"_\" and \"-\", and not v1", id)
	}
	if f == nil {
		return apierr.Input("the auth provider %q has no factory", id)
	}
	return x.change(func() error {
		for _, p := range x.providers {
			if strings.EqualFold(p.id, id) {
				return apierr.Conflict("Auth provider '%s' was already registered", id)
			}
		}
		x.providers = append(x.providers, registered{id, f})
		return nil
	})
}

// Set implements [authnode.OwnershipRegistry].
func (x *extensions) Set(r authnode.OwnershipResolver) error {
	if r == nil {
		return apierr.Input("the auth ownership resolver is nil")
	}
	return x.change(func() error {
		if x.ownership != nil {
			return apierr.Conflict("Auth ownership resolver is already set")
		}
		x.ownership = r
		return nil
	})
}
