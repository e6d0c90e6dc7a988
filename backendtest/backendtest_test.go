package backendtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
)

func TestManyBackendsAtOnce(t *testing.T) {
	t.Parallel()
	for i := range 50 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			srv := backendtest.Start(t, counterPlugin("counter"))
			for want := 1; want <= 3; want++ {
				if got := srv.Client(t).Post("/api/counter/count", nil).Expect(200).Text(); got != fmt.Sprint(want) {
					t.Errorf("count = %s, want %d", got, want)
				}
			}
		})
	}
}

// counterPlugin counts requests in its database.
func counterPlugin(id string) backend.Feature {
	return backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc {
		router, database := core.HTTPRouter.From(env), core.Database.From(env)
		return func(ctx context.Context) error {
			db, err := database().DB(ctx)
			if err != nil {
				return err
			}
			if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS counts (n INTEGER)"); err != nil {
				return err
			}
			router().HandleErr("POST /count", func(w http.ResponseWriter, r *http.Request) error {
				if _, err := db.ExecContext(r.Context(), "INSERT INTO counts (n) VALUES (1)"); err != nil {
					return err
				}
				var n int
				if err := db.QueryRowContext(r.Context(), "SELECT count(*) FROM counts").Scan(&n); err != nil {
					return err
				}
				apierr.WriteJSON(w, http.StatusOK, n)
				return nil
			})
			return nil
		}
	})
}

func TestEachDatabaseKeepsWhatABackendLeft(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		first := backendtest.Start(t, counterPlugin("counter"), counterPlugin("other"), database)
		first.Client(t).Post("/api/counter/count", nil).Expect(200)
		if got := first.Client(t).Post("/api/other/count", nil).Expect(200).Text(); got != "1" {
			t.Errorf("plugins share a table: %s", got)
		}
		if err := first.Stop(); err != nil {
			t.Fatal(err)
		}
		second := backendtest.Start(t, counterPlugin("counter"), database)
		if got := second.Client(t).Post("/api/counter/count", nil).Expect(200).Text(); got != "2" {
			t.Errorf("count = %s after a restart, want 2", got)
		}
	})
}

