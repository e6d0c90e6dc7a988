package scheduler_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/scheduler"
	"github.com/flytower/flytower/internal/coretest"
	"github.com/flytower/flytower/internal/testdb"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// life is the lifecycle of a started plugin.
type life struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newLife() *life {
	l := &life{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

func (l *life) OnStart(string, func(context.Context) error) error { return backend.ErrTooLate }
func (l *life) OnStop(string, func(context.Context) error) error  { return nil }
func (l *life) Done() <-chan struct{}                             { return l.ctx.Done() }
func (l *life) Go(_ string, fn func(context.Context) error) {
	l.wg.Go(func() { _ = fn(l.ctx) })
}
func (l *life) Guard(ctx context.Context, _ string, fn func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return fn(ctx)
}
func (l *life) stop() {
	l.cancel()
	l.wg.Wait()
}

// router serves the routes without authentication.
type router struct {
	core.Router
	mux *http.ServeMux
}

func (r router) HandleErr(pattern string, h func(http.ResponseWriter, *http.Request) error) {
	r.mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
		if err := h(w, req); err != nil {
			apierr.Write(w, req, err, "")
		}
	})
}

// instance is a scheduler in a started plugin, impatient so that tests are
// fast. It is stopped at the end of the test, or before.
type instance struct {
	core.SchedulerService
	life *life
	mux  *http.ServeMux
	log  *bytes.Buffer
}

func start(t *testing.T, db core.DatabaseService, opts ...scheduler.Option) *instance {
	t.Helper()
	in := &instance{life: newLife(), mux: http.NewServeMux(), log: &bytes.Buffer{}}
	opts = append([]scheduler.Option{scheduler.WithPollInterval(100 * time.Millisecond), scheduler.WithLease(2*time.Second, 100*time.Millisecond)}, opts...)
	var err error
	in.SchedulerService, err = scheduler.New(scheduler.Dependencies{
		Plugin: "catalog", Database: db, Logger: slog.New(slog.DiscardHandler), Lifecycle: in.life, Router: router{mux: in.mux},
	}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.life.stop)
	return in
}

func (in *instance) schedule(t *testing.T, id string, s core.Schedule, fn core.TaskFunc) {
	t.Helper()
	if s.Timeout == 0 {
		s.Timeout = time.Minute
	}
	if err := in.Schedule(t.Context(), core.Task{ID: id, Schedule: s, Run: fn}); err != nil {
		t.Fatal(err)
	}
}

func (in *instance) request(t *testing.T, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	in.mux.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), method, "/.backstage/scheduler/v1/tasks"+path, nil))
	return rec
}

var (
	hourly = core.Schedule{Frequency: core.Frequency{Every: time.Hour}}
	manual = core.Schedule{Frequency: core.Frequency{Manual: true}}
)

// signal returns a task that reports its runs, and ends each when it is told
// to.
func signal() (task core.TaskFunc, begun chan core.TaskRun, end chan error) {
	begun, end = make(chan core.TaskRun, 100), make(chan error)
	return func(ctx context.Context, run core.TaskRun) error {
		begun <- run
		select {
		case err := <-end:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}, begun, end
}

// state is what the route tells of the only task, until it suits.
func (in *instance) await(t *testing.T, what string, suits func(map[string]any) bool) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var body struct{ Tasks []map[string]any }
		rec := in.request(t, "GET", "")
		if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || len(body.Tasks) != 1 {
			t.Fatalf("%s: %v", rec.Body, err)
		}
		if state, ok := body.Tasks[0]["taskState"].(map[string]any); ok && suits(state) {
			return state
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: %s", what, rec.Body)
		}
	}
}

func ended(s map[string]any) bool { return s["status"] == "idle" && s["lastRunEndedAt"] != nil }

