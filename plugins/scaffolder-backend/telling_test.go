package scaffolderbackend_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/auditor"
)

func TestChangesAreAnnouncedAfterTheyHappened(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		type payload struct{ ID, TaskID, Status, CreatedBy, CreatedAt string }
		heard := make(chan payload, 20)
		var s *backendtest.Server
		var ready sync.WaitGroup
		ready.Add(1)
		listener := backend.NewPlugin("listener", func(env *backend.PluginEnv) backend.InitFunc {
			events := core.Events.From(env)
			return func(ctx context.Context) error {
				return events().Subscribe(ctx, core.Subscription{ID: "tasks", Topics: []string{"scaffolder.task"}, OnEvent: func(ctx context.Context, e core.Event) error {
					ready.Wait()
					var raw map[string]any
					if err := json.Unmarshal(e.Payload, &raw); err != nil {
						return err
					}
					p := payload{Status: raw["status"].(string)}
					p.CreatedBy, _ = raw["createdBy"].(string)
					p.CreatedAt, _ = raw["createdAt"].(string)
					if p.TaskID, _ = raw["taskId"].(string); p.TaskID == "" {
						p.ID = raw["id"].(string)
						db, err := backendtest.Service(t, s, "scaffolder", core.Database).DB(ctx)
						if err != nil {
							return err
						}
						var known sql.NullString
						if err := db.QueryRowContext(ctx, `SELECT status FROM scaffolder_task WHERE id = '`+p.ID+`'`).Scan(&known); err != nil {
							t.Errorf("%s was announced of a task that is not there: %v", p.Status, err)
						}
					}
					heard <- p
					return nil
				}})
			}
		})
		begun := make(chan struct{}, 2)
		s = open(t, database, `"steps":[{"id":"w","name":"W","action":"test:wait"}]`, withActions(waiting(begun)), listener)
		ready.Done()
		c := s.Client(t)
		path := create(c, map[string]any{}, nil)
		<-begun
		c.Post(path+"/cancel", nil).Expect(http.StatusOK)
		follow(t, c, path)
		id := strings.TrimPrefix(path, tasksPath+"/")
		var got []payload
		for range 4 {
			p := <-heard
			if p.CreatedAt != "" {
				p.CreatedAt = "then"
			}
			got = append(got, p)
		}
		want := []payload{
			{ID: id, Status: "open", CreatedBy: "user:default/mock"}, {ID: id, Status: "processing", CreatedBy: "user:default/mock", CreatedAt: "then"},
			{TaskID: id, Status: "cancelled"}, {ID: id, Status: "failed", CreatedBy: "user:default/mock", CreatedAt: "then"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestRunsAreAuditedAndMeasured(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var trail []auditor.Record
	take := func(_ context.Context, r auditor.Record) {
		mu.Lock()
		defer mu.Unlock()
		trail = append(trail, r)
	}
	hidden := backendtest.Permissions(func(_ core.Credentials, r core.AuthorizeRequest) core.Decision {
		if r.Permission.Name == "scaffolder.template.step.read" {
			return core.Decision{Result: core.Conditional, PluginID: "scaffolder", ResourceType: "scaffolder-template", Conditions: &core.PermissionCriteria{
				Not: &core.PermissionCriteria{Rule: "HAS_TAG", ResourceType: "scaffolder-template", Params: []byte(`{"tag":"secret"}`)},
			}}
		}
		return core.Decision{Result: core.Allowed}
	})
	s := open(t, backendtest.SQLite(t), `"steps":[{"id":"a","name":"A","action":"debug:log"},{"id":"hidden","action":"debug:log","backstage:permissions":{"tags":["secret"]}},
		{"id":"b","name":"B","action":"debug:log","if":false},{"id":"c","name":"C","action":"fs:delete","input":{"files":["../x"]}},{"id":"d","name":"D","action":"debug:log"}]`,
		auditor.NewFactory(auditor.WithSink(take)), hidden, conf(map[string]any{"auditor": map[string]any{"taskParameterMaxLength": 5}}))
	c := s.Client(t)
	path := create(c, map[string]any{"name": "longer than five", "list": []any{"short", "longer"}}, nil)
	follow(t, c, path)
	id := strings.TrimPrefix(path, tasksPath+"/")
	must(t, s.Stop()) // when all is told
	mu.Lock()
	defer mu.Unlock()
	var runs []auditor.Record
	for _, r := range trail {
		switch r.Meta["actionType"] {
		case "execution":
			runs = append(runs, r)
		case "create":
			if r.Status == auditor.Succeeded && !cmp.Equal(r.Meta["droppedSteps"], []string{"hidden"}) {
				t.Errorf("the creation is recorded with %v", r.Meta)
			}
		}
	}
	meta := map[string]any{
		"actionType": "execution", "taskId": id, "createdBy": "user:default/mock", "templateRef": "template:default/t",
		"taskParameters": map[string]any{"name": "longe...<truncated>", "list": []any{"short", "longe...<truncated>"}},
	}
	if len(runs) != 2 || runs[0].Status != auditor.Initiated || runs[1].Status != auditor.Failed || runs[0].Actor.ActorID != "plugin:scaffolder" || runs[0].Severity != core.SeverityMedium {
		t.Fatalf("recorded is %+v", runs)
	}
	if diff := cmp.Diff(meta, runs[0].Meta); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := open(t, backendtest.SQLite(t), `"steps":[{"id":"a","name":"A","action":"debug:log"},{"id":"b","name":"B","action":"debug:log","if":false},
		{"id":"c","name":"C","action":"fs:delete","input":{"files":["../x"]}},{"id":"d","name":"D","action":"debug:log"}]`)
	c := s.Client(t)
	follow(t, c, create(c, map[string]any{}, nil))
	var text string
	for deadline := time.Now().Add(30 * time.Second); ; { // it is counted after it is told
		text = c.Get("/metrics").Expect(http.StatusOK).Text()
		if strings.Contains(text, "scaffolder_task_count") || time.Now().After(deadline) {
			break
		}
	}
	for _, want := range []string{
		`scaffolder_task_count_total{result="failed",template="template:default/t"} 1`, `scaffolder_task_duration_seconds_count{result="failed",template="template:default/t"} 1`,
		`scaffolder_step_count_total{result="ok",step="A",template="template:default/t"} 1`, `scaffolder_step_count_total{result="skipped",step="B",template="template:default/t"} 1`,
		`scaffolder_step_count_total{result="failed",step="C",template="template:default/t"} 1`, `scaffolder_step_count_total{result="skipped",step="D",template="template:default/t"} 1`,
	} {
		name, labels, _ := strings.Cut(want, "{")
		labels, value, _ := strings.Cut(labels, "} ")
		found := false
		for line := range strings.Lines(text) {
			ok := strings.HasPrefix(line, name+"{") && strings.HasSuffix(strings.TrimSpace(line), " "+value)
			for label := range strings.SplitSeq(labels, ",") {
				ok = ok && strings.Contains(line, label)
			}
			found = found || ok
		}
		if !found {
			t.Errorf("there is no %s", want)
		}
	}
}
