package catalogmodulegithub

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/githubapi"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// defaultFile is the name of catalog files that is looked for.
const defaultFile = "catalog-info.yaml"

const (
	// maxFound is how many catalog files of a repository are looked at, which is
	// a page of a code search.
	maxFound = 100
	// maxChecks is how many of them are read at a time.
	maxChecks = 5
)

// analyzer finds the catalog files that are in a repository. It implements
// [catalognode.LocationAnalyzer].
type analyzer struct {
	github  *githubapi.Hosts
	hosts   *integration.Hosts
	catalog catalognode.Client
	auth    core.AuthService
}

// Supports implements [catalognode.LocationAnalyzer]. Without credentials no
// host can be searched; its repositories are then taken for empty.
func (a *analyzer) Supports(target string) bool {
	at, err := integration.ParseURL(target)
	if kind, known := a.hosts.Kind(target); err != nil || !known || kind != integration.KindGitHub {
		return false
	}
	api, err := a.github.Host(at.Host)
	return err == nil && api.HasCredentials()
}

// Existing searches the default branch of the repository and processes what it
// finds, without storing it.
func (a *analyzer) Existing(ctx context.Context, target, filename string) ([]catalognode.ExistingFile, error) {
	at, err := a.hosts.Parse(target)
	if err != nil {
		return nil, apierr.Input("%s names no repository: %w", target, err)
	}
	api, err := a.github.Host(at.Host)
	if err != nil {
		return nil, err
	}
	paths, err := search(ctx, api, at, filename)
	if err != nil || len(paths) == 0 {
		return nil, err
	}
	var repo struct {
		HTMLURL       string `json:"html_url"`
		DefaultBranch string `json:"default_branch"`
	}
	read := githubapi.Read{Path: githubapi.RepositoryPath(at.Owner, at.Repo), Owner: at.Owner, Repo: at.Repo, Interactive: true}
	if _, err := api.Get(ctx, read, &repo); err != nil {
		return nil, err
	}
	files := make([][]catalognode.ExistingFile, len(paths))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxChecks)
	for i, p := range paths {
		group.Go(func() (err error) {
			files[i], err = a.check(ctx, fileURL(strings.TrimRight(repo.HTMLURL, "/"), "blob", repo.DefaultBranch, (&url.URL{Path: p}).EscapedPath()))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var all []catalognode.ExistingFile
	for _, f := range files {
		all = append(all, f...)
	}
	return all, nil
}

// search returns the paths of the files with the name.
func search(ctx context.Context, api *githubapi.API, at integration.Location, filename string) ([]string, error) {
	name := path.Base(filename)
	switch {
	case filename == "":
		name = defaultFile
	case strings.ContainsAny(filename, " :\"\t\r\n"):
		return nil, apierr.Input("%q is not the name of a file to search for", filename)
	}
	terms := []string{"filename:" + name}
	if ext := strings.TrimPrefix(path.Ext(name), "."); ext != "" {
		terms = append(terms, "extension:"+ext)
	}
	terms = append(terms, "repo:"+at.Owner+"/"+at.Repo)
	var found struct {
		Incomplete bool `json:"incomplete_results"`
		Items      []struct{ Path string }
	}
	_, err := api.Get(ctx, githubapi.Read{
		Path: "/search/code", Query: url.Values{"q": {strings.Join(terms, " ")}, "per_page": {fmt.Sprint(maxFound)}},
		Owner: at.Owner, Repo: at.Repo, Resource: "code_search", Interactive: true,
	}, &found)
	if err != nil {
		return nil, fmt.Errorf("searching %s for %s: %w", at.FullName(), name, err)
	}
	var paths []string
	for _, it := range found.Items {
		if path.Base(it.Path) == name { // the search takes the name for a part of names
			paths = append(paths, it.Path)
		}
	}
	if found.Incomplete && len(paths) == 0 {
		return nil, apierr.ServiceUnavailable("the search of %s for %s was not complete; try again", at.FullName(), name)
	}
	return paths, nil
}

// check returns the entities in a catalog file, and those that it leads to.
func (a *analyzer) check(ctx context.Context, target string) ([]catalognode.ExistingFile, error) {
	found, err := a.catalog.CheckLocation(ctx, "url", target, a.auth.Own())
	if err != nil {
		return nil, apierr.Forward(err, "the catalog file "+target+" cannot be registered")
	}
	out := make([]catalognode.ExistingFile, len(found.Entities))
	for i, e := range found.Entities {
		out[i] = catalognode.ExistingFile{Location: catalogcommon.LocationRef{Type: "url", Target: target}, IsRegistered: found.Exists, Entity: e}
	}
	return out, nil
}