func TestRunsAreReportedExactly(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		in := start(t, db.Service)
		task, begun, end := signal()
		in.schedule(t, "re/fresh", core.Schedule{Frequency: core.Frequency{Every: 90 * time.Minute}, Timeout: 30 * time.Second}, task)
		if run := <-begun; run.Fence != 1 {
			t.Errorf("fence %d, want 1", run.Fence)
		}
		var body struct {
			Tasks []struct {
				TaskState map[string]any
			}
		}
		rec := in.request(t, "GET", "")
		if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		started, err := time.Parse("2006-01-02T15:04:05.000-07:00", fmt.Sprint(body.Tasks[0].TaskState["startedAt"]))
		if err != nil || time.Since(started).Abs() > time.Minute {
			t.Errorf("started at %v, %v", started, err)
		}
		want := fmt.Sprintf(`{"tasks":[{"taskId":"re/fresh","pluginId":"catalog","scope":"global","settings":{"version":2,"cadence":"PT1H30M","timeoutAfterDuration":"PT30S"},"taskState":{"status":"running","startedAt":"%s","timesOutAt":"%s"},"workerState":{"status":"running"}}]}`,
			started.Format("2006-01-02T15:04:05.000-07:00"), started.Add(30*time.Second).Format("2006-01-02T15:04:05.000-07:00"))
		if diff := cmp.Diff(want, strings.TrimSpace(rec.Body.String())); diff != "" {
			t.Error(diff)
		}
		if rec := in.request(t, "POST", "/re%2Ffresh/trigger"); rec.Code != http.StatusConflict {
			t.Errorf("trigger of a running task: %d %s", rec.Code, rec.Body)
		}
		end <- apierr.NotFound("no such thing")
		got := in.await(t, "the end", ended)
		if got["lastRunError"] != `{"message":"no such thing","name":"NotFoundError"}` {
			t.Errorf("error %v", got["lastRunError"])
		}
		starts, err := time.Parse("2006-01-02T15:04:05.000-07:00", fmt.Sprint(got["startsAt"]))
		if err != nil || starts.Sub(started).Round(time.Minute) != 90*time.Minute {
			t.Errorf("starts at %v, %v", starts, err)
		}
		if rec := in.request(t, "POST", "/re%2Ffresh/trigger"); rec.Code != http.StatusOK || rec.Body.Len() != 0 {
			t.Errorf("trigger: %d %s", rec.Code, rec.Body)
		}
		if run := <-begun; run.Fence != 2 {
			t.Errorf("fence %d, want 2", run.Fence)
		}
		end <- nil
		in.await(t, "the end without an error", func(s map[string]any) bool { return ended(s) && s["lastRunError"] == nil })
	})
}

func TestUnknownTasks(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		in := start(t, db.Service)
		in.schedule(t, "a", manual, func(context.Context, core.TaskRun) error { return nil })
		for path, want := range map[string]int{"/b/trigger": 404, "/b/cancel": 404, "/a/cancel": 409} {
			if rec := in.request(t, "POST", path); rec.Code != want {
				t.Errorf("%s: %d, want %d", path, rec.Code, want)
			}
		}
		if err := in.Schedule(t.Context(), core.Task{ID: "a", Schedule: core.Schedule{Frequency: manual.Frequency, Timeout: 1e9}, Run: func(context.Context, core.TaskRun) error { return nil }}); err == nil {
			t.Error("the same id twice is no error")
		}
	})
}

func TestCancelFromAnotherInstance(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		one, other := start(t, db.Service), start(t, db.Service)
		cause := make(chan error, 1)
		begun := make(chan struct{}, 1)
		one.schedule(t, "a", hourly, func(ctx context.Context, _ core.TaskRun) error {
			begun <- struct{}{}
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return ctx.Err()
		})
		<-begun
		if err := other.Cancel(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if err := <-cause; err == nil {
			t.Error("the context ended without a cause")
		}
		got := one.await(t, "the end", ended)
		if !strings.Contains(fmt.Sprint(got["lastRunError"]), "cancelled") {
			t.Errorf("error %v", got["lastRunError"])
		}
		if err := other.Trigger(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		<-begun // the other's trigger is seen here
		if err := one.Cancel(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		<-cause
	})
}

func TestTimeoutsAndPanicsAreErrorsOfTheRun(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		timeout time.Duration
		run     core.TaskFunc
		want    string
	}{
		"timeout":            {50 * time.Millisecond, func(ctx context.Context, _ core.TaskRun) error { <-ctx.Done(); return ctx.Err() }, "timed out"},
		"panic":              {time.Minute, func(context.Context, core.TaskRun) error { panic("bad thing") }, "bad thing"},
		"timeout, but ended": {50 * time.Millisecond, func(ctx context.Context, _ core.TaskRun) error { <-ctx.Done(); return nil }, "<nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *testdb.Database) {
				in := start(t, db.Service)
				in.schedule(t, "a", core.Schedule{Frequency: hourly.Frequency, Timeout: test.timeout}, test.run)
				if got := in.await(t, "the end", ended); !strings.Contains(fmt.Sprint(got["lastRunError"]), test.want) {
					t.Errorf("error %v, want %s", got["lastRunError"], test.want)
				}
			})
		})
	}
}

