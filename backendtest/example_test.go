package backendtest_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
)

// wordList is the extension point of the plugin below.
type wordList interface{ Add(lang, word string) }

var words = backend.NewExtensionPoint[wordList]("greeter", "words")

type wordMap map[string]string

func (m wordMap) Add(lang, word string) { m[lang] = word }

// greeter is a plugin to test: it greets those who are signed in.
var greeter = backend.NewPlugin("greeter", func(env *backend.PluginEnv) backend.InitFunc {
	router, auth, config := core.HTTPRouter.From(env), core.HTTPAuth.From(env), core.RootConfig.From(env)
	list := wordMap{"en": "hello"}
	words.Offer(env, list)

	return func(context.Context) error {
		lang, err := config().StringOr("greeter.language", "en")
		if err != nil {
			return err
		}
		router().HandleErr("GET /greeting", func(w http.ResponseWriter, r *http.Request) error {
			who, err := auth().Credentials(r, core.Allow{User: true, Service: true})
			if err != nil {
				return err
			}
			word, ok := list[lang]
			if !ok {
				return apierr.NotFound("nobody taught me %q", lang)
			}
			apierr.WriteJSON(w, http.StatusOK, map[string]string{"greeting": word, "to": who.String()})
			return nil
		})
		return nil
	}
})

// italian is a module to test.
var italian = backend.NewModule("greeter", "italian", func(env *backend.ModuleEnv) backend.InitFunc {
	list := words.From(env)
	return func(context.Context) error { list().Add("it", "ciao"); return nil }
})

func TestGreeterGreetsTheCaller(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, greeter)
	var got struct{ Greeting, To string }
	srv.Client(t).As(backendtest.User("user:default/jane")).Get("/api/greeter/greeting").Expect(200).JSON(&got)
	if got.Greeting != "hello" || got.To != "user:default/jane" {
		t.Errorf("got %+v", got)
	}
	srv.Client(t).As(backendtest.Nobody()).Get("/api/greeter/greeting").ExpectError(401, "AuthenticationError")
}

func TestGreeterSpeaksTheConfiguredLanguage(t *testing.T) {
	t.Parallel()
	italianConfig := backendtest.YAML("greeter: {language: it}")
	var got struct{ Greeting string }
	backendtest.Start(t, greeter, italian, italianConfig).Client(t).Get("/api/greeter/greeting").Expect(200).JSON(&got)
	if got.Greeting != "ciao" {
		t.Errorf("got %+v", got)
	}
	backendtest.Start(t, greeter, italianConfig).Client(t).Get("/api/greeter/greeting").ExpectError(404, "NotFoundError")
}

func TestModuleWithoutItsPlugin(t *testing.T) {
	t.Parallel()
	list := wordMap{}
	backendtest.Start(t, italian, backendtest.Offer[wordList](words, list))
	if list["it"] != "ciao" {
		t.Errorf("the module added %v", list)
	}
}

// A whole test of a plugin; in a test file, it is a function Test… .
func Example() {
	test := func(t *testing.T) {
		srv := backendtest.Start(t, greeter, italian, backendtest.YAML("greeter: {language: it}"))
		answer := srv.Client(t).As(backendtest.User("user:default/jane")).Get("/api/greeter/greeting").Expect(200)
		fmt.Println(answer.Text())
	}
	run(test)
	// Output: {"greeting":"ciao","to":"user:default/jane"}
}

func ExampleServer_RunTask() {
	refresh := backend.NewPlugin("refresher", func(env *backend.PluginEnv) backend.InitFunc {
		scheduler := core.Scheduler.From(env)
		return func(ctx context.Context) error {
			return scheduler().Schedule(ctx, core.Task{
				ID:       "refresh",
				Schedule: core.Schedule{Frequency: core.Frequency{Every: time.Hour}, Timeout: time.Minute},
				Run: func(_ context.Context, run core.TaskRun) error {
					fmt.Println("run", run.Fence)
					return nil
				},
			})
		}
	})
	run(func(t *testing.T) {
		srv := backendtest.Start(t, refresh)
		fmt.Println(srv.WaitForTask(t, "refresher", "refresh")) // the run at the start
		srv.Clock().Advance(2 * time.Hour)
		fmt.Println(srv.RunTask(t, "refresher", "refresh"))
	})
	// Output:
	// run 1
	// <nil>
	// run 2
	// run 3
	// run 4
	// <nil>
}

// run runs a test from an example, once also with go test -count=2.
func run(test func(t *testing.T)) {
	var once sync.Once
	testing.RunTests(func(string, string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "example", F: func(t *testing.T) { once.Do(func() { test(t) }) }}})
}
