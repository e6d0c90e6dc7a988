package scaffoldermodulegitlab

import (
	"context"
	"net/url"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

type groupMigrateInput struct {
	DestinationAccessToken string `json:"destinationAccessToken" description:"A token for the GitLab that the project goes to"`
	DestinationURL         string `json:"destinationUrl" description:"Where the project goes to, in the form gitlab.example.com?owner=group&repo=project"`
	SourceAccessToken      string `json:"sourceAccessToken" description:"A token for the GitLab that the project is on"`
	SourceFullPath         string `json:"sourceFullPath" description:"The path of the project there, with its groups"`
	SourceURL              string `json:"sourceUrl" description:"The address of the GitLab that the project is on, such as https://gitlab.com/"`
}

type groupMigrateOutput struct {
	ImportedRepoURL string `json:"importedRepoUrl" description:"Where the project will be"`
	MigrationID     int64  `json:"migrationId" description:"The number of the migration, which goes on after the action ended"`
}

// migrated is what the API says of what is migrated.
type migrated struct {
	SourceFullPath       string `json:"source_full_path"`
	DestinationSlug      string `json:"destination_slug"`
	DestinationName      string `json:"destination_name"` // in older versions
	DestinationNamespace string `json:"destination_namespace"`
}

func (g *gitlab) migrateGroup() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "gitlab:group:migrate", Description: "Begins to migrate a project from one GitLab to another by direct transfer",
		Examples: example("A project from gitlab.com", `
- id: migrate
  name: Migrate the project
  action: gitlab:group:migrate
  input:
    destinationAccessToken: ${{ secrets.DESTINATION_TOKEN }}
    destinationUrl: gitlab.example.com?owner=acme&repo=shop
    sourceAccessToken: ${{ secrets.SOURCE_TOKEN }}
    sourceFullPath: acme/legacy/shop
    sourceUrl: https://gitlab.com
`),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in groupMigrateInput) (out groupMigrateOutput, err error) {
		repo, err := scaffoldernode.ParseRepoURL(g.hosts, in.DestinationURL)
		if err != nil {
			return out, err
		}
		if repo.Owner == "" {
			return out, apierr.Input("Failed to determine target repository to migrate to. Make sure destinationUrl matches the format 'gitlab.myorg.com?repo=project_name&owner=group_name'")
		}
		a, err := g.connect(repo.Host, in.DestinationAccessToken, false)
		if err != nil {
			return out, err
		}
		this := key("migration", a.base, in.SourceURL, in.SourceFullPath, repo.Owner, repo.Repo)
		known, again, err := scaffoldernode.Before(ctx, c, this, a.migrations)
		if err != nil {
			return out, err
		}
		out.MigrationID, err = scaffoldernode.Checkpoint(ctx, c, this, func(ctx context.Context) (int64, error) {
			if again {
				begun, err := a.begun(ctx, known, in.SourceFullPath, repo)
				if err != nil || begun != 0 {
					return begun, err
				}
			}
			var created struct{ ID int64 }
			err := a.post(ctx, "/bulk_imports", map[string]any{
				"configuration": map[string]any{"url": in.SourceURL, "access_token": in.SourceAccessToken},
				"entities": []map[string]any{{
					"source_type": "project_entity", "source_full_path": in.SourceFullPath,
					"destination_slug": repo.Repo, "destination_namespace": repo.Owner,
				}},
			}, &created)
			return created.ID, err
		})
		if err != nil {
			return groupMigrateOutput{}, apierr.Input("Failed to transfer repo %[1]s. Make sure that %[1]s exists in %[2]s, and token has enough rights.\nError: %[3]w", in.SourceFullPath, in.SourceURL, err)
		}
		out.ImportedRepoURL = repo.Host + "/" + repo.Owner + "/" + repo.Repo
		return out, nil
	})
}

// migrations returns the numbers of the newest migrations of the user.
func (a *api) migrations(ctx context.Context) ([]int64, error) {
	var newest []struct{ ID int64 }
	err := a.get(ctx, "/bulk_imports", url.Values{"sort": {"desc"}, "per_page": {"20"}}, &newest)
	numbers := make([]int64, len(newest))
	for i, m := range newest {
		numbers[i] = m.ID
	}
	return numbers, err
}

// begun returns the number of a migration that is not known and brings a
// project to where it is wanted, 0 if there is none.
func (a *api) begun(ctx context.Context, known []int64, source string, to scaffoldernode.RepoURL) (int64, error) {
	newest, err := a.migrations(ctx)
	if err != nil {
		return 0, err
	}
	for _, id := range unknown(newest, func(id int64) int64 { return id }, known) {
		entities, err := list[migrated](ctx, a, urlPath("bulk_imports", id, "entities"), nil)
		if err != nil {
			return 0, err
		}
		for _, e := range entities {
			if e.SourceFullPath == source && e.DestinationNamespace == to.Owner && (e.DestinationSlug == to.Repo || e.DestinationName == to.Repo) {
				return id, nil
			}
		}
	}
	return 0, nil
}