// A function that ignores the end of its context does not keep other instances
// from running the task.
func TestStubbornFunctionLosesItsTask(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		never := make(chan struct{})
		defer close(never)
		opts := []scheduler.Option{scheduler.WithStopGrace(50 * time.Millisecond)}
		stubborn, other := start(t, db.Service, opts...), start(t, db.Service, opts...)
		begun := make(chan string, 10)
		each := core.Schedule{Frequency: core.Frequency{Every: 50 * time.Millisecond}, Timeout: 50 * time.Millisecond}
		stubborn.schedule(t, "a", each, func(context.Context, core.TaskRun) error { begun <- "stubborn"; <-never; return nil })
		if got := <-begun; got != "stubborn" {
			t.Fatal(got)
		}
		other.schedule(t, "a", each, func(context.Context, core.TaskRun) error { begun <- "other"; return nil })
		for range 3 {
			if got := <-begun; got != "other" {
				t.Error("the task ran again in the instance where it hangs")
			}
		}
		other.life.stop()
		stubborn.life.stop()
	})
}

func TestStopLeavesTheTaskToOthersAtOnce(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		// The lease would keep the others away for an hour.
		long := scheduler.WithLease(time.Hour, time.Minute)
		one, other := start(t, db.Service, long), start(t, db.Service, long)
		task, begun, _ := signal()
		one.schedule(t, "a", hourly, task)
		<-begun
		task, elsewhere, end := signal()
		other.schedule(t, "a", hourly, task)
		one.life.stop()
		if run := <-elsewhere; run.Fence != 2 {
			t.Errorf("fence %d, want 2", run.Fence)
		}
		end <- nil
		other.await(t, "the end", ended)
	})
}

func TestRestartsRunNothingExtra(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		var runs atomic.Int64
		var next any
		for i := range 20 {
			in := start(t, db.Service)
			in.schedule(t, "a", hourly, func(context.Context, core.TaskRun) error { runs.Add(1); return nil })
			got := in.await(t, "the end", ended)
			if i == 0 {
				next = got["startsAt"]
			} else if got["startsAt"] != next {
				t.Errorf("restart %d moved the next run from %v to %v", i, next, got["startsAt"])
			}
			in.life.stop()
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("%d runs, want 1", n)
		}
	})
}

func TestChangedSettingsOnlyPullRunsForward(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		every := func(d time.Duration) core.Schedule { return core.Schedule{Frequency: core.Frequency{Every: d}} }
		nextAfter := func(s core.Schedule) time.Duration {
			t.Helper()
			in := start(t, db.Service)
			defer in.life.stop()
			in.schedule(t, "a", s, func(context.Context, core.TaskRun) error { return nil })
			got := in.await(t, "idle", func(s map[string]any) bool { return s["status"] == "idle" })
			at, err := time.Parse("2006-01-02T15:04:05.000-07:00", fmt.Sprint(got["startsAt"]))
			if err != nil {
				return 0
			}
			return time.Until(at).Round(time.Minute)
		}
		later := every(time.Hour)
		later.InitialDelay = 3 * time.Hour
		for i, step := range []struct {
			s    core.Schedule
			want time.Duration
		}{
			{later, 3 * time.Hour},
			{every(2 * time.Hour), 2 * time.Hour},
			{every(10 * time.Hour), 2 * time.Hour},
			{core.Schedule{Frequency: core.Frequency{Manual: true}}, 0},
			{every(5 * time.Hour), 5 * time.Hour},
		} {
			if got := nextAfter(step.s); got != step.want {
				t.Errorf("step %d: the next run is in %v, want %v", i, got, step.want)
			}
		}
	})
}

