// Package providertest runs modules of the catalog that add entity providers,
// against a catalog in memory.
//
//	c := providertest.Start(t, config, catalogmodulegithub.Module)
//	if err := c.Run(t.Context(), "github-provider:acme:refresh"); err != nil {
//		t.Fatal(err)
//	}
//	got := c.Refs("github-provider:acme")
//
// Configuration, database and life cycle are the real ones. Scheduled tasks
// run when the test says so, and events are those that the test publishes.
package providertest

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/testdb"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Catalog is a catalog in memory. It is safe for concurrent use.
type Catalog struct {
	mu        sync.Mutex
	providers map[string]catalognode.EntityProvider
	entities  map[string]map[string]catalognode.DeferredEntity // by provider and ref
	refreshed []string
	mutations int
	tasks     map[string]core.Task
	topics    map[string][]core.Subscription
	triggered []string
	refuse    error
	busy      error
	told      []catalognode.SCMEvent
	analyzers []catalognode.LocationAnalyzer
	contents  map[string]any // what can be registered, by target
}

// Start starts a backend with a catalog plugin that connects the providers of
// the module, and stops it with the test.
func Start(t testing.TB, config string, module backend.Feature, more ...backend.Feature) *Catalog {
	t.Helper()
	c, err := TryStart(t, config, testdb.NewSQLite(t), module, more...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TryStart is Start with a database, which may have been used before, and
// with the error of the start.
func TryStart(t testing.TB, config string, db *testdb.Database, module backend.Feature, more ...backend.Feature) (*Catalog, error) {
	t.Helper()
	c := &Catalog{
		providers: map[string]catalognode.EntityProvider{}, entities: map[string]map[string]catalognode.DeferredEntity{},
		tasks: map[string]core.Task{}, topics: map[string][]core.Subscription{}, contents: map[string]any{},
	}
	told, err := catalognode.NewSCMEvents(catalognode.SCMEventsOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	told.Subscribe("test", c.onSCMEvents)
	b := backend.New().Add(
		backend.NewPlugin("catalog", func(env *backend.PluginEnv) backend.InitFunc {
			catalognode.Processing.Offer(env, processing{c: c})
			catalognode.Analysis.Offer(env, analysis{c})
			return c.connect
		}),
		module,
		root(core.RootConfig, configtest.FromYAML(t, config)),
		root(core.RootLogger, slog.New(slog.DiscardHandler)),
		plugin(core.Logger, slog.New(slog.DiscardHandler)),
		plugin[core.SchedulerService](core.Scheduler, scheduler{c: c}),
		plugin[core.EventsService](core.Events, events{c}),
		plugin(core.Database, db.Service),
		plugin[core.AuthService](core.Auth, identity{}),
		plugin[catalognode.Client](catalognode.Catalog, client{c: c}),
		root(catalognode.SCMEvents, told),
	).Add(more...)
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return c, b.Start(t.Context())
}

func root[T any](ref backend.RootTarget[T], v T) backend.Feature {
	return backend.NewRootServiceFactory(ref, func(*backend.RootEnv) backend.MakeFunc[T] {
		return func(context.Context) (T, error) { return v, nil }
	})
}

func plugin[T any](ref backend.Target[T], v T) backend.Feature {
	return backend.NewServiceFactory(ref, func(*backend.FactoryEnv) backend.MakeFunc[T] {
		return func(context.Context) (T, error) { return v, nil }
	})
}

func (c *Catalog) connect(ctx context.Context) error {
	for name, p := range c.providers {
		if err := p.Connect(ctx, connection{c, name}); err != nil {
			return err
		}
	}
	return nil
}

// Providers returns the names of the providers.
func (c *Catalog) Providers() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.providers))
}

// Task returns a scheduled task.
func (c *Catalog) Task(id string) (core.Task, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.tasks[id]
	return t, ok
}

// Run runs a scheduled task.
func (c *Catalog) Run(ctx context.Context, id string) error {
	task, ok := c.Task(id)
	if !ok {
		return fmt.Errorf("no task %q is scheduled", id)
	}
	return task.Run(ctx, core.TaskRun{Fence: 1})
}

// Publish delivers an event to all who subscribed to its topic. The payload
// is encoded as JSON, unless it is a []byte.
func (c *Catalog) Publish(ctx context.Context, topic string, payload any) error {
	return c.PublishWith(ctx, topic, payload, nil)
}

// PublishWith is Publish with metadata.
func (c *Catalog) PublishWith(ctx context.Context, topic string, payload any, metadata map[string]any) error {
	body, raw := payload.([]byte)
	if !raw {
		var err error
		if body, err = json.Marshal(payload); err != nil {
			return err
		}
	}
	c.mu.Lock()
	to := slices.Clone(c.topics[topic])
	c.mu.Unlock()
	for _, s := range to {
		if err := s.OnEvent(ctx, core.Event{Topic: topic, Payload: body, Metadata: metadata}); err != nil {
			return err
		}
	}
	return nil
}

// Entities returns what a provider has, by ref.
func (c *Catalog) Entities(provider string) map[string]catalogcommon.Entity {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]catalogcommon.Entity{}
	for ref, d := range c.entities[provider] {
		out[ref] = d.Entity.Clone()
	}
	return out
}

