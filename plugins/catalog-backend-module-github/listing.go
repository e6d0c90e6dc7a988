package catalogmodulegithub

import (
	"context"
	"fmt"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration/githubapi"
)

// The list is in order of creation, so that repositories that are made during
// a run come at its end and move none across the border of a page.
const listQuery = `query repositories($owner: String!, $size: Int!, $cursor: String, $file: String!, $validate: Boolean!) {
  repositoryOwner(login: $owner) {
    login
    repositories(first: $size, after: $cursor, orderBy: {field: CREATED_AT, direction: ASC}) {
      nodes { ...fields }
      pageInfo { hasNextPage endCursor }
    }
  }
}
` + fieldsFragment

const oneQuery = `query repository($owner: String!, $name: String!, $file: String!, $validate: Boolean!) {
  repository(owner: $owner, name: $name, followRenames: false) { ...fields }
}
` + fieldsFragment

const fieldsFragment = `fragment fields on Repository {
  name
  url
  isFork
  isArchived
  visibility
  owner { login }
  defaultBranchRef { name }
  repositoryTopics(first: 100) { nodes { topic { name } } }
  file: object(expression: $file) @include(if: $validate) { ... on Blob { byteSize } }
}`

// node is a repository in the answers.
type node struct {
	Name, URL          string
	IsFork, IsArchived bool
	Visibility         string
	Owner              struct{ Login string }
	DefaultBranchRef   *struct{ Name string }
	RepositoryTopics   *githubapi.Nodes[topicNode]
	File               *struct{ ByteSize *int }
}

type topicNode struct{ Topic struct{ Name string } }

func (n *node) repository() (repository, error) {
	if n.Name == "" || n.URL == "" || n.Visibility == "" {
		return repository{}, apierr.ServiceUnavailable("a repository in the answer lacks its name, url or visibility")
	}
	topics, err := n.RepositoryTopics.All()
	if err != nil {
		return repository{}, fmt.Errorf("topics of %s: %w", n.URL, err)
	}
	r := repository{
		owner: n.Owner.Login, name: n.Name, url: strings.TrimRight(n.URL, "/"), fork: n.IsFork, archived: n.IsArchived,
		visibility: strings.ToLower(n.Visibility),
		hasFile:    n.File != nil && n.File.ByteSize != nil && *n.File.ByteSize > 0,
	}
	if n.DefaultBranchRef != nil {
		r.defaultBranch = n.DefaultBranchRef.Name
	}
	for _, t := range topics {
		r.topics = append(r.topics, t.Topic.Name)
	}
	return r, nil
}

// variables are those of the fragment.
func (s settings) variables(owner string) map[string]any {
	branch := s.filters.branch
	if branch == "" {
		branch = "HEAD"
	}
	return map[string]any{"owner": owner, "file": branch + ":" + s.path, "validate": s.validate}
}

// list visits all repositories of the owner.
func (s settings) list(ctx context.Context, api *githubapi.API, owner string, visit func(repository) error) error {
	type page struct {
		RepositoryOwner *struct {
			Login        string
			Repositories *githubapi.Nodes[node]
		}
	}
	q := githubapi.Query{Name: "repositories", Text: listQuery, Variables: s.variables(owner), Owner: owner}
	return githubapi.Each(ctx, api, q, githubapi.Paging{PageSize: s.pageSize}, func(p *page) (githubapi.PageInfo, error) {
		if p.RepositoryOwner == nil || !strings.EqualFold(p.RepositoryOwner.Login, owner) {
			return githubapi.PageInfo{}, apierr.NotFound("there is no organization or user %q at %s that the credential may see", owner, s.host)
		}
		nodes, err := p.RepositoryOwner.Repositories.All()
		if err != nil {
			return githubapi.PageInfo{}, err
		}
		for _, n := range nodes {
			r, err := n.repository()
			if err != nil {
				return githubapi.PageInfo{}, err
			}
			if err := visit(r); err != nil {
				return githubapi.PageInfo{}, err
			}
		}
		return p.RepositoryOwner.Repositories.PageInfo, nil
	})
}

// fileExists asks whether the repository has the catalog file.
func (s settings) fileExists(ctx context.Context, api *githubapi.API, owner, name string) (bool, error) {
	var out struct{ Repository *node }
	v := s.variables(owner)
	v["name"] = name
	err := api.Query(ctx, githubapi.Query{Name: "repository", Text: oneQuery, Variables: v, Owner: owner, Repo: name}, &out)
	if apierr.KindOf(err) == apierr.KindNotFound {
		return false, nil
	}
	if err != nil || out.Repository == nil {
		return false, err
	}
	r, err := out.Repository.repository()
	return r.hasFile, err
}
