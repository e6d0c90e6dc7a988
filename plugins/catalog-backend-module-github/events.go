package catalogmodulegithub

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Topics under which webhooks of GitHub arrive; the payload is their body.
const (
	topicPush       = "github.push"
	topicRepository = "github.repository"
)

// webhook is what counts of the body of both webhooks.
type webhook struct {
	Action     string
	Ref        string
	Repository struct {
		Name          string
		HTMLURL       string `json:"html_url"`
		Owner         struct{ Login, Name string }
		Fork          bool
		Archived      bool
		Private       bool
		Visibility    string
		Topics        []string
		DefaultBranch string `json:"default_branch"`
	}
	Commits []pushedCommit
	// Compare is the page that shows the push. Deleted says that it deleted the
	// branch, Forced that it replaced commits.
	Compare         string
	Deleted, Forced bool
	Changes         struct {
		Repository struct{ Name struct{ From string } }
		Owner      struct {
			From struct{ User, Organization struct{ Login string } }
		}
		DefaultBranch struct{ From string } `json:"default_branch"`
	}
}

// pushedCommit is a commit in the webhook of a push.
type pushedCommit struct {
	ID, URL                  string
	Added, Modified, Removed []string
}

// repository returns the repository that the webhook is about.
func (w *webhook) repository() (repository, error) {
	at, err := url.Parse(w.Repository.HTMLURL)
	if err != nil || at.Host == "" || w.Repository.Name == "" {
		return repository{}, fmt.Errorf("the webhook names no repository (name %q, html_url %q)", w.Repository.Name, w.Repository.HTMLURL)
	}
	r := repository{
		owner: w.Repository.Owner.Login, name: w.Repository.Name, url: strings.TrimRight(w.Repository.HTMLURL, "/"),
		fork: w.Repository.Fork, archived: w.Repository.Archived, visibility: strings.ToLower(w.Repository.Visibility),
		topics: w.Repository.Topics, defaultBranch: w.Repository.DefaultBranch,
	}
	if r.owner == "" {
		r.owner = w.Repository.Owner.Name
	}
	if r.visibility == "" {
		// Servers before GitHub Enterprise 2.20 tell only this.
		r.visibility = map[bool]string{true: "private", false: "public"}[w.Repository.Private]
	}
	return r, nil
}

func (p *provider) onEvent(ctx context.Context, e core.Event) error {
	var w webhook
	if err := json.Unmarshal(e.Payload, &w); err != nil {
		return fmt.Errorf("the payload of the event %s is no webhook of GitHub: %w", e.Topic, err)
	}
	r, err := w.repository()
	if err != nil {
		return err
	}
	if at, err := url.Parse(r.url); err != nil || !strings.EqualFold(at.Host, p.host) {
		return nil //nolint:nilerr // parsed before; another host's provider takes it
	}
	switch e.Topic {
	case topicPush:
		return p.onPush(ctx, &w, r)
	case topicRepository:
		return p.onRepository(ctx, &w, r)
	default:
		return nil
	}
}

// onPush takes over catalog files that were added or removed on the branch
// that is read, and refreshes those that were modified.
func (p *provider) onPush(ctx context.Context, w *webhook, r repository) error {
	branch := p.filters.branchOf(r)
	if w.Ref != "refs/heads/"+branch || !p.filters.match(r) {
		return nil
	}
	if ours, err := p.concerns(ctx, r.owner); err != nil || !ours {
		return err
	}
	if w.Forced || len(w.Commits) >= maxPushCommits {
		// The commits that the webhook names are not all that changed.
		if err := p.runSoon(ctx); err != nil {
			return err
		}
	}
	f := p.pushed(w)
	if len(f.added)+len(f.removed)+len(f.modified) == 0 {
		return nil
	}
	var keys []string
	refresh := func(file string) {
		for _, view := range []string{"tree", "blob"} {
			keys = append(keys, "url:"+fileURL(r.url, view, branch, file))
		}
	}
	for _, file := range f.modified {
		refresh(file)
	}
	var (
		added   []catalogcommon.Entity
		removed []string
	)
	if p.wildcard {
		// One location stands for all files of the repository: it is there
		// already or comes now, and has to be read again.
		refresh(p.path)
		if len(f.added) > 0 {
			added = append(added, location(p.target(r)))
		}
	} else {
		for _, file := range f.added {
			added = append(added, location(fileURL(r.url, "blob", branch, file)))
		}
		for _, file := range f.removed {
			removed = append(removed, locationRef(fileURL(r.url, "blob", branch, file)))
		}
	}
	if err := p.sink.Load().Delta(ctx, added, removed); err != nil {
		return err
	}
	return p.sink.Load().Refresh(ctx, keys...)
}

