package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
)

// retrier does again what the database failed at, so that a task survives its
// restart. It gives up after a while, after which the lease would have ended.
type retrier struct {
	logger *slog.Logger
	task   string
	limit  time.Duration
}

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
)

func (r retrier) do(ctx context.Context, fn func(context.Context) error) error {
	begun, pause := time.Now(), firstRetry
	for {
		attempt, done := context.WithTimeout(ctx, max(time.Second, r.limit/2))
		err := fn(attempt)
		done()
		var known *apierr.Error
		switch {
		case err == nil, errors.Is(err, tasks.ErrLost), errors.As(err, &known), time.Since(begun) > r.limit:
			return err
		case ctx.Err() != nil:
			return errors.Join(context.Cause(ctx), err)
		}
		r.logger.WarnContext(ctx, "a task waits for the database", "task", r.task, "error", err, "retryIn", pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(context.Cause(ctx), err)
		}
		pause = min(2*pause, lastRetry)
	}
}
