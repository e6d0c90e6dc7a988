package scaffoldermoduleutils

import (
	"context"
	"strconv"
	"time"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// maxSleep is the longest that a step may wait.
const maxSleep = time.Hour

type sleepInput struct {
	Amount float64 `json:"amount" description:"How long to wait, in seconds; an hour at most"`
}

func sleep() scaffoldernode.Action {
	a := scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "roadiehq:utils:sleep", Description: "Waits for some seconds; in a dry run it does not.", SupportsDryRun: true,
		Examples: example("Wait for ten seconds", "steps:\n  - id: wait\n    action: roadiehq:utils:sleep\n    input:\n      amount: 10\n"),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in sleepInput) (nothing, error) {
		if in.Amount > maxSleep.Seconds() {
			return nothing{}, apierr.Input("sleep amount can not be greater than %g seconds", maxSleep.Seconds())
		}
		c.Logger.Info("Waiting " + strconv.FormatFloat(in.Amount, 'f', -1, 64) + " seconds")
		if c.DryRun {
			return nothing{}, nil
		}
		timer := time.NewTimer(time.Duration(in.Amount * float64(time.Second)))
		defer timer.Stop()
		select {
		case <-timer.C:
			return nothing{}, nil
		case <-ctx.Done():
			return nothing{}, context.Cause(ctx)
		}
	})
	a.Output = nil
	return a
}
