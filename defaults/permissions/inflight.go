package permissions

import (
	"context"
	"fmt"
	"sync"

	"github.com/flytower/flytower/core"
)

// inflight asks each question of a caller once at a time: pages check the
// same few permissions many times over. An answer is given only to those who
// asked before it arrived, so that a changed policy takes effect at once.
type inflight struct {
	mu    sync.Mutex
	calls map[inflightKey]*call
}

type inflightKey struct {
	token, user, actor string
	check              check
}

type call struct {
	done     chan struct{}
	decision core.Decision
	err      error
	// abandoned says that the one who asked went away before the answer.
	abandoned bool
}

type askFunc func(ctx context.Context, who core.Credentials, checks []check) ([]core.Decision, error)

// do returns the decisions of the checks. Those that nobody asks at the
// moment are asked together.
func (f *inflight) do(ctx context.Context, who core.Credentials, checks []check, ask askFunc) ([]core.Decision, error) {
	for {
		decisions, abandoned, err := f.once(ctx, who, checks, ask)
		if !abandoned {
			return decisions, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

func (f *inflight) once(ctx context.Context, who core.Credentials, checks []check, ask askFunc) ([]core.Decision, bool, error) {
	calls, own, keys := f.join(who, checks)
	if len(own) > 0 {
		f.lead(ctx, who, own, keys, ask)
	}
	decisions := make([]core.Decision, len(checks))
	for i, c := range calls {
		select {
		case <-c.done:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		if c.abandoned {
			return nil, true, nil
		}
		if c.err != nil {
			return nil, false, c.err
		}
		decisions[i] = c.decision
	}
	return decisions, false, nil
}

// join finds the calls of the checks, and makes those that are not there.
func (f *inflight) join(who core.Credentials, checks []check) (calls []*call, own []*call, keys []inflightKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls == nil {
		f.calls = map[inflightKey]*call{}
	}
	calls = make([]*call, len(checks))
	for i, c := range checks {
		key := inflightKey{token: who.Token().Reveal(), user: who.Principal.UserEntityRef, actor: who.Principal.Actor, check: c}
		running := f.calls[key]
		if running == nil {
			running = &call{done: make(chan struct{})}
			f.calls[key] = running
			own, keys = append(own, running), append(keys, key)
		}
		calls[i] = running
	}
	return calls, own, keys
}

// lead asks what nobody else asks, and tells those who wait. They are told
// also if ask panics.
func (f *inflight) lead(ctx context.Context, who core.Credentials, own []*call, keys []inflightKey, ask askFunc) {
	err := fmt.Errorf("asking for permission: ended early")
	var decisions []core.Decision
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for i, c := range own {
			delete(f.calls, keys[i])
			if c.err = err; err == nil {
				c.decision = decisions[i]
			}
			// Who waits with a context of its own asks again.
			c.abandoned = err != nil && ctx.Err() != nil
			close(c.done)
		}
	}()
	checks := make([]check, len(keys))
	for i, key := range keys {
		checks[i] = key.check
	}
	decisions, err = ask(ctx, who, checks)
}
