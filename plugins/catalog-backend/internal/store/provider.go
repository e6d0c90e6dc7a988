package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"iter"
	"slices"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// newUID returns a random UUID (RFC 9562, version 4).
func newUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails: see its documentation
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Report tells what a mutation did.
type Report struct {
	Seen, Added, Changed, Removed int
	// Finals is how many of the added ones have their final forms already.
	Finals    int
	Conflicts []Conflict
	// Twice are refs that a full mutation had more than once, as often as they
	// do not count.
	Twice []string
}

// ApplyDelta adds or changes entities of the provider and takes others back.
func (s *Store) ApplyDelta(ctx context.Context, provider string, added []Deferred, removed []string, lane int) (Report, error) {
	return s.ApplyFound(ctx, provider, lane, func(*sql.Tx, func() ([]string, error)) ([]Deferred, []string, error) { return added, removed, nil })
}

// ApplyFound is [Store.ApplyDelta] with a change that find finds, and may write
// down, in the same transaction, so that both are there or neither is. It is
// told the refs of what the provider hands in, and called again if the
// transaction lost a deadlock. It must not lock entities.
func (s *Store) ApplyFound(ctx context.Context, provider string, lane int, find func(t *sql.Tx, handed func() ([]string, error)) (added []Deferred, removed []string, err error)) (Report, error) {
	var r Report
	err := s.write(ctx, func(t *tx) error {
		r = Report{}
		added, removed, err := find(t.Tx, func() ([]string, error) { return t.handed(provider) })
		if err != nil {
			return err
		}
		for part := range slices.Chunk(removed, chunk) {
			b := t.build()
			b.Write("SELECT p.target_id FROM provider_edge p JOIN entity e ON e.id = p.target_id WHERE p.provider = ", b.Arg(provider), " AND e.ref IN (", b.List(part), ")")
			n, err := t.release(provider, b.String(), b.Args()...)
			if err != nil {
				return err
			}
			r.Removed += int(n)
			b = t.build()
			b.Write("DELETE FROM entity_claim WHERE provider = ", b.Arg(provider), " AND ref IN (", b.List(part), ")")
			if _, err := t.exec(b); err != nil {
				return err
			}
		}
		seq := func(yield func(Deferred, error) bool) {
			for _, d := range added {
				if !yield(d, nil) {
					return
				}
			}
		}
		if err := t.stageAll(provider, seq, &r); err != nil {
			return err
		}
		return t.finish(provider, lane, &r)
	})
	if err != nil {
		return Report{}, fmt.Errorf("delta mutation of provider %s: %w", provider, err)
	}
	return r, nil
}

// handed returns the refs of what a provider hands in.
func (t *tx) handed(provider string) (refs []string, err error) {
	b := t.build()
	b.Write("SELECT e.ref FROM provider_edge p JOIN entity e ON e.id = p.target_id WHERE p.provider = ", b.Arg(provider), " ORDER BY e.ref")
	err = each(t.ctx, t, b, func(rows *sql.Rows) error {
		var ref string
		err := rows.Scan(&ref)
		refs = append(refs, ref)
		return err
	})
	return refs, err
}

// stageAll stages the sequence chunk by chunk.
func (t *tx) stageAll(provider string, entities iter.Seq2[Deferred, error], r *Report) error {
	if err := t.openStage(); err != nil {
		return err
	}
	part := make([]staged, 0, chunk)
	for d, err := range entities {
		if err != nil {
			return err
		}
		r.Seen++
		if part = append(part, staged{Deferred: d, provider: provider, since: never}); len(part) == chunk {
			if err := t.stage(part); err != nil {
				return err
			}
			part = part[:0]
		}
	}
	if err := t.stage(part); err != nil {
		return err
	}
	return t.analyze("stage", r.Seen)
}

