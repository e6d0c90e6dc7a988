package scaffoldermodulegithub

import (
	"context"
	"time"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

const (
	creationTries = 3
	creationPause = time.Second
)

// lost reports whether the host may have acted without our knowing.
func lost(ctx context.Context, err error) bool {
	return ctx.Err() == nil && apierr.KindOf(err) == apierr.KindServiceUnavailable
}

// ensure returns what find finds, or else what create creates. When the answer
// to the creation is lost it looks again before it tries again.
func ensure[T any](ctx context.Context, p Parts, find func(context.Context) (T, bool, error), create func(context.Context) (T, error)) (value T, err error) {
	return ensureFrom(ctx, p, true, find, create)
}

func ensureFrom[T any](ctx context.Context, p Parts, look bool, find func(context.Context) (T, bool, error), create func(context.Context) (T, error)) (value T, err error) {
	for try := 1; ; try++ {
		if look || try > 1 {
			found, ok, err := find(ctx)
			if err != nil || ok {
				return found, err
			}
		}
		if value, err = create(ctx); err == nil || try == creationTries || !lost(ctx, err) {
			return value, err
		}
		if err := p.sleep(ctx, creationPause<<try); err != nil {
			return value, err
		}
	}
}

// once creates what has no name by which it could be found, once per step. The
// state of the world before the first try is kept in a checkpoint; after a
// crash find gets it and looks for what came since.
func once[B, T any](ctx context.Context, p Parts, c *scaffoldernode.ActionContext, key string,
	before func(context.Context) (B, error), find func(context.Context, B) (T, bool, error), create func(context.Context) (T, error),
) (T, error) {
	return scaffoldernode.Checkpoint(ctx, c, key, func(ctx context.Context) (T, error) {
		again := true
		was, err := scaffoldernode.Checkpoint(ctx, c, key+".before", func(ctx context.Context) (B, error) {
			again = false
			return before(ctx)
		})
		if err != nil {
			var none T
			return none, err
		}
		return ensureFrom(ctx, p, again, func(ctx context.Context) (T, bool, error) { return find(ctx, was) }, create)
	})
}
