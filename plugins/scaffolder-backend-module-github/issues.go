package scaffoldermodulegithub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/flytower/flytower/integration/githubapi"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

type issueInput struct {
	target
	Title     string   `json:"title" description:"The title of the issue"`
	Body      string   `json:"body,omitempty" description:"The text of the issue"`
	Assignees []string `json:"assignees,omitempty" description:"Users to assign"`
	Milestone any      `json:"milestone,omitempty" description:"The number of a milestone, also as a text"`
	Labels    []string `json:"labels,omitempty" description:"Labels of the issue"`
}

type issueOutput struct {
	IssueURL    string `json:"issueUrl" description:"The address of the issue"`
	IssueNumber int64  `json:"issueNumber" description:"The number of the issue"`
}

// issue is an issue as the host has it.
type issue struct {
	Number  int64  `json:"number"`
	HTMLURL string `json:"html_url"`
	Body    string `json:"body,omitempty"`
}

func (p Parts) createIssue() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "github:issues:create", Description: "Creates an issue at GitHub.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("An issue for the team", `steps:
  - id: issue
    action: github:issues:create
    input:
      repoUrl: github.com?repo=shop&owner=acme
      title: Set up monitoring
      body: The service has been created.
      labels: [setup]
`)},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in issueInput) (out issueOutput, err error) {
		if c.DryRun {
			parsed, err := scaffoldernode.ParseRepoURL(p.Hosts, in.RepoURL)
			if err != nil {
				return out, err
			}
			c.Logger.Info("This is a dry run: no issue is created")
			return issueOutput{fmt.Sprintf("https://%s/%s/%s/issues/42", parsed.Host, parsed.Owner, parsed.Repo), 42}, nil
		}
		r, err := p.repository(ctx, in.target)
		if err != nil {
			return out, err
		}
		made, err := p.issue(ctx, c, r, in)
		if err != nil {
			return out, fmt.Errorf("create the issue in %s: %w", r.slug(), err)
		}
		c.Logger.Info(fmt.Sprintf("Created the issue %v: %s", made.Number, made.HTMLURL))
		return issueOutput{made.HTMLURL, made.Number}, nil
	})
}

// issue creates the issue. Its text ends with a comment that readers do not
// see, by which a later run finds it whose earlier one did not get the answer.
func (p Parts) issue(ctx context.Context, c *scaffoldernode.ActionContext, r *repository, in issueInput) (issue, error) {
	id := digest(in.Title, in.Body)
	marker := "<!-- scaffolder:" + digest(c.TaskID, c.StepID, id) + " -->"
	body := map[string]any{"title": in.Title, "body": strings.TrimLeft(in.Body+"\n\n"+marker, "\n")}
	if in.Assignees != nil {
		body["assignees"] = in.Assignees
	}
	if in.Labels != nil {
		body["labels"] = in.Labels
	}
	if in.Milestone != nil {
		body["milestone"] = in.Milestone
	}
	newest := url.Values{"state": {"all"}, "sort": {"created"}, "direction": {"desc"}}
	return once(ctx, p, c, r.key("issue", id),
		func(ctx context.Context) (last int64, err error) {
			var newestOne []issue
			err = r.send(ctx, githubapi.Call{Path: r.path("issues"), Query: url.Values{"state": {"all"}, "sort": {"created"}, "direction": {"desc"}, "per_page": {"1"}}}, &newestOne)
			if err == nil && len(newestOne) > 0 {
				last = newestOne[0].Number
			}
			return last, err
		},
		func(ctx context.Context, last int64) (found issue, ok bool, err error) {
			err = each(ctx, r, r.path("issues"), newest, func(page *[]issue) bool {
				for _, one := range *page {
					if one.Number <= last {
						return false
					}
					if strings.Contains(one.Body, marker) {
						found, ok = one, true
						return false
					}
				}
				return true
			})
			found.Body = ""
			return found, ok, err
		},
		func(ctx context.Context) (made issue, err error) {
			err = r.post(ctx, body, &made, "issues")
			made.Body = ""
			return made, err
		})
}

// digest names texts by what they say.
func digest(texts ...string) string {
	h := sha256.New()
	for _, text := range texts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(text), text)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

type labelInput struct {
	target
	Number int64    `json:"number" description:"The number of the issue or pull request"`
	Labels []string `json:"labels" description:"The labels to add"`
}

func (p Parts) labelIssue() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "github:issues:label", Description: "Adds labels to an issue or pull request at GitHub.",
		Examples: []scaffoldernode.ActionExample{example("Label the pull request of an earlier step", `steps:
  - id: label
    action: github:issues:label
    input:
      repoUrl: github.com?repo=shop&owner=acme
      number: ${{ steps.propose.output.pullRequestNumber }}
      labels: [from-template]
`)},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in labelInput) (out struct{}, err error) {
		r, err := p.repository(ctx, in.target)
		if err != nil {
			return out, err
		}
		err = r.send(ctx, githubapi.Call{
			Method: http.MethodPost, Path: r.path("issues", fmt.Sprint(in.Number), "labels"),
			Body: map[string]any{"labels": in.Labels}, Repeatable: true,
		}, nil)
		return out, tolerate(ctx, c, err, fmt.Sprintf("Failed: adding labels to issue: '%v' on repo: '%s'", in.Number, r.name))
	})
}
