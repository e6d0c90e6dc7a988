package scaffolderbackend_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/auditor"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// conf is configuration below scaffolder.
func conf(values map[string]any) backend.Feature {
	return backendtest.Config(map[string]any{"scaffolder": values})
}

// act makes an action without output.
func act(id string, run func(ctx context.Context, c *scaffoldernode.ActionContext) error) scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: id}, func(ctx context.Context, c *scaffoldernode.ActionContext, _ struct{}) (struct{}, error) {
		return struct{}{}, run(ctx, c)
	})
}

// end is the last event of a task.
func end(t *testing.T, c backendtest.Client, path string) event {
	t.Helper()
	all := follow(t, c, path)
	return all[len(all)-1]
}

func TestCheckpointsBelongToAnIteration(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		fail := true
		var made []string
		action := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:make"}, func(ctx context.Context, c *scaffoldernode.ActionContext, in struct {
			Name string `json:"name"`
		}) (out struct {
			Made string `json:"made"`
		}, err error) {
			out.Made, err = scaffoldernode.Checkpoint(ctx, c, "it", func(context.Context) (string, error) {
				made = append(made, c.StepID+" "+in.Name)
				return "made " + in.Name, nil
			})
			if err == nil && in.Name == "b" && fail {
				fail, err = false, errors.New("not yet")
			}
			return out, err
		})
		s := open(t, database, `"steps":[{"id":"a","action":"test:make","each":["a","b","c"],"input":{"name":"${{ each.value }}"}},
			{"id":"a.0","action":"test:make","input":{"name":"d"}}],"output":{"made":"${{ steps.a.output.made | dump }}"}`, withActions(action))
		c := s.Client(t)
		path := create(c, map[string]any{}, nil)
		if e := end(t, c, path); e.Body.Error.Message != "not yet" {
			t.Fatalf("the first run ends with %+v", e)
		}
		c.Post(path+"/retry", map[string]any{}).Expect(http.StatusCreated)
		if e := end(t, c, path); string(e.Body.Output) != `{"made":"[\"made a\",\"made b\",\"made c\"]"}` {
			t.Errorf("the second run ends with %+v", e)
		}
		if diff := cmp.Diff([]string{"a a", "a b", "a c", "a.0 d"}, made); diff != "" {
			t.Errorf("made (-want +got):\n%s", diff)
		}
	})
}

func TestStepsAndTasksHaveTimeLimits(t *testing.T) {
	t.Parallel()
	wait := act("test:wait", func(ctx context.Context, _ *scaffoldernode.ActionContext) error {
		<-ctx.Done()
		return ctx.Err()
	})
	for name, tt := range map[string]struct {
		step   string
		config map[string]any
		want   string
	}{
		"of the step":               {`,"timeout":{"milliseconds":30}`, map[string]any{}, "ran for longer than 30ms."},
		"of the configuration":      {``, map[string]any{"stepTimeout": "40ms"}, "ran for longer than 40ms."},
		"not more than is allowed":  {`,"timeout":"1h"`, map[string]any{"stepTimeout": "40ms"}, "ran for longer than 40ms."},
		"one that is no time":       {`,"timeout":"soon"`, map[string]any{"stepTimeout": "40ms"}, "ran for longer than 40ms."},
		"of the task":               {``, map[string]any{"taskTimeout": "1s"}, "scaffolder.taskTimeout"},
		"of the task, in all steps": {`,"timeout":"2s"`, map[string]any{"taskTimeout": "1s"}, "scaffolder.taskTimeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, backendtest.SQLite(t), `"steps":[{"id":"w","name":"W","action":"test:wait"`+tt.step+`},{"id":"x","action":"debug:log","if":"${{ failure() }}"}]`, withActions(wait), conf(tt.config))
			c := s.Client(t)
			path := create(c, map[string]any{}, nil)
			if e := end(t, c, path); !strings.Contains(e.Body.Error.Message, tt.want) {
				t.Errorf("it ends with %+v", e)
			}
		})
	}
}

// TestCancellingEndsChildren has an action whose child would run for long.
func TestCancellingEndsChildren(t *testing.T) {
	t.Parallel()
	child, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	begun, over := make(chan struct{}), make(chan error, 1)
	action := act("test:child", func(ctx context.Context, _ *scaffoldernode.ActionContext) error {
		cmd := exec.CommandContext(ctx, child, "600")
		if err := cmd.Start(); err != nil {
			return err
		}
		close(begun)
		over <- cmd.Wait()
		return ctx.Err()
	})
	s := open(t, backendtest.PostgreSQL(t), `"steps":[{"id":"w","name":"W","action":"test:child"}]`, withActions(action))
	c := s.Client(t)
	path := create(c, map[string]any{}, nil)
	<-begun
	c.Post(path+"/cancel", nil).Expect(http.StatusOK)
	if e := end(t, c, path); !strings.Contains(e.Body.Error.Message, "has been cancelled") {
		t.Errorf("it ends with %+v", e)
	}
	var exit *exec.ExitError
	if err := <-over; !errors.As(err, &exit) {
		t.Errorf("the child ended with %v", err)
	}
}

