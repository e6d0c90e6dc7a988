package scaffoldernode

import (
	"net/url"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration"
)

// RepoURL is what the repository picker of a template form gives:
// host?owner=…&repo=…. Parts that the text does not have are empty.
type RepoURL struct {
	Host         string
	Owner        string
	Repo         string
	Organization string
	Workspace    string
	Project      string
}

// ParseRepoURL reads a repository URL. The host has to be one of the configured
// integrations, and the parts that its kind of host needs have to be there; the
// error is an InputError otherwise.
func ParseRepoURL(hosts *integration.Hosts, text string) (RepoURL, error) {
	u, err := url.Parse("https://" + text)
	if err == nil && u.Host == "" {
		err = &url.Error{Op: "parse", URL: "https://" + text, Err: url.InvalidHostError(text)}
	}
	if err != nil {
		return RepoURL{}, apierr.Input("Invalid repo URL passed to publisher, got %s, %v", text, err)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	kind, known := hosts.Kind("https://" + u.Host)
	if !known {
		return RepoURL{}, apierr.Input("No matching integration configuration for host %s, please check your integrations config", u.Host)
	}
	query := u.Query()
	part := func(name string) string { return strings.Trim(query.Get(name), "/") }
	repo := RepoURL{
		Host: u.Host, Owner: part("owner"), Repo: part("repo"), Organization: part("organization"),
		Workspace: part("workspace"), Project: part("project"),
	}
	for _, name := range requiredParts(kind, repo) {
		if part(name) == "" {
			return RepoURL{}, apierr.Input("Invalid repo URL passed to publisher: %s, missing %s", u, name)
		}
	}
	return repo, nil
}

func requiredParts(kind integration.Kind, repo RepoURL) []string {
	switch kind {
	case integration.KindBitbucketCloud:
		return []string{"workspace", "project", "repo"}
	case integration.KindBitbucketServer, integration.KindAzure:
		return []string{"project", "repo"}
	case integration.KindGitLab:
		if repo.Project != "" {
			return nil
		}
		return []string{"owner", "repo"}
	case integration.KindGitea, integration.KindGerrit:
		return []string{"repo"}
	default:
		return []string{"repo", "owner"}
	}
}
