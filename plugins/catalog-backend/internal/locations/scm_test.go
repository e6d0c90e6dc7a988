package locations_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/locations"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/schema"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

const hosts = `
integrations:
  github: [{host: ghe.example.com, apiBaseUrl: https://ghe.example.com/api/v3, token: t}]
  gitlab: [{host: gl.example.com, apiBaseUrl: https://gl.example.com/api/v4, token: t}]
  bitbucketServer: [{host: bb.example.com, apiBaseUrl: https://bb.example.com/rest/api/1.0, token: t}]
`

// handedIn keeps what a provider has, by target.
type handedIn struct {
	catalognode.ProviderConnection
	database core.DatabaseService
	targets  map[string]string // location keys by ref
	deltas   int
}

func (h *handedIn) ApplyFound(ctx context.Context, find func(*sql.Tx, func() ([]string, error)) (catalognode.Delta, error)) (catalognode.MutationReport, error) {
	err := h.database.WriteTx(ctx, func(t *sql.Tx) error {
		d, err := find(t, func() ([]string, error) { return slices.Sorted(maps.Keys(h.targets)), nil })
		if err == nil {
			_, err = h.ApplyDelta(ctx, d)
		}
		return err
	})
	return catalognode.MutationReport{}, err
}

func (h *handedIn) ApplyDelta(_ context.Context, d catalognode.Delta) (catalognode.MutationReport, error) {
	h.deltas++
	for _, ref := range d.Removed {
		if _, there := h.targets[ref]; !there {
			return catalognode.MutationReport{}, errors.New("nothing to remove: " + ref)
		}
		delete(h.targets, ref)
	}
	for _, a := range d.Added {
		h.targets[a.Entity.Ref().String()] = a.LocationKey
	}
	return catalognode.MutationReport{}, nil
}

// actions counts what was done.
type actions struct {
	catalognode.SCMEventsService
	taken map[catalognode.SCMAction]int
}

func (a actions) ActionTaken(_ context.Context, action catalognode.SCMAction, n int) {
	if n > 0 {
		a.taken[action] += n
	}
}

