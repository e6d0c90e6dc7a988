package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flytower/flytower/internal/testdb"
)

var (
	scaffolderSoak   = flag.Duration("scaffolder-soak", 0, "how long TestTasksSurviveKills goes on; at least until a round of tasks has ended")
	scaffolderTasks  = flag.Int("scaffolder-tasks", 12, "how many tasks run at once in TestTasksSurviveKills")
	scaffolderSteps  = flag.Int("scaffolder-steps", 5, "how many steps each of them has")
	scaffolderKill   = flag.Duration("scaffolder-kill", 2500*time.Millisecond, "how often a replica is killed; has to be more than the lease")
	scaffolderLease  = flag.Duration("scaffolder-lease", 1500*time.Millisecond, "scaffolder.taskRecovery.staleTimeout")
	scaffolderFreeze = flag.Bool("scaffolder-freeze", false, "whether every other replica is frozen for longer than the lease instead, and goes on then")
	scaffolderPause  = flag.Duration("scaffolder-pause", 500*time.Millisecond, "how long effects of steps take at most, twice")
)

// Two replicas run tasks, some of which succeed, some fail by design, and some
// are cancelled, and one of the replicas is killed every few seconds. Every
// task comes to the end that it should, and every effect happened once.
//
//	go test ./internal/e2e -run TestTasksSurviveKills -v -timeout 20m \
//	  -scaffolder-soak 10m -scaffolder-tasks 100 -scaffolder-steps 10 -scaffolder-kill 5s -scaffolder-lease 4s
func TestTasksSurviveKills(t *testing.T) {
	t.Parallel()
	s := countingSetup(testdb.NewPostgres(t), newCounter(t, *scaffolderPause), fmt.Sprintf("{enabled: true, staleTimeout: {milliseconds: %d}}", scaffolderLease.Milliseconds()))
	w := openWorkshop(t, s, 2)
	for end := time.Now().Add(*scaffolderSoak); ; {
		w.round(t)
		if t.Failed() || time.Now().After(end) {
			break
		}
	}
	for i := range w.fleet.replicas {
		w.fleet.surfaced(w.fleet.replica(i))
	}
	for _, problem := range w.fleet.problems {
		t.Error(problem)
	}
	slices.Sort(w.resumed)
	if len(w.resumed) == 0 {
		t.Fatalf("%d replicas were killed, and no task had to go on elsewhere", len(w.kills))
	}
	median := w.resumed[len(w.resumed)/2]
	t.Logf("%d tasks, %d replicas killed or frozen, %d runs taken over; from the kill to the next run: median %s, 90%% %s, most %s (lease %s); %d of %d effects were looked for again",
		w.ended, len(w.kills), len(w.resumed), median, w.resumed[len(w.resumed)*9/10], w.resumed[len(w.resumed)-1], *scaffolderLease, w.again, w.effects)
	if median > *scaffolderLease {
		t.Errorf("the median of the time until a task goes on is %s, more than the lease %s", median, *scaffolderLease)
	}
}

// countingSetup starts replicas with the templates that count.
func countingSetup(db *testdb.Database, count *counter, recovery string) workshopSetup {
	return workshopSetup{count, setup{
		added: "counting", env: []string{counterURL + "=" + count.URL}, args: []string{"--plugins", "catalog,scaffolder"},
		files: map[string]string{"templates.yaml": countingTemplates(*scaffolderSteps)},
		config: settings(postgres(db.DSN) + fmt.Sprintf(`
catalog:
  rules: [{allow: [Template]}]
  locations: [{type: file, target: ./templates.yaml}]
scaffolder:
  concurrentTasksLimit: %d
  taskRecovery: %s
`, *scaffolderTasks, recovery)),
	}}
}

type workshopSetup struct {
	counter *counter
	setup
}

// openWorkshop starts so many replicas, and waits for the templates.
func openWorkshop(t *testing.T, s workshopSetup, replicas int) *workshop {
	t.Helper()
	drawSeed()
	t.Logf("-seed %d", *seed)
	w := &workshop{fleet: &fleet{replicas: make([]*process, replicas)}, setup: s.setup, counter: s.counter, rand: rand.New(rand.NewPCG(*seed, 21))}
	for i := range w.fleet.replicas {
		w.fleet.replicas[i] = launch(t, s.setup)
	}
	for _, p := range w.fleet.replicas {
		p.ready()
	}
	for _, template := range []string{"succeed", "fail", "hold"} {
		eventually(t, "the template "+template, func() error {
			if a := w.fleet.replica(0).get("/api/catalog/entities/by-name/template/default/"+template, token); a.status != http.StatusOK {
				return fmt.Errorf("%s", a)
			}
			return nil
		})
	}
	return w
}