// whoPlugin tells who calls it, and passes calls on to another plugin.
func whoPlugin(id string) backend.Feature {
	return backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc {
		router, auth, httpAuth := core.HTTPRouter.From(env), core.Auth.From(env), core.HTTPAuth.From(env)
		peers, users := core.PluginClient.From(env), core.UserInfos.From(env)
		return func(context.Context) error {
			router().AddAuthPolicy(core.AuthPolicy{Path: "/open", Allow: core.AllowUnauthenticated})
			router().AddAuthPolicy(core.AuthPolicy{Path: "/image", Allow: core.AllowUserCookie})
			tell := func(w http.ResponseWriter, r *http.Request) error {
				who, err := httpAuth().Credentials(r, core.Allow{User: true, Service: true, None: true, Cookie: true})
				if err != nil {
					return err
				}
				apierr.WriteJSON(w, http.StatusOK, who.String())
				return nil
			}
			for _, path := range []string{"/who", "/open", "/image"} {
				router().HandleErr("GET "+path, tell)
			}
			router().HandleErr("GET /owns", func(w http.ResponseWriter, r *http.Request) error {
				who, err := httpAuth().Credentials(r, core.Allow{User: true})
				if err != nil {
					return err
				}
				info, err := users().UserInfo(r.Context(), who)
				if err != nil {
					return err
				}
				apierr.WriteJSON(w, http.StatusOK, info.OwnershipEntityRefs)
				return nil
			})
			router().HandleErr("GET /ask/{plugin}", func(w http.ResponseWriter, r *http.Request) error {
				who, err := httpAuth().Credentials(r, core.Allow{User: true, Service: true})
				if err != nil {
					return err
				}
				if r.URL.Query().Has("own") {
					who = auth().Own()
				}
				var answer string
				if err := peers().Call(r.Context(), core.PluginRequest{Plugin: r.PathValue("plugin"), Path: "/who", As: who}, &answer); err != nil {
					return err
				}
				apierr.WriteJSON(w, http.StatusOK, answer)
				return nil
			})
			router().HandleErr("POST /cookie", func(w http.ResponseWriter, r *http.Request) error {
				expires, err := httpAuth().IssueUserCookie(w, r)
				if err != nil {
					return err
				}
				apierr.WriteJSON(w, http.StatusOK, expires.UTC())
				return nil
			})
			return nil
		}
	})
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, whoPlugin("one"), whoPlugin("two"), backendtest.Ownership("user:default/jane", "group:default/team"))
	for _, test := range []struct {
		name   string
		as     backendtest.Identity
		path   string
		status int
		want   string // the body
	}{
		{"user", backendtest.User("user:default/jane"), "/api/one/who", 200, `"user:default/jane"`},
		{"mock user", backendtest.User(""), "/api/one/who", 200, `"user:default/mock"`},
		{"user through a service", backendtest.UserThrough("user:default/jane", "plugin:x"), "/api/one/who", 200, `"user:default/jane by plugin:x"`},
		{"service", backendtest.Caller("plugin:search"), "/api/one/who", 200, `"plugin:search"`},
		{"mock service", backendtest.Caller(""), "/api/one/who", 200, `"external:test-service"`},
		{"nobody", backendtest.Nobody(), "/api/one/who", 401, ""},
		{"nobody where that is allowed", backendtest.Nobody(), "/api/one/open", 200, `"none"`},
		{"the none token", backendtest.Token("mock-none-token"), "/api/one/who", 401, ""},
		{"cookie", backendtest.Cookie("user:default/jane"), "/api/one/image", 200, `"user:default/jane"`},
		{"cookie where it is not accepted", backendtest.Cookie("user:default/jane"), "/api/one/who", 401, ""},
		{"limited token as a token", backendtest.Token(`mock-limited-user-token:{"sub":"user:default/jane"}`), "/api/one/who", 401, ""},
		{"invalid user", backendtest.Token("mock-invalid-user-token"), "/api/one/who", 401, ""},
		{"not a mock token", backendtest.Token("eyJhbGciOiJFUzI1NiJ9.e30.x"), "/api/one/who", 401, ""},
		{"claims that are not JSON", backendtest.Token("mock-user-token:x"), "/api/one/who", 401, ""},
		{"a user that is no entity ref", backendtest.User("jane"), "/api/one/who", 401, ""},
		{"token for this plugin", backendtest.Token(`mock-service-token:{"target":"one"}`), "/api/one/who", 200, `"external:test-service"`},
		{"token for another plugin", backendtest.Token(`mock-service-token:{"target":"two"}`), "/api/one/who", 401, ""},
		{"on behalf of a user", backendtest.Token(`mock-service-token:{"sub":"plugin:x","obo":"user:default/jane"}`), "/api/one/who", 200, `"user:default/jane by plugin:x"`},
		{"a plugin calls for a user", backendtest.User("user:default/jane"), "/api/one/ask/two", 200, `"user:default/jane by plugin:one"`},
		{"a plugin calls for itself", backendtest.User("user:default/jane"), "/api/one/ask/two?own", 200, `"plugin:one"`},
		{"ownership", backendtest.User("user:default/jane"), "/api/one/owns", 200, `["user:default/jane","group:default/team"]`},
		{"ownership of others", backendtest.User("user:default/joe"), "/api/one/owns", 200, `["user:default/joe"]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := srv.Client(t).As(test.as).Get(test.path).Expect(test.status)
			if test.want != "" && got.Text() != test.want {
				t.Errorf("got %s, want %s", got.Text(), test.want)
			}
		})
	}
}

func TestCookieExpiresByTheClock(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, whoPlugin("one"))
	answer := srv.Client(t).Post("/api/one/cookie", nil).Expect(200)
	if want := `"2026-01-01T13:00:00Z"`; answer.Text() != want {
		t.Errorf("expires %s, want %s", answer.Text(), want)
	}
	if cookie := answer.Header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "backstage-auth=mock-limited-user-token") {
		t.Errorf("Set-Cookie: %s", cookie)
	}
}

func TestUnauthenticated(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, whoPlugin("one"), backendtest.Unauthenticated(backendtest.User("")))
	resp, err := http.Get(srv.PluginURL("one") + "/who")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != 200 {
		t.Errorf("status %d for a request without a token", resp.StatusCode)
	}
	srv.Client(t).As(backendtest.Nobody()).Get("/api/one/who").Expect(401)
}

func TestIdentityCredentials(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		who  backendtest.Identity
		want string
	}{
		{backendtest.User("user:default/jane"), "user:default/jane"},
		{backendtest.Cookie(""), "user:default/mock"},
		{backendtest.Caller("plugin:x"), "plugin:x"},
		{backendtest.Nobody(), "none"},
	} {
		if got := test.who.Credentials().String(); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, backendtest.EmptyPlugin("p"),
		backendtest.Config(map[string]any{"p": map[string]any{"a": "one", "b": "one"}}),
		backendtest.YAML(`
			p:
			  b: two
			  c: two
		`))
	config := backendtest.RootService(t, srv, core.RootConfig)
	read := func() []string {
		var out []string
		for _, key := range []string{"p.a", "p.b", "p.c", "p.d"} {
			v, err := config.StringOr(key, "-")
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, v)
		}
		return out
	}
	if diff := cmp.Diff([]string{"one", "two", "two", "-"}, read()); diff != "" {
		t.Error(diff)
	}
	changes := 0
	defer config.Subscribe(func() { changes++ })()
	srv.SetConfig(t, "p: {c: three}")
	srv.SetConfig(t, "p: {d: four}")
	if diff := cmp.Diff([]string{"one", "two", "two", "four"}, read()); diff != "" || changes != 2 {
		t.Errorf("%d changes: %s", changes, diff)
	}
	if url, err := config.String("backend.baseUrl"); url != srv.URL() || err != nil {
		t.Errorf("backend.baseUrl = %s, %v", url, err)
	}
	external, err := backendtest.Service(t, srv, "p", core.Discovery).BaseURL(t.Context(), "p")
	if external != srv.PluginURL("p") || err != nil {
		t.Errorf("discovery says %s, %v; want %s", external, err, srv.PluginURL("p"))
	}
}

func TestSchedulerFollowsTheClock(t *testing.T) {
	t.Parallel()
	var log []string
	clock := backendtest.NewClock()
	add := func(schedule func(core.Task) error, id string, f core.Frequency, delay time.Duration) error {
		return schedule(core.Task{
			ID: id, Schedule: core.Schedule{Frequency: f, InitialDelay: delay, Timeout: time.Minute},
			Run: func(context.Context, core.TaskRun) error {
				log = append(log, id+" "+clock.Now().Format("15:04"))
				return nil
			},
		})
	}
	srv := backendtest.Start(t, backendtest.UseClock(clock), backend.NewPlugin("p", func(env *backend.PluginEnv) backend.InitFunc {
		scheduler := core.Scheduler.From(env)
		return func(ctx context.Context) error {
			schedule := func(task core.Task) error { return scheduler().Schedule(ctx, task) }
			return errors.Join(
				add(schedule, "hourly", core.Frequency{Every: time.Hour}, 10*time.Minute),
				add(schedule, "half-past", core.Frequency{Cron: "30 * * * *"}, time.Minute),
				add(schedule, "manual", core.Frequency{Manual: true}, 0),
			)
		}
	}))
	clock.Advance(5 * time.Minute)
	clock.Advance(2 * time.Hour)
	if err := srv.RunTask(t, "p", "manual"); err != nil {
		t.Error(err)
	}
	want := []string{"half-past 12:01", "hourly 12:10", "half-past 12:30", "hourly 13:10", "half-past 13:30", "manual 14:05"}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"half-past", "hourly", "manual"}, srv.Tasks(t, "p")); diff != "" {
		t.Error(diff)
	}
}

func TestSchedulerRunsTriggersAndCancels(t *testing.T) {
	t.Parallel()
	running := make(chan struct{})
	failure := errors.New("no luck")
	srv := backendtest.Start(t, backendtest.EmptyPlugin("p"), backendtest.Silent(), backendtest.AllowPanics())
	scheduler := backendtest.Service(t, srv, "p", core.Scheduler)
	manual := core.Schedule{Frequency: core.Frequency{Manual: true}, Timeout: time.Minute}
	var runs atomic.Int64
	must(t, scheduler.Schedule(t.Context(), core.Task{ID: "blocks", Schedule: manual, Run: func(ctx context.Context, _ core.TaskRun) error {
		runs.Add(1)
		running <- struct{}{}
		<-ctx.Done()
		return failure
	}}))
	must(t, scheduler.Schedule(t.Context(), core.Task{ID: "panics", Schedule: manual, Run: func(context.Context, core.TaskRun) error { panic("oh") }}))

	must(t, scheduler.Trigger(t.Context(), "blocks"))
	<-running
	if err := scheduler.Trigger(t.Context(), "blocks"); apierr.KindOf(err) != apierr.KindConflict {
		t.Errorf("trigger of a running task: %v", err)
	}
	must(t, scheduler.Cancel(t.Context(), "blocks"))
	if err := srv.WaitForTask(t, "p", "blocks"); !errors.Is(err, failure) {
		t.Errorf("the run ended with %v", err)
	}
	if err := scheduler.Cancel(t.Context(), "blocks"); apierr.KindOf(err) != apierr.KindConflict {
		t.Errorf("cancel of an idle task: %v", err)
	}
	if err := scheduler.Trigger(t.Context(), "other"); apierr.KindOf(err) != apierr.KindNotFound {
		t.Errorf("trigger of a task that is not there: %v", err)
	}
	var panicked *backend.PanicError
	if err := srv.RunTask(t, "p", "panics"); !errors.As(err, &panicked) {
		t.Errorf("a panic is %v", err)
	}
	for name, task := range map[string]core.Task{
		"no timeout":     {ID: "x", Schedule: core.Schedule{Frequency: core.Frequency{Every: time.Second}}, Run: func(context.Context, core.TaskRun) error { return nil }},
		"no frequency":   {ID: "x", Schedule: core.Schedule{Timeout: time.Second}, Run: func(context.Context, core.TaskRun) error { return nil }},
		"bad expression": {ID: "x", Schedule: core.Schedule{Timeout: time.Second, Frequency: core.Frequency{Cron: "x"}}, Run: func(context.Context, core.TaskRun) error { return nil }},
		"no function":    {ID: "x", Schedule: manual},
	} {
		if err := scheduler.Schedule(t.Context(), task); apierr.KindOf(err) != apierr.KindInput {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := scheduler.Schedule(t.Context(), core.Task{ID: "blocks", Schedule: manual, Run: func(context.Context, core.TaskRun) error { return nil }}); apierr.KindOf(err) != apierr.KindConflict {
		t.Errorf("the same id twice: %v", err)
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, backendtest.EmptyPlugin("p"),
		backendtest.Permissions(func(who core.Credentials, r core.AuthorizeRequest) core.Decision {
			if who.IsUser() && r.ResourceRef == "mine" {
				return core.Decision{Result: core.Allowed}
			}
			return core.Decision{Result: core.Denied}
		}))
	read := core.NewResourcePermission("thing.read", "read", "thing")
	got, err := backendtest.Service(t, srv, "p", core.Permissions).Authorize(t.Context(), backendtest.User("").Credentials(),
		core.AuthorizeRequest{Permission: read, ResourceRef: "mine"}, core.AuthorizeRequest{Permission: read, ResourceRef: "yours"})
	if diff := cmp.Diff([]core.AuthorizeResult{core.Allowed, core.Denied}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestMakeService(t *testing.T) {
	t.Parallel()
	ref := backend.NewServiceRef[string]("example.greeting")
	factory := backend.NewServiceFactory(ref, func(env *backend.FactoryEnv) backend.MakeFunc[string] {
		plugin, config := core.PluginMetadata.From(env), core.RootConfig.From(env)
		return func(context.Context) (string, error) {
			name, err := config().String("name")
			return "hello " + name + ", says " + plugin().ID(), err
		}
	})
	if got := backendtest.MakeService(t, ref, factory, backendtest.YAML("name: jane")); got != "hello jane, says test" {
		t.Errorf("got %q", got)
	}
	root := backend.NewRootServiceRef[int]("example.number")
	if got := backendtest.MakeRootService(t, root, backend.NewRootServiceFactory(root, func(*backend.RootEnv) backend.MakeFunc[int] {
		return func(context.Context) (int, error) { return 7, nil }
	})); got != 7 {
		t.Errorf("got %d", got)
	}
}

// The features of a test go before what the package replaces.
func TestAnyServiceCanBeReplaced(t *testing.T) {
	t.Parallel()
	users := backend.NewServiceFactory(core.UserInfos, func(*backend.FactoryEnv) backend.MakeFunc[core.UserInfoService] {
		return func(context.Context) (core.UserInfoService, error) { return everybody{}, nil }
	})
	srv := backendtest.Start(t, whoPlugin("one"), users)
	if got := srv.Client(t).Get("/api/one/owns").Expect(200).Text(); got != `["group:default/everybody"]` {
		t.Errorf("got %s", got)
	}
}

type everybody struct{}

func (everybody) UserInfo(context.Context, core.Credentials) (core.UserInfo, error) {
	return core.UserInfo{OwnershipEntityRefs: []string{"group:default/everybody"}}, nil
}

// The tests below fail on purpose, in a process of their own.
func TestFailures(t *testing.T) {
	t.Parallel()
	const role = "BACKENDTEST_FAILURE"
	broken := func(text string) backend.Feature {
		return backend.NewPlugin("broken", func(env *backend.PluginEnv) backend.InitFunc {
			lifecycle, log := core.Lifecycle.From(env), core.Logger.From(env)
			return func(ctx context.Context) error {
				log().WarnContext(ctx, "a warning")
				log().InfoContext(ctx, "an information")
				if text == "start" {
					return errors.New("cannot start")
				}
				return lifecycle().OnStop("fail", func(context.Context) error { return errors.New("cannot stop") })
			}
		})
	}
	failures := map[string]struct {
		test func(t *testing.T)
		want []string
		not  string
	}{
		"start": {func(t *testing.T) { backendtest.Start(t, broken("start")) }, []string{"the backend does not start", "cannot start"}, ""},
		"stop":  {func(t *testing.T) { backendtest.Start(t, broken("stop")) }, []string{"did not stop cleanly", "cannot stop", "a warning"}, "an information"},
		"wiring": {func(t *testing.T) { backendtest.Start(t, italian) },
			[]string{"the backend does not start", "greeter.words", "example_test.go"}, ""},
		"schema": {func(t *testing.T) {
			backendtest.Start(t, backendtest.YAML("p: {n: x}"), backend.NewPlugin("p", func(*backend.PluginEnv) backend.InitFunc {
				return func(context.Context) error { return nil }
			}, core.ConfigSchema(`{"type":"object","properties":{"p":{"type":"object","properties":{"n":{"type":"integer"}}}}}`)))
		}, []string{`app-config.yaml:1`, `"p.n"`}, ""},
		"panic": {func(t *testing.T) {
			backendtest.Start(t, backend.NewPlugin("shaky", func(env *backend.PluginEnv) backend.InitFunc {
				lifecycle := core.Lifecycle.From(env)
				return func(context.Context) error {
					begun := make(chan struct{})
					lifecycle().Go("shake", func(context.Context) error { close(begun); panic("oh") })
					<-begun
					return nil
				}
			}))
		}, []string{`the plugin "shaky" panicked (1 times)`, "oh"}, ""},
		"status": {func(t *testing.T) {
			backendtest.Start(t, greeter).Client(t).As(backendtest.Nobody()).Get("/api/greeter/greeting").Expect(200)
		}, []string{"GET /api/greeter/greeting: status 401, want 200", "AuthenticationError"}, ""},
		"json": {func(t *testing.T) {
			var list []string
			backendtest.Start(t, greeter).Client(t).Get("/api/greeter/greeting").JSON(&list)
		}, []string{"does not decode into *[]string", `"greeting": "hello"`}, ""},
		"path": {func(t *testing.T) { backendtest.Start(t, greeter).Client(t).Get("api") }, []string{"must begin with a slash"}, ""},
	}
	if name := os.Getenv(role); name != "" {
		failures[name].test(t)
		return
	}
	for name, f := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFailures$")
			cmd.Env = append(os.Environ(), role+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the test passed\n%s", out)
			}
			for _, want := range f.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("the output lacks %q:\n%s", want, out)
				}
			}
			if f.not != "" && strings.Contains(string(out), f.not) {
				t.Errorf("the output has %q:\n%s", f.not, out)
			}
		})
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		srv := backendtest.Start(b, greeter)
		if err := srv.Stop(); err != nil {
			b.Fatal(err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
