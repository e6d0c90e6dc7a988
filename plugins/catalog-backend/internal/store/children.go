package store

import (
	"database/sql"
	"slices"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// saveChildren merges what the entities emitted. A child that its parent no
// longer emits becomes a candidate orphan, unless somebody else hands it in or
// takes it over.
func (t *tx) saveChildren(results []Result) ([]Conflict, error) {
	all, doubles := distinctChildren(results)
	twice := conflictsAmong(doubles)
	parents := resultIDs(results)
	if len(all) == 0 {
		if had, err := t.hadChildren(parents); err != nil || !had {
			return nil, err
		}
	}
	if err := t.openStage(); err != nil {
		return nil, err
	}
	if err := t.stage(all); err != nil {
		return nil, err
	}
	for part := range slices.Chunk(parents, chunk) {
		if err := t.dropChildren(part); err != nil {
			return nil, err
		}
	}
	m, err := t.merge(LaneNew)
	if err != nil {
		return twice, err
	}
	if err := t.saveDoubles(parents, doubles); err != nil {
		return twice, err
	}
	if err := t.hurry(results); err != nil || m.conflicts == 0 {
		return twice, err
	}
	refused, err := t.stagedConflicts()
	return append(twice, refused...), err
}

// hurry makes what interactive entities led to interactive, too: who registers
// a location waits for what it holds.
func (t *tx) hurry(results []Result) error {
	var parents []int64
	for _, r := range results {
		if r.Work.Lane == LaneInteractive {
			parents = append(parents, r.Work.ID)
		}
	}
	if len(parents) == 0 {
		return nil
	}
	b := t.build()
	b.Write("UPDATE entity_due SET lane = ", sqltext.ID(LaneInteractive), " WHERE next_at <= ", sqltext.ID(t.now), " AND lane > ", sqltext.ID(LaneInteractive),
		" AND entity_id IN (SELECT target_id FROM entity_edge WHERE parent_id ", b.AnyID(parents), ")")
	_, err := t.exec(b)
	return err
}

func (t *tx) hadChildren(parents []int64) (bool, error) {
	b := t.build()
	b.Write("SELECT parent_id FROM entity_edge WHERE parent_id ", b.AnyID(parents),
		" UNION ALL SELECT parent_id FROM entity_claim WHERE parent_id ", b.AnyID(parents), " LIMIT 1") // who has neither had no double
	ids, err := t.ids(b)
	return len(ids) > 0, err
}

// dropChildren takes away the edges and refused claims of parents that are not
// in the stage any more, or there with another claim.
func (t *tx) dropChildren(parents []int64) error {
	b := t.build()
	b.Write("DELETE FROM entity_edge WHERE parent_id ", b.AnyID(parents), " AND NOT EXISTS (SELECT 1 FROM stage s JOIN entity e ON e.ref = s.ref",
		" WHERE e.id = entity_edge.target_id AND s.parent_id = entity_edge.parent_id AND s.location_key IS NOT DISTINCT FROM e.location_key) RETURNING target_id")
	targets, err := t.ids(b)
	if err != nil {
		return err
	}
	b = t.build()
	b.Write("DELETE FROM entity_claim WHERE parent_id ", b.AnyID(parents), " AND NOT EXISTS (SELECT 1 FROM stage s WHERE s.ref = entity_claim.ref AND s.parent_id = entity_claim.parent_id)")
	if _, err := t.exec(b); err != nil {
		return err
	}
	slices.Sort(targets)
	for part := range slices.Chunk(slices.Compact(targets), chunk) {
		if err := t.abandon(part); err != nil {
			return err
		}
	}
	return nil
}

// abandon sees to entities that somebody hands in no longer: others who do,
// or wanted to, take their place, or else they may become orphans.
func (t *tx) abandon(ids []int64) error {
	b := t.build()
	b.Write("SELECT DISTINCT parent_id FROM entity_edge WHERE target_id ", b.AnyID(ids))
	parents, err := t.ids(b)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(parents, chunk) {
		list := t.build()
		for i, id := range part {
			if i > 0 {
				list.Write(",")
			}
			list.Write(sqltext.ID(id))
		}
		if err := t.emitAnew(list.String()); err != nil {
			return err
		}
	}
	if err := t.forIDs("UPDATE provider_edge SET hash = '' WHERE hash <> '' AND target_id", ids, ""); err != nil {
		return err
	}
	if _, err := t.withRows("INSERT INTO orphan_candidate (entity_id, since) SELECT c1, c2 FROM", len(ids), " WHERE true ON CONFLICT (entity_id) DO UPDATE SET since = excluded.since",
		numbers(ids), numbers(repeat(t.now, len(ids)))); err != nil {
		return err
	}
	if err := t.dirty(ids); err != nil {
		return err
	}
	b = t.build()
	b.Write("SELECT e.ref FROM entity e WHERE e.id ", b.AnyID(ids), " AND ", vacant,
		" AND EXISTS (SELECT 1 FROM entity_claim c WHERE c.ref = e.ref) AND NOT EXISTS (SELECT 1 FROM stage s WHERE s.ref = e.ref) ORDER BY e.ref")
	var refs []string
	err = t.each(b, func(rows *sql.Rows) error {
		var ref string
		err := rows.Scan(&ref)
		refs = append(refs, ref)
		return err
	})
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if err := t.stageClaims(ref); err != nil {
			return err
		}
	}
	return nil
}
