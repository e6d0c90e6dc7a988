package scaffoldermodulegitlab

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/hostclient"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

// gitlab is what all actions share.
type gitlab struct {
	settings settings
	hosts    *integration.Hosts
	client   *hostclient.Client
	git      *gitrepo.Client
	now      func() time.Time
	sleep    func(context.Context, time.Duration) error
}

// target is the part of the input that says where, and as whom.
type target struct {
	RepoURL string `json:"repoUrl" description:"The project in the form gitlab.example.com?owner=group&repo=project, or ?project=group%2Fproject. Where an action is about something else, the host is enough"`
	Token   string `json:"token,omitempty" description:"An OAuth token of a user that is used in place of the token of the integration"`
}

// at returns the API of the host of a repository URL.
func (g *gitlab) at(t target) (*api, error) {
	host, err := g.hostOf(t.RepoURL)
	if err != nil {
		return nil, err
	}
	return g.connect(host, t.Token, g.settings.userTokens)
}

// hostOf returns the host of a repository URL, which may have no more.
func (g *gitlab) hostOf(repoURL string) (string, error) {
	u, err := url.Parse("https://" + repoURL)
	if err != nil || u.Host == "" {
		return "", apierr.Input("Invalid repo URL passed to publisher, got %s", repoURL)
	}
	return u.Host, nil
}

// project returns the API of the host of a repository URL, and the project
// that it names.
func (g *gitlab) project(t target) (*api, scaffoldernode.RepoURL, error) {
	repo, err := scaffoldernode.ParseRepoURL(g.hosts, t.RepoURL)
	if err != nil {
		return nil, repo, err
	}
	a, err := g.connect(repo.Host, t.Token, g.settings.userTokens)
	return a, repo, err
}

// projectPath is the path of the project with its groups.
func projectPath(r scaffoldernode.RepoURL) string {
	if r.Project != "" {
		return r.Project
	}
	return r.Owner + "/" + r.Repo
}

// integration returns the configuration of a host.
func (g *gitlab) integration(host string) (integration.GitLab, error) {
	i := slices.IndexFunc(g.hosts.GitLab, func(c integration.GitLab) bool { return c.Host == strings.ToLower(host) })
	if i < 0 {
		return integration.GitLab{}, apierr.Input("No matching integration configuration for host %s, please check your integrations config", host)
	}
	return g.hosts.GitLab[i], nil
}

// connect chooses the credential: the token of the user, or else that of the
// integration, unless users have to bring theirs.
func (g *gitlab) connect(host, token string, needsUser bool) (*api, error) {
	c, err := g.integration(host)
	if err != nil {
		return nil, err
	}
	switch {
	case token == "" && needsUser:
		return nil, apierr.Input("No user credentials provided for host %s, but scaffolder.requireScmUserCredentials is enabled", host)
	case token == "" && c.Token.IsZero():
		return nil, apierr.Input("No token available for host %s", host)
	case token == "":
		return g.api(c, "Private-Token", c.Token.Reveal()), nil
	}
	return g.api(c, "Authorization", "Bearer "+token), nil
}

func (g *gitlab) api(c integration.GitLab, header, value string) *api {
	return &api{
		client: g.client, base: c.APIBaseURL, header: http.Header{header: {value}, "Accept": {"application/json"}},
		credential: hostclient.CredentialID(value),
		limits:     hostclient.Limits{MaxRetries: c.Retry.MaxRetries, RetryStatus: c.Retry.StatusCodes, PerMinute: c.Retry.MaxRequestsPerMinute},
	}
}
