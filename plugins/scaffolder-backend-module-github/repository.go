package scaffoldermodulegithub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration/githubapi"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// target is the part of the input that all actions have.
type target struct {
	RepoURL string `json:"repoUrl" description:"The repository, as in github.com?repo=shop&owner=acme"`
	Token   string `json:"token,omitempty" description:"The token to use with GitHub. Default: the credentials of the integration"`
}

// repository is a repository that an action works on, which may not exist yet.
type repository struct {
	api               *githubapi.API
	host, owner, name string
	// token is that of the input; it may be zero.
	token core.Token
}

// repository returns what an input is about.
func (p Parts) repository(ctx context.Context, in target) (*repository, error) {
	parsed, err := scaffoldernode.ParseRepoURL(p.Hosts, in.RepoURL)
	if err != nil {
		return nil, err
	}
	r := &repository{host: parsed.Host, owner: parsed.Owner, name: parsed.Repo, token: core.NewToken(in.Token)}
	if r.api, err = p.GitHub.Host(parsed.Host); err != nil {
		return nil, apierr.Input("No matching integration configuration for host %s, please check your integrations config", parsed.Host)
	}
	if p.UserTokens && in.Token == "" {
		return nil, noUserToken(parsed.Host)
	}
	token, err := r.credential(ctx)
	if err != nil {
		return nil, err
	}
	if token.IsZero() {
		return nil, apierr.Input("No token available for host: %s, with owner %s, and repo %s; configure a GitHub App or a token below integrations.github", r.host, r.owner, r.name)
	}
	return r, nil
}

func noUserToken(host string) error {
	return apierr.Input("No user credentials provided for host %s, but scaffolder.requireScmUserCredentials is enabled", host)
}

// credential returns the token that requests are sent with.
func (r *repository) credential(ctx context.Context) (core.Token, error) {
	if !r.token.IsZero() {
		return r.token, nil
	}
	credential, err := r.api.Credential(ctx, r.owner, r.name)
	return credential.Token, err
}

// slug is the name of the repository with its owner.
func (r *repository) slug() string { return r.owner + "/" + r.name }

// key names what an action does to the repository, in checkpoints.
func (r *repository) key(action string, more ...string) string {
	return strings.Join(append([]string{"github", action, r.host, r.owner, r.name}, more...), ".")
}

// path is below the repository.
func (r *repository) path(below ...string) string {
	return githubapi.RepositoryPath(r.owner, r.name, below...)
}

// call sends a call with the credential of the repository.
func (r *repository) call(ctx context.Context, method, path string, body, out any) error {
	return r.send(ctx, githubapi.Call{Method: method, Path: path, Body: body}, out)
}

func (r *repository) send(ctx context.Context, c githubapi.Call, out any) error {
	_, _, err := r.api.Call(ctx, r.with(c), out)
	return err
}

func (r *repository) with(c githubapi.Call) githubapi.Call {
	c.Token, c.Owner, c.Repo = r.token, r.owner, r.name
	return c
}

// post sends what must not be sent twice, put what may.
func (r *repository) post(ctx context.Context, body, out any, below ...string) error {
	return r.call(ctx, http.MethodPost, r.path(below...), body, out)
}

func (r *repository) put(ctx context.Context, body any, below ...string) error {
	return r.call(ctx, http.MethodPut, r.path(below...), body, nil)
}

func (r *repository) get(ctx context.Context, out any, below ...string) error {
	return r.call(ctx, http.MethodGet, r.path(below...), nil, out)
}

// maxPages bounds lists, of 100 items a page.
const maxPages = 50

// each visits the pages of a list until visit returns false.
func each[T any](ctx context.Context, r *repository, path string, query url.Values, visit func(*T) bool) error {
	return githubapi.EachCall(ctx, r.api, r.with(githubapi.Call{Path: path, Query: query}), maxPages, visit)
}

// status returns the status of the host's answer; 0 if there was none.
func status(err error) int {
	var refused *githubapi.ResponseError
	if errors.As(err, &refused) {
		return refused.Status
	}
	return 0
}

// message returns what the host said, without anything around it.
func message(err error) string {
	var refused *githubapi.ResponseError
	if errors.As(err, &refused) {
		return refused.Error()
	}
	return err.Error()
}

// remote is a repository as the host describes it.
type remote struct {
	ID            int64           `json:"id"`
	Name          string          `json:"name"`
	CloneURL      string          `json:"clone_url"`
	HTMLURL       string          `json:"html_url"`
	DefaultBranch string          `json:"default_branch"`
	Owner         account         `json:"owner"`
	Permissions   map[string]bool `json:"permissions"`
}

type account struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
	Type  string `json:"type"`
}

func (r *repository) read(ctx context.Context) (found remote, err error) {
	if err = r.get(ctx, &found); err != nil {
		err = fmt.Errorf("read the repository %s: %w", r.slug(), err)
	}
	return found, err
}
