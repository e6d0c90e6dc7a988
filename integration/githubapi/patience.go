package githubapi

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/flytower/flytower/apierr"
)

const (
	// tries is how often a query is sent whose answer is lost.
	tries = 4
	// waits is how often one query waits for a limit to end.
	waits = 8
	// retryAfter is the field of errors with the seconds that the host asked
	// for, as package hostclient sets it.
	retryAfter = "retryAfterSeconds"
)

// patiently runs fn until it succeeds or fails for good. Where the host limits
// the rate, it waits for as long as the host asks, unless the deadline of the
// context comes first: then it fails at once.
func (a *API) patiently(ctx context.Context, interactive bool, fn func() error) error {
	lost, limited := 0, 0
	for {
		err := fn()
		if err == nil || ctx.Err() != nil || apierr.KindOf(err) != apierr.KindServiceUnavailable {
			return err
		}
		pause, isLimit := askedFor(err)
		if isLimit {
			if limited++; interactive || limited > waits {
				return err
			}
		} else {
			if lost++; lost >= tries {
				return &lostError{err}
			}
			pause = a.jitter(500 * time.Millisecond << lost)
		}
		if deadline, ok := ctx.Deadline(); ok && deadline.Sub(a.now()) < pause {
			return err
		}
		if err := a.sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// askedFor returns the pause that the host asked for.
func askedFor(err error) (time.Duration, bool) {
	var e *apierr.Error
	if !errors.As(err, &e) {
		return 0, false
	}
	n, ok := e.Fields[retryAfter].(int)
	return time.Duration(n) * time.Second, ok
}

// lostError tells that the host failed to answer each time, which GitHub does
// when an answer takes it more than ten seconds.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

func (a *API) jitter(d time.Duration) time.Duration {
	random := a.hosts.options.Client.Random
	if random == nil {
		random = rand.Float64
	}
	return d/2 + time.Duration(random()*float64(d/2))
}

func (a *API) sleep(ctx context.Context, d time.Duration) error {
	if sleep := a.hosts.options.Client.Sleep; sleep != nil {
		return sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
