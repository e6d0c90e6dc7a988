package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/ingest"
	"github.com/flytower/flytower/internal/testdb"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

var errRefused = errors.New("an entity that is not taken")

// catalog has the names of the entities of a provider.
type catalog struct {
	catalognode.ProviderConnection
	names     map[string]bool
	fulls     int
	beforeEnd func() // called within ApplyFull
	err       error
	refuses   string // the name of an entity that it does not take
}

func (c *catalog) ApplyFull(_ context.Context, entities iter.Seq2[catalognode.DeferredEntity, error]) (catalognode.MutationReport, error) {
	next := map[string]bool{}
	for d, err := range entities {
		if err != nil {
			return catalognode.MutationReport{}, err
		}
		if d.Entity.Name() == c.refuses {
			return catalognode.MutationReport{}, errRefused
		}
		next[d.Entity.Name()] = true
	}
	if c.err != nil {
		return catalognode.MutationReport{}, c.err
	}
	if c.beforeEnd != nil {
		c.beforeEnd()
	}
	c.names = next
	c.fulls++
	return catalognode.MutationReport{Seen: len(next)}, nil
}

func (c *catalog) ApplyDelta(_ context.Context, d catalognode.Delta) (catalognode.MutationReport, error) {
	var r catalognode.MutationReport
	for _, ref := range d.Removed {
		if c.names[ref] {
			delete(c.names, ref)
			r.Removed++
		}
	}
	for _, a := range d.Added {
		if !c.names[a.Entity.Name()] {
			c.names[a.Entity.Name()] = true
			r.Added++
		}
	}
	return r, nil
}

func entity(kind, name string) catalogcommon.Entity {
	return catalogcommon.Entity{"kind": kind, "metadata": map[string]any{"name": name, "labels": map[string]string{"text": "ä\n"}}, "spec": map[string]any{"n": 1}}
}

func newProvider(t *testing.T, db *testdb.Database, c *catalog, fingerprint string) *ingest.Provider {
	t.Helper()
	p, err := ingest.New(t.Context(), ingest.Options{
		Provider: "p", LocationKey: "k", Connection: c, Database: db.Service, Logger: slog.New(slog.DiscardHandler),
		Fingerprint: fingerprint, MaxRemovedPercentage: 50, ConfigKey: "x.y",
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// full runs with n components and m groups.
func full(t *testing.T, p *ingest.Provider, n, m int) error {
	t.Helper()
	_, err := p.Full(t.Context(), func(_ context.Context, add ingest.AddFunc) error {
		for i := range n {
			if err := add(entity("Component", fmt.Sprint("c", i))); err != nil {
				return err
			}
		}
		for i := range m {
			if err := add(entity("Group", fmt.Sprint("g", i))); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func TestShrinkingSources(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		c := &catalog{}
		p := newProvider(t, db, c, "1")
		for i, step := range []struct {
			n, m    int
			refused bool
		}{
			{100, 10, false}, {50, 0, false}, {24, 0, true}, {0, 0, true}, {25, 30, false}, {40, 14, true}, {40, 15, false}, {20, 9, false}, {10, 0, false}, {0, 0, false},
		} {
			err := full(t, p, step.n, step.m)
			var refused *ingest.RefusedError
			if errors.As(err, &refused) != step.refused || err != nil && !step.refused {
				t.Fatalf("step %d, %d and %d entities: %v", i, step.n, step.m, err)
			}
			if !step.refused && len(c.names) != step.n+step.m {
				t.Fatalf("step %d: %d entities", i, len(c.names))
			}
		}
	})
}

func TestDeltasCount(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		c := &catalog{}
		p := newProvider(t, db, c, "1")
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(full(t, p, 20, 0))
		var more []catalogcommon.Entity
		for i := range 80 {
			more = append(more, entity("Component", fmt.Sprint("d", i)))
		}
		must(p.Delta(t.Context(), more, nil))
		if err := full(t, p, 20, 0); err == nil {
			t.Error("80 of 100 entities were removed, since those of deltas do not count")
		}
		var gone []string
		for i := range 80 {
			gone = append(gone, fmt.Sprint("d", i))
		}
		must(p.Delta(t.Context(), nil, gone))
		must(full(t, p, 20, 0))
		// Other settings may have any number.
		must(full(t, newProvider(t, db, c, "2"), 1, 0))
	})
}

func TestFailuresLeaveTheCatalogAlone(t *testing.T) {
	t.Parallel()
	db := testdb.NewSQLite(t)
	c := &catalog{}
	p := newProvider(t, db, c, "1")
	if err := full(t, p, 3, 0); err != nil {
		t.Fatal(err)
	}
	broken := fmt.Errorf("broken: %w", errRefused)
	ctx, cancel := context.WithCancelCause(t.Context())
	for label, run := range map[string]func() error{
		"source": func() error {
			_, err := p.Full(t.Context(), func(_ context.Context, add ingest.AddFunc) error {
				return errors.Join(add(entity("Component", "x")), broken)
			})
			return err
		},
		"cancelled, and the source does not say so": func() error {
			_, err := p.Full(ctx, func(context.Context, ingest.AddFunc) error { cancel(broken); return nil })
			return err
		},
		"an entity is refused, and the source does not listen": func() error {
			c.refuses = "c1"
			defer func() { c.refuses = "" }()
			_, err := p.Full(t.Context(), func(_ context.Context, add ingest.AddFunc) error {
				for _, name := range []string{"c0", "c1", "c2"} {
					_ = add(entity("Component", name))
				}
				return nil
			})
			return err
		},
		"catalog": func() error {
			c.err = broken
			defer func() { c.err = nil }()
			return full(t, p, 1, 0)
		},
	} {
		if err := run(); !errors.Is(err, errRefused) {
			t.Errorf("%s: %v", label, err)
		}
		if c.fulls != 1 || len(c.names) != 3 {
			t.Errorf("%s: the catalog changed", label)
		}
	}
}

// What comes while a full run reads or applies outlives it.
func TestDeltasDuringAFullRun(t *testing.T) {
	t.Parallel()
	c := &catalog{names: map[string]bool{}}
	p := newProvider(t, testdb.NewSQLite(t), c, "1")
	c.beforeEnd = func() {
		if err := p.Delta(t.Context(), []catalogcommon.Entity{entity("Component", "late")}, []string{"c0"}); err != nil {
			t.Error(err)
		}
	}
	_, err := p.Full(t.Context(), func(ctx context.Context, add ingest.AddFunc) error {
		if err := errors.Join(add(entity("Component", "c0")), add(entity("Component", "c1")), add(entity("Component", "c2"))); err != nil {
			return err
		}
		return p.Delta(ctx, nil, []string{"c1"})
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]bool{"c2": true, "late": true}, c.names); d != "" {
		t.Errorf("entities (-want +got):\n%s", d)
	}
	c.beforeEnd = nil
	if err := full(t, p, 3, 0); err != nil {
		t.Fatal(err)
	}
	if len(c.names) != 3 {
		t.Errorf("old changes were applied once more: %v", c.names)
	}
}