// runSoon triggers a full run.
func (p *provider) runSoon(ctx context.Context) error {
	err := p.scheduler.Trigger(ctx, p.taskID())
	if apierr.KindOf(err) == apierr.KindConflict {
		p.log.InfoContext(ctx, "a full run was wanted while one runs; the next one has what this one misses", "provider", p.ProviderName())
		return nil
	}
	return err
}

// files are the catalog files that a push changed.
type files struct{ added, modified, removed []string }

// pushed returns what became of the catalog files in all commits together.
func (p *provider) pushed(w *webhook) files {
	const added, modified, removed = 1, 2, 3
	last := map[string]int{}
	var order []string
	note := func(names []string, what int) {
		for _, name := range names {
			if !p.isCatalogFile(name) {
				continue
			}
			before, seen := last[name]
			if !seen {
				order = append(order, name)
			}
			if what == modified && before == added {
				continue // new in this push
			}
			last[name] = what
		}
	}
	for _, c := range w.Commits {
		note(c.Removed, removed)
		note(c.Modified, modified)
		note(c.Added, added)
	}
	var f files
	for _, name := range order {
		switch last[name] {
		case added:
			f.added = append(f.added, name)
		case modified:
			f.modified = append(f.modified, name)
		case removed:
			f.removed = append(f.removed, name)
		}
	}
	return f
}

func (p *provider) isCatalogFile(name string) bool {
	if !p.wildcard {
		return path.Clean(name) == path.Clean(p.path)
	}
	ok, err := doublestar.Match(p.path, name)
	return err == nil && ok
}

// onRepository follows what happens to whole repositories.
func (p *provider) onRepository(ctx context.Context, w *webhook, r repository) error {
	before := r // what it was called before
	switch w.Action {
	case "archived", "unarchived", "publicized", "privatized":
	case "deleted":
		if ours, err := p.concerns(ctx, r.owner); err != nil || !ours {
			return err
		}
		return p.sink.Load().Delta(ctx, nil, []string{locationRef(p.target(r))})
	case "edited":
		if from := w.Changes.DefaultBranch.From; from != "" {
			before.defaultBranch = from
		}
	case "renamed", "transferred":
		before = w.before(r)
	default:
		return nil // nothing to read in it yet, or nothing that counts
	}
	return p.replace(ctx, before, r)
}

// before returns what a repository that was renamed or transferred was before.
func (w *webhook) before(r repository) repository {
	if name := w.Changes.Repository.Name.From; w.Action == "renamed" && name != "" {
		before := r
		before.name, before.url = name, replaceLast(r.url, r.name, name)
		return before
	}
	owner := w.Changes.Owner.From.Organization.Login
	if owner == "" {
		owner = w.Changes.Owner.From.User.Login
	}
	if w.Action != "transferred" || owner == "" {
		return r
	}
	before := r
	before.owner = owner
	before.url = replaceLast(strings.TrimSuffix(r.url, "/"+r.name), r.owner, owner) + "/" + r.name
	return before
}

// replace takes back the location of the repository as it was, unless that is
// what it has now, and hands in the one that it has now, if it counts.
func (p *provider) replace(ctx context.Context, before, now repository) error {
	var (
		added   []catalogcommon.Entity
		removed []string
	)
	ours, err := p.concerns(ctx, now.owner)
	if err != nil {
		return err
	}
	wasOurs, err := p.concerns(ctx, before.owner)
	if err != nil {
		return err
	}
	if !ours && !wasOurs {
		return nil
	}
	if ours && p.filters.match(now) {
		there, err := p.exists(ctx, now)
		if err != nil {
			return err
		}
		if there {
			added = append(added, location(p.target(now)))
		}
	}
	for _, target := range []string{p.target(before), p.target(now)} {
		ref := locationRef(target)
		if (len(added) == 0 || target != p.target(now)) && !slices.Contains(removed, ref) {
			removed = append(removed, ref)
		}
	}
	return p.sink.Load().Delta(ctx, added, removed)
}

// replaceLast replaces the last segment of a URL, if it is the name.
func replaceLast(u, name, by string) string {
	if rest, ok := strings.CutSuffix(u, "/"+name); ok {
		return rest + "/" + by
	}
	return u
}
