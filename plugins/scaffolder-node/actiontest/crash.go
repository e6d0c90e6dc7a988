package actiontest

import (
	"errors"
	"testing"

	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// ErrCrashed is the error of a run that CrashAt ended.
var ErrCrashed = errors.New("the process ended here, for the test")

// crash is the panic that stands for the end of the process.
type crash struct{}

// CrashAt ends the run at its nth point, counted from 1, as the end of the
// process would: after the function of a checkpoint did its work and before
// that is kept, after it is kept, and after the action returned and before its
// step counts as done. It has no effect on an action with fewer points, whose
// Result.Crashed is false.
//
// Checkpoints have to be made by the goroutine that the action runs in.
func CrashAt(n int) Option {
	return func(_ testing.TB, _ *scaffoldernode.ActionContext, r *Result) { r.crashAt = n }
}

// maxPoints bounds EachCrash.
const maxPoints = 1000

// EachCrash calls run with a crash at each point of an action, in a subtest
// each. run makes a new world, runs the action with the option and once more
// with [After], looks whether all is as if it had run once, and returns the
// result of the first run. The last call is without a crash.
func EachCrash(t *testing.T, run func(t testing.TB, crash Option) (first *Result)) {
	t.Helper()
	for n, more := 1, true; more; n++ {
		if n > maxPoints {
			t.Fatalf("the action has more than %d points at which it may crash", maxPoints)
		}
		t.Run("", func(t *testing.T) { more = run(t, CrashAt(n)).Crashed })
	}
}

// point is where a process may end.
func (r *Result) point() {
	r.mu.Lock()
	r.points++
	here := r.points == r.crashAt
	r.mu.Unlock()
	if here {
		panic(crash{})
	}
}
