package urlreader

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/urlreader/internal/archive"
	"github.com/flytower/flytower/defaults/urlreader/internal/glob"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/hostclient"
)

// gitLab reads from one GitLab host.
type gitLab struct {
	common
	config integration.GitLab
}

func (g *gitLab) request(at string, o core.ReadOptions) hostclient.Request {
	token := o.Token
	if token.IsZero() {
		token = g.config.Token
	}
	h := http.Header{}
	if !token.IsZero() {
		h.Set("Authorization", "Bearer "+token.Reveal())
	}
	return hostclient.Request{
		URL: at, Header: h, Credential: hostclient.CredentialID(token.Reveal()),
		Interactive: o.Interactive, MaxBytes: o.MaxBytes,
		Limits: hostclient.Limits{
			MaxRetries: g.config.Retry.MaxRetries, RetryStatus: g.config.Retry.StatusCodes, PerMinute: g.config.Retry.MaxRequestsPerMinute,
		},
	}
}

// project is the URL of a project in the API, which takes its path as one
// segment.
func (g *gitLab) project(fullName string) string {
	return g.config.APIBaseURL + "/projects/" + url.PathEscape(fullName)
}

// Read reads a file of a repository, or of the artifacts of a job.
func (g *gitLab) Read(ctx context.Context, u *url.URL, o core.ReadOptions) (core.ReadResult, error) {
	at, isArtifact := g.artifact(u)
	if !isArtifact {
		l, err := g.hosts.Parse(u.String())
		if err != nil {
			return core.ReadResult{}, apierr.Input("%w", err)
		}
		if l.Path == "" {
			return core.ReadResult{}, apierr.Input("%s names no file", integration.Redact(u.String()))
		}
		at = g.project(l.FullName()) + "/repository/files/" + url.PathEscape(l.Path) + "/raw?ref=" + url.QueryEscape(refOrHead(l.Ref))
	}
	r := g.request(at, o)
	if !isArtifact {
		conditional(r.Header, o)
	}
	a, err := g.client.Get(ctx, r)
	if err != nil {
		return core.ReadResult{}, fmt.Errorf("reading %s: %w", integration.Redact(u.String()), err)
	}
	return result(a, u)
}

func refOrHead(ref string) string {
	if ref == "" {
		return "HEAD"
	}
	return ref
}

// artifact maps /<project>/-/jobs/artifacts/<ref>/raw/<path>?job=<name> to the
// API. The URL was checked for dot segments before.
func (g *gitLab) artifact(u *url.URL) (at string, ok bool) {
	full := u.EscapedPath()
	if base, err := url.Parse(g.config.BaseURL); err == nil {
		if rest, below := strings.CutPrefix(full, strings.TrimRight(base.EscapedPath(), "/")+"/"); below {
			full = "/" + rest
		}
	}
	project, rest, ok := strings.Cut(full, "/-/jobs/artifacts/")
	if !ok {
		return "", false
	}
	ref, file, ok := strings.Cut(rest, "/raw/")
	job := u.Query().Get("job")
	name, err := url.PathUnescape(strings.Trim(project, "/"))
	if !ok || file == "" || job == "" || err != nil {
		return "", false
	}
	return g.project(name) + "/jobs/artifacts/" + ref + "/raw/" + file + "?job=" + url.QueryEscape(job), true
}

func (g *gitLab) json(ctx context.Context, u *url.URL, at string, o core.ReadOptions, into any) error {
	o.MaxBytes = 4 << 20
	a, err := g.client.Get(ctx, g.request(at, o))
	if err != nil {
		return fmt.Errorf("reading %s: %w", integration.Redact(u.String()), err)
	}
	if err := statusError(a.Status, u); err != nil {
		return err
	}
	if err := json.Unmarshal(a.Body, into); err != nil {
		return apierr.New(apierr.KindError, "reading %s: the answer of %s is malformed: %w", integration.Redact(u.String()), g.config.Host, err)
	}
	return nil
}

// ReadTree reads the archive of the last commit that touched the path.
func (g *gitLab) ReadTree(ctx context.Context, u *url.URL, o core.TreeOptions) (core.TreeResult, error) {
	l, err := g.hosts.Parse(u.String())
	if err != nil {
		return nil, apierr.Input("%w", err)
	}
	return g.treeAt(ctx, u, l, o)
}

func (g *gitLab) treeAt(ctx context.Context, u *url.URL, l integration.Location, o core.TreeOptions) (core.TreeResult, error) {
	project := g.project(l.FullName())
	if l.Ref == "" {
		var p struct {
			DefaultBranch string `json:"default_branch"`
		}
		if err := g.json(ctx, u, project, o.ReadOptions, &p); err != nil {
			return nil, err
		}
		l.Ref = p.DefaultBranch
	}
	q := url.Values{"ref_name": {l.Ref}, "per_page": {"1"}}
	if l.Path != "" {
		q.Set("path", l.Path)
	}
	var commits []struct {
		ID string `json:"id"`
	}
	if err := g.json(ctx, u, project+"/repository/commits?"+q.Encode(), o.ReadOptions, &commits); err != nil {
		return nil, err
	}
	if len(commits) == 0 || commits[0].ID == "" {
		return nil, apierr.NotFound("%s was not found: no commit touches it", integration.Redact(u.String()))
	}
	sha := commits[0].ID
	if o.ETag == sha {
		return nil, apierr.NotModified("%s is still at commit %s", integration.Redact(u.String()), sha)
	}
	// By the commit, not by the branch, which may have moved on.
	q = url.Values{"sha": {sha}}
	if l.Path != "" {
		q.Set("path", l.Path)
	}
	tree, err := g.unpack(ctx, u, g.request(project+"/repository/archive.tar.gz?"+q.Encode(), o.ReadOptions), o, archive.Options{Strip: 1, Subpath: l.Path})
	if err != nil {
		return nil, err
	}
	return &treeResult{tree: tree, etag: sha}, nil
}

// Search reads the archive of the directory in front of the pattern.
func (g *gitLab) Search(ctx context.Context, u *url.URL, o core.ReadOptions) (core.SearchResult, error) {
	if _, isArtifact := g.artifact(u); isArtifact {
		return searchOne(ctx, g, u, o)
	}
	l, err := g.hosts.Parse(u.String())
	if err != nil {
		return core.SearchResult{}, apierr.Input("%w", err)
	}
	if !glob.IsPattern(l.Path) {
		return searchOne(ctx, g, u, o)
	}
	match, err := glob.Compile(l.Path)
	if err != nil {
		return core.SearchResult{}, apierr.Input("searching %s: %w", integration.Redact(u.String()), err)
	}
	ctx, cancel := boundedSearch(ctx, u)
	defer cancel()
	prefix := glob.StaticPrefix(l.Path)
	l.Path = prefix
	return searchTree(ctx, gitLabAt{g, l}, u, o, prefix, match, func(path string) (string, error) {
		return g.hosts.Resolve((&url.URL{Path: "/" + path}).EscapedPath(), u.String())
	})
}

// gitLabAt reads the tree of a place instead of that of the URL, whose path
// is the pattern of a search.
type gitLabAt struct {
	*gitLab
	location integration.Location
}

// ReadTree reads the tree of the place.
func (g gitLabAt) ReadTree(ctx context.Context, u *url.URL, o core.TreeOptions) (core.TreeResult, error) {
	return g.treeAt(ctx, u, g.location, o)
}
