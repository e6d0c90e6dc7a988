package scaffoldermodulegithub

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/flytower/flytower/integration/githubapi"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

type dispatchInput struct {
	target
	WorkflowID               string            `json:"workflowId" description:"The file name or the id of the workflow"`
	BranchOrTagName          string            `json:"branchOrTagName" description:"The branch or tag to run it on"`
	WorkflowInputs           map[string]string `json:"workflowInputs,omitempty" description:"The inputs of the workflow"`
	ReturnWorkflowRunDetails bool              `json:"returnWorkflowRunDetails,omitempty" description:"Ask GitHub which run it is, for the outputs"`
}

type dispatchOutput struct {
	RunID      int64  `json:"workflowRunId,omitempty" description:"The id of the run"`
	RunURL     string `json:"workflowRunUrl,omitempty" description:"The address of the run in the API"`
	RunHTMLURL string `json:"workflowRunHtmlUrl,omitempty" description:"The address of the run in a browser"`
}

func (p Parts) dispatch() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "github:actions:dispatch", Description: "Starts a workflow of a repository at GitHub.",
		Examples: []scaffoldernode.ActionExample{example("Start a workflow with an input", `steps:
  - id: release
    action: github:actions:dispatch
    input:
      repoUrl: github.com?repo=shop&owner=acme
      workflowId: release.yaml
      branchOrTagName: main
      workflowInputs:
        version: 1.0.0
`)},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in dispatchInput) (out dispatchOutput, err error) {
		r, err := p.repository(ctx, in.target)
		if err != nil {
			return out, err
		}
		c.Logger.Info("Starting the workflow " + in.WorkflowID + " of " + r.slug() + " on " + in.BranchOrTagName)
		out, err = p.start(ctx, c, r, in)
		if err != nil {
			return out, fmt.Errorf("start the workflow %s: %w", in.WorkflowID, err)
		}
		if !in.ReturnWorkflowRunDetails {
			return dispatchOutput{}, nil
		}
		return out, nil
	})
}

// A run that does not appear within runTries times runPause was not started.
const (
	runTries = 6
	runPause = 3 * time.Second
)

// workflowRun is a run as lists have it.
type workflowRun struct {
	ID      int64  `json:"id"`
	URL     string `json:"url"`
	HTMLURL string `json:"html_url"`
	Branch  string `json:"head_branch"`
}

type workflowRuns struct {
	Runs []workflowRun `json:"workflow_runs"`
}

// start starts the workflow. Runs do not tell who wanted them: after a lost
// answer the first run that came since, on the branch, is taken for ours.
func (p Parts) start(ctx context.Context, c *scaffoldernode.ActionContext, r *repository, in dispatchInput) (dispatchOutput, error) {
	path := r.path("actions", "workflows", in.WorkflowID, "runs")
	ref := strings.TrimPrefix(strings.TrimPrefix(in.BranchOrTagName, "refs/heads/"), "refs/tags/")
	query := url.Values{"event": {"workflow_dispatch"}, "branch": {ref}}
	inputs := digest(fmt.Sprint(in.WorkflowInputs))
	return once(ctx, p, c, r.key("dispatch", in.WorkflowID, ref, inputs),
		func(ctx context.Context) (last int64, err error) {
			var newest workflowRuns
			err = r.send(ctx, githubapi.Call{Path: path, Query: url.Values{"event": query["event"], "branch": query["branch"], "per_page": {"1"}}}, &newest)
			if err == nil && len(newest.Runs) > 0 {
				last = newest.Runs[0].ID
			}
			return last, err
		},
		func(ctx context.Context, last int64) (found dispatchOutput, ok bool, err error) {
			for try := 1; ; try++ { // runs appear a while after they were asked for
				err = each(ctx, r, path, query, func(page *workflowRuns) bool {
					for _, run := range page.Runs {
						if run.ID <= last {
							return false
						}
						found, ok = dispatchOutput{run.ID, run.URL, run.HTMLURL}, true
					}
					return true
				})
				if err != nil || ok || try == runTries {
					return found, ok, err
				}
				if err := p.sleep(ctx, runPause); err != nil {
					return found, false, err
				}
			}
		},
		func(ctx context.Context) (dispatchOutput, error) {
			body := map[string]any{"ref": in.BranchOrTagName}
			if in.WorkflowInputs != nil {
				body["inputs"] = in.WorkflowInputs
			}
			if in.ReturnWorkflowRunDetails {
				body["return_run_details"] = true
			}
			var run struct {
				ID      int64  `json:"workflow_run_id"`
				URL     string `json:"run_url"`
				HTMLURL string `json:"html_url"`
			}
			err := r.post(ctx, body, &run, "actions", "workflows", in.WorkflowID, "dispatches")
			return dispatchOutput{run.ID, run.URL, run.HTMLURL}, err
		})
}
