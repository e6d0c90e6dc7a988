package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// Limits are what a full mutation may take away. The zero value allows all.
type Limits struct {
	// Removals is the greatest part of what the provider has, in percent, that
	// one mutation may take away; nil is any.
	Removals *float64
	// NotEmpty refuses a mutation without entities while the provider has some.
	NotEmpty bool
}

// RefusedError says that a full mutation would have taken away more than its
// limits allow. Nothing was changed.
type RefusedError struct {
	Provider string
	// Seen is how many entities were handed in, Had how many the provider had,
	// and Removed how many of these it would have lost.
	Seen, Had, Removed int
	// Limit is the percentage; nil if the mutation was refused for being empty.
	Limit *float64
}

// Error implements error.
func (e *RefusedError) Error() string {
	if e.Limit == nil {
		return fmt.Sprintf("the source is empty, and the provider has %d entities; nothing was changed", e.Had)
	}
	return fmt.Sprintf("%d of the %d entities that the provider has would be removed, more than %g %%, and it handed in %d; nothing was changed", e.Removed, e.Had, *e.Limit, e.Seen)
}

// ApplyFull makes the sequence all that the provider hands in. It ranges over
// the sequence once, before it begins with anything else. If the sequence
// yields an error, nothing changes. Of several entities with one ref the last
// counts.
func (s *Store) ApplyFull(ctx context.Context, provider string, entities iter.Seq2[Deferred, error]) (Report, error) {
	return s.ApplyFullWithin(ctx, provider, entities, Limits{})
}

// ApplyFullWithin is ApplyFull, unless that takes away more than the limits
// allow: then it fails with a [*RefusedError].
func (s *Store) ApplyFullWithin(ctx context.Context, provider string, entities iter.Seq2[Deferred, error], limits Limits) (r Report, err error) {
	spooled, err := newSpool(ctx, entities)
	if err != nil {
		return Report{}, fmt.Errorf("full mutation of provider %s: %w", provider, err)
	}
	defer func() { err = errors.Join(err, spooled.close()) }()
	apply := func() error {
		return s.write(ctx, func(t *tx) error {
			r = Report{Seen: spooled.count}
			return t.applyFull(provider, spooled, limits, &r)
		})
	}
	if err = apply(); err != nil && ctx.Err() == nil && slices.Contains(spooled.ready, true) {
		// Somebody else handed in one of the entities that were new, or a result
		// cannot be stored. Now each of them is looked at by itself.
		spooled.ready = nil
		err = apply()
	}
	if err != nil {
		return Report{}, fmt.Errorf("full mutation of provider %s: %w", provider, err)
	}
	_ = s.tellPlanner(ctx, r.Finals) // without that it learns by itself, a little later
	return r, nil
}

func (t *tx) applyFull(provider string, in *spool, limits Limits, r *Report) error {
	if first, err := t.isFirst(provider, in); err != nil {
		return err
	} else if first {
		seqs := make([]int64, in.count)
		for i := range seqs {
			seqs[i] = int64(i)
		}
		return t.handIn(provider, in, seqs, r)
	}
	var err error
	if r.Twice, err = t.loadIncoming(in); err != nil {
		return err
	}
	if err := t.checkLimits(provider, in.count, limits); err != nil {
		return err
	}
	removed, err := t.release(provider, "SELECT p.target_id FROM provider_edge p LEFT JOIN incoming i ON i.ref = p.ref WHERE i.ref IS NULL AND p.provider = "+t.placeholder(1), provider)
	if err != nil {
		return err
	}
	r.Removed = int(removed)
	b := t.build()
	b.Write("DELETE FROM entity_claim WHERE provider = ", b.Arg(provider), " AND NOT EXISTS (SELECT 1 FROM incoming i WHERE i.ref = entity_claim.ref)")
	if _, err := t.exec(b); err != nil {
		return err
	}
	// What the provider handed in before, and was not refused, needs no text.
	b = t.build()
	b.Write("SELECT seq FROM incoming EXCEPT SELECT i.seq FROM provider_edge p JOIN incoming i ON i.ref = p.ref",
		" WHERE p.provider = ", b.Arg(provider), " AND p.hash = i.hash AND p.location_key = i.location_key")
	seqs, err := t.ids(b)
	t.quiet = removed == 0
	if err != nil || len(seqs) == 0 {
		return err
	}
	slices.Sort(seqs)
	return t.handIn(provider, in, seqs, r)
}

// isFirst reports whether nothing of a provider is there that a mutation would
// have to be compared with, and no two of its entities have the same ref.
func (t *tx) isFirst(provider string, in *spool) (bool, error) {
	if !slices.Contains(in.ready, true) || !in.distinct() {
		return false, nil
	}
	b := t.build()
	b.Write("SELECT 1 WHERE EXISTS (SELECT 1 FROM provider_edge WHERE provider = ", b.Arg(provider), ") OR EXISTS (SELECT 1 FROM entity_claim WHERE provider = ", b.Arg(provider), ")")
	found, err := t.ids(b)
	return len(found) == 0, err
}

