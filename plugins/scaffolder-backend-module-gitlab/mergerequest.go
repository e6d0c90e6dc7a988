package scaffoldermodulegitlab

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

type mergeRequestInput struct {
	target
	Title                            string          `json:"title" description:"The title of the merge request, and the message of its commit"`
	BranchName                       string          `json:"branchName" description:"The branch that is merged. It is created; one that has other changes already is an error"`
	Description                      string          `json:"description,omitempty" description:"The text of the merge request"`
	TargetBranchName                 string          `json:"targetBranchName,omitempty" description:"The branch that is merged into; the default branch by default"`
	SourcePath                       string          `json:"sourcePath,omitempty" description:"The folder of the workspace that has the files; by default that of targetPath, and . is all of it"`
	TargetPath                       string          `json:"targetPath,omitempty" description:"The folder of the repository that the files go to; its root by default"`
	CommitAction                     string          `json:"commitAction,omitempty" enum:"create,delete,update,skip,auto" description:"What the commit does with the files. auto, the default, creates and updates those that differ; skip makes no commit"`
	ProjectID                        string          `json:"projectid,omitempty" description:"Not used any more: repoUrl names the project"`
	RemoveSourceBranch               bool            `json:"removeSourceBranch,omitempty" description:"Whether the branch is deleted after the merge; false by default"`
	Assignee                         *string         `json:"assignee,omitempty" description:"The name of the user whom it is assigned to"`
	Reviewers                        []string        `json:"reviewers,omitempty" description:"The names of users who are asked to review it"`
	AssignReviewersFromApprovalRules bool            `json:"assignReviewersFromApprovalRules,omitempty" description:"Whether those are asked to review it whom the approval rules and CODEOWNERS name; false by default"`
	Labels                           json.RawMessage `json:"labels,omitempty" description:"Labels: a list, or a text that separates them by commas"`
	AutoMerge                        bool            `json:"autoMerge,omitempty" description:"Whether it is merged as soon as all checks succeed; false by default"`
}

type mergeRequestOutput struct {
	TargetBranchName string `json:"targetBranchName" description:"The branch that is merged into"`
	ProjectID        string `json:"projectid" description:"The path of the project"`
	ProjectPath      string `json:"projectPath" description:"The path of the project"`
	MergeRequestURL  string `json:"mergeRequestUrl" description:"The page of the merge request"`
}

// mergeRequest is what the API says of a merge request.
type mergeRequest struct {
	IID            int64  `json:"iid"`
	WebURL         string `json:"web_url"`
	State          string `json:"state"`
	DetailedStatus string `json:"detailed_merge_status"`
	AutoMerge      bool   `json:"merge_when_pipeline_succeeds"`
}

func mergeRequestIID(m mergeRequest) int64 { return m.IID }

func (g *gitlab) publishMergeRequest() scaffoldernode.Action {
	return refine(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "publish:gitlab:merge-request", Description: "Proposes the files of the workspace as a merge request",
		Examples: example("A change of the documentation", `
- id: request
  name: Propose the change
  action: publish:gitlab:merge-request
  input:
    repoUrl: gitlab.com?owner=acme&repo=shop
    title: Describe the checkout
    branchName: describe-checkout
    sourcePath: out
    targetPath: docs
    reviewers: [ada]
`),
	}, g.runMergeRequest), map[string]string{"labels": `"anyOf":[{"type":"string"},{"type":"array","items":{"type":"string"}}]`})
}

func (g *gitlab) runMergeRequest(ctx context.Context, c *scaffoldernode.ActionContext, in mergeRequestInput) (out mergeRequestOutput, err error) {
	a, repo, err := g.project(in.target)
	if err != nil {
		return out, err
	}
	m := &merging{gitlab: g, api: a, in: in, project: projectPath(repo)}
	if m.target, err = m.targetBranch(ctx); err != nil {
		return out, err
	}
	if err := m.people(ctx, c); err != nil {
		return out, err
	}
	this := key("merge.request", a.base, m.project, in.BranchName, m.target, in.Title, in.TargetPath)
	if err := m.prepareBranch(ctx, c, this+".branch"); err != nil {
		return out, err
	}
	request, err := createOnce(ctx, c, this, creation[mergeRequest]{
		candidates: func(ctx context.Context) ([]mergeRequest, error) { return m.requests(ctx, "all") },
		id:         mergeRequestIID,
		create:     func(ctx context.Context) (mergeRequest, error) { return m.create(ctx, c) },
	})
	if err != nil {
		return out, err
	}
	if in.AssignReviewersFromApprovalRules {
		if _, err := scaffoldernode.Checkpoint(ctx, c, this+".reviewers", func(ctx context.Context) (bool, error) {
			return true, m.askApprovers(ctx, c, request)
		}); err != nil {
			return out, err
		}
	}
	if in.AutoMerge {
		if _, err := scaffoldernode.Checkpoint(ctx, c, this+".merge", func(ctx context.Context) (bool, error) {
			return true, m.autoMerge(ctx, request)
		}); err != nil {
			return out, err
		}
	}
	return mergeRequestOutput{m.target, m.project, m.project, request.WebURL}, nil
}

