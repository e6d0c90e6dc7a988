package authors_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonbody"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// The code that the documents of this folder quote, and tests that it works.

var errNoThing = errors.New("no thing")

// things is a made-up store.
type things struct{ db core.DatabaseService }

func (t *things) rename(ctx context.Context, id, name string) error {
	return t.db.WriteTx(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "UPDATE things SET name = $1 WHERE id = $2", name, id)
		if err != nil {
			return fmt.Errorf("rename thing %s: %w", id, err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, errNoThing)
		}
		return nil
	})
}

// readThing is a permission, on things.
var readThing = core.NewResourcePermission("thing.read", "read", "thing")

// thingSettings are what the plugin reads from the configuration.
type thingSettings struct {
	Greeting string   `json:"greeting"`
	Colours  []string `json:"colours"`
}

// Validate is called by Decode.
func (s *thingSettings) Validate() error {
	if len(s.Colours) > 3 {
		return errors.New("has more than three colours")
	}
	return nil
}

func settings(config core.Config) (thingSettings, core.Schedule, error) {
	s := thingSettings{Greeting: "hello"} // what holds where nothing is configured
	if err := config.Decode("things", &s); err != nil {
		return s, core.Schedule{}, err
	}
	schedule, err := core.ScheduleFromConfig(config, "thingSchedule")
	return s, schedule, err
}

var refreshes atomic.Int64

func refresh(context.Context) error { refreshes.Add(1); return nil }

var thingsPlugin = backend.NewPlugin("things", func(env *backend.PluginEnv) backend.InitFunc {
	config, database, router := core.RootConfig.From(env), core.Database.From(env), core.HTTPRouter.From(env)
	httpAuth, permissions := core.HTTPAuth.From(env), core.Permissions.From(env)
	scheduler, events, cache := core.Scheduler.From(env), core.Events.From(env), core.Cache.From(env)
	lifecycle, log := core.Lifecycle.From(env), core.Logger.From(env)

	return func(ctx context.Context) error {
		_, schedule, err := settings(config())
		if err != nil {
			return err
		}
		migrations := core.Migrations{FS: fstest.MapFS{
			"sqlite/0001_things.sql":   {Data: []byte("CREATE TABLE things (id text PRIMARY KEY, name text);")},
			"sqlite/0002_first.sql":    {Data: []byte("INSERT INTO things VALUES ('1', 'one');")},
			"postgres/0001_things.sql": {Data: []byte("CREATE TABLE things (id text PRIMARY KEY, name text);")},
			"postgres/0002_first.sql":  {Data: []byte("INSERT INTO things VALUES ('1', 'one');")},
		}}
		if err := database().Migrate(ctx, migrations); err != nil {
			return err
		}
		store := &things{database()}

		// A task that one instance at a time runs.
		if err := scheduler().Schedule(ctx, core.Task{
			ID: "refresh", Schedule: schedule,
			Run: func(ctx context.Context, _ core.TaskRun) error { return refresh(ctx) },
		}); err != nil {
			return err
		}

		// Events of other plugins, in this process or elsewhere.
		if err := events().Subscribe(ctx, core.Subscription{
			ID: "things", Topics: []string{"thing.changed"},
			OnEvent: func(ctx context.Context, e core.Event) error {
				var changed struct{ ID string }
				if err := json.Unmarshal(e.Payload, &changed); err != nil {
					return fmt.Errorf("read event: %w", err)
				}
				return cache().Delete(ctx, changed.ID)
			},
		}); err != nil {
			return err
		}

		// A goroutine that ends with the plugin.
		lifecycle().Go("watch things", func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		})

		router().HandleErr("PUT /things/{id}", func(w http.ResponseWriter, r *http.Request) error {
			who, err := httpAuth().Credentials(r, core.Allow{User: true})
			if err != nil {
				return err
			}
			decisions, err := permissions().Authorize(r.Context(), who, core.AuthorizeRequest{Permission: readThing, ResourceRef: r.PathValue("id")})
			if err != nil {
				return err
			}
			if decisions[0] != core.Allowed {
				return apierr.NotAllowed("you may not read this thing")
			}
			var in struct {
				Name string `json:"name"`
			}
			if err := jsonbody.Require(r, &in, jsonbody.DefaultLimit); err != nil {
				return err
			}
			err = store.rename(r.Context(), r.PathValue("id"), in.Name)
			if errors.Is(err, errNoThing) {
				return apierr.NotFound("there is no thing %q", r.PathValue("id"))
			}
			if err != nil {
				return err // answered with 500 and an id; the text goes to the log
			}
			w.WriteHeader(http.StatusNoContent)
			return nil
		})
		router().AddAuthPolicy(core.AuthPolicy{Path: "/hello", Allow: core.AllowUnauthenticated})
		router().HandleFunc("GET /hello", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello, stranger") })
		log().InfoContext(ctx, "ready")
		return nil
	}
})