// Several instances with several tasks: every run has one runner, and its
// fence is its own.
func TestOneRunnerPerRun(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		const replicas, tasks, enough = 4, 6, 5
		type seen struct {
			running atomic.Int64
			fences  sync.Map
			runs    atomic.Int64
		}
		all := make([]seen, tasks)
		var wg sync.WaitGroup
		wg.Add(tasks)
		var instances []*instance
		for range replicas {
			in := start(t, db.Service)
			instances = append(instances, in)
			for i := range tasks {
				in.schedule(t, fmt.Sprint("task", i), core.Schedule{Frequency: core.Frequency{Every: 20 * time.Millisecond}}, func(_ context.Context, run core.TaskRun) error {
					s := &all[i]
					if s.running.Add(1) > 1 {
						t.Errorf("task %d runs twice at once", i)
					}
					if _, twice := s.fences.LoadOrStore(run.Fence, true); twice {
						t.Errorf("task %d ran twice with fence %d", i, run.Fence)
					}
					s.running.Add(-1)
					if s.runs.Add(1) == enough {
						wg.Done()
					}
					return nil
				})
			}
		}
		wg.Wait()
		for _, in := range instances {
			in.life.stop()
		}
	})
}

// On a server, its clock counts, not those of the instances.
func TestWrongClocksDoNotMatter(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	wrong := func(d time.Duration) scheduler.Option {
		return scheduler.WithClock(func() time.Time { return time.Now().Add(d) })
	}
	fast, slow := start(t, db.Service, wrong(5*time.Hour)), start(t, db.Service, wrong(-5*time.Hour))
	task, begun, end := signal()
	for _, in := range []*instance{fast, slow} {
		in.schedule(t, "a", hourly, task)
	}
	if run := <-begun; run.Fence != 1 {
		t.Errorf("fence %d", run.Fence)
	}
	end <- nil
	got := slow.await(t, "the end", ended)
	at, err := time.Parse("2006-01-02T15:04:05.000-07:00", fmt.Sprint(got["startsAt"]))
	if err != nil || time.Until(at).Round(5*time.Minute) != time.Hour {
		t.Errorf("next run at %v, %v; want it in an hour", at, err)
	}
}

func TestSurvivesLostConnections(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	in := start(t, db.Service)
	runs := make(chan struct{}, 1000)
	in.schedule(t, "a", core.Schedule{Frequency: core.Frequency{Every: 10 * time.Millisecond}}, func(context.Context, core.TaskRun) error {
		select {
		case runs <- struct{}{}:
		default:
		}
		return nil
	})
	admin, err := sql.Open("pgx", testdb.PostgresServer(t))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for range 5 {
		<-runs
		if _, err := admin.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", strings.SplitN(strings.SplitN(db.DSN, "?", 2)[0], "/", 4)[3]); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		<-runs
	}
}

