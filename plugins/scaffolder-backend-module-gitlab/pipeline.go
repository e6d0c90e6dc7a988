package scaffoldermodulegitlab

import (
	"context"
	"encoding/json"
	"net/url"
	"time"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

type pipelineTriggerInput struct {
	target
	ProjectID        json.RawMessage   `json:"projectId" description:"The number of the project, or its whole path"`
	TokenDescription string            `json:"tokenDescription" description:"The description of the trigger token, which exists only for the moment"`
	Branch           string            `json:"branch" description:"The branch that the pipeline runs for"`
	Variables        map[string]string `json:"variables,omitempty" description:"Variables of the pipeline"`
}

type pipelineTriggerOutput struct {
	PipelineURL string `json:"pipelineUrl" description:"The page of the pipeline"`
}

type triggerToken struct {
	ID          int64  `json:"id"`
	Description string `json:"description"`
	Token       string `json:"token"`
}

type pipeline struct {
	ID     int64  `json:"id"`
	WebURL string `json:"web_url"`
}

// pipelineState is what there was before a pipeline is triggered.
type pipelineState struct {
	Tokens    []int64 `json:"tokens"`
	Pipelines []int64 `json:"pipelines"`
}

// removeTries and removeTimeout bound the attempts to remove a trigger token,
// which go on when the task is cancelled.
const (
	removeTries   = 3
	removeTimeout = 30 * time.Second
)

func (g *gitlab) triggerPipeline() scaffoldernode.Action {
	return refine(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "gitlab:pipeline:trigger", Description: "Runs a pipeline of a project, with a trigger token that is made for it and removed again",
		Examples: example("A pipeline of the main branch", `
- id: pipeline
  name: Run a pipeline
  action: gitlab:pipeline:trigger
  input:
    repoUrl: gitlab.com?owner=acme&repo=shop
    projectId: ${{ steps.publish.output.projectId }}
    tokenDescription: first deployment
    branch: main
    variables:
      ENVIRONMENT: staging
`),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in pipelineTriggerInput) (out pipelineTriggerOutput, err error) {
		a, err := g.at(in.target)
		if err != nil {
			return out, err
		}
		t := &trigger{api: a, in: in, project: ref(in.ProjectID)}
		this := key("pipeline", a.base, t.project, in.Branch, in.TokenDescription, in.Variables)
		known, again, err := scaffoldernode.Before(ctx, c, this, t.look)
		if err != nil {
			return out, err
		}
		t.known = known
		if again {
			// what an earlier run left behind, whether or not its pipeline began
			t.clean(ctx, c)
		}
		out.PipelineURL, err = scaffoldernode.Checkpoint(ctx, c, this, func(ctx context.Context) (string, error) {
			if again {
				found, err := t.pipelines(ctx)
				if err != nil {
					return "", err
				}
				if found = unknown(found, pipelineID, known.Pipelines); len(found) > 0 {
					return found[0].WebURL, nil
				}
			}
			return t.run(ctx, c)
		})
		return out, err
	}), map[string]string{"projectId": numberOrText})
}

// trigger triggers one pipeline.
type trigger struct {
	api     *api
	in      pipelineTriggerInput
	project string
	known   pipelineState
}

func pipelineID(p pipeline) int64  { return p.ID }
func tokenID(t triggerToken) int64 { return t.ID }

func (t *trigger) look(ctx context.Context) (pipelineState, error) {
	tokens, err := t.tokens(ctx)
	if err != nil {
		return pipelineState{}, err
	}
	found, err := t.pipelines(ctx)
	return pipelineState{ids(tokens, tokenID), ids(found, pipelineID)}, err
}

func (t *trigger) tokens(ctx context.Context) ([]triggerToken, error) {
	all, err := list[triggerToken](ctx, t.api, urlPath("projects", t.project, "triggers"), nil)
	var same []triggerToken
	for _, token := range all {
		if token.Description == t.in.TokenDescription {
			same = append(same, token)
		}
	}
	return same, err
}

// pipelines are the last ones of the branch that a token triggered.
func (t *trigger) pipelines(ctx context.Context) (found []pipeline, err error) {
	err = t.api.get(ctx, urlPath("projects", t.project, "pipelines"), url.Values{
		"ref": {t.in.Branch}, "source": {"trigger"}, "order_by": {"id"}, "sort": {"desc"}, "per_page": {"100"},
	}, &found)
	return found, err
}

func (t *trigger) run(ctx context.Context, c *scaffoldernode.ActionContext) (string, error) {
	var token triggerToken
	if err := t.api.post(ctx, urlPath("projects", t.project, "triggers"), map[string]any{"description": t.in.TokenDescription}, &token); err != nil {
		return "", err
	}
	defer t.remove(ctx, c, token.ID)
	request := map[string]any{"token": token.Token, "ref": t.in.Branch}
	if len(t.in.Variables) > 0 {
		request["variables"] = t.in.Variables
	}
	var p pipeline
	if err := t.api.post(ctx, urlPath("projects", t.project, "trigger", "pipeline"), request, &p); err != nil {
		return "", err
	}
	if p.ID == 0 {
		return "", apierr.Input("Failed to trigger pipeline for project %s", t.project)
	}
	return p.WebURL, nil
}

// clean removes the tokens that an earlier run left.
func (t *trigger) clean(ctx context.Context, c *scaffoldernode.ActionContext) {
	left, err := t.tokens(ctx)
	if err != nil {
		c.Logger.ErrorContext(ctx, "Failed to look for pipeline trigger tokens that are left: "+err.Error())
	}
	for _, token := range unknown(left, tokenID, t.known.Tokens) {
		t.remove(ctx, c, token.ID)
	}
}

// remove removes a token, also when the task was cancelled.
func (t *trigger) remove(ctx context.Context, c *scaffoldernode.ActionContext, id int64) {
	last, done := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer done()
	var err error
	for range removeTries {
		if err = t.api.remove(last, urlPath("projects", t.project, "triggers", id)); err == nil || is(err, 404) {
			return
		}
	}
	c.Logger.ErrorContext(ctx, "Failed to delete pipeline trigger token "+idText(id)+": "+err.Error())
}
