package engine

import (
	"context"
	"errors"

	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Executor executes tasks as [Runner.Execute] does: a Runner does it here, and
// package isolation in a process of its own.
type Executor interface {
	Execute(ctx, work context.Context, run *Run) (output *template.Record, err error)
}

// CauseOf gives the text of a reason for which runs end its identity back,
// after it was passed to another process.
func CauseOf(text string) error {
	for _, known := range []error{ErrCancelled, ErrTimeout, ErrStopped} {
		if text == known.Error() {
			return known
		}
	}
	return errors.New(text)
}