// handIn hands in those of the entities in the spool that are new for the
// provider, or others than before. Their numbers are sorted.
func (t *tx) handIn(provider string, in *spool, seqs []int64, r *Report) error {
	t.quiet = false
	if len(seqs) > manyRows {
		if err := t.expectMany(); err != nil {
			return err
		}
	}
	seqs, err := t.loadReady(provider, in, seqs, r)
	if err != nil || len(seqs) == 0 {
		return err
	}
	if err := t.openStage(); err != nil {
		return err
	}
	if err := t.stageSpooled(provider, in, seqs); err != nil {
		return err
	}
	added := r.Added
	err = t.finish(provider, LaneNew, r)
	r.Added += added
	return err
}

// loadIncoming makes the table of what is in the spool, without the bodies. Of
// several with one ref it keeps the last, and returns the refs of the others.
func (t *tx) loadIncoming(in *spool) (twice []string, err error) {
	const columns = " (seq bigint PRIMARY KEY, ref text %s NOT NULL, hash text NOT NULL, location_key text NOT NULL)"
	if t.postgres() {
		if err := t.run("CREATE TEMP TABLE incoming" + fmt.Sprintf(columns, `COLLATE "C"`) + " ON COMMIT DROP"); err != nil {
			return nil, err
		}
	} else if err := t.run("DROP TABLE IF EXISTS temp.incoming", "CREATE TEMP TABLE incoming"+fmt.Sprintf(columns, "")); err != nil {
		return nil, err
	}
	part := make([]Deferred, 0, min(in.count, arrayRows))
	seq := 0
	load := func() error {
		err := t.load("incoming", []string{"seq", "ref", "hash", "location_key"}, len(part), func(i int, row []any) []any {
			return append(row, int64(seq+i), part[i].Ref, part[i].Hash, part[i].LocationKey)
		})
		seq += len(part)
		part = part[:0]
		return err
	}
	for d, err := range in.entities(nil) {
		if err != nil {
			return nil, err
		}
		if part = append(part, d); len(part) == cap(part) {
			if err := load(); err != nil {
				return nil, err
			}
		}
	}
	if err := load(); err != nil {
		return nil, err
	}
	if t.postgres() {
		if err := t.analyze("incoming", in.count); err != nil {
			return nil, err
		}
	}
	if err := t.run("CREATE INDEX incoming_ref ON incoming (ref)"); err != nil {
		return nil, err
	}
	b := t.build()
	b.Write("DELETE FROM incoming WHERE seq IN (SELECT i.seq FROM incoming i JOIN (SELECT ref, max(seq) AS last FROM incoming GROUP BY ref HAVING count(*) > 1) d ON d.ref = i.ref WHERE i.seq < d.last) RETURNING ref")
	err = t.each(b, func(rows *sql.Rows) error {
		var ref string
		err := rows.Scan(&ref)
		twice = append(twice, ref)
		return err
	})
	return twice, err
}

// checkLimits refuses a mutation that takes away more than its limits allow.
func (t *tx) checkLimits(provider string, seen int, limits Limits) error {
	if limits.Removals == nil && (!limits.NotEmpty || seen > 0) {
		return nil
	}
	refused := RefusedError{Provider: provider, Seen: seen, Limit: limits.Removals}
	b := t.build()
	b.Write("SELECT count(*), count(*) - count(i.ref) FROM provider_edge p LEFT JOIN incoming i ON i.ref = p.ref WHERE p.provider = ", b.Arg(provider))
	if err := t.each(b, func(rows *sql.Rows) error { return rows.Scan(&refused.Had, &refused.Removed) }); err != nil {
		return err
	}
	switch {
	case refused.Had == 0:
		return nil
	case limits.NotEmpty && seen == 0:
		refused.Limit = nil
		return &refused
	case limits.Removals != nil && float64(refused.Removed)*100 > *limits.Removals*float64(refused.Had):
		return &refused
	default:
		return nil
	}
}

// stageMemory is about how many bytes of bodies are staged at a time.
const stageMemory = 4 << 20

// stageSpooled stages some of the entities in the spool, whose numbers are
// sorted.
func (t *tx) stageSpooled(provider string, in *spool, seqs []int64) error {
	next := 0
	wanted := func(seq int) bool { return next < len(seqs) && seqs[next] == int64(seq) }
	text := func(seq int) parts {
		if wanted(seq) {
			return bodies
		}
		return heads
	}
	seq, size := -1, 0
	part := make([]Deferred, 0, chunk)
	load := func() error {
		err := t.load("stage", []string{"ref", "provider", "parent_id", "uid", "body", "hash", "location_key", "since", "accepted"}, len(part), func(i int, row []any) []any {
			d := &part[i]
			return append(row, d.Ref, provider, int64(0), t.store.uid(), d.Body, d.Hash, plain(sql.NullString{String: d.LocationKey, Valid: d.LocationKey != ""}), never, false)
		})
		part, size = part[:0], 0
		return err
	}
	for d, err := range in.entities(text) {
		if err != nil {
			return err
		}
		if seq++; !wanted(seq) {
			continue
		}
		next++
		size += len(d.Body)
		if part = append(part, d); len(part) == cap(part) || size > stageMemory {
			if err := load(); err != nil {
				return err
			}
		}
	}
	if err := load(); err != nil {
		return err
	}
	return t.analyze("stage", len(seqs))
}

func (t *tx) placeholder(n int) string {
	if t.postgres() {
		return "$" + sqltext.ID(int64(n))
	}
	return "?"
}
