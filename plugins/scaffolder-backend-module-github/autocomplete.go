package scaffoldermodulegithub

import (
	"context"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration/githubapi"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// Complete lists what the user of the token sees: repositoriesWithOwner,
// owners, or the branches of a repository.
func (p Parts) Complete(ctx context.Context, request scaffoldernode.AutocompleteRequest) ([]scaffoldernode.Completion, error) {
	host := or(request.Context["host"], "github.com")
	api, err := p.GitHub.Host(host)
	if err != nil {
		return nil, apierr.Input("No matching integration configuration for host %s, please check your integrations config", host)
	}
	if request.Token == "" {
		return nil, noUserToken(host)
	}
	path, key := "", "login"
	switch request.Resource {
	case "repositoriesWithOwner":
		path, key = "/user/repos", "full_name"
	case "owners":
		path = "/user/orgs"
	case "branches":
		owner, repo := request.Context["owner"], request.Context["repository"]
		if owner == "" || repo == "" {
			return nil, apierr.Input("Missing owner and/or repository context parameter")
		}
		path, key = githubapi.RepositoryPath(owner, repo, "branches"), "name"
	default:
		return nil, apierr.Input("Invalid resource: %s", request.Resource)
	}
	out := []scaffoldernode.Completion{}
	err = githubapi.EachCall(ctx, api, githubapi.Call{Path: path, Token: core.NewToken(request.Token)}, maxPages, func(page *[]map[string]any) bool {
		for _, item := range *page {
			if id, ok := item[key].(string); ok {
				out = append(out, scaffoldernode.Completion{ID: id})
			}
		}
		return true
	})
	return out, err
}