// timesTwo wraps whatever implementation is installed.
var timesTwo = backend.Decorate(numbers, func(_ *backend.FactoryEnv, inner func() int) backend.MakeFunc[int] {
	return func(context.Context) (int, error) { return 2 * inner(), nil }
})

// numbers is a service of plugins, counters one of the backend.
var (
	numbers  = backend.NewServiceRef[int]("example.numbers")
	counters = backend.NewRootServiceRef[*atomic.Int64]("example.counter")
)

// One counter for the backend …
var counterFactory = backend.NewRootServiceFactory(counters, func(*backend.RootEnv) backend.MakeFunc[*atomic.Int64] {
	return func(context.Context) (*atomic.Int64, error) { return &atomic.Int64{}, nil }
})

// … and a number for each plugin, taken from it.
var numbersFactory = backend.NewServiceFactory(numbers, func(env *backend.FactoryEnv) backend.MakeFunc[int] {
	counter := counters.From(env)
	return func(context.Context) (int, error) { return int(counter().Add(1)), nil }
})

// optionalPlugins adds a plugin where the configuration asks for it.
var optionalPlugins = backend.NewFeatureLoader("optional plugins", func(env *backend.RootEnv) backend.LoadFunc {
	config := core.RootConfig.From(env)
	return func(context.Context) ([]backend.Feature, error) {
		wanted, err := config().BoolOr("features.things", false)
		if err != nil || !wanted {
			return nil, err
		}
		return []backend.Feature{thingsPlugin}, nil
	}
})

const scheduleYAML = `
thingSchedule:
  frequency: {minutes: 30}
  timeout: {minutes: 5}
  initialDelay: {seconds: 15}
`

func TestThings(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		srv := backendtest.Start(t, thingsPlugin, database, backendtest.YAML(scheduleYAML), backendtest.Silent())
		before := refreshes.Load()
		srv.Clock().Advance(time.Minute)
		if refreshes.Load() <= before {
			t.Error("the task did not run")
		}
		jane := srv.Client(t).As(backendtest.User("user:default/jane"))
		jane.Put("/api/things/things/1", map[string]string{"name": "uno"}).Expect(204)
		jane.Put("/api/things/things/2", map[string]string{"name": "due"}).ExpectError(404, "NotFoundError")
		srv.Client(t).As(backendtest.Nobody()).Get("/api/things/hello").Expect(200)
		events := backendtest.Service(t, srv, "things", core.Events)
		if err := events.Publish(t.Context(), core.Event{Topic: "thing.changed", Payload: json.RawMessage(`{"id": "1"}`)}); err != nil {
			t.Error(err)
		}
	})
}

func TestPermissionDenied(t *testing.T) {
	t.Parallel()
	denied := backendtest.Permissions(func(core.Credentials, core.AuthorizeRequest) core.Decision {
		return core.Decision{Result: core.Denied}
	})
	srv := backendtest.Start(t, thingsPlugin, denied, backendtest.YAML(scheduleYAML))
	srv.Client(t).Put("/api/things/things/1", map[string]string{"name": "uno"}).ExpectError(403, "NotAllowedError")
}

func TestServices(t *testing.T) {
	t.Parallel()
	if got := backendtest.MakeService(t, numbers, numbersFactory, counterFactory); got != 1 {
		t.Errorf("got %d", got)
	}
	if got := backendtest.MakeService(t, numbers, numbersFactory, counterFactory, timesTwo); got != 2 {
		t.Errorf("got %d", got)
	}
}

