package scheduler_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/scheduler"
)

// Local tasks run by the clock of the bubble, which jumps when all wait.
func TestLocalTasksKeepTime(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		s    core.Schedule
		work time.Duration
		want []time.Duration // since the start
	}{
		"from start to start": {core.Schedule{Frequency: core.Frequency{Every: time.Minute}}, 20 * time.Second, []time.Duration{0, time.Minute, 2 * time.Minute}},
		"no overlap":          {core.Schedule{Frequency: core.Frequency{Every: time.Minute}}, 90 * time.Second, []time.Duration{0, 90 * time.Second, 180 * time.Second}},
		"initial delay":       {core.Schedule{Frequency: core.Frequency{Every: time.Minute}, InitialDelay: 10 * time.Second}, 0, []time.Duration{10 * time.Second, 70 * time.Second}},
		"cron":                {core.Schedule{Frequency: core.Frequency{Cron: "30 * * * * *"}}, 0, []time.Duration{0, 30 * time.Second, 90 * time.Second}},
		"timeout":             {core.Schedule{Frequency: core.Frequency{Every: time.Minute}, Timeout: 5 * time.Second}, time.Hour, []time.Duration{0, time.Minute}},
		"manual":              {core.Schedule{Frequency: core.Frequency{Manual: true}}, 0, nil},
		"manual, delayed":     {core.Schedule{Frequency: core.Frequency{Manual: true}, InitialDelay: time.Hour}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLife()
				s, err := scheduler.New(scheduler.Dependencies{Plugin: "a", Database: closed{}, Logger: slog.New(slog.DiscardHandler), Lifecycle: l}, scheduler.WithTimeZone(time.UTC))
				if err != nil {
					t.Fatal(err)
				}
				defer l.stop()
				began := time.Now()
				var got []time.Duration
				task := core.Task{ID: "a", Schedule: test.s, Run: func(ctx context.Context, _ core.TaskRun) error {
					got = append(got, time.Since(began))
					select {
					case <-time.After(test.work):
						return errors.New("bad, and run again")
					case <-ctx.Done():
						return ctx.Err()
					}
				}}
				task.Schedule.Local = true
				if task.Schedule.Timeout == 0 {
					task.Schedule.Timeout = time.Hour
				}
				if err := s.Schedule(t.Context(), task); err != nil {
					t.Fatal(err)
				}
				enough := 10 * time.Minute
				if n := len(test.want); n > 0 {
					enough = test.want[n-1] + time.Second
				}
				time.Sleep(enough)
				synctest.Wait()
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Error(diff)
				}
				if test.s.Frequency.Manual {
					if err := s.Trigger(t.Context(), "a"); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					if len(got) != 1 {
						t.Errorf("%d runs after a trigger, want 1", len(got))
					}
				}
			})
		})
	}
}