// finish merges what a provider staged. Where the claim of an entity of its
// own changed, the provider lets go of it first, so that it may take it over.
func (t *tx) finish(provider string, lane int, r *Report) error {
	b := t.build()
	b.Write("DELETE FROM provider_edge WHERE provider = ", b.Arg(provider), " AND EXISTS (SELECT 1 FROM entity e JOIN stage s ON s.ref = e.ref",
		" WHERE e.id = provider_edge.target_id AND e.location_key IS NOT NULL AND e.location_key IS DISTINCT FROM s.location_key)")
	if _, err := t.exec(b); err != nil {
		return err
	}
	m, err := t.merge(lane)
	if err != nil {
		return err
	}
	r.Added, r.Changed = len(m.added), len(m.changed)
	if m.conflicts > 0 {
		r.Conflicts, err = t.stagedConflicts()
	}
	return err
}

// RefreshKeys makes everything that depends on one of the keys due now, and
// returns how many entities that are.
func (s *Store) RefreshKeys(ctx context.Context, keys []string) (n int, err error) {
	err = s.write(ctx, func(t *tx) error {
		n = 0
		for part := range slices.Chunk(keys, chunk) {
			b := t.build()
			b.Write("SELECT DISTINCT entity_id FROM refresh_key WHERE key IN (", b.List(part), ")")
			ids, err := t.ids(b)
			if err != nil {
				return err
			}
			n += len(ids)
			if err := t.forceDue(ids); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// forceDue makes entities due now even if their last result is known to be
// what the same input gives.
func (t *tx) forceDue(ids []int64) error { return t.due(ids, LaneInteractive, t.now) }

// maxAncestorSteps bounds the walk from an entity to its roots.
const maxAncestorSteps = 32

// Refresh makes the entity, and the locations that it comes from, due now. It
// reports false if nobody hands in an entity with the ref.
func (s *Store) Refresh(ctx context.Context, ref string) (found bool, err error) {
	err = s.write(ctx, func(t *tx) error {
		found = false
		b := t.build()
		b.Write("SELECT e.id FROM entity e WHERE e.ref = ", b.Arg(ref), " AND (EXISTS (SELECT 1 FROM provider_edge p WHERE p.target_id = e.id)",
			" OR EXISTS (SELECT 1 FROM entity_edge g WHERE g.target_id = e.id))")
		ids, err := t.ids(b)
		if err != nil || len(ids) == 0 {
			return err
		}
		found = true
		b = t.build()
		b.Write("WITH RECURSIVE up(id, depth) AS (SELECT ", b.Arg(ids[0]))
		if t.postgres() {
			b.Write("::bigint")
		}
		b.Write(", 0 UNION SELECT g.parent_id, up.depth + 1 FROM entity_edge g JOIN up ON g.target_id = up.id WHERE up.depth < ", sqltext.ID(maxAncestorSteps),
			") SELECT DISTINCT up.id FROM up JOIN entity e ON e.id = up.id WHERE up.depth = 0 OR e.ref LIKE 'location:%'")
		if ids, err = t.ids(b); err != nil {
			return err
		}
		return t.forceDue(ids)
	})
	return found, err
}

// Invalidate makes the entity with the ref forget its last result and due now.
func (s *Store) Invalidate(ctx context.Context, ref string) error {
	return s.write(ctx, func(t *tx) error {
		b := t.build()
		b.Write("UPDATE entity SET result_hash = '' WHERE ref = ", b.Arg(ref), " RETURNING id")
		ids, err := t.ids(b)
		if err != nil {
			return err
		}
		return t.forceDue(ids)
	})
}

// HasNothingOf reports whether a provider hands in nothing so far.
func (s *Store) HasNothingOf(ctx context.Context, provider string) (bool, error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return false, err
	}
	b := sqltext.New(s.database.Dialect())
	b.Write("SELECT 1 FROM provider_edge WHERE provider = ", b.Arg(provider), " LIMIT 1")
	nothing := true
	err = each(ctx, db, b, func(*sql.Rows) error { nothing = false; return nil })
	return nothing, err
}

// Exists reports whether somebody handed in an entity with the ref.
func (s *Store) Exists(ctx context.Context, ref string) (bool, error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return false, err
	}
	b := sqltext.New(s.database.Dialect())
	b.Write("SELECT 1 FROM entity WHERE ref = ", b.Arg(ref))
	found := false
	err = each(ctx, db, b, func(*sql.Rows) error { found = true; return nil })
	return found, err
}