// TestStopping stops a backend while a task runs.
func TestStopping(t *testing.T) {
	t.Parallel()
	const waits = `"steps":[{"id":"one","name":"One","action":"test:once"},{"id":"two","name":"Two","action":"test:wait"}]`
	// start runs a task until its second step waits for release.
	start := func(t *testing.T, database backend.Feature, config map[string]any) (s *backendtest.Server, path string, release chan struct{}, action backend.Feature) {
		begun, release := make(chan struct{}, 2), make(chan struct{})
		runs := 0
		action = withActions(
			act("test:once", func(context.Context, *scaffoldernode.ActionContext) error {
				if runs++; runs > 1 {
					return errors.New("it ran again")
				}
				return nil
			}),
			act("test:wait", func(ctx context.Context, _ *scaffoldernode.ActionContext) error {
				begun <- struct{}{}
				select {
				case <-release:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}),
		)
		s = open(t, database, waits, action, conf(config))
		path = create(s.Client(t), map[string]any{}, nil)
		<-begun
		return s, path, release, action
	}
	recovery := map[string]any{"enabled": true, "staleTimeout": "1h"}

	t.Run("waits for tasks where it is asked to", func(t *testing.T) {
		t.Parallel()
		database := backendtest.SQLite(t)
		s, path, release, action := start(t, database, map[string]any{"EXPERIMENTAL_gracefulShutdown": true, "taskRecovery": recovery})
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop() }()
		time.AfterFunc(50*time.Millisecond, func() { close(release) })
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		again := open(t, database, waits, action, conf(map[string]any{"concurrentTasksLimit": 0}))
		if text := transcript(follow(t, again.Client(t), path)); !strings.HasSuffix(text, "Run completed with status: completed: {}\n") || strings.Contains(text, "already completed") {
			t.Errorf("the task says:\n%s", text)
		}
	})
	t.Run("gives tasks back at once", func(t *testing.T) {
		t.Parallel()
		backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
			s, path, release, action := start(t, database, map[string]any{"taskRecovery": recovery})
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			close(release)
			again := open(t, database, waits, action, conf(map[string]any{"taskRecovery": recovery}))
			text := transcript(follow(t, again.Client(t), path))
			if !strings.HasSuffix(text, "Run completed with status: completed: {}\n") || !strings.Contains(text, "Skipping step one because it was already completed") || strings.Contains(text, "failed") {
				t.Errorf("the task says:\n%s", text)
			}
		})
	})
	t.Run("fails tasks that nobody would take over", func(t *testing.T) {
		t.Parallel()
		database := backendtest.SQLite(t)
		s, path, _, action := start(t, database, map[string]any{})
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		again := open(t, database, waits, action, conf(map[string]any{"concurrentTasksLimit": 0}))
		if e := end(t, again.Client(t), path); e.Body.Error.Message != "the backend stopped while the task ran; retry the task" {
			t.Errorf("it ends with %+v", e)
		}
	})
}

func TestKeysOfSecretsRotate(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		var told []string
		action := withActions(act("test:tell", func(_ context.Context, c *scaffoldernode.ActionContext) error {
			told = append(told, c.Secrets["word"].Reveal())
			return nil
		}))
		const spec = `"steps":[{"id":"t","name":"T","action":"test:tell"}]`
		keys := func(limit int, keys ...string) backend.Feature {
			return conf(map[string]any{"concurrentTasksLimit": limit, "taskSecrets": map[string]any{"keys": keys}})
		}
		first := open(t, database, spec, action, keys(0, "the old key"))
		path := create(first.Client(t), map[string]any{}, map[string]any{"word": "open sesame"})
		old := column(t, first, "secrets")
		second := open(t, database, spec, action, keys(1, "the new key", "the old key"))
		if e := end(t, second.Client(t), path); e.Body.Error.Message != "" || !cmp.Equal(told, []string{"open sesame"}) {
			t.Errorf("with both keys it was told %q, and ends with %+v", told, e)
		}
		must(t, second.Stop())
		idle := open(t, database, spec, action, keys(0, "the new key", "the old key"))
		c := idle.Client(t)
		c.Post(path+"/retry", map[string]any{"secrets": map[string]any{"word": "once more"}}).Expect(http.StatusCreated)
		if now := column(t, idle, "secrets"); strings.Split(now, ".")[1] == strings.Split(old, ".")[1] {
			t.Errorf("the old key seals: %s, %s", old, now)
		}
		third := open(t, database, spec, action, keys(1, "a third key"))
		if e := end(t, third.Client(t), path); !strings.Contains(e.Body.Error.Message, "not configured any more") || len(told) != 1 {
			t.Errorf("without the keys it was told %q, and ends with %+v", told, e)
		}
	})
}

