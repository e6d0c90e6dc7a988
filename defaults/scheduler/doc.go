// Package scheduler runs the tasks of plugins in the background.
//
//	err := scheduler().Schedule(ctx, core.Task{
//		ID:       "refresh",
//		Schedule: core.Schedule{Frequency: core.Frequency{Every: 30 * time.Minute}, Timeout: 5 * time.Minute},
//		Run: func(ctx context.Context, run core.TaskRun) error { … },
//	})
//
// A global task has a row in the plugin's database, which says when it runs
// next. All instances look at the rows; who claims a run first has it. The
// claim is a lease of 20 seconds that its holder renews every 5 seconds: when
// the holder dies, another instance runs the task within half a minute,
// however long the task may take. An instance that cannot renew a lease ends
// the context of the run before another may begin it. The fence of a run grows
// with every claim, so that what a lost run still writes can be refused.
//
// When a task runs next survives restarts: starting an instance never makes a
// task run earlier than planned, unless its settings ask for it. The rows are
// those of the Node backend, which may run beside this one.
//
// A local task runs in every instance and needs no database.
//
// [Factory] is the default implementation of core.Scheduler.
package scheduler