// workshop is a fleet that runs tasks.
type workshop struct {
	fleet   *fleet
	setup   setup
	counter *counter
	rand    *rand.Rand
	kills   []time.Time
	resumed []time.Duration // after the kill

	ended, effects, again int
}

// task is a task as the API gives it.
type task struct {
	ID, Status string
	Spec       struct{ TemplateInfo struct{ EntityRef string } }
}

func (t task) template() string {
	return strings.TrimPrefix(t.Spec.TemplateInfo.EntityRef, "template:default/")
}

func (t task) ended() bool { return t.Status == "completed" || t.Status == "failed" }

// taskEvent is an event of a task.
type taskEvent struct {
	ID        int64
	Type      string
	CreatedAt time.Time
	Body      struct {
		Message, StepID, Status string
		Output                  struct{ Things string }
		Error                   struct{ Message string }
	}
}

// round runs tasks to their ends while replicas are killed.
func (w *workshop) round(t *testing.T) {
	t.Helper()
	before := map[string]bool{}
	for _, task := range w.tasks() {
		before[task.ID] = true
	}
	ctx, stop := context.WithCancel(t.Context())
	var users sync.WaitGroup
	defer users.Wait()
	defer stop()
	r := rand.New(rand.NewPCG(w.rand.Uint64(), 1))
	users.Go(func() {
		for i := range *scaffolderTasks {
			ref := "template:default/" + []string{"succeed", "fail", "succeed", "hold"}[i%4]
			w.fleet.call(ctx, r, http.MethodPost, "/api/scaffolder/v2/tasks", map[string]any{"templateRef": ref, "values": map[string]any{}, "secrets": map[string]any{"word": "open sesame"}})
		}
	})
	cancels := rand.New(rand.NewPCG(w.rand.Uint64(), 2))
	users.Go(func() { w.cancel(ctx, cancels) })
	killed, next := 0, time.Now().Add(*scaffolderKill/2)
	deadline := time.Now().Add(10 * patience)
	var left []string
	for {
		left = left[:0]
		all := w.tasks()
		seen := 0
		for _, task := range all {
			if before[task.ID] {
				continue
			}
			if seen++; !task.ended() {
				left = append(left, task.ID+" "+task.template()+" "+task.Status)
			}
		}
		if killed >= 2 && seen > 0 && len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("tasks do not come to their ends: %v", left)
		}
		if time.Now().Before(next) {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		next = time.Now().Add(*scaffolderKill)
		i := w.rand.IntN(len(w.fleet.replicas))
		p := w.fleet.replica(i)
		w.kills = append(w.kills, time.Now())
		if killed++; *scaffolderFreeze && killed%2 == 0 {
			p.signal(syscall.SIGSTOP)
			time.Sleep(*scaffolderLease * 3 / 2)
			p.signal(syscall.SIGCONT)
			continue
		}
		p.kill()
		w.fleet.surfaced(p)
		s := w.setup
		s.dir = p.dir
		again := launch(t, s)
		again.ready()
		w.fleet.replace(i, again)
	}
	stop()
	users.Wait()
	var fresh []task
	for _, task := range w.tasks() {
		if !before[task.ID] {
			fresh = append(fresh, task)
		}
	}
	w.check(t, fresh)
}

// tasks are all tasks; nil if nobody answers.
func (w *workshop) tasks() []task {
	var page struct{ Tasks []task }
	for i := range w.fleet.replicas {
		a, err := request(w.fleet.replica(i).url+"/api/scaffolder/v2/tasks", token)
		if err == nil && a.status == http.StatusOK && json.Unmarshal([]byte(a.body), &page) == nil {
			return page.Tasks
		}
	}
	return nil
}

// cancel cancels tasks with a step that waits for that.
func (w *workshop) cancel(ctx context.Context, r *rand.Rand) {
	done := map[string]bool{}
	for ctx.Err() == nil {
		var ids []string
		w.counter.mu.Lock()
		for id := range w.counter.waiting {
			if !done[id] {
				ids = append(ids, id)
			}
		}
		w.counter.mu.Unlock()
		for _, id := range ids {
			status, _ := w.fleet.call(ctx, r, http.MethodPost, "/api/scaffolder/v2/tasks/"+id+"/cancel", nil)
			done[id] = status == http.StatusOK
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(r.IntN(400)) * time.Millisecond):
		}
	}
}

