package tasks_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/schema"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// stored are the ids of all events of a task.
func stored(t *testing.T, db *testdb.Database, id string) (ids []int64) {
	t.Helper()
	rows, err := db.DB.QueryContext(t.Context(), `SELECT id FROM scaffolder_task_event WHERE task_id = '`+id+`' ORDER BY id`)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var n int64
		must(t, rows.Scan(&n))
		ids = append(ids, n)
	}
	must(t, rows.Err())
	return ids
}

// follow reads until the task ends, or until so many events are read.
func follow(ctx context.Context, s *tasks.Store, id string, after int64, most int) (ids []int64, err error) {
	w := s.Watch(id, after, false)
	defer w.Close()
	for {
		events, err := w.Next(ctx)
		if err != nil {
			return ids, err
		}
		for _, e := range events {
			ids = append(ids, e.ID)
			if e.Ends() || len(ids) == most {
				return ids, nil
			}
		}
	}
}

// TestEventsBecomeVisibleInTheOrderOfTheirIDs delays transactions between the
// moment at which an event gets its id and the commit. Without the lock on the
// task, which all that write events take first, watchers go past an id before
// it can be seen.
func TestEventsBecomeVisibleInTheOrderOfTheirIDs(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	s := open(t, db)
	for _, statement := range []string{
		`CREATE FUNCTION delay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(random() * 0.01); RETURN NEW; END $$`,
		`CREATE TRIGGER delay AFTER INSERT ON scaffolder_task_event FOR EACH ROW EXECUTE FUNCTION delay()`,
	} {
		if _, err := db.DB.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	watching := tasks.NewStore(db.Service) // as another instance, which polls
	for round := range 6 {
		id := add(t, s, "t")
		c := claim(t, s, time.Minute)
		var all sync.WaitGroup
		underWay := make(chan struct{})
		all.Go(func() {
			for i := range 10 {
				if i == round {
					close(underWay)
				}
				if err := s.Log(t.Context(), c, []scaffoldercommon.EventBody{{Message: fmt.Sprint(i)}, {Message: "and"}}); err != nil {
					t.Error(err)
				}
			}
			if err := s.Complete(t.Context(), c, scaffoldercommon.TaskCompleted, scaffoldercommon.EventBody{}); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() { // somebody else writes, too
			<-underWay
			if err := s.Cancel(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
		seen := make([][]int64, 2)
		for i := range seen {
			all.Go(func() {
				// Polling all the time finds every gap that there is.
				for after := int64(0); ; {
					events, err := watching.Events(t.Context(), id, after, false)
					if err != nil {
						t.Error(err)
						return
					}
					for _, e := range events {
						seen[i], after = append(seen[i], e.ID), e.ID
						if e.Ends() {
							return
						}
					}
				}
			})
		}
		all.Wait()
		want := stored(t, db, id)
		for _, got := range seen {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("round %d (-stored +seen):\n%s", round, diff)
			}
		}
	}
}

func TestWatchersSeeEverythingOnce(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		s := open(t, db)
		id := add(t, s, "t")
		c := claim(t, s, time.Minute)
		const early, late = 2500, 1500 // more than is read at once, and more than is kept
		lines := func(n int) (bodies []scaffoldercommon.EventBody) {
			for i := range n {
				bodies = append(bodies, scaffoldercommon.EventBody{Message: fmt.Sprint(i)})
			}
			return bodies
		}
		must(t, s.Log(t.Context(), c, lines(early)))
		middle := stored(t, db, id)[early/2]
		slow := s.Watch(id, middle, false) // reads when all is over
		defer slow.Close()
		fresh, resumed := make([][]int64, 5), make([][]int64, 5)
		var all sync.WaitGroup
		for i := range fresh {
			all.Go(func() {
				var err error
				if fresh[i], err = follow(t.Context(), s, id, -1, 0); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				first, err := follow(t.Context(), s, id, middle, 1200+i*100)
				if err == nil {
					resumed[i], err = follow(t.Context(), s, id, first[len(first)-1], 0)
					resumed[i] = append(first, resumed[i]...)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		for range 15 {
			must(t, s.Log(t.Context(), c, lines(late/15)))
		}
		complete(t, s, c)
		all.Wait()
		want := stored(t, db, id)
		if len(want) != early+late+1 {
			t.Fatalf("%d events are stored", len(want))
		}
		for i := range fresh {
			if diff := cmp.Diff(want, fresh[i]); diff != "" {
				t.Errorf("watcher %d (-stored +seen):\n%.500s", i, diff)
			}
			if diff := cmp.Diff(want[early/2+1:], resumed[i]); diff != "" {
				t.Errorf("resumed watcher %d (-stored +seen):\n%.500s", i, diff)
			}
		}
		var behind []int64
		for len(behind) < len(want)-early/2-1 {
			events, err := slow.Next(t.Context())
			must(t, err)
			for _, e := range events {
				behind = append(behind, e.ID)
			}
		}
		if diff := cmp.Diff(want[early/2+1:], behind); diff != "" {
			t.Errorf("slow watcher (-stored +seen):\n%.500s", diff)
		}
		// The end is told even to those who ask for what follows it, once.
		after := s.Watch(id, want[len(want)-1], false)
		defer after.Close()
		if events, err := after.Next(t.Context()); err != nil || len(events) != 1 || !events[0].Ends() {
			t.Errorf("after the end: %v, %v", events, err)
		}
		ctx, done := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer done()
		if events, err := after.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the end once more: %v, %v", events, err)
		}
	})
}

func TestWatchersOfATaskThatStartedOver(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		s := open(t, db)
		id := tasks.NewID()
		must(t, s.Create(t.Context(), tasks.New{ID: id, Spec: json.RawMessage(`{"EXPERIMENTAL_recovery":{"EXPERIMENTAL_strategy":"startOver"}}`)}))
		c := claim(t, s, time.Minute)
		many := make([]string, 1100) // more than is read at once
		for i := range many {
			many[i] = "before"
		}
		say(t, s, c, many...)
		live := s.Watch(id, stored(t, db, id)[1099], true)
		defer live.Close()
		must(t, s.Release(t.Context(), c))
		if all, err := s.Events(t.Context(), id, -1, true); err != nil || len(all) != 0 {
			t.Errorf("as long as nothing happens: %v, %v", all, err)
		}
		c = claim(t, s, time.Minute)
		say(t, s, c, "after")
		complete(t, s, c)
		want := "recovered log completion"
		if all, err := s.Events(t.Context(), id, -1, true); err != nil || kinds(all) != want {
			t.Errorf("from the beginning: %v, %v", kinds(all), err)
		}
		for _, w := range []*tasks.Watcher{live, s.Watch(id, -1, true)} {
			var got []tasks.Event
			for len(got) < 3 {
				events, err := w.Next(t.Context())
				must(t, err)
				got = append(got, events...)
			}
			if kinds(got) != want {
				t.Errorf("a watcher sees %s", kinds(got))
			}
			if w != live {
				w.Close()
			}
		}
	})
}

func kinds(events []tasks.Event) string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = string(e.Type)
	}
	return strings.Join(out, " ")
}

// counted counts how often the database is asked for.
type counted struct {
	core.DatabaseService
	asked atomic.Int64
}

func (c *counted) DB(ctx context.Context) (*sql.DB, error) {
	c.asked.Add(1)
	return c.DatabaseService.DB(ctx)
}

func TestWatchersShareAReader(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		must(t, db.Service.Migrate(t.Context(), schema.Migrations()))
		counter := &counted{DatabaseService: db.Service}
		s := tasks.NewStore(counter)
		add(t, s, "t")
		c := claim(t, s, time.Minute)
		const many, changes = 200, 20
		say(t, s, c, "first")
		before := counter.asked.Load()
		watchers := make([]*tasks.Watcher, many)
		for i := range watchers {
			watchers[i] = s.Watch(c.ID, -1, false)
			defer watchers[i].Close()
			if events, err := watchers[i].Next(t.Context()); err != nil || len(events) != 1 {
				t.Fatalf("%v, %v", events, err)
			}
		}
		if n := counter.asked.Load() - before; n > 4 {
			t.Errorf("the database was asked %d times when %d watchers came", n, many)
		}
		before = counter.asked.Load()
		for range changes {
			say(t, s, c, "another")
			for _, w := range watchers {
				if events, err := w.Next(t.Context()); err != nil || len(events) != 1 {
					t.Fatalf("%v, %v", events, err)
				}
			}
		}
		// Each change may be told more than once, and the reader looks by itself
		// now and then.
		if n := counter.asked.Load() - before; n > 4*changes {
			t.Errorf("the database was asked %d times for %d changes and %d watchers", n, changes, many)
		}
	})
}
