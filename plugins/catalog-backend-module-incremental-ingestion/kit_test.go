package catalogmoduleincrementalingestion_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	catalogmoduleincrementalingestion "github.com/flytower/flytower/plugins/catalog-backend-module-incremental-ingestion"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	"github.com/flytower/flytower/plugins/catalog-node/incremental"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is an incremental provider over pages of "name=owner".
type source struct {
	mu     sync.Mutex
	pages  []string // names divided by spaces
	asked  []string // cursors, "-" for none, divided by spaces
	before func(ctx context.Context, page int) error
	event  catalognode.Delta
}

func (*source) ProviderName() string { return "staff" }

func (s *source) set(pages ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = pages
}

func (s *source) Burst(ctx context.Context, read incremental.ReadFunc) error {
	return read(ctx, s.next)
}

func (s *source) next(ctx context.Context, cursor json.RawMessage) (incremental.Page, error) {
	s.mu.Lock()
	page := 0
	if cursor != nil {
		if err := json.Unmarshal(cursor, &page); err != nil {
			return incremental.Page{}, err
		}
	}
	s.asked = append(s.asked, strconv.Itoa(page))
	before := s.before
	out := incremental.Page{}
	for name := range strings.FieldsSeq(s.pages[page]) {
		out.Entities = append(out.Entities, item(name))
	}
	if page+1 < len(s.pages) {
		out.Next = json.RawMessage(strconv.Itoa(page + 1))
	}
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx, page); err != nil {
			return incremental.Page{}, err
		}
	}
	return out, nil
}

func (*source) EventTopics() []string { return []string{"staff.changed"} }

func (s *source) OnEvent(context.Context, core.Event) (catalognode.Delta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.event, nil
}

// item is a group; what stands behind a = is its type.
func item(name string) catalognode.DeferredEntity {
	name, typ, _ := strings.Cut(name, "=")
	return catalognode.DeferredEntity{LocationKey: "staff", Entity: catalogcommon.Entity{
		"apiVersion": "backstage.io/v1alpha1", "kind": "Group",
		"metadata": map[string]any{"name": name, "annotations": map[string]any{
			"backstage.io/managed-by-location": "url:https://staff.example/x", "backstage.io/managed-by-origin-location": "url:https://staff.example/x",
		}},
		"spec": map[string]any{"type": "t" + typ, "children": []any{}},
	}}
}

// onePage makes each burst end behind its first page.
func onePage() incremental.Options {
	return incremental.Options{BurstLength: time.Nanosecond, Backoff: []time.Duration{0}}
}

// with is a module that adds the provider.
func with(p incremental.Provider, o incremental.Options) backend.Feature {
	return backend.NewModule("catalog", "staff", func(env *backend.ModuleEnv) backend.InitFunc {
		providers := incremental.Providers.From(env)
		return func(context.Context) error { return providers().AddProvider(p, o) }
	})
}

// catalog is a catalog in memory, which takes one provider.
type catalog struct {
	catalognode.ProcessingExtensionPoint
	catalognode.ProviderConnection

	mu       sync.Mutex
	provider catalognode.EntityProvider
	entities map[string]string // type by name
	calls    int
	// fail is called before and after each change with its number.
	fail func(call int, after bool) error
}

func (c *catalog) AddProvider(p ...catalognode.EntityProvider) error {
	c.provider = p[0]
	return nil
}

func (c *catalog) ApplyDelta(_ context.Context, d catalognode.Delta) (catalognode.MutationReport, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if c.fail != nil {
		if err := c.fail(c.calls, false); err != nil {
			return catalognode.MutationReport{}, err
		}
	}
	for _, a := range d.Added {
		c.entities[a.Entity.Name()] = a.Entity.Type()[1:]
	}
	for _, ref := range d.Removed {
		delete(c.entities, strings.TrimPrefix(ref, "group:default/"))
	}
	if c.fail != nil {
		return catalognode.MutationReport{}, c.fail(c.calls, true)
	}
	return catalognode.MutationReport{}, nil
}

