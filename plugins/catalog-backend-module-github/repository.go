package catalogmodulegithub

import (
	"regexp"
	"slices"
	"strings"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// repository is what counts of a repository, from whichever source.
type repository struct {
	owner, name   string
	url           string // as a person opens it, without a slash at the end
	fork          bool
	archived      bool
	visibility    string // lower case
	topics        []string
	defaultBranch string // empty for an empty repository
	hasFile       bool   // of the answer to a query that asked
}

// filters choose repositories, and the branch that is read.
type filters struct {
	repository     *regexp.Regexp
	repositoryText string
	branch         string
	forks          bool
	archived       bool
	include        []string
	exclude        []string
	visibility     []string
}

// match reports whether the repository counts.
func (f filters) match(r repository) bool {
	has := func(topic string) bool { return slices.Contains(r.topics, topic) }
	switch {
	case r.archived && !f.archived,
		r.fork && !f.forks,
		f.repository != nil && !f.repository.MatchString(r.name),
		slices.ContainsFunc(f.exclude, has),
		len(f.include) > 0 && !slices.ContainsFunc(f.include, has),
		len(f.visibility) > 0 && !slices.Contains(f.visibility, r.visibility):
		return false
	}
	return true
}

// branchOf returns the branch that is read; "-" of an empty repository, which
// has none yet.
func (f filters) branchOf(r repository) string {
	switch {
	case f.branch != "":
		return f.branch
	case r.defaultBranch != "":
		return r.defaultBranch
	default:
		return "-"
	}
}

// fileURL returns the URL of a file of the repository, in the view blob or
// tree.
func fileURL(repositoryURL, view, branch, path string) string {
	return repositoryURL + "/" + view + "/" + branch + "/" + path
}

// target returns the URL of the catalog file of the repository.
func (s settings) target(r repository) string {
	return fileURL(r.url, "blob", s.filters.branchOf(r), s.path)
}

// location returns the Location entity of a target. Its file may be absent.
func location(target string) catalogcommon.Entity {
	at := catalogcommon.LocationRef{Type: "url", Target: target}
	return catalogcommon.Entity{
		"apiVersion": catalogcommon.APIVersionV1alpha1,
		"kind":       "Location",
		"metadata": map[string]any{
			"name": at.EntityName(),
			"annotations": map[string]any{
				catalogcommon.AnnotationLocation:       at.String(),
				catalogcommon.AnnotationOriginLocation: at.String(),
			},
		},
		"spec": map[string]any{"type": "url", "target": target, "presence": "optional"},
	}
}

// locationRef returns the ref of the Location entity of a target.
func locationRef(target string) string {
	name := catalogcommon.LocationRef{Type: "url", Target: target}.EntityName()
	return catalogcommon.Ref{Kind: "location", Namespace: catalogcommon.DefaultNamespace, Name: strings.ToLower(name)}.String()
}
