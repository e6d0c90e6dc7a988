package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/flytower/flytower/internal/humanduration"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// errStepTimeout is the cause of the end of a step that ran for too long.
var errStepTimeout = errors.New("the step ran for too long")

// timed returns the context of a step, and how long it lasts; 0 is as long as
// the task. The step may ask for less than the configuration allows.
func (x *execution) timed(step scaffoldercommon.TaskStep) (ctx context.Context, limit time.Duration, done context.CancelFunc, err error) {
	limit = x.StepTimeout
	if asked, problem := stepTimeout(step); problem != nil {
		err = x.log(scaffoldercommon.EventBody{Message: fmt.Sprintf("The timeout of step %s does not count: %v", step.ID, problem), StepID: step.ID})
	} else if asked > 0 && (limit == 0 || asked < limit) {
		limit = asked
	}
	if limit == 0 || err != nil {
		return x.work, 0, func() {}, err
	}
	ctx, done = context.WithTimeoutCause(x.work, limit, errStepTimeout)
	return ctx, limit, done, nil
}

// stepTimeout returns the timeout that a step asks for; 0 is none.
func stepTimeout(step scaffoldercommon.TaskStep) (time.Duration, error) {
	if len(step.Timeout) == 0 || string(step.Timeout) == "null" {
		return 0, nil
	}
	var v any
	if err := json.Unmarshal(step.Timeout, &v); err != nil {
		return 0, err
	}
	limit, err := humanduration.Parse(v)
	if err == nil && limit <= 0 {
		err = errors.New("it is not more than nothing")
	}
	return limit, err
}
