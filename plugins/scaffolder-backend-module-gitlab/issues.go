package scaffoldermodulegitlab

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// issue is what the API says of an issue.
type issue struct {
	ID        int64  `json:"id"`
	IID       int64  `json:"iid"`
	ProjectID int64  `json:"project_id"`
	Title     string `json:"title"`
	State     string `json:"state"`
	WebURL    string `json:"web_url"`
	UpdatedAt string `json:"updated_at"`
}

type issueCreateInput struct {
	target
	ProjectID                          json.RawMessage `json:"projectId,omitempty" description:"The number of the project, or its whole path; by default the project of repoUrl"`
	Title                              string          `json:"title" description:"The title of the issue"`
	Assignees                          []int64         `json:"assignees,omitempty" description:"The numbers of users whom it is assigned to"`
	Confidential                       bool            `json:"confidential,omitempty" description:"Whether only members see it; false by default"`
	Description                        string          `json:"description,omitempty" description:"The text of the issue"`
	CreatedAt                          string          `json:"createdAt,omitempty" description:"When it was created, such as 2030-01-31T12:00:00Z, which only owners and administrators may say; now by default"`
	DueDate                            string          `json:"dueDate,omitempty" description:"When it is due, such as 2030-01-31T12:00:00Z; the day counts"`
	DiscussionToResolve                string          `json:"discussionToResolve,omitempty" description:"A discussion that is resolved by it, with mergeRequestToResolveDiscussionsOf"`
	EpicID                             int64           `json:"epicId,omitempty" description:"The number of the epic that it belongs to"`
	Labels                             string          `json:"labels,omitempty" description:"Labels, separated by commas"`
	IssueType                          string          `json:"issueType,omitempty" enum:"issue,incident,test_case,task" description:"The type; issue by default"`
	MergeRequestToResolveDiscussionsOf int64           `json:"mergeRequestToResolveDiscussionsOf,omitempty" description:"The merge request whose discussions are resolved by it, by its number in the project"`
	MilestoneID                        *int64          `json:"milestoneId,omitempty" description:"The number of the milestone"`
	Weight                             *int64          `json:"weight,omitempty" description:"The weight"`
}

type issueCreateOutput struct {
	IssueURL string `json:"issueUrl" description:"The page of the issue"`
	IssueID  int64  `json:"issueId" description:"The number of the issue in this GitLab"`
	IssueIID int64  `json:"issueIid" description:"The number of the issue in the project"`
}

func (g *gitlab) createIssue() scaffoldernode.Action {
	return refine(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "gitlab:issues:create", Description: "Creates an issue in a project",
		Examples: example("A task with a day", `
- id: issue
  name: Remember to review
  action: gitlab:issues:create
  input:
    repoUrl: gitlab.com?owner=acme&repo=shop
    title: Review the settings
    description: Look at what the template chose.
    dueDate: "2030-01-31T00:00:00Z"
    labels: setup,review
`),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in issueCreateInput) (out issueCreateOutput, err error) {
		made, err := g.runCreateIssue(ctx, c, in)
		if err != nil {
			return out, apierr.Input("Failed to create GitLab issue: %w", err)
		}
		return issueCreateOutput{made.WebURL, made.ID, made.IID}, nil
	}), map[string]string{
		"projectId": numberOrText + `,"minLength":1`, "description": longText, "createdAt": moment, "dueDate": moment, "epicId": notNegative, "weight": notNegative,
	})
}

func (g *gitlab) runCreateIssue(ctx context.Context, c *scaffoldernode.ActionContext, in issueCreateInput) (issue, error) {
	a, repo, err := g.project(in.target)
	if err != nil {
		return issue{}, err
	}
	project := projectPath(repo)
	if in.ProjectID != nil {
		project = ref(in.ProjectID)
	}
	if strings.Trim(project, "/") == "" {
		return issue{}, apierr.Input("Unable to determine the GitLab project. Provide projectId, or a repoUrl with owner and repo, or with project")
	}
	request := map[string]any{"title": in.Title}
	set := func(name string, value any, given bool) {
		if given {
			request[name] = value
		}
	}
	set("description", in.Description, in.Description != "")
	set("assignee_ids", in.Assignees, len(in.Assignees) > 0)
	set("confidential", true, in.Confidential)
	set("labels", in.Labels, in.Labels != "")
	set("discussion_to_resolve", in.DiscussionToResolve, in.DiscussionToResolve != "")
	set("merge_request_to_resolve_discussions_of", in.MergeRequestToResolveDiscussionsOf, in.MergeRequestToResolveDiscussionsOf != 0)
	set("issue_type", in.IssueType, in.IssueType != "")
	set("milestone_id", in.MilestoneID, in.MilestoneID != nil)
	set("weight", in.Weight, in.Weight != nil)
	for name, text := range map[string]string{"created_at": in.CreatedAt, "due_date": in.DueDate} {
		at, err := instant(text)
		if err != nil {
			return issue{}, err
		}
		set(name, at, at != "")
	}
	in.Token = ""
	this := key("issue", a.base, project, in)
	if in.EpicID != 0 {
		fits, err := scaffoldernode.Checkpoint(ctx, c, this+".epic", func(ctx context.Context) (bool, error) { return a.epicFits(ctx, c, project, in.EpicID) })
		if err != nil {
			return issue{}, err
		}
		set("epic_id", in.EpicID, fits)
	}
	return createOnce(ctx, c, this, creation[issue]{
		candidates: func(ctx context.Context) ([]issue, error) { return a.issuesTitled(ctx, project, in.Title) },
		id:         func(i issue) int64 { return i.IID },
		create: func(ctx context.Context) (created issue, err error) {
			err = a.post(ctx, urlPath("projects", project, "issues"), request, &created)
			return created, err
		},
	})
}

