package scaffolderbackend

import (
	"context"
	"log/slog"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/engine"
)

const (
	// cleaningTimeout is what a run of what cleans up may take.
	cleaningTimeout = 15 * time.Minute
	// cleaning is how often tasks and workspaces are looked for that are kept no
	// longer.
	cleaning = time.Hour
)

// schedule schedules what cleans up, on one instance at a time.
func (s settings) schedule(ctx context.Context, scheduler core.SchedulerService, queue *engine.Engine, log *slog.Logger) error {
	add := func(id string, every time.Duration, run func(ctx context.Context) error) error {
		return scheduler.Schedule(ctx, core.Task{
			ID: id, Schedule: core.Schedule{Frequency: core.Frequency{Every: every}, Timeout: cleaningTimeout},
			Run: func(ctx context.Context, _ core.TaskRun) error { return run(ctx) },
		})
	}
	if s.retention > 0 {
		if err := add("delete_old_tasks", cleaning, func(ctx context.Context) error {
			n, err := queue.Store.DeleteEnded(ctx, s.retention)
			if n > 0 {
				log.InfoContext(ctx, "deleted old tasks", "count", n)
			}
			return err
		}); err != nil {
			return err
		}
	}
	if queue.Runner.Workspaces != nil {
		if err := add("remove_old_workspaces", cleaning, func(ctx context.Context) error {
			return queue.RemoveOldWorkspaces(ctx, s.workspaces.retention)
		}); err != nil {
			return err
		}
	}
	return add("close_stale_tasks", s.janitor, queue.CloseStale)
}
