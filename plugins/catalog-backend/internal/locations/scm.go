package locations

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/api"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// SCMReactions say how registered locations follow what happens at source
// hosts.
type SCMReactions struct {
	Events catalognode.SCMEventsService
	Hosts  *integration.Hosts
	Logger *slog.Logger
	// Unregister unregisters what was deleted, Move registers what was moved
	// under its new URL.
	Unregister, Move bool
}

// Follow makes the registered locations follow source hosts once they are
// connected. It is called before that.
func (s *Registered) Follow(r SCMReactions) {
	if r.Unregister || r.Move {
		s.reactions = &r
	}
}

// Close ends following source hosts.
func (s *Registered) Close(context.Context) error {
	s.mu.Lock()
	cancel := s.cancel
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	return nil
}

// follow begins to listen.
func (s *Registered) follow() {
	if s.reactions == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = s.reactions.Events.Subscribe(s.ProviderName(), s.onEvents)
}

// onEvents applies the events, one after the other, to the list of locations
// in memory, and then what became of it at once.
func (s *Registered) onEvents(ctx context.Context, events []catalognode.SCMEvent) error {
	r := s.reactions
	if !slices.ContainsFunc(events, r.count) {
		return nil
	}
	all, err := s.List(ctx)
	if err != nil {
		return err
	}
	l := ledger{reactions: r, before: map[string]api.Location{}, now: map[string]api.Location{}}
	for _, location := range all {
		if location.Type == "url" {
			l.before[location.Target], l.now[location.Target] = location, location
		}
	}
	for _, e := range events {
		l.follow(ctx, e)
	}
	if err := s.settle(ctx, &l); err != nil {
		return fmt.Errorf("following events of source hosts: %w", err)
	}
	r.Events.ActionTaken(ctx, catalognode.SCMActionDelete, l.deleted)
	r.Events.ActionTaken(ctx, catalognode.SCMActionMove, l.moved)
	return nil
}

// count reports whether the reactions that are on concern the event.
func (r *SCMReactions) count(e catalognode.SCMEvent) bool {
	switch e.Type {
	case catalognode.SCMLocationDeleted, catalognode.SCMRepositoryDeleted:
		return r.Unregister
	case catalognode.SCMLocationMoved, catalognode.SCMRepositoryMoved:
		return r.Move
	default:
		return false
	}
}

// settle writes the difference and hands it in.
func (s *Registered) settle(ctx context.Context, l *ledger) error {
	var d catalognode.Delta
	var gone []string
	var come []api.Location
	for target, old := range l.before {
		if _, stays := l.now[target]; !stays {
			gone = append(gone, old.ID)
			d.Removed = append(d.Removed, entityRef(old.Type, target))
		}
	}
	for target, now := range l.now {
		if _, there := l.before[target]; !there {
			come = append(come, now)
			d.Added = append(d.Added, deferred(now.Type, target))
		}
	}
	if len(gone)+len(come) == 0 {
		return nil
	}
	slices.Sort(gone)
	slices.SortFunc(come, func(a, b api.Location) int { return cmp.Compare(a.Target, b.Target) })
	return s.change(ctx, func(t *sql.Tx, _ func() ([]string, error)) (catalognode.Delta, error) {
		for part := range slices.Chunk(gone, maxRows) {
			b := s.build()
			b.Write("DELETE FROM location WHERE id IN (", b.List(part), ")")
			if _, err := t.ExecContext(ctx, b.String(), b.Args()...); err != nil {
				return d, err
			}
		}
		for _, n := range come {
			b := s.build()
			b.Write("INSERT INTO location (", columns, ") VALUES ", b.Row(n.ID, n.Type, n.Target, n.EntityRef), " ON CONFLICT (type, target) DO NOTHING")
			if _, err := t.ExecContext(ctx, b.String(), b.Args()...); err != nil {
				return d, err
			}
		}
		return d, nil
	})
}

// maxRows is how many ids one statement takes.
const maxRows = 500

// ledger is the list of locations of type url, by target, before some events
// and after them.
type ledger struct {
	reactions      *SCMReactions
	before, now    map[string]api.Location
	deleted, moved int
}