func scmEvents(t *testing.T) actions {
	t.Helper()
	s, err := catalognode.NewSCMEvents(catalognode.SCMEventsOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return actions{s, map[catalognode.SCMAction]int{}}
}

func deleted(url string) catalognode.SCMEvent {
	return catalognode.SCMEvent{Type: catalognode.SCMLocationDeleted, URL: url}
}

func repoDeleted(url string) catalognode.SCMEvent {
	return catalognode.SCMEvent{Type: catalognode.SCMRepositoryDeleted, URL: url}
}

func moved(from, to string) catalognode.SCMEvent {
	return catalognode.SCMEvent{Type: catalognode.SCMLocationMoved, FromURL: from, ToURL: to}
}

func repoMoved(from, to string) catalognode.SCMEvent {
	return catalognode.SCMEvent{Type: catalognode.SCMRepositoryMoved, FromURL: from, ToURL: to}
}

type list = []string

// Registered locations follow source hosts, in the table, in what is handed
// in, and in the numbers.
func TestRegisteredLocationsFollowSourceHosts(t *testing.T) {
	t.Parallel()
	const gh, ghe, gl, bb, other = "https://github.com/", "https://ghe.example.com/", "https://gl.example.com/", "https://bb.example.com/", "https://git.example.org/"
	only := func(unregister, move bool) func(*locations.SCMReactions) {
		return func(r *locations.SCMReactions) { r.Unregister, r.Move = unregister, move }
	}
	type counts = map[catalognode.SCMAction]int
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			name   string
			set    func(*locations.SCMReactions)
			there  list
			events []catalognode.SCMEvent
			want   list
			taken  counts
		}{
			{
				name: "deleted file", there: list{gh + "a/s/blob/main/c.yaml", gh + "a/s/tree/main/c.yaml", gh + "a/s/blob/main/d.yaml"},
				events: []catalognode.SCMEvent{deleted(gh + "a/s/blob/main/c.yaml"), deleted(gh + "a/s/blob/main/none.yaml")},
				want:   list{gh + "a/s/tree/main/c.yaml", gh + "a/s/blob/main/d.yaml"}, taken: counts{"delete": 1},
			},
			{
				name: "moved file", there: list{gh + "a/s/blob/main/c.yaml"},
				events: []catalognode.SCMEvent{moved(gh+"a/s/blob/main/c.yaml", gh+"a/s/blob/main/sub/c.yaml"), moved(gh+"a/s/blob/main/none.yaml", gh+"a/s/blob/main/other.yaml")},
				want:   list{gh + "a/s/blob/main/sub/c.yaml"}, taken: counts{"move": 1},
			},
			{
				name: "moved onto a registered one", there: list{gh + "a/s/blob/main/c.yaml", gh + "a/s/blob/main/d.yaml"},
				events: []catalognode.SCMEvent{moved(gh+"a/s/blob/main/c.yaml", gh+"a/s/blob/main/d.yaml")},
				want:   list{gh + "a/s/blob/main/d.yaml"}, taken: counts{"move": 1},
			},
			{
				name: "moved to what is no location", there: list{gh + "a/s/blob/main/c.yaml"},
				events: []catalognode.SCMEvent{moved(gh+"a/s/blob/main/c.yaml", "javascript:alert(1)"), moved(gh+"a/s/blob/main/c.yaml", gh+"a/s/blob/main/c.yaml")},
				want:   list{gh + "a/s/blob/main/c.yaml"},
			},
			{
				name: "moved there and back, and on", there: list{gh + "a/s/blob/main/c.yaml", gh + "a/s/blob/main/d.yaml"},
				events: []catalognode.SCMEvent{
					moved(gh+"a/s/blob/main/c.yaml", gh+"a/s/blob/main/x.yaml"), moved(gh+"a/s/blob/main/x.yaml", gh+"a/s/blob/main/c.yaml"),
					moved(gh+"a/s/blob/main/d.yaml", gh+"a/s/blob/main/y.yaml"), moved(gh+"a/s/blob/main/y.yaml", gh+"a/s/blob/main/z.yaml"),
				},
				want: list{gh + "a/s/blob/main/c.yaml", gh + "a/s/blob/main/z.yaml"}, taken: counts{"move": 4},
			},
			{
				name:   "deleted repository",
				there:  list{gh + "A/Shop/blob/main/c.yaml", gh + "a/shop/tree/dev/**/c.yaml", gh + "a/shop-tools/blob/main/c.yaml", ghe + "a/shop/blob/main/c.yaml", "http://github.com/a/shop/blob/main/c.yaml", gh + "a/shop/wiki"},
				events: []catalognode.SCMEvent{repoDeleted(gh + "a/shop")},
				want:   list{gh + "a/shop-tools/blob/main/c.yaml", ghe + "a/shop/blob/main/c.yaml", "http://github.com/a/shop/blob/main/c.yaml", gh + "a/shop/wiki"}, taken: counts{"delete": 2},
			},
			{
				name:   "deleted folder of a branch",
				there:  list{gh + "a/s/blob/main/x/c.yaml", gh + "a/s/blob/main/x2/c.yaml", gh + "a/s/blob/dev/x/c.yaml"},
				events: []catalognode.SCMEvent{repoDeleted(gh + "a/s/tree/main/x")},
				want:   list{gh + "a/s/blob/main/x2/c.yaml", gh + "a/s/blob/dev/x/c.yaml"}, taken: counts{"delete": 1},
			},
			{
				name:   "deleted repository of other hosts",
				there:  list{gl + "g/sub/p/-/blob/main/c.yaml", gl + "g/sub/p2/-/blob/main/c.yaml", bb + "projects/P/repos/r/browse/c.yaml?at=main", bb + "projects/P/repos/r2/browse/c.yaml"},
				events: []catalognode.SCMEvent{repoDeleted(gl + "g/sub/p"), repoDeleted(bb + "projects/P/repos/r")},
				want:   list{gl + "g/sub/p2/-/blob/main/c.yaml", bb + "projects/P/repos/r2/browse/c.yaml"}, taken: counts{"delete": 2},
			},
			{
				name:   "deleted repository of an unknown host",
				there:  list{other + "a/s/c.yaml", other + "a/s2/c.yaml"},
				events: []catalognode.SCMEvent{repoDeleted(other + "a/s/"), repoDeleted(other), repoDeleted("no url"), repoDeleted(gh), repoDeleted(gh + "a")},
				want:   list{other + "a/s2/c.yaml"}, taken: counts{"delete": 1},
			},
			{
				name:   "moved repository",
				there:  list{gh + "A/Shop/blob/main/c.yaml", gh + "a/shop.git", gh + "a/shop.git.io/blob/main/c.yaml", "https://github.com:443/a/shop/blob/main/d.yaml", gh + "b/store/blob/main/c.yaml"},
				events: []catalognode.SCMEvent{repoMoved(gh+"a/shop", gh+"b/store/")},
				want:   list{gh + "b/store/blob/main/c.yaml", gh + "b/store", gh + "a/shop.git.io/blob/main/c.yaml", gh + "b/store/blob/main/d.yaml"}, taken: counts{"move": 3},
			},
			{
				name:   "moved and then deleted repository",
				there:  list{gl + "g/p/-/blob/main/c.yaml", gl + "g/q/-/blob/main/c.yaml"},
				events: []catalognode.SCMEvent{repoMoved(gl+"g/p", gl+"h/p"), repoDeleted(gl + "h/p")},
				want:   list{gl + "g/q/-/blob/main/c.yaml"}, taken: counts{"move": 1, "delete": 1},
			},
			{
				name: "unregister only", set: only(true, false), there: list{gh + "a/s/blob/main/c.yaml", gh + "a/s/blob/main/d.yaml"},
				events: []catalognode.SCMEvent{moved(gh+"a/s/blob/main/c.yaml", gh+"x/y"), repoMoved(gh+"a/s", gh+"b/s"), deleted(gh + "a/s/blob/main/d.yaml")},
				want:   list{gh + "a/s/blob/main/c.yaml"}, taken: counts{"delete": 1},
			},
			{
				name: "move only", set: only(false, true), there: list{gh + "a/s/blob/main/c.yaml"},
				events: []catalognode.SCMEvent{deleted(gh + "a/s/blob/main/c.yaml"), repoDeleted(gh + "a/s"), repoMoved(gh+"a/s", gh+"b/s")},
				want:   list{gh + "b/s/blob/main/c.yaml"}, taken: counts{"move": 1},
			},
			{
				name: "off", set: only(false, false), there: list{gh + "a/s/blob/main/c.yaml"},
				events: []catalognode.SCMEvent{deleted(gh + "a/s/blob/main/c.yaml"), repoDeleted(gh + "a/s"), repoMoved(gh+"a/s", gh+"b/s")},
				want:   list{gh + "a/s/blob/main/c.yaml"},
			},
			{
				name: "what changes nothing", there: list{gh + "a/s/blob/main/c.yaml"},
				events: []catalognode.SCMEvent{
					{Type: catalognode.SCMLocationUpdated, URL: gh + "a/s/blob/main/c.yaml"}, {Type: catalognode.SCMLocationCreated, URL: gh + "a/s/blob/main/d.yaml"},
					{Type: catalognode.SCMRepositoryCreated, URL: gh + "a/t"}, {Type: catalognode.SCMRepositoryUpdated, URL: gh + "a/s"},
				},
				want: list{gh + "a/s/blob/main/c.yaml"},
			},
		} {
			t.Run(tc.name, func(t *testing.T) {
				if _, err := db.DB.ExecContext(t.Context(), "DELETE FROM location"); err != nil {
					t.Fatal(err)
				}
				found, err := integration.FromConfig(configtest.FromYAML(t, hosts))
				if err != nil {
					t.Fatal(err)
				}
				events := scmEvents(t)
				registered := locations.NewRegistered(db.Service, func(context.Context, string) error { return nil }, nil)
				r := locations.SCMReactions{Events: events, Hosts: found, Logger: slog.New(slog.DiscardHandler), Unregister: true, Move: true}
				if tc.set != nil {
					tc.set(&r)
				}
				registered.Follow(r)
				c := &handedIn{database: db.Service, targets: map[string]string{}}
				if err := registered.Connect(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				for _, target := range tc.there {
					if _, err := registered.Create(t.Context(), "url", target, false); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := registered.Create(t.Context(), "other", gh+"a/s/blob/main/c.yaml", false); err != nil {
					t.Fatal(err)
				}
				created := c.deltas
				if err := events.Publish(t.Context(), tc.events...); err != nil {
					t.Fatal(err)
				}
				want := list{"other:" + gh + "a/s/blob/main/c.yaml"}
				for _, target := range tc.want {
					want = append(want, "url:"+target)
				}
				slices.Sort(want)
				all, err := registered.List(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var have list
				for _, l := range all {
					have = append(have, l.Type+":"+l.Target)
				}
				slices.Sort(have)
				if d := cmp.Diff(want, have); d != "" {
					t.Errorf("registered (-want +got):\n%s", d)
				}
				if d := cmp.Diff(want, slices.Sorted(maps.Values(c.targets))); d != "" {
					t.Errorf("handed in (-want +got):\n%s", d)
				}
				if tc.taken == nil {
					tc.taken = counts{}
				}
				if d := cmp.Diff(tc.taken, events.taken); d != "" {
					t.Errorf("actions (-want +got):\n%s", d)
				}
				if most := created + 1; c.deltas > most {
					t.Errorf("%d mutations for one batch of events, want at most one", c.deltas-created)
				}
				if err := registered.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := events.Publish(t.Context(), repoDeleted(gh+"a/s"), repoDeleted(gh+"b/s")); err != nil || c.deltas > created+1 {
					t.Errorf("after closing: %v, %d mutations", err, c.deltas)
				}
			})
		}
	})
}

func TestSCMRefresher(t *testing.T) {
	t.Parallel()
	events := scmEvents(t)
	var files, prefixes list
	fail := error(nil)
	p := locations.NewSCMRefresher(events, func(_ context.Context, f, p []string) (int, error) {
		files, prefixes = append(files, f...), append(prefixes, p...)
		return len(f) + len(p), fail
	})
	if err := p.Connect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	of := func(typ catalognode.SCMEventType, url string) catalognode.SCMEvent {
		return catalognode.SCMEvent{Type: typ, URL: url}
	}
	const repo = "https://github.com/a/s"
	if err := events.Publish(t.Context(),
		of(catalognode.SCMLocationUpdated, repo+"/blob/main/C.yaml"), of(catalognode.SCMLocationUpdated, "https://bb/x?at=main"),
		of(catalognode.SCMRepositoryUpdated, repo), of(catalognode.SCMRepositoryUpdated, repo+"2/"),
		of(catalognode.SCMRepositoryUpdated, "https://az/_git/r?version=GBx"), of(catalognode.SCMRepositoryUpdated, repo+"#x"),
		of(catalognode.SCMLocationCreated, repo+"/blob/main/d.yaml"), of(catalognode.SCMRepositoryCreated, repo), moved(repo+"/a", repo+"/b"),
	); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(list{"url:" + repo + "/blob/main/C.yaml", "url:" + repo + "/tree/main/C.yaml", "url:https://bb/x?at=main"}, files); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	if d := cmp.Diff(list{"url:" + repo + "/", "url:" + repo + "2/"}, prefixes); d != "" {
		t.Errorf("prefixes (-want +got):\n%s", d)
	}
	if events.taken["refresh"] != 5 {
		t.Errorf("actions: %v", events.taken)
	}
	fail = errors.New("no database")
	if err := events.Publish(t.Context(), of(catalognode.SCMLocationUpdated, repo)); err != nil {
		t.Errorf("the publisher is told of the trouble of a subscriber: %v", err)
	}
	files = nil
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := events.Publish(t.Context(), of(catalognode.SCMLocationUpdated, repo)); err != nil || files != nil {
		t.Errorf("after closing: %v, %v", err, files)
	}
}
