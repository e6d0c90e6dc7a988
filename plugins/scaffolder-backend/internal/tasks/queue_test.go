package tasks_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/schema"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// open returns a store in an empty database.
func open(t *testing.T, db *testdb.Database) *tasks.Store {
	t.Helper()
	must(t, db.Service.Migrate(t.Context(), schema.Migrations()))
	return tasks.NewStore(db.Service)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// add creates a task of a template and returns its id.
func add(t *testing.T, s *tasks.Store, template string) string {
	t.Helper()
	id := tasks.NewID()
	must(t, s.Create(t.Context(), tasks.New{ID: id, Spec: json.RawMessage(`{"steps":[]}`), Template: template, Secrets: "sealed"}))
	return id
}

// claim takes a task; nil if there is none.
func claim(t *testing.T, s *tasks.Store, lease time.Duration) *tasks.Claim {
	t.Helper()
	c, err := s.Claim(t.Context(), lease)
	must(t, err)
	return c
}

func complete(t *testing.T, s *tasks.Store, c *tasks.Claim) {
	t.Helper()
	must(t, s.Complete(t.Context(), c, scaffoldercommon.TaskCompleted, scaffoldercommon.EventBody{Message: "done"}))
}

func say(t *testing.T, s *tasks.Store, c *tasks.Claim, messages ...string) {
	t.Helper()
	bodies := make([]scaffoldercommon.EventBody, len(messages))
	for i, m := range messages {
		bodies[i].Message = m
	}
	must(t, s.Log(t.Context(), c, bodies))
}

func TestTemplatesTakeTurns(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		s := open(t, db)
		for range 5 {
			add(t, s, "busy")
		}
		add(t, s, "late")
		add(t, s, "later")
		var order []string
		for range 7 { // one at a time
			c := claim(t, s, time.Minute)
			order = append(order, c.Template)
			complete(t, s, c)
		}
		if diff := cmp.Diff([]string{"busy", "late", "later", "busy", "busy", "busy", "busy"}, order); diff != "" {
			t.Errorf("one at a time (-want +got):\n%s", diff)
		}
		for range 4 {
			add(t, s, "busy")
		}
		first, second := claim(t, s, time.Minute), claim(t, s, time.Minute)
		add(t, s, "rare")
		if c := claim(t, s, time.Minute); first.Template != "busy" || second.Template != "busy" || c.Template != "rare" {
			t.Errorf("while others run: %s", c.Template)
		}
	})
}

