package scaffoldermodulegithub

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/flytower/flytower/integration/githubapi"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// reviewRules are how a branch is protected.
type reviewRules struct {
	RequireCodeOwnerReviews        bool      `json:"requireCodeOwnerReviews,omitempty" description:"Require a review of a code owner. Default: false"`
	DismissStaleReviews            bool      `json:"dismissStaleReviews,omitempty" description:"Dismiss approvals when there are new commits. Default: false"`
	RequiredStatusCheckContexts    []string  `json:"requiredStatusCheckContexts,omitempty" description:"Checks that have to pass. Default: none"`
	BypassPullRequestAllowances    *people   `json:"bypassPullRequestAllowances,omitempty" description:"Who may push without a pull request"`
	RequiredApprovingReviewCount   *float64  `json:"requiredApprovingReviewCount,omitempty" description:"How many approvals are needed. Default: 1"`
	Restrictions                   *pushable `json:"restrictions,omitempty" description:"Who may push. Default: everybody with write access"`
	RequireBranchesToBeUpToDate    *bool     `json:"requireBranchesToBeUpToDate,omitempty" description:"Require branches to be up to date. Default: true"`
	RequiredConversationResolution bool      `json:"requiredConversationResolution,omitempty" description:"Require conversations to be resolved. Default: false"`
	RequireLastPushApproval        bool      `json:"requireLastPushApproval,omitempty" description:"Require that somebody else than the last pusher approves. Default: false"`
	RequiredCommitSigning          bool      `json:"requiredCommitSigning,omitempty" description:"Require signed commits. Default: false"`
	RequiredLinearHistory          bool      `json:"requiredLinearHistory,omitempty" description:"Refuse merge commits. Default: false"`
}

type people struct {
	Apps  []string `json:"apps,omitempty"`
	Users []string `json:"users,omitempty"`
	Teams []string `json:"teams,omitempty"`
}

type pushable struct {
	Users []string `json:"users"`
	Teams []string `json:"teams"`
	Apps  []string `json:"apps,omitempty"`
}

type protectInput struct {
	target
	Branch        string `json:"branch,omitempty" description:"The branch to protect. Default: the default branch of the repository"`
	EnforceAdmins *bool  `json:"enforceAdmins,omitempty" description:"Enforce the protection for administrators, too. Default: true"`
	reviewRules
	BlockCreations bool `json:"blockCreations,omitempty" description:"Refuse new branches that match. Default: false"`
}

func (p Parts) protectBranch() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "github:branch-protection:create", Description: "Protects a branch of a repository at GitHub.",
		Examples: []scaffoldernode.ActionExample{example("Two approvals", `steps:
  - id: protect
    action: github:branch-protection:create
    input:
      repoUrl: github.com?repo=shop&owner=acme
      requiredApprovingReviewCount: 2
`)},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in protectInput) (out struct{}, err error) {
		r, err := p.repository(ctx, in.target)
		if err != nil {
			return out, err
		}
		if in.Branch == "" {
			found, err := r.read(ctx)
			if err != nil {
				return out, err
			}
			in.Branch = found.DefaultBranch
		}
		return out, p.protect(ctx, c, r, in.Branch, yes(in.EnforceAdmins), in.BlockCreations, in.reviewRules)
	})
}

// branchPause is how long a host gets to notice a branch.
const branchPause = 600 * time.Millisecond

func (p Parts) protect(ctx context.Context, c *scaffoldernode.ActionContext, r *repository, branch string, admins, blockCreations bool, in reviewRules) error {
	reviews := map[string]any{
		"required_approving_review_count": number(in.RequiredApprovingReviewCount, 1),
		"require_code_owner_reviews":      in.RequireCodeOwnerReviews,
		"dismiss_stale_reviews":           in.DismissStaleReviews,
		"require_last_push_approval":      in.RequireLastPushApproval,
	}
	if in.BypassPullRequestAllowances != nil {
		reviews["bypass_pull_request_allowances"] = in.BypassPullRequestAllowances
	}
	contexts := in.RequiredStatusCheckContexts
	if contexts == nil {
		contexts = []string{}
	}
	body := map[string]any{
		"required_status_checks":           map[string]any{"strict": yes(in.RequireBranchesToBeUpToDate), "contexts": contexts},
		"restrictions":                     in.Restrictions,
		"enforce_admins":                   admins,
		"required_pull_request_reviews":    reviews,
		"required_conversation_resolution": in.RequiredConversationResolution,
		"required_linear_history":          in.RequiredLinearHistory,
		"block_creations":                  blockCreations,
	}
	err := r.put(ctx, body, "branches", branch, "protection")
	if err != nil && strings.Contains(message(err), "Branch not found") {
		if err := p.sleep(ctx, branchPause); err != nil {
			return err
		}
		err = r.put(ctx, body, "branches", branch, "protection")
	}
	if err == nil && in.RequiredCommitSigning {
		err = r.send(ctx, githubapi.Call{Method: http.MethodPost, Path: r.path("branches", branch, "protection", "required_signatures"), Repeatable: true}, nil)
	}
	switch {
	case err == nil:
		return nil
	case strings.Contains(message(err), "Upgrade to GitHub Pro or make this repository public to enable this feature"):
		c.Logger.Warn("The branch " + branch + " is not protected: GitHub does that for private repositories only in plans that are paid for")
		return nil
	}
	return fmt.Errorf("protect the branch %s: %w", branch, err)
}

func number(n *float64, absent float64) float64 {
	if n == nil {
		return absent
	}
	return *n
}
