package store

import (
	"database/sql"
	"slices"
	"strings"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// Deferred is an entity that somebody hands in.
type Deferred struct {
	Ref string
	// Body is its canonical JSON text, Hash that of the content.
	Body, Hash string
	// LocationKey claims the ref; empty claims nothing.
	LocationKey string
}

// staged is a deferred entity with who hands it in: a provider, or a parent.
type staged struct {
	Deferred
	provider string
	parent   int64
}

// openStage makes the empty table that a mutation is merged from.
func (t *tx) openStage() error {
	if t.staging {
		return t.run("DELETE FROM stage")
	}
	t.staging = true
	create := "CREATE TEMP TABLE stage (ref text %s NOT NULL, provider text NOT NULL, parent_id bigint NOT NULL, uid text NOT NULL," +
		" body text NOT NULL, hash text NOT NULL, location_key text %s, accepted boolean NOT NULL, PRIMARY KEY (ref, provider, parent_id))"
	if t.postgres() {
		return t.run(strings.ReplaceAll(create, "%s", `COLLATE "C"`) + " ON COMMIT DROP")
	}
	return t.run("DROP TABLE IF EXISTS temp.stage", strings.ReplaceAll(create, "%s", ""))
}

// stage adds entities to the table. Of several with one ref from one source
// the last counts.
func (t *tx) stage(items []staged) error {
	for part := range slices.Chunk(items, chunk) {
		// One statement must not name a row twice.
		type key struct {
			ref, provider string
			parent        int64
		}
		last := make(map[key]int, len(part))
		for i, it := range part {
			last[key{it.Ref, it.provider, it.parent}] = i
		}
		b := t.build()
		b.Write("INSERT INTO stage (ref, provider, parent_id, uid, body, hash, location_key, accepted) VALUES ")
		first := true
		for i, it := range part {
			if last[key{it.Ref, it.provider, it.parent}] != i {
				continue
			}
			if !first {
				b.Write(",")
			}
			first = false
			b.Write(b.Row(it.Ref, it.provider, it.parent, t.store.uid(), it.Body, it.Hash, nullable(it.LocationKey), false))
		}
		b.Write(" ON CONFLICT (ref, provider, parent_id) DO UPDATE SET body = excluded.body, hash = excluded.hash, location_key = excluded.location_key")
		if _, err := t.exec(b); err != nil {
			return err
		}
	}
	return nil
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// merged is what a merge did.
type merged struct {
	added, changed []int64
	conflicts      int
}

// sameKey is the rule of claims: an entity that nobody claims may be changed,
// and claimed, by anybody; a claimed one only by the same key.
const sameKey = "(e.location_key IS NULL OR e.location_key = s.location_key)"

// merge brings what is staged into the catalog: new entities, changed ones,
// who hands them in, and the claims that lost. What became of the edges that
// are no longer staged is the business of the caller.
func (t *tx) merge(lane int) (m merged, err error) {
	b := t.build()
	// A ref that several sources stage at once goes to the first claim.
	b.Write("INSERT INTO entity (uid, ref, location_key, unprocessed, unprocessed_hash, discovered_at)",
		" SELECT s.uid, s.ref, s.location_key, s.body, s.hash, ", sqltext.ID(t.now), " FROM stage s",
		" WHERE NOT EXISTS (SELECT 1 FROM entity e WHERE e.ref = s.ref)",
		" AND NOT EXISTS (SELECT 1 FROM stage o WHERE o.ref = s.ref AND (o.provider, o.parent_id) < (s.provider, s.parent_id))",
		" ORDER BY s.ref ON CONFLICT (ref) DO NOTHING RETURNING id")
	if m.added, err = t.ids(b); err != nil {
		return m, err
	}
	if err := t.run("UPDATE stage SET accepted = " + t.build().Bool(true) +
		" WHERE EXISTS (SELECT 1 FROM entity e WHERE e.ref = stage.ref AND (e.location_key IS NULL OR e.location_key = stage.location_key))"); err != nil {
		return m, err
	}
	b = t.build()
	b.Write("UPDATE entity SET unprocessed = s.body, unprocessed_hash = s.hash, location_key = s.location_key FROM stage s",
		" WHERE s.ref = entity.ref AND s.accepted AND (entity.unprocessed_hash <> s.hash OR entity.location_key IS NULL AND s.location_key IS NOT NULL)",
		" AND NOT EXISTS (SELECT 1 FROM stage o WHERE o.ref = s.ref AND o.accepted AND (o.provider, o.parent_id) < (s.provider, s.parent_id))",
		" RETURNING entity.id")
	if m.changed, err = t.ids(b); err != nil {
		return m, err
	}
	slices.Sort(m.changed)
	if err := t.mergeEdges(); err != nil {
		return m, err
	}
	if m.conflicts, err = t.mergeClaims(); err != nil {
		return m, err
	}
	work := append(slices.Clone(m.added), m.changed...)
	return m, t.due(work, lane, t.now)
}

func (t *tx) mergeEdges() error {
	// Whoever gets its first edge anew is no orphan any more, which shows in
	// its final form.
	return t.run(
		"INSERT INTO entity_dirty (entity_id, since) SELECT e.id, "+sqltext.ID(t.now)+" FROM stage s JOIN entity e ON e.ref = s.ref"+
			" JOIN orphan_candidate c ON c.entity_id = e.id WHERE s.accepted ON CONFLICT (entity_id) DO NOTHING",
		"INSERT INTO provider_edge (provider, target_id) SELECT s.provider, e.id FROM stage s JOIN entity e ON e.ref = s.ref"+
			" WHERE s.accepted AND s.provider <> '' ON CONFLICT DO NOTHING",
		"INSERT INTO entity_edge (parent_id, target_id) SELECT s.parent_id, e.id FROM stage s JOIN entity e ON e.ref = s.ref"+
			" WHERE s.accepted AND s.parent_id <> 0 ON CONFLICT DO NOTHING",
		"DELETE FROM orphan_candidate WHERE entity_id IN (SELECT e.id FROM stage s JOIN entity e ON e.ref = s.ref WHERE s.accepted)",
	)
}

// mergeClaims keeps what was refused, so that it can be taken up when the
// holder goes, and forgets claims that are refused no longer.
func (t *tx) mergeClaims() (int, error) {
	if err := t.run("DELETE FROM entity_claim WHERE EXISTS (SELECT 1 FROM stage s WHERE s.accepted AND s.ref = entity_claim.ref" +
		" AND COALESCE(s.location_key, '') = entity_claim.location_key)"); err != nil {
		return 0, err
	}
	b := t.build()
	b.Write("INSERT INTO entity_claim (ref, location_key, provider, parent_id, body, claimed_at)",
		" SELECT s.ref, COALESCE(s.location_key, ''), NULLIF(MIN(s.provider), ''), NULLIF(MIN(s.parent_id), 0), MIN(s.body), ", sqltext.ID(t.now),
		" FROM stage s WHERE NOT s.accepted GROUP BY s.ref, COALESCE(s.location_key, '')",
		" ON CONFLICT (ref, location_key) DO UPDATE SET body = excluded.body, provider = excluded.provider, parent_id = excluded.parent_id")
	n, err := t.exec(b)
	return int(n), err
}

// Conflict is a claim that was refused.
type Conflict struct{ Ref, Wanted, Holder string }

// conflicts returns the claims in the stage that were refused.
func (t *tx) stagedConflicts() (out []Conflict, err error) {
	b := t.build()
	b.Write("SELECT s.ref, COALESCE(s.location_key, ''), COALESCE(e.location_key, '') FROM stage s JOIN entity e ON e.ref = s.ref WHERE NOT s.accepted ORDER BY s.ref")
	err = t.each(b, func(rows *sql.Rows) error {
		var c Conflict
		if err := rows.Scan(&c.Ref, &c.Wanted, &c.Holder); err != nil {
			return err
		}
		out = append(out, c)
		return nil
	})
	return out, err
}