func TestTheOldestTaskOfATemplateIsFirst(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		s := open(t, db)
		var want, got []string
		for created := range 3 {
			id := add(t, s, "t")
			if _, err := db.DB.ExecContext(t.Context(), fmt.Sprintf(`UPDATE scaffolder_task SET created_at = %d WHERE id = '%s'`, created, id)); err != nil {
				t.Fatal(err)
			}
			want = append(want, id)
		}
		for range 3 {
			got = append(got, claim(t, s, time.Minute).ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestLimitsOfTemplatesHold has several instances claim at once.
func TestLimitsOfTemplatesHold(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		s := open(t, db)
		s.Limits = tasks.Limits{Each: 2, Template: map[string]int{"single": 1, "free": 0}}
		for range 8 {
			add(t, s, "single")
			add(t, s, "double")
			add(t, s, "free")
		}
		var mu sync.Mutex
		running := map[string][]*tasks.Claim{}
		var instances sync.WaitGroup
		for range 6 {
			other := tasks.NewStore(db.Service)
			other.Limits = s.Limits
			instances.Go(func() {
				for {
					c, err := other.Claim(t.Context(), time.Minute)
					if err != nil {
						t.Error(err)
					}
					if c == nil {
						return
					}
					mu.Lock()
					running[c.Template] = append(running[c.Template], c)
					mu.Unlock()
				}
			})
		}
		instances.Wait()
		if len(running["single"]) != 1 || len(running["double"]) != 2 || len(running["free"]) != 8 {
			t.Fatalf("%d of single, %d of double and %d of free run", len(running["single"]), len(running["double"]), len(running["free"]))
		}
		complete(t, s, running["single"][0])
		if c := claim(t, s, 0); c == nil || c.Template != "single" {
			t.Fatalf("after the end of one: %+v", c)
		}
		// Its lease has ended at once: what nobody runs does not count.
		if c := claim(t, s, time.Minute); c == nil || c.Template != "single" {
			t.Errorf("after the end of a lease: %+v", c)
		}
	})
}

func TestAnExpiredLeaseIsTakenOver(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		s := open(t, db)
		if _, ok, err := s.NextExpiry(t.Context()); ok || err != nil {
			t.Errorf("without leases: %t, %v", ok, err)
		}
		add(t, s, "t")
		add(t, s, "t")
		alive, dead := claim(t, s, time.Hour), claim(t, s, -time.Second)
		if left, ok, err := s.NextExpiry(t.Context()); !ok || err != nil || left >= 0 {
			t.Errorf("the next lease ends in %s, %t, %v", left, ok, err)
		}
		var heard []tasks.Change
		s.Changed = func(c tasks.Change) { heard = append(heard, c) }
		if n, err := s.Recover(t.Context()); n != 1 || err != nil {
			t.Errorf("%d recovered, %v", n, err)
		}
		if n, err := s.Recover(t.Context()); n != 0 || err != nil {
			t.Errorf("%d recovered again, %v", n, err)
		}
		again := claim(t, s, time.Hour)
		if again == nil || again.ID != dead.ID || again.Secrets == "" || again.Ran < 0 {
			t.Fatalf("claimed again: %+v", again)
		}
		if len(heard) != 2 || heard[0].Status != "recovered" || heard[0].TaskID != dead.ID || heard[0].EventID == 0 || heard[1].Status != "processing" {
			t.Errorf("heard of %+v", heard)
		}
		if _, err := s.Renew(t.Context(), dead, time.Hour); !errors.Is(err, tasks.ErrLost) {
			t.Errorf("the dead run extends its lease: %v", err)
		}
		for what, err := range map[string]error{
			"a line": s.Log(t.Context(), dead, []scaffoldercommon.EventBody{{Message: "late"}}), "an end": s.Complete(t.Context(), dead, scaffoldercommon.TaskFailed, scaffoldercommon.EventBody{}),
			"state": s.Keep(t.Context(), dead, tasks.StepState, "a", json.RawMessage(`1`)), "a return": s.Release(t.Context(), dead),
		} {
			if !errors.Is(err, tasks.ErrLost) {
				t.Errorf("%s of the dead run: %v", what, err)
			}
		}
		if _, err := s.Renew(t.Context(), alive, time.Hour); err != nil {
			t.Errorf("the living run: %v", err)
		}
		if _, err := s.Renew(t.Context(), again, time.Hour); err != nil {
			t.Errorf("the new run: %v", err)
		}
	})
}

func TestATaskCancelledBeforeItBeganEnds(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		s := open(t, db)
		id := add(t, s, "t")
		must(t, s.Cancel(t.Context(), id))
		must(t, s.Cancel(t.Context(), id))
		if c := claim(t, s, time.Minute); c != nil {
			t.Errorf("it runs: %+v", c)
		}
		task, err := s.Get(t.Context(), id)
		if err != nil || task.Status != scaffoldercommon.TaskFailed {
			t.Errorf("it is %s, %v", task.Status, err)
		}
		if diff := cmp.Diff([]string{
			`cancelled {"message":"Step 0 has been cancelled.","stepId":"0","status":"cancelled"}`,
			`completion {"message":"Run completed with status: failed","error":{"name":"Error","message":"The task was cancelled before it began."}}`,
		}, events(t, s, id)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if left := one[string](t, db, `SELECT COALESCE(secrets, '') FROM scaffolder_task`); left != "" {
			t.Errorf("its secrets are still there: %s", left)
		}
		must(t, s.Retry(t.Context(), id, "sealed again", scaffoldercommon.RecoverNone))
		c := claim(t, s, time.Minute)
		if c == nil || c.Cancelled || c.Secrets != "sealed again" {
			t.Fatalf("after a retry: %+v", c)
		}
		// Once it has run, its run has the last word.
		must(t, s.Release(t.Context(), c))
		must(t, s.Cancel(t.Context(), id))
		if c := claim(t, s, time.Minute); c == nil || !c.Cancelled {
			t.Errorf("cancelled between runs: %+v", c)
		}
	})
}

// events tells the events of a task.
func events(t *testing.T, s *tasks.Store, id string) []string {
	t.Helper()
	all, err := s.Events(t.Context(), id, -1, false)
	must(t, err)
	out := make([]string, len(all))
	for i, e := range all {
		out[i] = fmt.Sprintf("%s %s", e.Type, e.Body)
	}
	return out
}

