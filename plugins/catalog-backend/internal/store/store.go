// Package store keeps the state of the catalog: what was handed in, by whom,
// what became of it, and what is due. It decides nothing about the content of
// entities.
//
// Everything is set-based: a mutation, however large, is staged in a
// temporary table and merged with a few statements, and the results of many
// entities are written in one transaction. Statements touch rows in the order
// of their refs, and transactions that lost a deadlock run anew.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/core"
)

// Store is the state of the catalog.
type Store struct {
	database core.DatabaseService
	clock    func() time.Time
	uid      func() string
	wake     func()
	holder   int64 // names this store in claims
	eager    bool  // search rows are written at once

	written  atomic.Int64 // final forms
	analyzed atomic.Int64 // how many they were when the planner was told

	mu   sync.Mutex
	keys map[string]int64 // ids of search keys
}

// Options make a store.
type Options struct {
	// Clock and NewUID default to the time and to random UUIDs.
	Clock  func() time.Time
	NewUID func() string
	// EagerRows has search rows written together with the final forms. Without
	// it those of new entities are written by [Store.WriteRows], which costs
	// whoever asks the tables meanwhile, and nobody who asks an index.
	EagerRows bool
	// Wake is called after a transaction that made work or changed entities; it
	// must not block. See [Store.Listen] for those of other instances.
	Wake func()
}

// New returns a store over a database that has the tables of package schema.
func New(database core.DatabaseService, o Options) *Store {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.NewUID == nil {
		o.NewUID = newUID
	}
	if o.Wake == nil {
		o.Wake = func() {}
	}
	return &Store{database: database, clock: o.Clock, uid: o.NewUID, wake: o.Wake, holder: rand.Int64N(1<<62) + 1, eager: o.EagerRows, keys: map[string]int64{}}
}

// Lanes of work, most urgent first.
const (
	LaneInteractive = 0
	LaneNew         = 1
	LanePeriodic    = 2
)

func (s *Store) now() int64 { return s.clock().UnixMilli() }

// tellPlanner tells the planner of PostgreSQL what is in the tables while they
// grow from nothing: until it learns by itself, which takes a minute, it would
// take them for empty.
func (s *Store) tellPlanner(ctx context.Context, more int) error {
	total, last := s.written.Add(int64(more)), s.analyzed.Load()
	if s.database.Dialect() != core.PostgreSQL || total < manyRows || total < 4*last || !s.analyzed.CompareAndSwap(last, total) {
		return nil
	}
	tables := "entity (id, uid, ref, location_key), entity_due, entity_edge, provider_edge, relation, refresh_key"
	if s.eager {
		tables += ", entity_search"
	}
	return s.analyze(ctx, tables)
}

func (s *Store) analyze(ctx context.Context, tables string) error {
	return s.database.WriteTx(ctx, func(t *sql.Tx) error {
		// A small sample does until the server looks for itself; the long texts
		// are of no interest.
		for _, text := range []string{"SET LOCAL default_statistics_target = 10", "ANALYZE " + tables} {
			if _, err := t.ExecContext(ctx, text); err != nil {
				return err
			}
		}
		return nil
	})
}

// Fingerprint records the fingerprint of what results are made with. If it
// differs from the recorded one, all entities become due, spread over a while.
func (s *Store) Fingerprint(ctx context.Context, value string, spread time.Duration) (changed bool, err error) {
	err = s.write(ctx, func(t *tx) error {
		changed = false
		var old string
		b := t.build()
		b.Write("SELECT value FROM fingerprint WHERE name = 'processing'")
		err := t.QueryRowContext(ctx, b.String()).Scan(&old)
		if err == nil && old == value {
			return nil
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		changed = old != ""
		b = t.build()
		b.Write("INSERT INTO fingerprint (name, value) VALUES ('processing', ", b.Arg(value), ") ON CONFLICT (name) DO UPDATE SET value = excluded.value")
		if _, err := t.exec(b); err != nil || !changed {
			return err
		}
		step := max(spread.Milliseconds(), 1)
		return t.run(fmt.Sprintf("UPDATE entity_due SET next_at = %d + entity_id %% %d WHERE next_at > %d", t.now, step, t.now+step))
	})
	return changed, err
}