// TestStateWithSecretsIsSealed keeps a secret in an output and in a checkpoint.
func TestStateWithSecretsIsSealed(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		runs := 0
		action := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:derive"}, func(ctx context.Context, c *scaffoldernode.ActionContext, _ struct{}) (out struct {
			URL string `json:"url"`
		}, err error) {
			out.URL, err = scaffoldernode.Checkpoint(ctx, c, "url", func(context.Context) (string, error) {
				runs++
				return "https://x:" + c.Secrets["word"].Reveal() + "@host", nil
			})
			return out, err
		})
		s := open(t, database, `"steps":[{"id":"a","action":"test:derive"},{"id":"b","action":"fs:delete","input":{"files":["../${{ steps.a.output.url }}"]}}]`, withActions(action))
		c := s.Client(t)
		path := create(c, map[string]any{}, map[string]any{"word": "open-sesame"})
		end(t, c, path)
		db, err := backendtest.Service(t, s, "scaffolder", core.Database).DB(t.Context())
		must(t, err)
		rows, err := db.QueryContext(t.Context(), `SELECT kind, value FROM scaffolder_task_state ORDER BY kind, key`)
		must(t, err)
		defer rows.Close()
		var kinds []string
		for rows.Next() {
			var kind, value string
			must(t, rows.Scan(&kind, &value))
			kinds = append(kinds, kind)
			if strings.Contains(value, "sesame") || !strings.Contains(value, "$sealed") {
				t.Errorf("the %s is kept as %s", kind, value)
			}
		}
		must(t, rows.Err())
		if !cmp.Equal(kinds, []string{"checkpoint", "step"}) {
			t.Errorf("kept are %v", kinds)
		}
		c.Post(path+"/retry", map[string]any{"secrets": map[string]any{"word": "open-sesame"}}).Expect(http.StatusCreated)
		if end(t, c, path); runs != 1 {
			t.Errorf("the checkpoint was made %d times", runs)
		}
	})
}

func TestSecretsAreHiddenInEveryForm(t *testing.T) {
	t.Parallel()
	const secret = "pa\"ss/wörd+&1"
	const key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQC7VJTU\n-----END KEY-----\n"
	quoted, err := json.Marshal(secret)
	must(t, err)
	forms := []string{
		secret, string(quoted), url.QueryEscape(secret), url.PathEscape(secret), base64.StdEncoding.EncodeToString([]byte("user:" + secret)),
		base64.RawURLEncoding.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(key)),
	}
	action := act("test:leak", func(ctx context.Context, c *scaffoldernode.ActionContext) error {
		for _, form := range forms {
			c.Logger.InfoContext(ctx, "in the message "+form, "attribute", form)
		}
		c.Logger.ErrorContext(ctx, "as a whole: "+key)
		for line := range strings.Lines(key) { // as tools print it
			c.Logger.WarnContext(ctx, line)
		}
		out := c.LogWriter(ctx) // in parts, as they come out of a pipe
		for i := 0; i < len(secret); i += 3 {
			fmt.Fprint(out, secret[i:min(i+3, len(secret))])
		}
		if err := out.Close(); err != nil {
			return err
		}
		return errors.New("no way in with " + secret)
	})
	s := open(t, backendtest.SQLite(t), `"steps":[{"id":"l","name":"L","action":"test:leak"}]`, withActions(action))
	c := s.Client(t)
	path := create(c, map[string]any{}, map[string]any{"word": secret, "key": key})
	all := follow(t, c, path)
	raw := text(all)
	for _, part := range []string{"wörd", url.QueryEscape("wörd"), "MIIEvQ", "AASCBK", base64.StdEncoding.EncodeToString([]byte(secret))[4:12], base64.StdEncoding.EncodeToString([]byte(key[30:45]))} {
		if strings.Contains(raw, part) {
			t.Errorf("%q is in %s", part, transcript(all))
		}
	}
	if n := strings.Count(raw, "***"); n < 2*len(forms)+5 {
		t.Errorf("only %d places are hidden:\n%s", n, transcript(all))
	}
}

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

