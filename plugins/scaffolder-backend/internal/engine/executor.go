package engine

import (
	"context"

	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Executor executes tasks as [Runner.Execute] does: a Runner does it here, and
// package isolation in a process of its own.
type Executor interface {
	Execute(ctx, work context.Context, run *Run) (output *template.Record, err error)
}
