package urlreader

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/urlreader/internal/archive"
	"github.com/flytower/flytower/defaults/urlreader/internal/glob"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/githubapp"
	"github.com/flytower/flytower/integration/hostclient"
)

// acceptRaw asks the API for the content of a file instead of its description.
const acceptRaw = "application/vnd.github.v3.raw"

// gitHub reads from one GitHub host.
type gitHub struct {
	common
	config      integration.GitHub
	credentials *githubapp.Source
}

// place parses the URL, and gets the credential for its repository.
func (g *gitHub) place(ctx context.Context, u *url.URL, o core.ReadOptions) (integration.Location, githubapp.Credential, error) {
	l, err := g.hosts.Parse(u.String())
	if err != nil {
		return l, githubapp.Credential{}, apierr.Input("%w", err)
	}
	if !o.Token.IsZero() {
		return l, githubapp.Static(o.Token), nil
	}
	c, err := g.credentials.Credentials(ctx, l.Owner, l.Repo)
	if err != nil {
		return l, c, fmt.Errorf("getting credentials for %s: %w", integration.Redact(u.String()), err)
	}
	return l, c, nil
}

func (g *gitHub) repo(l integration.Location) string {
	return g.config.APIBaseURL + "/repos/" + url.PathEscape(l.Owner) + "/" + url.PathEscape(l.Repo)
}

func (g *gitHub) request(at, accept string, c githubapp.Credential, o core.ReadOptions) hostclient.Request {
	h := c.Header()
	h.Set("Accept", accept)
	return hostclient.Request{URL: at, Header: h, Credential: c.ID, Interactive: o.Interactive, MaxBytes: o.MaxBytes}
}

// Read reads a file by the contents API, or, without credentials, where raw
// files are served and cost no quota.
func (g *gitHub) Read(ctx context.Context, u *url.URL, o core.ReadOptions) (core.ReadResult, error) {
	l, c, err := g.place(ctx, u, o)
	if err != nil {
		return core.ReadResult{}, err
	}
	if l.Path == "" {
		return core.ReadResult{}, apierr.Input("%s names no file", integration.Redact(u.String()))
	}
	var at string
	switch {
	case g.config.APIBaseURL != "" && (!c.Token.IsZero() || g.config.RawBaseURL == ""):
		at = g.repo(l) + "/contents/" + segmentsPath(l.Path)
		if l.Ref != "" {
			at += "?ref=" + url.QueryEscape(l.Ref)
		}
	default:
		ref := l.Ref
		if ref == "" {
			ref = "HEAD"
		}
		at = g.config.RawBaseURL + "/" + url.PathEscape(l.Owner) + "/" + url.PathEscape(l.Repo) + "/" + segmentsPath(ref) + "/" + segmentsPath(l.Path)
	}
	r := g.request(at, acceptRaw, c, o)
	conditional(r.Header, o)
	a, err := g.client.Get(ctx, r)
	if err != nil {
		return core.ReadResult{}, fmt.Errorf("reading %s: %w", integration.Redact(u.String()), err)
	}
	return result(a, u)
}

// commit returns the commit at which the ref of the place stands.
func (g *gitHub) commit(ctx context.Context, u *url.URL, l integration.Location, c githubapp.Credential, o core.ReadOptions) (string, error) {
	if g.config.APIBaseURL == "" {
		return "", apierr.NotImplemented("reading trees of %s needs integrations.github apiBaseUrl", g.config.Host)
	}
	ref := l.Ref
	if ref == "" {
		var repo struct {
			DefaultBranch string `json:"default_branch"`
		}
		if err := g.json(ctx, u, g.repo(l), c, o, &repo); err != nil {
			return "", err
		}
		ref = repo.DefaultBranch
	}
	var status struct {
		SHA string `json:"sha"`
	}
	if err := g.json(ctx, u, g.repo(l)+"/commits/"+url.PathEscape(ref)+"/status?per_page=0", c, o, &status); err != nil {
		return "", err
	}
	if status.SHA == "" {
		return "", apierr.New(apierr.KindError, "%s told no commit for %s", g.config.Host, integration.Redact(u.String()))
	}
	if o.ETag == status.SHA {
		return "", apierr.NotModified("%s is still at commit %s", integration.Redact(u.String()), status.SHA)
	}
	return status.SHA, nil
}