// TestCleanupRunsAgain retries a task whose second step fails: what cleans up
// after it runs each time, what went well does not.
func TestCleanupRunsAgain(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		var ran []string
		action := act("test:note", func(_ context.Context, c *scaffoldernode.ActionContext) error {
			if ran = append(ran, c.StepID); c.StepID == "fail" {
				return errors.New("no")
			}
			return nil
		})
		s := open(t, database, `"steps":[{"id":"well","action":"test:note"},{"id":"fail","action":"test:note"},{"id":"clean","action":"test:note","if":"${{ always() }}"}]`,
			withActions(action), conf(map[string]any{"taskRecovery": map[string]any{"enabled": true}}))
		c := s.Client(t)
		path := create(c, map[string]any{}, nil)
		end(t, c, path)
		c.Post(path+"/retry", map[string]any{}).Expect(http.StatusCreated)
		end(t, c, path)
		if diff := cmp.Diff([]string{"well", "fail", "clean", "fail", "clean"}, ran); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestATaskThatStartsOver loses its files: all of its steps run again, but
// what is kept by checkpoints is not done again.
func TestATaskThatStartsOver(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		begun := make(chan struct{}, 2)
		var ran, made []string
		actions := withActions(
			act("test:note", func(ctx context.Context, c *scaffoldernode.ActionContext) error {
				ran = append(ran, c.StepID)
				_, err := scaffoldernode.Checkpoint(ctx, c, "made", func(context.Context) (bool, error) {
					made = append(made, c.StepID)
					return true, nil
				})
				return err
			}),
			act("test:wait", func(ctx context.Context, _ *scaffoldernode.ActionContext) error {
				if begun <- struct{}{}; len(ran) > 1 {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}),
		)
		recovery := conf(map[string]any{"taskRecovery": map[string]any{"enabled": true}})
		const spec = `"EXPERIMENTAL_recovery":{"EXPERIMENTAL_strategy":"startOver"},"steps":[{"id":"a","name":"A","action":"test:note"},{"id":"b","name":"B","action":"test:wait"}]`
		first := open(t, database, spec, actions, recovery)
		path := create(first.Client(t), map[string]any{}, nil)
		<-begun
		must(t, first.Stop())
		second := open(t, database, spec, actions, recovery)
		all := follow(t, second.Client(t), path)
		if all[0].Type != "recovered" || !all[0].Recoverable || !strings.HasSuffix(transcript(all), "completed: {}\n") {
			t.Errorf("the events are:\n%s", transcript(all))
		}
		if !cmp.Equal(ran, []string{"a", "a"}) || !cmp.Equal(made, []string{"a"}) {
			t.Errorf("%v ran, and %v was made", ran, made)
		}
	})
}

// TestATaskWithoutItsFilesRunsAllSteps stops a backend after a step that wrote
// a file. Another one goes on if it has the file.
func TestATaskWithoutItsFilesRunsAllSteps(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		same bool
		want []string
	}{"on the same machine": {true, []string{"a"}}, "on another one": {false, []string{"a", "a"}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := make(chan struct{}, 2)
			var ran []string
			stopped := false
			actions := withActions(
				act("test:write", func(_ context.Context, c *scaffoldernode.ActionContext) error {
					ran = append(ran, c.StepID)
					return c.Workspace.WriteFile("file", []byte("x"), 0o600)
				}),
				act("test:read", func(ctx context.Context, c *scaffoldernode.ActionContext) error {
					if begun <- struct{}{}; !stopped {
						<-ctx.Done()
						return ctx.Err()
					}
					_, err := c.Workspace.ReadFile("file")
					return err
				}),
			)
			dir := backendtest.Config(map[string]any{"backend": map[string]any{"workingDirectory": t.TempDir()}})
			recovery := conf(map[string]any{"taskRecovery": map[string]any{"enabled": true}})
			const spec = `"steps":[{"id":"a","name":"A","action":"test:write"},{"id":"b","name":"B","action":"test:read"}]`
			database := backendtest.SQLite(t)
			first := open(t, database, spec, actions, recovery, dir)
			path := create(first.Client(t), map[string]any{}, nil)
			<-begun
			must(t, first.Stop())
			stopped = true
			features := []backend.Feature{actions, recovery}
			if tt.same {
				features = append(features, dir)
			}
			all := follow(t, open(t, database, spec, features...).Client(t), path)
			if text := transcript(all); !strings.HasSuffix(text, "completed: {}\n") || strings.Contains(text, "The files of earlier steps are not here") == tt.same {
				t.Errorf("the events are:\n%s", text)
			}
			if diff := cmp.Diff(tt.want, ran); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