func TestLoader(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, optionalPlugins, backendtest.YAML(scheduleYAML+"features: {things: true}"))
	srv.Client(t).Get("/api/things/hello").Expect(200)
	without := backendtest.Start(t, optionalPlugins)
	without.Client(t).Get("/api/things/hello").Expect(404)
}

func TestSettings(t *testing.T) {
	t.Parallel()
	read := func(text string) (thingSettings, error) {
		srv := backendtest.Start(t, backendtest.YAML(text))
		s, _, err := settings(backendtest.RootService(t, srv, core.RootConfig))
		return s, err
	}
	if s, err := read(scheduleYAML + "things: {colours: [red]}"); err != nil || s.Greeting != "hello" || len(s.Colours) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	var wrong *core.ConfigError
	if _, err := read(scheduleYAML + "things: {colour: red}"); !errors.As(err, &wrong) || wrong.Key != "things.colour" {
		t.Errorf("a key that nobody reads: %v", err)
	}
	if _, err := read(scheduleYAML + "things: {colours: [a, b, c, d]}"); err == nil {
		t.Error("Validate was not called")
	}
}

// remember keeps the answer of a slow function for a while.
func remember(ctx context.Context, cache core.CacheService, id string, slow func() (string, error)) (string, error) {
	var text string
	if found, err := cache.Get(ctx, id, &text); err != nil || found {
		return text, err
	}
	text, err := slow()
	if err != nil {
		return "", err
	}
	return text, cache.Set(ctx, id, text, 10*time.Minute)
}

func TestRemember(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, backendtest.EmptyPlugin("p"))
	cache := backendtest.Service(t, srv, "p", core.Cache)
	calls := 0
	for range 2 {
		text, err := remember(t.Context(), cache, "id", func() (string, error) { calls++; return "text", nil })
		if text != "text" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	}
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

// eachAPI visits all APIs in the catalog.
func eachAPI(ctx context.Context, catalog catalognode.Client, who core.Credentials, visit func(catalogcommon.Entity) error) error {
	for entity, err := range catalog.StreamEntities(ctx, catalognode.EntitiesQuery{Query: map[string]any{"kind": "api"}}, who) {
		if err != nil {
			return err
		}
		if err := visit(entity); err != nil {
			return err
		}
	}
	return nil
}

// twoAPIs is a catalog with two APIs.
type twoAPIs struct{ catalognode.Client }

func (twoAPIs) StreamEntities(context.Context, catalognode.EntitiesQuery, core.Credentials) iter.Seq2[catalogcommon.Entity, error] {
	return func(yield func(catalogcommon.Entity, error) bool) {
		_ = yield(catalogcommon.Entity{"kind": "API"}, nil) && yield(catalogcommon.Entity{"kind": "API"}, nil) && yield(nil, errNoThing)
	}
}

func TestEachAPI(t *testing.T) {
	t.Parallel()
	n := 0
	err := eachAPI(t.Context(), twoAPIs{}, core.NoCredentials(), func(catalogcommon.Entity) error { n++; return nil })
	if n != 2 || !errors.Is(err, errNoThing) {
		t.Errorf("%d entities, %v", n, err)
	}
}

// explain says what a caller can tell from the error of a peer.
func explain(err error) string {
	var answer *apierr.ResponseError
	switch {
	case errors.Is(err, apierr.NotFound("")):
		return "it is not there"
	case errors.As(err, &answer):
		return fmt.Sprintf("the other plugin answered %d", answer.StatusCode)
	default:
		return "it did not answer"
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	answer := func(status int, err error) error {
		w := httptest.NewRecorder()
		apierr.Write(w, httptest.NewRequest(http.MethodGet, "/", nil), err, "")
		resp := w.Result()
		if resp.StatusCode != status {
			t.Errorf("status %d, want %d", resp.StatusCode, status)
		}
		return apierr.FromResponse(resp)
	}
	for want, err := range map[string]error{
		"it is not there":               answer(404, apierr.NotFound("no")),
		"the other plugin answered 409": answer(409, apierr.Conflict("no")),
		"it did not answer":             context.DeadlineExceeded,
	} {
		if got := explain(fmt.Errorf("asking: %w", err)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