func (g *gitHub) json(ctx context.Context, u *url.URL, at string, c githubapp.Credential, o core.ReadOptions, into any) error {
	o.MaxBytes = 32 << 20 // of an answer of the API; a whole git tree has at most 7 MiB
	a, err := g.client.Get(ctx, g.request(at, "application/vnd.github+json", c, o))
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

// ReadTree reads the archive of the commit.
func (g *gitHub) ReadTree(ctx context.Context, u *url.URL, o core.TreeOptions) (core.TreeResult, error) {
	l, c, err := g.place(ctx, u, o.ReadOptions)
	if err != nil {
		return nil, err
	}
	sha, err := g.commit(ctx, u, l, c, o.ReadOptions)
	if err != nil {
		return nil, err
	}
	return g.treeAt(ctx, u, l, c, sha, o)
}

func (g *gitHub) treeAt(ctx context.Context, u *url.URL, l integration.Location, c githubapp.Credential, sha string, o core.TreeOptions) (core.TreeResult, error) {
	r := g.request(g.repo(l)+"/tarball/"+url.PathEscape(sha), "application/vnd.github+json", c, o.ReadOptions)
	tree, err := g.unpack(ctx, u, r, o, archive.Options{Strip: 1, Subpath: l.Path})
	if err != nil {
		return nil, err
	}
	return &treeResult{tree: tree, etag: sha}, nil
}

// Search matches the names of the git tree and reads what was found by its
// hash, so that a file that did not change is not read again.
func (g *gitHub) Search(ctx context.Context, u *url.URL, o core.ReadOptions) (core.SearchResult, error) {
	bounded, cancel := boundedSearch(ctx, u)
	defer cancel()
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
	l, c, err := g.place(bounded, u, o)
	if err != nil {
		return core.SearchResult{}, err
	}
	sha, err := g.commit(bounded, u, l, c, o)
	if err != nil {
		return core.SearchResult{}, err
	}
	var tree struct {
		Truncated bool `json:"truncated"`
		Tree      []struct {
			Path string `json:"path"`
			Type string `json:"type"`
			SHA  string `json:"sha"`
			Size int64  `json:"size"`
		} `json:"tree"`
	}
	if err := g.json(bounded, u, g.repo(l)+"/git/trees/"+sha+"?recursive=1", c, o, &tree); err != nil {
		return core.SearchResult{}, err
	}
	found := func(path string) (string, error) {
		return g.hosts.Resolve((&url.URL{Path: "/" + path}).EscapedPath(), u.String())
	}
	if tree.Truncated {
		at := pinned{gitHub: g, location: l, credential: c, sha: sha}
		return searchTree(bounded, at, u, o, "", match, found)
	}
	out := core.SearchResult{ETag: sha}
	for _, e := range tree.Tree {
		if e.Type != "blob" || !match.Match(e.Path) {
			continue
		}
		at, err := found(e.Path)
		if err != nil {
			return core.SearchResult{}, err
		}
		blob := g.request(g.repo(l)+"/git/blobs/"+url.PathEscape(e.SHA), acceptRaw, c, o)
		blob.Immutable = true
		out.Files = append(out.Files, core.FoundFile{URL: at, Open: func() (io.ReadCloser, error) { return g.open(ctx, u, blob) }})
	}
	return out, nil
}

func (g *gitHub) open(ctx context.Context, u *url.URL, r hostclient.Request) (io.ReadCloser, error) {
	ctx, cancel := boundedOpen(ctx, u)
	defer cancel()
	a, err := g.client.Get(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("reading a file found by %s: %w", integration.Redact(u.String()), err)
	}
	if a.Status != http.StatusOK {
		return nil, statusError(a.Status, u)
	}
	return content(a.Body), nil
}

// pinned reads the tree of a commit that is known already, from its root: the
// path of the URL is the pattern of a search.
type pinned struct {
	*gitHub
	location   integration.Location
	credential githubapp.Credential
	sha        string
}

// ReadTree reads the whole tree at the commit.
func (p pinned) ReadTree(ctx context.Context, u *url.URL, o core.TreeOptions) (core.TreeResult, error) {
	l := p.location
	l.Path = ""
	return p.treeAt(ctx, u, l, p.credential, p.sha, o)
}