func TestNodeInstancesFindTheirTables(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	// As an old version of it left them.
	for _, statement := range []string{
		"CREATE TABLE backstage_backend_tasks__tasks (id varchar(255) PRIMARY KEY, settings_json text NOT NULL, next_run_start_at timestamptz NOT NULL, current_run_ticket text, current_run_started_at timestamptz, current_run_expires_at timestamptz)",
		"CREATE TABLE backstage_backend_tasks__knex_migrations (id serial PRIMARY KEY, name varchar(255), batch integer, migration_time timestamptz)",
		"INSERT INTO backstage_backend_tasks__knex_migrations (name, batch) VALUES ('20210928160613_init.js', 1)",
		`INSERT INTO backstage_backend_tasks__tasks VALUES ('a', '{"version":2,"cadence":"P1D","timeoutAfterDuration":"PT1M"}', now(), 'gone', now(), now() - interval '1 second')`,
	} {
		if _, err := db.DB.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	in := start(t, db.Service)
	task, begun, end := signal()
	in.schedule(t, "a", core.Schedule{Frequency: core.Frequency{Every: 24 * time.Hour}}, task)
	<-begun
	end <- nil
	in.await(t, "the end", ended)
	var names string
	if err := db.DB.QueryRowContext(t.Context(), "SELECT string_agg(name, ' ' ORDER BY id) FROM backstage_backend_tasks__knex_migrations").Scan(&names); err != nil {
		t.Fatal(err)
	}
	if names != "20210928160613_init.js 20240712211735_nullable_next_run.js 20250411000000_last_run.js" {
		t.Errorf("steps %s", names)
	}
}

// closed is a database that must not be opened.
type closed struct{ core.DatabaseService }

func (closed) DB(context.Context) (*sql.DB, error) { return nil, errors.New("opened") }
func (closed) Dialect() core.Dialect               { return core.SQLite }

func TestLocalTasksNeedNoDatabase(t *testing.T) {
	t.Parallel()
	in := start(t, closed{})
	task, begun, end := signal()
	in.schedule(t, "a", core.Schedule{Frequency: core.Frequency{Every: time.Hour}, Local: true}, task)
	if run := <-begun; run.Fence != 0 {
		t.Errorf("fence %d", run.Fence)
	}
	if rec := in.request(t, "POST", "/a/trigger"); rec.Code != http.StatusConflict {
		t.Errorf("trigger of a running task: %d", rec.Code)
	}
	end <- errors.New("bad")
	got := in.await(t, "the end", ended)
	if got["lastRunError"] != `{"message":"bad","name":"Error"}` || got["startsAt"] == nil {
		t.Errorf("state %v", got)
	}
	if rec := in.request(t, "POST", "/a/trigger"); rec.Code != http.StatusOK {
		t.Errorf("trigger: %d", rec.Code)
	}
	<-begun
	if rec := in.request(t, "POST", "/a/cancel"); rec.Code != http.StatusOK {
		t.Errorf("cancel: %d", rec.Code)
	}
	in.await(t, "the cancelled run", func(s map[string]any) bool {
		return ended(s) && strings.Contains(fmt.Sprint(s["lastRunError"]), "cancelled")
	})
	if rec := in.request(t, "POST", "/a/cancel"); rec.Code != http.StatusConflict {
		t.Errorf("cancel of an idle task: %d", rec.Code)
	}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	in := start(t, closed{}, scheduler.WithAuthorize(func(_ *http.Request, action, task string) error {
		if action == "list" {
			return nil
		}
		return apierr.NotAllowed("no %s of %s", action, task)
	}))
	in.schedule(t, "a", core.Schedule{Frequency: manual.Frequency, Local: true}, func(context.Context, core.TaskRun) error { return nil })
	for path, want := range map[string]int{"/a/trigger": 403, "/a/cancel": 403} {
		if rec := in.request(t, "POST", path); rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
	}
	if rec := in.request(t, "GET", ""); rec.Code != 200 {
		t.Errorf("list: %d", rec.Code)
	}
}

// A token for some permissions must not run tasks, which none of them is for.
func TestRestrictedServicesOnlyList(t *testing.T) {
	t.Parallel()
	in := &instance{life: newLife(), mux: http.NewServeMux()}
	t.Cleanup(in.life.stop)
	var err error
	in.SchedulerService, err = scheduler.New(scheduler.Dependencies{
		Plugin: "catalog", Database: closed{}, Logger: slog.New(slog.DiscardHandler), Lifecycle: in.life, Router: router{mux: in.mux},
		HTTPAuth: coretest.Tokens{
			"free":       core.ServiceCredentials("external:a", core.NewToken("free"), &core.AccessRestrictions{}, []string{}),
			"restricted": core.ServiceCredentials("external:b", core.NewToken("restricted"), &core.AccessRestrictions{PermissionActions: []string{"read"}}, []string{}),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	in.schedule(t, "a", core.Schedule{Frequency: manual.Frequency, Local: true}, func(context.Context, core.TaskRun) error { return nil })
	for _, tt := range []struct {
		token, method, path string
		want                int
	}{
		{"restricted", "POST", "/a/trigger", 403}, {"restricted", "POST", "/a/cancel", 403}, {"restricted", "GET", "", 200},
		{"free", "POST", "/a/cancel", 409}, {"free", "GET", "", 200},
	} {
		rec := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), tt.method, "/.backstage/scheduler/v1/tasks"+tt.path, nil)
		r.Header.Set("Authorization", "Bearer "+tt.token)
		in.mux.ServeHTTP(rec, r)
		if rec.Code != tt.want {
			t.Errorf("%+v: %d %s", tt, rec.Code, rec.Body)
		}
	}
}