// issuesTitled lists the own issues that have the title.
func (a *api) issuesTitled(ctx context.Context, project, title string) ([]issue, error) {
	found, err := list[issue](ctx, a, urlPath("projects", project, "issues"), url.Values{
		"scope": {"created_by_me"}, "search": {title}, "in": {"title"}, "state": {"all"},
	})
	var same []issue
	for _, i := range found {
		if i.Title == title {
			same = append(same, i)
		}
	}
	return same, err
}

// instant reads a time as inputs have it and writes it as the API wants it.
func instant(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return "", apierr.Input("Error converting input date - %w", err)
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z"), nil
}

// epicFits reports whether an epic belongs to a group that the project is in.
func (a *api) epicFits(ctx context.Context, c *scaffoldernode.ActionContext, of string, epic int64) (bool, error) {
	fits, err := a.findEpic(ctx, of, epic)
	if err != nil {
		return false, apierr.Input("Could not find epic scope: %w", err)
	}
	if fits {
		c.Logger.InfoContext(ctx, "Epic is within Project Scope")
	} else {
		c.Logger.WarnContext(ctx, "Chosen epic is not within the Project Scope. The issue will be created without an associated epic.")
	}
	return fits, nil
}

// maxDepth is how deep GitLab lets groups be.
const maxDepth = 20

func (a *api) findEpic(ctx context.Context, of string, epic int64) (bool, error) {
	var p project
	if err := a.get(ctx, urlPath("projects", of), nil, &p); err != nil {
		return false, err
	}
	// every group on the way up may have epics that the outermost one lists
	var top group
	for id, depth := p.Namespace.ID, 0; ; depth++ {
		top = group{}
		if err := a.get(ctx, urlPath("groups", id), nil, &top); err != nil {
			return false, apierr.Input("Error finding top-level parent group ID: %w", err)
		}
		if top.ParentID == nil || depth > maxDepth {
			break
		}
		id = *top.ParentID
	}
	epics, err := list[struct {
		ID      int64 `json:"id"`
		GroupID int64 `json:"group_id"`
	}](ctx, a, urlPath("groups", top.ID, "epics"), nil)
	if err != nil {
		return false, err
	}
	for _, e := range epics {
		if e.ID != epic {
			continue
		}
		var owner group
		if err := a.get(ctx, urlPath("groups", e.GroupID), nil, &owner); err != nil {
			return false, err
		}
		return strings.HasPrefix(p.FullPath+"/", owner.FullPath+"/"), nil
	}
	return false, apierr.Input("Epic with id %d not found in the top-level parent group %s.", epic, top.Name)
}

type issueEditInput struct {
	target
	ProjectID        json.RawMessage `json:"projectId" description:"The number of the project, or its whole path"`
	IssueIID         int64           `json:"issueIid" description:"The number of the issue in the project"`
	AddLabels        *string         `json:"addLabels,omitempty" description:"Labels to add, separated by commas"`
	Assignees        *[]int64        `json:"assignees,omitempty" description:"The numbers of the users whom it is assigned to from now on; nobody if it is empty"`
	Confidential     *bool           `json:"confidential,omitempty" description:"Whether only members see it"`
	Description      *string         `json:"description,omitempty" description:"The text of the issue"`
	DiscussionLocked *bool           `json:"discussionLocked,omitempty" description:"Whether only members may comment"`
	DueDate          *string         `json:"dueDate,omitempty" description:"The day on which it is due, YYYY-MM-DD"`
	EpicID           int64           `json:"epicId,omitempty" description:"The number of the epic that it belongs to"`
	IssueType        *string         `json:"issueType,omitempty" enum:"issue,incident,test_case,task" description:"The type"`
	Labels           *string         `json:"labels,omitempty" description:"All labels from now on, separated by commas; none if it is empty"`
	MilestoneID      *int64          `json:"milestoneId,omitempty" description:"The number of the milestone; 0 is none"`
	RemoveLabels     *string         `json:"removeLabels,omitempty" description:"Labels to remove, separated by commas"`
	StateEvent       *string         `json:"stateEvent,omitempty" enum:"close,reopen" description:"Whether it is closed or opened again"`
	Title            *string         `json:"title,omitempty" description:"The title"`
	UpdatedAt        string          `json:"updatedAt,omitempty" description:"When it was changed, such as 2030-01-31T12:00:00Z, which only owners and administrators may say; now by default"`
	Weight           *int64          `json:"weight,omitempty" description:"The weight, 0 to 10"`
}