// merging is a merge request on its way.
type merging struct {
	*gitlab
	api             *api
	in              mergeRequestInput
	project, target string
	assignee        int64
	reviewers       []int64
}

func (m *merging) targetBranch(ctx context.Context) (string, error) {
	if m.in.TargetBranchName != "" {
		return m.in.TargetBranchName, nil
	}
	var p project
	if err := m.api.get(ctx, urlPath("projects", m.project), nil, &p); err != nil {
		return "", err
	}
	if p.DefaultBranch == "" {
		return "", apierr.Input("The branch creation failed. Target branch was not provided, and could not find default branch from project settings. Project: %s", m.project)
	}
	return p.DefaultBranch, nil
}

// people finds the users that the input names. Who is not found is left out.
func (m *merging) people(ctx context.Context, c *scaffoldernode.ActionContext) error {
	find := func(name, without string) (int64, error) {
		u, ok, err := m.api.userNamed(ctx, name)
		if err == nil && !ok {
			err = errors.New("there is no such user")
		} else if err != nil && !isRefusal(err) {
			return 0, err
		}
		if err != nil {
			c.Logger.WarnContext(ctx, "Failed to find gitlab user id for "+name+": "+err.Error()+". Proceeding with MR creation without "+without+".")
		}
		return u.ID, nil
	}
	if m.in.Assignee != nil {
		id, err := find(*m.in.Assignee, "an assignee")
		if err != nil {
			return err
		}
		m.assignee = id
	}
	for _, name := range m.in.Reviewers {
		id, err := find(name, "reviewer")
		if err != nil {
			return err
		}
		if id != 0 {
			m.reviewers = append(m.reviewers, id)
		}
	}
	return nil
}

// prepareBranch makes the branch with the changes. The commit creates the
// branch, so that there is no branch without its changes.
func (m *merging) prepareBranch(ctx context.Context, c *scaffoldernode.ActionContext, key string) error {
	existed, again, err := scaffoldernode.Before(ctx, c, key, func(ctx context.Context) (bool, error) {
		found, err := m.api.findBranch(ctx, m.project, m.in.BranchName)
		return found != nil, err
	})
	if err != nil {
		return err
	}
	_, err = scaffoldernode.Checkpoint(ctx, c, key, func(ctx context.Context) (bool, error) {
		found := (*branch)(nil)
		if existed || again {
			if found, err = m.api.findBranch(ctx, m.project, m.in.BranchName); err != nil {
				return false, err
			}
			if found != nil && !existed {
				return true, nil // an earlier run of the step created it
			}
		}
		return true, m.change(ctx, c, found)
	})
	return err
}

func (m *merging) change(ctx context.Context, c *scaffoldernode.ActionContext, existing *branch) error {
	now := tree{}
	if m.in.CommitAction == "" || m.in.CommitAction == auto {
		var err error
		now, err = m.api.files(ctx, m.project, m.target, m.in.TargetPath)
		if isRefusal(err) {
			c.Logger.WarnContext(ctx, "Could not retrieve the list of files for "+m.project+" (branch: "+m.target+") : "+err.Error())
		} else if err != nil {
			return err
		}
	}
	source := m.in.SourcePath
	if source == "" {
		source = m.in.TargetPath
	}
	all, err := changes(ctx, c, source, m.in.TargetPath, m.in.CommitAction, now)
	if err != nil {
		return err
	}
	switch {
	case existing != nil && len(all) == 0:
		c.Logger.InfoContext(ctx, "Using existing branch "+m.in.BranchName+" without modification.")
		return nil
	case existing != nil:
		has, err := m.api.files(ctx, m.project, m.in.BranchName, m.in.TargetPath)
		if err != nil {
			return err
		}
		if !has.contains(all) {
			return m.branchTaken(ctx, existing)
		}
		c.Logger.InfoContext(ctx, "Using existing branch "+m.in.BranchName+", which has the changes already.")
		return nil
	case len(all) == 0:
		if err := m.api.createBranch(ctx, m.project, m.in.BranchName, m.target); err != nil {
			return apierr.Input("The branch creation failed. Please check that your repo does not already contain a branch named '%s'. %w", m.in.BranchName, err)
		}
		return nil
	}
	_, err = m.api.commit(ctx, m.project, commitRequest{Branch: m.in.BranchName, StartBranch: m.target, Message: m.in.Title, Actions: all})
	if err != nil {
		return apierr.Input("Committing the changes to %s failed. Please check that none of the files created by the template already exists. %w", m.in.BranchName, err)
	}
	return nil
}

