package core

import (
	"context"
	"sync/atomic"

	"github.com/flytower/flytower/backend"
)

// PermissionDecider decides on permissions of users in the process of the
// permission plugin, as its routes do for plugins elsewhere.
type PermissionDecider interface {
	// DecideFor decides each request of the user, in order. A request for a
	// resource permission without a ref may get a conditional decision. The
	// actor of the credentials is the plugin that asks.
	DecideFor(ctx context.Context, user Credentials, requests []AuthorizeRequest) ([]Decision, error)
}

// PermissionDeciderPlace is where the permission plugin, while it runs, can be
// found by the other plugins of its process, which then ask it without a
// request. It is safe for concurrent use.
type PermissionDeciderPlace struct {
	decider atomic.Pointer[PermissionDecider]
}

// Set puts the decider there; nil removes it.
func (p *PermissionDeciderPlace) Set(d PermissionDecider) {
	if d == nil {
		p.decider.Store(nil)
		return
	}
	p.decider.Store(&d)
}

// Get returns the decider; ok is false if there is none in this process.
func (p *PermissionDeciderPlace) Get() (d PermissionDecider, ok bool) {
	if at := p.decider.Load(); at != nil {
		return *at, true
	}
	return nil, false
}

// LocalPermissions is where the permission plugin of the process is found. It
// needs no factory to be added.
var LocalPermissions = backend.NewRootServiceRef[*PermissionDeciderPlace]("flytower.localPermissions").WithDefault(
	func(ref backend.RootServiceRef[*PermissionDeciderPlace]) backend.ServiceFactory {
		return backend.NewRootServiceFactory(ref, func(*backend.RootEnv) backend.MakeFunc[*PermissionDeciderPlace] {
			return func(context.Context) (*PermissionDeciderPlace, error) { return &PermissionDeciderPlace{}, nil }
		}, backend.Lazy())
	})