type issueEditOutput struct {
	IssueURL  string `json:"issueUrl" description:"The page of the issue"`
	ProjectID int64  `json:"projectId" description:"The number of the project"`
	IssueID   int64  `json:"issueId" description:"The number of the issue in this GitLab"`
	IssueIID  int64  `json:"issueIid" description:"The number of the issue in the project"`
	State     string `json:"state" description:"opened or closed"`
	Title     string `json:"title" description:"The title"`
	UpdatedAt string `json:"updatedAt" description:"When it was changed"`
}

func (g *gitlab) editIssue() scaffoldernode.Action {
	return refine(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "gitlab:issue:edit", Description: "Changes an issue. What the input does not have stays as it is",
		Examples: example("Close an issue", `
- id: close
  name: Close the issue
  action: gitlab:issue:edit
  input:
    repoUrl: gitlab.com?owner=acme&repo=shop
    projectId: 12
    issueIid: 3
    stateEvent: close
    addLabels: done
`),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in issueEditInput) (out issueEditOutput, err error) {
		edited, err := g.runEditIssue(ctx, c, in)
		if err != nil {
			return out, apierr.Input("Failed to edit/modify GitLab issue: %w", err)
		}
		return issueEditOutput{edited.WebURL, edited.ProjectID, edited.ID, edited.IID, edited.State, edited.Title, edited.UpdatedAt}, nil
	}), map[string]string{
		"projectId": numberOrText, "description": longText, "dueDate": day, "epicId": notNegative, "updatedAt": moment,
		"weight": notNegative + `,"maximum":10`,
	})
}

// runEditIssue sends all changes in one request, which has the same effect
// when it is sent twice.
func (g *gitlab) runEditIssue(ctx context.Context, c *scaffoldernode.ActionContext, in issueEditInput) (edited issue, err error) {
	a, err := g.at(in.target)
	if err != nil {
		return edited, err
	}
	project := ref(in.ProjectID)
	updated, err := instant(in.UpdatedAt)
	if err != nil {
		return edited, err
	}
	request := struct {
		AddLabels        *string  `json:"add_labels,omitempty"`
		Assignees        *[]int64 `json:"assignee_ids,omitempty"`
		Confidential     *bool    `json:"confidential,omitempty"`
		Description      *string  `json:"description,omitempty"`
		DiscussionLocked *bool    `json:"discussion_locked,omitempty"`
		DueDate          *string  `json:"due_date,omitempty"`
		EpicID           int64    `json:"epic_id,omitempty"`
		IssueType        *string  `json:"issue_type,omitempty"`
		Labels           *string  `json:"labels,omitempty"`
		MilestoneID      *int64   `json:"milestone_id,omitempty"`
		RemoveLabels     *string  `json:"remove_labels,omitempty"`
		StateEvent       *string  `json:"state_event,omitempty"`
		Title            *string  `json:"title,omitempty"`
		UpdatedAt        string   `json:"updated_at,omitempty"`
		Weight           *int64   `json:"weight,omitempty"`
	}{
		in.AddLabels, in.Assignees, in.Confidential, in.Description, in.DiscussionLocked, in.DueDate, 0, in.IssueType, in.Labels,
		in.MilestoneID, in.RemoveLabels, in.StateEvent, in.Title, updated, in.Weight,
	}
	if in.EpicID != 0 {
		fits, err := a.epicFits(ctx, c, project, in.EpicID)
		if err != nil {
			return edited, err
		}
		if fits {
			request.EpicID = in.EpicID
		}
	}
	in.Token = ""
	return scaffoldernode.Checkpoint(ctx, c, key("issue.edit", a.base, project, in), func(ctx context.Context) (edited issue, err error) {
		err = a.put(ctx, urlPath("projects", project, "issues", in.IssueIID), request, &edited)
		return edited, err
	})
}
