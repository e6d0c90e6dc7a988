package scaffoldermodulegithub

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

type environmentInput struct {
	target
	Name                    string            `json:"name" description:"The name of the environment"`
	DeploymentBranchPolicy  *branchPolicy     `json:"deploymentBranchPolicy,omitempty" description:"Which branches may deploy. Default: all"`
	CustomBranchPolicyNames []string          `json:"customBranchPolicyNames,omitempty" description:"Patterns of branches that may deploy"`
	CustomTagPolicyNames    []string          `json:"customTagPolicyNames,omitempty" description:"Patterns of tags that may deploy"`
	EnvironmentVariables    map[string]string `json:"environmentVariables,omitempty" description:"Variables of the environment"`
	Secrets                 map[string]string `json:"secrets,omitempty" description:"Secrets of the environment"`
	WaitTimer               *float64          `json:"waitTimer,omitempty" description:"How long deployments wait, in minutes. Default: they do not"`
	PreventSelfReview       *bool             `json:"preventSelfReview,omitempty" description:"Whether somebody else has to approve a deployment. Default: that of GitHub"`
	Reviewers               []string          `json:"reviewers,omitempty" description:"Entity references of users and groups, one of whom approves deployments"`
}

type branchPolicy struct {
	ProtectedBranches    bool `json:"protected_branches" description:"Only branches that are protected; the opposite of custom_branch_policies"`
	CustomBranchPolicies bool `json:"custom_branch_policies" description:"Only branches and tags that match the patterns"`
}

func (p Parts) createEnvironment() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "github:environment:create", Description: "Creates an environment for deployments in a repository at GitHub, or changes it.",
		Examples: []scaffoldernode.ActionExample{example("Production, which the platform team approves", `steps:
  - id: production
    action: github:environment:create
    input:
      repoUrl: github.com?repo=shop&owner=acme
      name: production
      reviewers: [group:default/platform]
`)},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in environmentInput) (out struct{}, err error) {
		r, err := p.repository(ctx, in.target)
		if err != nil {
			return out, err
		}
		return out, p.environment(ctx, c, r, in)
	})
}

const (
	noticeTries = 3
	noticePause = 2 * time.Second
)

// noticed waits until the host knows a repository that was made a moment ago.
func (p Parts) noticed(ctx context.Context, r *repository) error {
	for try := 1; ; try++ {
		_, err := r.read(ctx)
		if try == noticeTries || status(err) != http.StatusNotFound {
			return err
		}
		if err := p.sleep(ctx, noticePause); err != nil {
			return err
		}
	}
}

func (p Parts) environment(ctx context.Context, c *scaffoldernode.ActionContext, r *repository, in environmentInput) error {
	if err := p.noticed(ctx, r); err != nil {
		return err
	}
	reviewers, err := p.reviewers(ctx, c, r, in.Reviewers)
	if err != nil {
		return err
	}
	body := map[string]any{}
	if in.DeploymentBranchPolicy != nil {
		body["deployment_branch_policy"] = in.DeploymentBranchPolicy
	}
	if in.WaitTimer != nil {
		body["wait_timer"] = *in.WaitTimer
	}
	if in.PreventSelfReview != nil {
		body["prevent_self_review"] = *in.PreventSelfReview
	}
	if len(reviewers) > 0 {
		body["reviewers"] = reviewers
	}
	if err := r.put(ctx, body, "environments", in.Name); err != nil {
		return fmt.Errorf("create the environment %s: %w", in.Name, err)
	}
	if err := p.policies(ctx, r, in); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(in.EnvironmentVariables)) {
		if err := r.setVariable(ctx, r.path("environments", in.Name, "variables"), name, in.EnvironmentVariables[name]); err != nil {
			return err
		}
	}
	return r.setSecrets(ctx, r.path("environments", in.Name, "secrets"), in.Secrets)
}

// policy is which branches or tags may deploy.
type policy struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

func (p Parts) policies(ctx context.Context, r *repository, in environmentInput) error {
	var wanted []policy
	for _, name := range in.CustomBranchPolicyNames {
		wanted = append(wanted, policy{name, "branch"})
	}
	for _, name := range in.CustomTagPolicyNames {
		wanted = append(wanted, policy{name, "tag"})
	}
	path := r.path("environments", in.Name, "deployment-branch-policies")
	for _, one := range wanted {
		_, err := ensure(ctx, p, func(ctx context.Context) (_ bool, found bool, err error) {
			err = each(ctx, r, path, url.Values{}, func(page *struct {
				Policies []policy `json:"branch_policies"`
			},
			) bool {
				found = found || slices.Contains(page.Policies, one)
				return !found
			})
			return true, found, err
		}, func(ctx context.Context) (bool, error) {
			return true, r.call(ctx, http.MethodPost, path, one, nil)
		})
		if err != nil {
			return fmt.Errorf("allow the %s %s to deploy: %w", one.Type, one.Name, err)
		}
	}
	return nil
}

type reviewer struct {
	Type string `json:"type"`
	ID   int64  `json:"id"`
}

// reviewers finds the users and teams of entities. Those that are unknown are
// logged and left out.
func (p Parts) reviewers(ctx context.Context, c *scaffoldernode.ActionContext, r *repository, refs []string) ([]reviewer, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	who, err := c.InitiatorCredentials(ctx)
	if err != nil {
		return nil, err
	}
	entities, err := p.Catalog.EntitiesByRefs(ctx, refs, catalognode.EntitiesQuery{}, who)
	if err != nil {
		return nil, fmt.Errorf("read the reviewers from the catalog: %w", err)
	}
	var out []reviewer
	for i, entity := range entities {
		if entity == nil {
			c.Logger.Error("The reviewer " + refs[i] + " is not in the catalog")
			continue
		}
		path := ""
		kind := entity.Kind()
		switch kind {
		case "User":
			path = "/users/" + url.PathEscape(entity.Name())
		case "Group":
			kind = "Team"
			path = "/orgs/" + url.PathEscape(r.owner) + "/teams/" + url.PathEscape(entity.Name())
		default:
			continue
		}
		var found account
		switch err := r.call(ctx, http.MethodGet, path, nil, &found); {
		case err == nil:
			out = append(out, reviewer{kind, found.ID})
		case ctx.Err() != nil:
			return nil, err
		default:
			c.Logger.Error(fmt.Sprintf("%s not found: %s, %s", kind, entity.Name(), message(err)))
		}
	}
	return out, nil
}