func (m *merging) branchTaken(ctx context.Context, existing *branch) error {
	open, err := m.requests(ctx, "all")
	if err != nil {
		return err
	}
	if len(open) == 0 {
		return apierr.Input("The branch creation failed because the branch already exists at: %s.", existing.WebURL)
	}
	return apierr.Input("The branch creation failed because the branch already exists at: %s. Additionally, there is a Merge Request for this branch: %s", existing.WebURL, open[0].WebURL)
}

// requests lists the merge requests of the branch, into the target.
func (m *merging) requests(ctx context.Context, state string) ([]mergeRequest, error) {
	return list[mergeRequest](ctx, m.api, urlPath("projects", m.project, "merge_requests"), url.Values{
		"source_branch": {m.in.BranchName}, "target_branch": {m.target}, "state": {state},
	})
}

func (m *merging) create(ctx context.Context, c *scaffoldernode.ActionContext) (created mergeRequest, err error) {
	request := map[string]any{
		"source_branch": m.in.BranchName, "target_branch": m.target, "title": m.in.Title, "remove_source_branch": m.in.RemoveSourceBranch,
	}
	if m.in.Description != "" {
		request["description"] = m.in.Description
	}
	if m.assignee != 0 {
		request["assignee_id"] = m.assignee
	}
	if len(m.reviewers) > 0 {
		request["reviewer_ids"] = m.reviewers
	}
	if labels := labelText(m.in.Labels); labels != "" {
		request["labels"] = labels
	}
	err = m.api.post(ctx, urlPath("projects", m.project, "merge_requests"), request, &created)
	if is(err, 409) {
		// GitLab has no two open ones of a branch, so this is the one that is wanted
		if open, finding := m.requests(ctx, "opened"); finding == nil && len(open) == 1 {
			c.Logger.InfoContext(ctx, "Using the open merge request "+open[0].WebURL)
			return open[0], nil
		}
	}
	if err != nil {
		return created, apierr.Input("Merge request creation failed. %w", err)
	}
	return created, nil
}

// labelText joins labels with commas.
func labelText(v json.RawMessage) string {
	var text string
	if json.Unmarshal(v, &text) == nil {
		return text
	}
	var labels []string
	_ = json.Unmarshal(v, &labels) // its schema has no third type
	return strings.Join(labels, ",")
}

// GitLab finds out in the background who may approve.
const (
	checkPause = time.Second
	checkTries = 60
)

// errApprovals is that GitLab does not get to know who may approve.
var errApprovals = errors.New("GitLab takes too long to find out about approvals")

// askApprovers asks those for a review whom approval rules name. That GitLab
// does not want to is no reason to fail.
func (m *merging) askApprovers(ctx context.Context, c *scaffoldernode.ActionContext, request mergeRequest) error {
	err := m.tryApprovers(ctx, request)
	if isRefusal(err) || errors.Is(err, errApprovals) {
		c.Logger.WarnContext(ctx, "Failed to assign reviewers from approval rules: "+err.Error()+".")
		return nil
	}
	return err
}

func (m *merging) tryApprovers(ctx context.Context, request mergeRequest) error {
	at := urlPath("projects", m.project, "merge_requests", request.IID)
	for try := 0; ; try++ {
		var now mergeRequest
		if err := m.api.get(ctx, at, nil, &now); err != nil {
			return err
		}
		if !slices.Contains([]string{"preparing", "approvals_syncing", "checking"}, now.DetailedStatus) {
			break
		}
		if try >= checkTries {
			return errApprovals
		}
		if err := m.sleep(ctx, checkPause); err != nil {
			return err
		}
	}
	rules, err := list[struct {
		Approvers []user `json:"eligible_approvers"`
	}](ctx, m.api, at+"/approval_rules", nil)
	if err != nil {
		return err
	}
	reviewers := []int64{}
	for _, rule := range rules {
		for _, approver := range rule.Approvers {
			reviewers = append(reviewers, approver.ID)
		}
	}
	if len(reviewers) == 0 {
		return nil
	}
	reviewers = append(reviewers, m.reviewers...)
	slices.Sort(reviewers)
	return m.api.put(ctx, at, map[string]any{"reviewer_ids": slices.Compact(reviewers)}, nil)
}

func (m *merging) autoMerge(ctx context.Context, request mergeRequest) error {
	at := urlPath("projects", m.project, "merge_requests", request.IID)
	// An old GitLab knows only the second name, and would merge at once.
	err := m.api.put(ctx, at+"/merge", map[string]any{"auto_merge": true, "merge_when_pipeline_succeeds": true}, nil)
	if err == nil {
		return nil
	}
	var now mergeRequest
	if finding := m.api.get(ctx, at, nil, &now); finding == nil && (now.State == "merged" || now.AutoMerge) {
		return nil
	}
	return apierr.Input("Enabling auto-merge for merge request %d failed. %w", request.IID, err)
}
