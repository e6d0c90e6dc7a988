package scaffoldernode_test

import (
	"context"
	"errors"
	"testing"

	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
)

// TestWhatOthersCreateIsNotOurs has a thing that is created, and an answer
// that is lost or a refusal.
func TestWhatOthersCreateIsNotOurs(t *testing.T) {
	t.Parallel()
	errLost, errRefused := errors.New("lost"), errors.New("refused")
	type output struct {
		Ours bool `json:"ours"`
	}
	exists, answers := false, []error(nil)
	action := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "acme:create"}, func(ctx context.Context, c *scaffoldernode.ActionContext, _ struct{}) (output, error) {
		existed, again, err := scaffoldernode.Before(ctx, c, "thing", func(context.Context) (bool, error) { return exists, nil })
		if err != nil {
			return output{}, err
		}
		ours, err := scaffoldernode.Checkpoint(ctx, c, "thing", func(ctx context.Context) (bool, error) {
			if exists {
				return again && !existed, nil
			}
			answer := answers[0]
			answers = answers[1:]
			exists = !errors.Is(answer, errRefused)
			if !exists {
				return false, errors.Join(answer, scaffoldernode.Refused(ctx, c, "thing"))
			}
			return true, answer
		})
		return output{ours}, err
	})
	for what, tt := range map[string]struct {
		answers []error
		others  bool // create it before the last run
		ours    bool
	}{
		"at once":                        {answers: []error{nil}, ours: true},
		"after a lost answer":            {answers: []error{errLost}, ours: true},
		"after a refusal":                {answers: []error{errRefused, nil}, ours: true},
		"after two refusals":             {answers: []error{errRefused, errRefused, nil}, ours: true},
		"by others, after a refusal":     {answers: []error{errRefused}, others: true},
		"by others, after two refusals":  {answers: []error{errRefused, errRefused}, others: true},
		"after a refusal, a lost answer": {answers: []error{errRefused, errLost}, ours: true},
	} {
		exists, answers = false, tt.answers
		run := actiontest.Run(t, action, struct{}{})
		for run.Err != nil {
			exists = exists || tt.others && len(answers) == 0
			run = actiontest.Run(t, action, struct{}{}, actiontest.After(run))
		}
		if run.Outputs["ours"] != tt.ours {
			t.Errorf("%s: it is ours: %v", what, run.Outputs["ours"])
		}
	}
}
