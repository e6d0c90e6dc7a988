package core

import (
	"context"

	"github.com/flytower/flytower/backend"
)

// ErrandService is there where a backend was started to do one thing and end,
// and not to serve: a command that needs a plugin with its modules, or work
// that has a process of its own. Nothing listens then, and there is no
// database.
//
// A plugin that does errands asks for it with Optional, takes those that it
// knows in its init function, and leaves out whatever serves:
//
//	errand := core.Errand.Optional(env)
//	return func(ctx context.Context) error {
//		if e, ok := errand(); ok {
//			return e.Take("rehearse", rehearse)
//		}
//		…
//	}
type ErrandService interface {
	// Take says that the plugin does the errands of a name. do runs once, after
	// the backend has started, if the errand has that name; with is what it was
	// sent with. Taking a name twice is a conflict.
	Take(name string, do func(ctx context.Context, with any) (result any, err error)) error
}

// Errand is what a backend does that does not serve. It has no default
// implementation; see ErrandService.
var Errand = backend.NewRootServiceRef[ErrandService]("flytower.errand")