func one[T any](t *testing.T, db *testdb.Database, query string) (v T) {
	t.Helper()
	must(t, db.DB.QueryRowContext(t.Context(), query).Scan(&v))
	return v
}

func TestStepsThatWereUnderWayAreClosed(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		s := open(t, db)
		id := add(t, s, "t")
		c := claim(t, s, time.Minute)
		must(t, s.Log(t.Context(), c, []scaffoldercommon.EventBody{
			{Message: "a begins", StepID: "a", Status: scaffoldercommon.StepProcessing}, {Message: "a ends", StepID: "a", Status: scaffoldercommon.StepCompleted},
			{Message: "b begins", StepID: "b", Status: scaffoldercommon.StepProcessing}, {Message: "b fails", StepID: "b", Status: scaffoldercommon.StepFailed},
			{Message: "c begins", StepID: "c", Status: scaffoldercommon.StepProcessing}, {Message: "c says", StepID: "c"},
			{Message: "d begins", StepID: "d", Status: scaffoldercommon.StepProcessing}, {Message: "b begins again", StepID: "b", Status: scaffoldercommon.StepProcessing},
		}))
		if found, err := s.Abandoned(t.Context(), time.Minute); len(found) != 0 || err != nil {
			t.Errorf("alive: %+v, %v", found, err)
		}
		found, err := s.Abandoned(t.Context(), 0)
		must(t, err)
		if len(found) != 1 {
			t.Fatalf("%d are found", len(found))
		}
		if err := s.CloseAbandoned(t.Context(), found[0], time.Minute, "stale"); !errors.Is(err, tasks.ErrLost) {
			t.Errorf("it gave a sign of life: %v", err)
		}
		must(t, s.CloseAbandoned(t.Context(), found[0], 0, "stale"))
		if diff := cmp.Diff([]string{
			`log {"message":"stale","stepId":"b","status":"failed"}`, `log {"message":"stale","stepId":"c","status":"failed"}`,
			`log {"message":"stale","stepId":"d","status":"failed"}`, `completion {"message":"stale"}`,
		}, events(t, s, id)[8:]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestOldTasksAreDeleted(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		s := open(t, db)
		for range 120 {
			id := add(t, s, "t")
			c := claim(t, s, time.Minute)
			say(t, s, c, "a line")
			must(t, s.Keep(t.Context(), c, tasks.StepState, "a", json.RawMessage(`1`)))
			complete(t, s, c)
			if id != c.ID {
				t.Fatal("another task was claimed")
			}
		}
		open, running := add(t, s, "t"), add(t, s, "t")
		if n, err := s.DeleteEnded(t.Context(), time.Hour); n != 0 || err != nil {
			t.Errorf("%d young tasks were deleted, %v", n, err)
		}
		if c := claim(t, s, time.Minute); c.ID != open && c.ID != running {
			t.Errorf("claimed %s", c.ID)
		}
		if n, err := s.DeleteEnded(t.Context(), 0); n != 120 || err != nil {
			t.Errorf("%d were deleted, %v", n, err)
		}
		left := []int{one[int](t, db, `SELECT COUNT(*) FROM scaffolder_task`), one[int](t, db, `SELECT COUNT(*) FROM scaffolder_task_event`), one[int](t, db, `SELECT COUNT(*) FROM scaffolder_task_state`)}
		if !slices.Equal(left, []int{2, 0, 0}) {
			t.Errorf("left are %v tasks, events and state", left)
		}
	})
}

// TestNothingIsWrittenTwice appends what was written, but of which the run did
// not hear.
func TestNothingIsWrittenTwice(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		s := open(t, db)
		id := add(t, s, "t")
		c := claim(t, s, time.Minute)
		say(t, s, c, "one")
		deaf := *c
		entries := []tasks.Entry{{Body: scaffoldercommon.EventBody{Message: "two"}}, {Kept: []tasks.Kept{{Kind: tasks.StepState, Key: "a", Value: json.RawMessage(`2`)}}}}
		must(t, s.Append(t.Context(), c, entries))
		must(t, s.Append(t.Context(), &deaf, entries))
		say(t, s, &deaf, "three")
		if diff := cmp.Diff([]string{`log {"message":"one"}`, `log {"message":"two"}`, `log {"message":"three"}`}, events(t, s, id)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		state, err := s.State(t.Context(), c, tasks.StepState)
		if err != nil || string(state["a"]) != "2" {
			t.Errorf("the state is %v, %v", state, err)
		}
	})
}
