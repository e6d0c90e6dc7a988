package scaffoldermodulegitlab

import (
	"context"
	"strings"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// complete lists groups, with the own user behind them, and the projects of
// one of these.
func (g *gitlab) complete(ctx context.Context, r scaffoldernode.AutocompleteRequest) ([]scaffoldernode.Completion, error) {
	host := r.Context["host"]
	if host == "" {
		host = "gitlab.com"
	}
	a, err := g.connect(host, r.Token, g.settings.userTokens)
	if err != nil {
		return nil, err
	}
	switch r.Resource {
	case "groups":
		groups, err := list[group](ctx, a, "/groups", nil)
		if err != nil {
			return nil, err
		}
		me, err := a.me(ctx)
		if err != nil {
			return nil, err
		}
		var all []scaffoldernode.Completion
		for _, group := range groups {
			all = append(all, scaffoldernode.Completion{ID: idText(group.ID), Title: group.FullPath})
		}
		return append(all, scaffoldernode.Completion{ID: idText(me.ID), Title: me.Username}), nil
	case "repositories":
		id := r.Context["id"]
		if id == "" {
			return nil, apierr.Input("Missing groupId and userId context parameter")
		}
		me, err := a.me(ctx)
		if err != nil {
			return nil, err
		}
		kind := "groups"
		if id == idText(me.ID) {
			kind = "users"
		}
		projects, err := list[project](ctx, a, urlPath(kind, id, "projects"), nil)
		if err != nil {
			return nil, err
		}
		all := make([]scaffoldernode.Completion, len(projects))
		for i, p := range projects {
			all[i] = scaffoldernode.Completion{ID: p.Path, Title: strings.TrimSpace(p.Name)}
		}
		return all, nil
	}
	return nil, apierr.Input("Invalid resource: %s", r.Resource)
}
