package engine

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
)

func TestWhatTheDatabaseFailsAtIsDoneAgain(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection refused")
	for name, tt := range map[string]struct {
		works time.Duration // after this time
		err   error
		want  error
		took  time.Duration // at most
	}{
		"a restart of the database":   {works: 5 * time.Second, err: broken, took: 8 * time.Second},
		"a database that stays away":  {works: time.Hour, err: broken, want: broken, took: 35 * time.Second},
		"a task that is lost":         {works: time.Hour, err: tasks.ErrLost, want: tasks.ErrLost},
		"a call that never returns":   {works: 40 * time.Second, err: nil, want: context.DeadlineExceeded, took: 50 * time.Second},
		"a database that always does": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				r := retrier{logger: slog.New(slog.DiscardHandler), task: "t", limit: 30 * time.Second}
				err := r.do(t.Context(), func(ctx context.Context) error {
					switch {
					case time.Since(begun) >= tt.works:
						return nil
					case tt.err == nil:
						<-ctx.Done()
						return ctx.Err()
					}
					return tt.err
				})
				if !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) {
					t.Errorf("the error is %v, want %v", err, tt.want)
				}
				if took := time.Since(begun); took > tt.took {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func TestARunThatEndsDoesNotWaitForTheDatabase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, lose := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { lose(tasks.ErrLost) })
		begun := time.Now()
		err := retrier{logger: slog.New(slog.DiscardHandler), limit: time.Hour}.do(ctx, func(context.Context) error { return errors.New("no") })
		if !errors.Is(err, tasks.ErrLost) || time.Since(begun) > time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}