// follow applies an event.
func (l *ledger) follow(ctx context.Context, e catalognode.SCMEvent) {
	r := l.reactions
	if !r.count(e) {
		return
	}
	switch e.Type {
	case catalognode.SCMLocationDeleted:
		if _, ok := l.now[e.URL]; ok {
			l.remove(ctx, e, e.URL)
		}
	case catalognode.SCMRepositoryDeleted:
		for _, target := range l.within(e.URL) {
			l.remove(ctx, e, target)
		}
	case catalognode.SCMLocationMoved:
		if _, ok := l.now[e.FromURL]; ok {
			l.move(ctx, e, e.FromURL, e.ToURL)
		}
	case catalognode.SCMRepositoryMoved:
		for _, target := range l.within(e.FromURL) {
			to, ok := rebase(target, e.FromURL, e.ToURL)
			if !ok {
				r.Logger.WarnContext(ctx, "a repository moved, and the new URL of a location in it cannot be told; register it anew",
					"location", target, "from", e.FromURL, "to", e.ToURL)
				continue
			}
			l.move(ctx, e, target, to)
		}
	}
}

func (l *ledger) within(repository string) []string {
	in := place(l.reactions.Hosts, repository)
	var out []string
	for target := range l.now {
		if in(target) {
			out = append(out, target)
		}
	}
	slices.Sort(out)
	return out
}

func (l *ledger) remove(ctx context.Context, e catalognode.SCMEvent, target string) {
	delete(l.now, target)
	l.deleted++
	l.reactions.Logger.InfoContext(ctx, "unregistered a location, since a source host says that it was deleted", "location", target, "event", e.Type, "commit", e.CommitURL)
}

func (l *ledger) move(ctx context.Context, e catalognode.SCMEvent, from, to string) {
	if from == to {
		return
	}
	if _, err := (catalogcommon.LocationRef{Type: "url", Target: to}).Format(); err != nil {
		l.reactions.Logger.WarnContext(ctx, "a source host says that a location moved to what is no location; it stays", "location", from, "to", to, "error", err)
		return
	}
	delete(l.now, from)
	if _, there := l.now[to]; !there {
		now, known := l.before[to]
		if !known {
			now = api.Location{ID: uuid.NewString(), Type: "url", Target: to, EntityRef: entityRef("url", to)}
		}
		l.now[to] = now
	}
	l.moved++
	l.reactions.Logger.InfoContext(ctx, "registered a location under its new URL, since a source host says that it moved", "from", from, "to", to, "event", e.Type, "commit", e.CommitURL)
}

// place returns a function that tells which URLs are at a place: in the
// repository that its URL names, and, where that has a ref or a path, at that
// ref and below that path. At hosts that are not configured the path of the
// URL counts.
func place(hosts *integration.Hosts, raw string) func(target string) bool {
	nowhere := func(string) bool { return false }
	u, err := integration.ParseURL(raw)
	if err != nil {
		return nowhere
	}
	same := func(target string) (*url.URL, bool) {
		t, err := integration.ParseURL(target)
		return t, err == nil && t.Scheme == u.Scheme && t.Host == u.Host
	}
	at, err := hosts.Parse(raw)
	if err == nil {
		return func(target string) bool {
			if _, ok := same(target); !ok {
				return false
			}
			l, err := hosts.Parse(target)
			return err == nil && at.SameRepository(l) && (at.Ref == "" || at.Ref == l.Ref) && below(l.Path, at.Path)
		}
	}
	folder := strings.TrimRight(u.Path, "/")
	if _, known := hosts.Kind(raw); known || folder == "" {
		return nowhere // no repository, or all of them
	}
	return func(target string) bool {
		t, ok := same(target)
		return ok && below(t.Path, folder)
	}
}

// below reports whether a path is a folder or in it; "" is the root.
func below(path, folder string) bool {
	rest, ok := strings.CutPrefix(path, folder)
	return ok && (folder == "" || rest == "" || rest[0] == '/')
}

// rebase replaces the URL of a repository that begins another one. Hosts tell
// no repositories apart by case.
func rebase(target, from, to string) (string, bool) {
	from, to = strings.TrimRight(from, "/"), strings.TrimRight(to, "/")
	forms := []string{target}
	if u, err := integration.ParseURL(target); err == nil {
		forms = append(forms, u.String()) // without a default port, for example
	}
	for _, form := range forms {
		if len(form) < len(from) || !strings.EqualFold(form[:len(from)], from) {
			continue
		}
		rest := strings.TrimPrefix(form[len(from):], ".git")
		if rest == "" || strings.ContainsRune("/?#", rune(rest[0])) {
			return to + rest, true
		}
	}
	return "", false
}
