package catalogmodulegithub

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration/githubapi"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// topicAll is where webhooks of all kinds arrive. Their kind is in the
// metadata, under the name of the header of GitHub.
const (
	topicAll   = "github"
	kindHeader = "x-github-event"
)

const (
	// maxPushCommits is how many commits GitHub puts into a webhook: one with
	// so many may lack others.
	maxPushCommits = 2048
	// maxRead is how many commits of a push are read to find renamed files.
	maxRead = 100
	// maxCommitPages and maxCommitFiles bound the files of a commit: GitHub
	// tells no more.
	maxCommitPages = 30
	maxCommitFiles = 3000
)

// bridge tells the catalog what webhooks of GitHub say about files and
// repositories, in terms that all source hosts share.
type bridge struct {
	github *githubapi.Hosts
	to     catalognode.SCMEventsService
	log    *slog.Logger
	turn   chan struct{} // held while a webhook is handled, so that they keep their order
}

func newBridge(github *githubapi.Hosts, to catalognode.SCMEventsService, log *slog.Logger) *bridge {
	return &bridge{github, to, log, make(chan struct{}, 1)}
}

// start begins to listen.
func (b *bridge) start(ctx context.Context, events core.EventsService) error {
	return events.Subscribe(ctx, core.Subscription{ID: "catalog-github-scm-events-bridge", Topics: []string{topicAll}, OnEvent: b.onEvent})
}

func (b *bridge) onEvent(ctx context.Context, e core.Event) error {
	kind := webhookKind(e)
	if kind != "push" && kind != "repository" {
		return nil
	}
	var w webhook
	if err := json.Unmarshal(e.Payload, &w); err != nil {
		return fmt.Errorf("the payload of the event %s is no webhook of GitHub: %w", e.Topic, err)
	}
	r, err := w.repository()
	if err != nil {
		return err
	}
	at, err := url.Parse(r.url)
	if err != nil {
		return err
	}
	api, err := b.github.Host(at.Host)
	if apierr.KindOf(err) == apierr.KindNotFound {
		return nil // nothing of that host can be in the catalog by an integration
	}
	if err != nil {
		return err
	}
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var news []catalognode.SCMEvent
	if kind == "push" {
		news, err = b.push(ctx, api, &w, r)
	} else {
		news = w.repositoryEvents(r)
	}
	if err != nil || len(news) == 0 {
		return err
	}
	return b.to.Publish(ctx, news...)
}

// webhookKind returns what the header X-GitHub-Event said. Where an event came
// by the event bus, which carries no metadata, the members of the body tell.
func webhookKind(e core.Event) string {
	for name, v := range e.Metadata {
		if !strings.EqualFold(name, kindHeader) {
			continue
		}
		switch v := v.(type) {
		case string:
			return v
		case []string:
			return strings.Join(v, ",")
		}
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(e.Payload, &members) != nil {
		return ""
	}
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(n string) bool { _, ok := members[n]; return !ok })
	}
	switch common := []string{"action", "changes", "enterprise", "installation", "organization", "repository", "sender"}; {
	case has("ref", "before", "after", "commits", "repository"):
		return "push"
	case has("action", "repository") && !slices.ContainsFunc(slices.Collect(maps.Keys(members)), func(n string) bool { return !slices.Contains(common, n) }):
		return "repository"
	default:
		return ""
	}
}

// relevant reports whether a file may be one of the catalog.
func relevant(path string) bool {
	return strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml")
}

// push returns what a push to the default branch did to files that may be of
// the catalog. Where the webhook does not tell it all, it is the whole
// repository that changed: nothing is taken for deleted that may be there.
func (b *bridge) push(ctx context.Context, api *githubapi.API, w *webhook, r repository) ([]catalognode.SCMEvent, error) {
	if r.defaultBranch == "" || w.Ref != "refs/heads/"+r.defaultBranch || w.Deleted {
		return nil, nil
	}
	if len(w.Commits) >= maxPushCommits {
		return b.unknown(ctx, w, r, fmt.Sprintf("it has %d commits, of which GitHub may have left out some", len(w.Commits))), nil
	}
	var commits []pushedCommit
	added, removed := false, false
	for _, c := range w.Commits {
		a, d := slices.ContainsFunc(c.Added, relevant), slices.ContainsFunc(c.Removed, relevant)
		if a || d || slices.ContainsFunc(c.Modified, relevant) {
			commits = append(commits, c)
		}
		added, removed = added || a, removed || d
	}
	if len(commits) == 0 && !w.Forced {
		return nil, nil
	}
	all := newChanges()
	switch {
	case !added || !removed:
		for _, c := range commits {
			all.commit(c.URL, c.summary())
		}
	case len(commits) > maxRead:
		return b.unknown(ctx, w, r, fmt.Sprintf("files may have been renamed in any of %d commits", len(commits))), nil
	default:
		// What was removed and what was added may be one file.
		for _, c := range commits {
			files, err := commitFiles(ctx, api, r, c.ID)
			if apierr.KindOf(err) == apierr.KindInput {
				return b.unknown(ctx, w, r, err.Error()), nil
			}
			if err != nil {
				return nil, fmt.Errorf("a push to %s was not followed, since it is unknown which files it renamed: %w", r.url, err)
			}
			all.commit(c.URL, files)
		}
	}
	var out []catalognode.SCMEvent
	for _, res := range all.results(relevant) {
		out = append(out, r.fileEvent(res))
	}
	if w.Forced {
		// The commits that were replaced are not in the webhook.
		out = append(out, catalognode.SCMEvent{Type: catalognode.SCMRepositoryUpdated, URL: r.url, CommitURL: w.Compare})
	}
	return out, nil
}