// LocationKeys returns the keys that the provider's entities are claimed with.
func (c *Catalog) LocationKeys(provider string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := map[string]bool{}
	for _, d := range c.entities[provider] {
		keys[d.LocationKey] = true
	}
	return slices.Sorted(maps.Keys(keys))
}

// Targets returns the sorted targets of the provider's Location entities.
func (c *Catalog) Targets(provider string) []string {
	out := []string{}
	for _, e := range c.Entities(provider) {
		out = append(out, e.SpecString("target"))
	}
	slices.Sort(out)
	return out
}

// TakeRefreshed returns the keys that were refreshed since the last call.
func (c *Catalog) TakeRefreshed() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.refreshed
	c.refreshed = nil
	return out
}

// Mutations returns how many mutations changed something.
func (c *Catalog) Mutations() int { c.mu.Lock(); defer c.mu.Unlock(); return c.mutations }

// Refuse makes mutations fail; nil ends that.
func (c *Catalog) Refuse(err error) { c.mu.Lock(); defer c.mu.Unlock(); c.refuse = err }

type processing struct {
	catalognode.ProcessingExtensionPoint
	c *Catalog
}

func (x processing) AddProvider(all ...catalognode.EntityProvider) error {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	for _, p := range all {
		if _, taken := x.c.providers[p.ProviderName()]; taken {
			return fmt.Errorf("there is a provider %q already", p.ProviderName())
		}
		x.c.providers[p.ProviderName()] = p
	}
	return nil
}

type scheduler struct {
	core.SchedulerService
	c *Catalog
}

func (s scheduler) Schedule(_ context.Context, t core.Task) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if _, taken := s.c.tasks[t.ID]; taken {
		return fmt.Errorf("there is a task %q already", t.ID)
	}
	s.c.tasks[t.ID] = t
	return nil
}

func (s scheduler) Trigger(_ context.Context, id string) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.triggered = append(s.c.triggered, id)
	return s.c.busy
}

// TakeTriggered returns the ids of the tasks that were triggered since the
// last call.
func (c *Catalog) TakeTriggered() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.triggered
	c.triggered = nil
	return out
}

// Busy sets the error of triggers.
func (c *Catalog) Busy(err error) { c.mu.Lock(); defer c.mu.Unlock(); c.busy = err }

type events struct{ c *Catalog }

func (e events) Publish(context.Context, core.Event) error { return nil }

func (e events) Subscribe(_ context.Context, s core.Subscription) error {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	for _, topic := range s.Topics {
		e.c.topics[topic] = append(e.c.topics[topic], s)
	}
	return nil
}

// connection applies mutations as the catalog does, but for claims.
type connection struct {
	c        *Catalog
	provider string
}

func (x connection) ApplyFull(_ context.Context, entities iter.Seq2[catalognode.DeferredEntity, error]) (catalognode.MutationReport, error) {
	next := map[string]catalognode.DeferredEntity{}
	seen := 0
	for d, err := range entities {
		if err != nil {
			return catalognode.MutationReport{}, err
		}
		if err := check(d); err != nil {
			return catalognode.MutationReport{}, err
		}
		seen++
		next[key(d.Entity)] = d
	}
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	if x.c.refuse != nil {
		return catalognode.MutationReport{}, x.c.refuse
	}
	r := catalognode.MutationReport{Seen: seen}
	had := x.c.entities[x.provider]
	for ref, d := range next {
		if old, ok := had[ref]; !ok {
			r.Added++
		} else if old.Entity.Hash() != d.Entity.Hash() {
			r.Changed++
		}
	}
	for ref := range had {
		if _, ok := next[ref]; !ok {
			r.Removed++
		}
	}
	x.c.entities[x.provider] = next
	if r.Added+r.Changed+r.Removed > 0 {
		x.c.mutations++
	}
	return r, nil
}

func (x connection) ApplyDelta(_ context.Context, d catalognode.Delta) (catalognode.MutationReport, error) {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	if x.c.refuse != nil {
		return catalognode.MutationReport{}, x.c.refuse
	}
	have := x.c.entities[x.provider]
	if have == nil {
		have = map[string]catalognode.DeferredEntity{}
		x.c.entities[x.provider] = have
	}
	var r catalognode.MutationReport
	for _, ref := range d.Removed {
		if _, ok := have[strings.ToLower(ref)]; ok {
			delete(have, strings.ToLower(ref))
			r.Removed++
		}
	}
	for _, a := range d.Added {
		if err := check(a); err != nil {
			return r, err
		}
		if old, ok := have[key(a.Entity)]; !ok {
			r.Added++
		} else if old.Entity.Hash() != a.Entity.Hash() {
			r.Changed++
		}
		have[key(a.Entity)] = a
	}
	if r.Added+r.Changed+r.Removed > 0 {
		x.c.mutations++
	}
	return r, nil
}

func (x connection) Refresh(_ context.Context, keys ...string) error {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	x.c.refreshed = append(x.c.refreshed, keys...)
	return nil
}

func key(e catalogcommon.Entity) string { return strings.ToLower(e.Ref().String()) }

// check refuses what the catalog refuses.
func check(d catalognode.DeferredEntity) error {
	if err := catalogcommon.ValidateEnvelope(d.Entity); err != nil {
		return err
	}
	if _, err := d.Entity.Location(); err != nil {
		return err
	}
	_, err := d.Entity.OriginLocation()
	return err
}