// has returns what is in the catalog in the form of pages.
func (c *catalog) has() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.entities)) {
		if typ := c.entities[name]; typ != "" {
			name += "=" + typ
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// bench is a module that runs over a catalog in memory.
type bench struct {
	t       *testing.T
	srv     *backendtest.Server
	client  backendtest.Client
	catalog *catalog
	source  *source
}

// begin starts the module, whose first burst has run when it returns.
func begin(t *testing.T, o incremental.Options, s *source, more ...backend.Feature) *bench {
	t.Helper()
	b := &bench{t: t, source: s, catalog: &catalog{entities: map[string]string{}}}
	b.startWith(s, o, more...)
	return b
}

func (b *bench) tick() {
	b.t.Helper()
	if err := b.srv.RunTask(b.t, "catalog", "staff"); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) wantCatalog(want string) {
	b.t.Helper()
	if have := b.catalog.has(); have != want {
		b.t.Errorf("the catalog has %q, want %q", have, want)
	}
}

type status struct {
	Success bool
	Status  struct {
		Action string     `json:"current_action"`
		At     *time.Time `json:"next_action_at"`
	}
	LastError *string `json:"last_error"`
}

func (b *bench) status() (s status) {
	b.t.Helper()
	b.client.Get("/api/catalog/incremental/providers/staff").Expect(200).JSON(&s)
	return s
}

func (b *bench) wantStatus(action, lastError string) {
	b.t.Helper()
	s := b.status()
	have := ""
	if s.LastError != nil {
		have = *s.LastError
	}
	if s.Status.Action != action || have != lastError {
		b.t.Errorf("the provider is %q with the error %q, want %q with %q", s.Status.Action, have, action, lastError)
	}
}

func (b *bench) post(what string) string {
	b.t.Helper()
	var answer struct{ Message string }
	b.client.Post("/api/catalog/incremental/providers/staff/"+what, nil).Expect(200).JSON(&answer)
	return answer.Message
}

func (b *bench) publish(d catalognode.Delta) {
	b.t.Helper()
	b.source.mu.Lock()
	b.source.event = d
	b.source.mu.Unlock()
	events := backendtest.Service(b.t, b.srv, "catalog", core.Events)
	if err := events.Publish(context.WithoutCancel(b.t.Context()), core.Event{Topic: "staff.changed", Payload: []byte("{}")}); err != nil {
		b.t.Error(err)
	}
}

func added(names ...string) (d catalognode.Delta) {
	for _, name := range names {
		d.Added = append(d.Added, item(name))
	}
	return d
}

func removed(names ...string) (d catalognode.Delta) {
	for _, name := range names {
		d.Removed = append(d.Removed, fmt.Sprintf("Group:default/%s", name))
	}
	return d
}

// start starts the module over a catalog in memory.
func start(t *testing.T, c *catalog, more ...backend.Feature) *backendtest.Server {
	t.Helper()
	return backendtest.Start(t, append([]backend.Feature{
		catalogmoduleincrementalingestion.Module, backendtest.Silent(),
		backendtest.Offer[catalognode.ProcessingExtensionPoint](catalognode.Processing, c),
	}, more...)...)
}

// startWith runs the first burst of a provider.
func (b *bench) startWith(p incremental.Provider, o incremental.Options, more ...backend.Feature) {
	b.t.Helper()
	b.srv = start(b.t, b.catalog, append(more, with(p, o))...)
	b.client = b.srv.Client(b.t).As(backendtest.User("user:default/ann"))
	if err := b.catalog.provider.Connect(b.t.Context(), b.catalog); err != nil {
		b.t.Fatal(err)
	}
	if err := b.srv.WaitForTask(b.t, "catalog", "staff"); err != nil {
		b.t.Fatal(err)
	}
}