// unknown is what a push did that cannot be told in detail.
func (b *bridge) unknown(ctx context.Context, w *webhook, r repository, why string) []catalognode.SCMEvent {
	b.log.WarnContext(ctx, "a push cannot be followed file by file: the whole repository is read again, and what was deleted or renamed is not noticed",
		"repository", r.url, "push", w.Compare, "reason", why)
	return []catalognode.SCMEvent{{Type: catalognode.SCMRepositoryUpdated, URL: r.url, CommitURL: w.Compare}}
}

// commitFiles reads what a commit did.
func commitFiles(ctx context.Context, api *githubapi.API, r repository, sha string) ([]fileChange, error) {
	type page struct{ Files []fileChange }
	var files []fileChange
	read := githubapi.Read{Path: githubapi.RepositoryPath(r.owner, r.name, "commits", sha), Query: url.Values{"per_page": {"100"}}, Owner: r.owner, Repo: r.name}
	err := githubapi.EachPage(ctx, api, read, maxCommitPages, func(p *page) error {
		files = append(files, p.Files...)
		return nil
	})
	if err == nil && len(files) >= maxCommitFiles {
		err = apierr.Input("the commit %s changes %d files or more, of which GitHub leaves out some", sha, len(files))
	}
	return files, err
}

// summary returns what the webhook says that the commit did.
func (c pushedCommit) summary() (files []fileChange) {
	for status, paths := range map[string][]string{"added": c.Added, "modified": c.Modified, "removed": c.Removed} {
		for _, p := range paths {
			if relevant(p) {
				files = append(files, fileChange{Status: status, Path: p})
			}
		}
	}
	slices.SortFunc(files, func(a, b fileChange) int { return strings.Compare(a.Path, b.Path) })
	return files
}

// fileEvent returns the event of what became of a file on the default branch.
func (r repository) fileEvent(res result) catalognode.SCMEvent {
	at := func(path string) string {
		return fileURL(r.url, "blob", r.defaultBranch, (&url.URL{Path: path}).EscapedPath())
	}
	e := catalognode.SCMEvent{URL: at(res.path), CommitURL: res.commit}
	switch res.what {
	case "added":
		e.Type = catalognode.SCMLocationCreated
	case "removed":
		e.Type = catalognode.SCMLocationDeleted
	case "renamed":
		e.Type, e.URL, e.FromURL, e.ToURL = catalognode.SCMLocationMoved, "", at(res.from), at(res.path)
	default:
		e.Type = catalognode.SCMLocationUpdated
	}
	return e
}

// repositoryEvents returns what happened to a whole repository.
func (w *webhook) repositoryEvents(r repository) []catalognode.SCMEvent {
	one := func(typ catalognode.SCMEventType) []catalognode.SCMEvent {
		return []catalognode.SCMEvent{{Type: typ, URL: r.url}}
	}
	moved := func(from, to string) []catalognode.SCMEvent {
		if from == to {
			return nil
		}
		return []catalognode.SCMEvent{{Type: catalognode.SCMRepositoryMoved, FromURL: from, ToURL: to}}
	}
	switch w.Action {
	case "created":
		return one(catalognode.SCMRepositoryCreated)
	case "deleted":
		return one(catalognode.SCMRepositoryDeleted)
	case "archived", "unarchived", "privatized", "publicized":
		return one(catalognode.SCMRepositoryUpdated)
	case "edited":
		if from := w.Changes.DefaultBranch.From; from != "" && r.defaultBranch != "" {
			return moved(r.url+"/blob/"+from, r.url+"/blob/"+r.defaultBranch)
		}
	case "renamed", "transferred":
		return moved(w.before(r).url, r.url)
	}
	return nil
}