// check compares what became of tasks with what should have.
func (w *workshop) check(t *testing.T, all []task) {
	t.Helper()
	if len(all) < *scaffolderTasks/2 {
		t.Errorf("only %d tasks were created", len(all))
	}
	w.counter.mu.Lock()
	defer w.counter.mu.Unlock()
	for _, task := range all {
		w.ended++
		mine := map[string]int{}
		for key, n := range w.counter.made {
			if strings.HasPrefix(key, task.ID+" ") {
				mine[key] = n
			}
		}
		for _, key := range effects(task.ID, task.template(), *scaffolderSteps) {
			if mine[key] != 1 {
				t.Errorf("%s of %s happened %d times", key, task.template(), mine[key])
			}
			if w.effects++; w.counter.looked[key] > 1 {
				w.again++
			}
			delete(mine, key)
		}
		for key, n := range mine {
			t.Errorf("%s of %s should not happen, and did %d times", key, task.template(), n)
		}
		w.checkEvents(t, task)
	}
}

func (w *workshop) checkEvents(t *testing.T, task task) {
	t.Helper()
	var events []taskEvent
	w.fleet.replica(0).decode("/api/scaffolder/v2/tasks/"+task.ID+"/events", token, &events)
	status, problem := "completed", ""
	switch task.template() {
	case "fail":
		status, problem = "failed", "this step fails by design"
	case "hold":
		status, problem = "failed", "has been cancelled"
	}
	if len(events) == 0 {
		t.Errorf("the task %s has no events", task.ID)
		return
	}
	last := events[len(events)-1]
	if task.Status != status || last.Type != "completion" || !strings.Contains(last.Body.Error.Message, problem) || status == "failed" && last.Body.Error.Message == "" {
		t.Errorf("the task %s of %s is %s, its last event is %+v", task.ID, task.template(), task.Status, last)
	}
	if want := `one ["a","b","c"] one`; status == "completed" && last.Body.Output.Things != want {
		t.Errorf("the task %s gives %q, want %q", task.ID, last.Body.Output.Things, want)
	}
	var given time.Time // when the task was to go on
	for i, e := range events {
		switch {
		case e.Type == "completion" && i < len(events)-1:
			t.Errorf("the task %s goes on after its end with %+v", task.ID, events[i+1])
		case e.Type == "recovered":
			given = e.CreatedAt
		case strings.HasPrefix(e.Body.Message, "Starting up task") && !given.IsZero():
			if i, _ := slices.BinarySearchFunc(w.kills, given, time.Time.Compare); i > 0 {
				w.resumed = append(w.resumed, e.CreatedAt.Sub(w.kills[i-1]))
			}
			given = time.Time{}
		}
	}
}

// A replica loses all of its connections to the database again and again. Its
// tasks do not fail because of that, none of their events is lost or doubled,
// and nobody has to take them over.
func TestTasksSurviveLostConnections(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	w := openWorkshop(t, countingSetup(db, newCounter(t, *scaffolderPause), "{enabled: false}"), 1)
	for i := range *scaffolderTasks {
		ref := "template:default/" + []string{"succeed", "fail"}[i%2]
		if status, text := w.fleet.call(t.Context(), w.rand, http.MethodPost, "/api/scaffolder/v2/tasks", map[string]any{"templateRef": ref, "values": map[string]any{}}); status != http.StatusCreated {
			t.Fatalf("%d %s", status, text)
		}
	}
	cuts := 0
	eventually(t, "the tasks end", func() error {
		var cut, left int
		if err := db.DB.QueryRowContext(t.Context(), `SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`).Scan(&cut); err != nil {
			return err
		}
		cuts += cut
		time.Sleep(time.Duration(w.rand.IntN(400)) * time.Millisecond)
		err := db.DB.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM scaffolder.scaffolder_task WHERE status NOT IN ('completed', 'failed')`).Scan(&left)
		if err == nil && left > 0 {
			err = w.fleet.replica(0).alive(fmt.Sprintf("%d tasks are left", left))
		}
		return err
	})
	var all []task
	eventually(t, "the tasks are listed", func() error {
		if all = w.tasks(); len(all) != *scaffolderTasks {
			return fmt.Errorf("there are %d", len(all))
		}
		return nil
	})
	w.check(t, all)
	for _, task := range all {
		var events []taskEvent
		w.fleet.replica(0).decode("/api/scaffolder/v2/tasks/"+task.ID+"/events", token, &events)
		said := map[string]int{}
		for _, e := range events {
			if said[e.Body.Message]++; e.Type == "recovered" {
				t.Errorf("the task %s was taken over", task.ID)
			}
		}
		for i := range *scaffolderSteps {
			name := fmt.Sprintf("Step %d", i+1)
			begins, ends := said["Beginning step "+name], said["Finished step "+name]
			if task.template() == "succeed" && (begins != 1 || ends != 1) {
				t.Errorf("the task %s says %d times that %s begins, and %d times that it ends", task.ID, begins, name, ends)
			}
		}
	}
	t.Logf("%d connections were cut while %d tasks ran", cuts, len(all))
}
