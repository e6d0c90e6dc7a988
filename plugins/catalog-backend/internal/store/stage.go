package store

import (
	"database/sql"
	"fmt"
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
	// Document is which document of its file it is, from 1, and Line where that
	// begins; 0 if that is not known.
	Document, Line int
	// Ready is what processing already made of it, or nil. Only full mutations
	// take it.
	Ready *Ready
}

// staged is a deferred entity with who hands it in: a provider, or a parent.
type staged struct {
	Deferred
	provider string
	parent   int64
	since    int64 // when it was refused; never for what is handed in now
}

// openStage makes the empty table that a mutation is merged from.
func (t *tx) openStage() error {
	if t.staging {
		return t.run("DELETE FROM stage")
	}
	t.staging = true
	create := "CREATE TEMP TABLE stage (ref text %s NOT NULL, provider text NOT NULL, parent_id bigint NOT NULL, uid text NOT NULL," +
		" body text NOT NULL, hash text NOT NULL, location_key text %s, since bigint NOT NULL, accepted boolean NOT NULL," +
		" document bigint NOT NULL DEFAULT 0, line bigint NOT NULL DEFAULT 0, PRIMARY KEY (ref, provider, parent_id))"
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
		var rows stageRows
		for i, it := range part {
			if last[key{it.Ref, it.provider, it.parent}] == i {
				rows.add(it, t.store.uid())
			}
		}
		if err := rows.insert(t); err != nil {
			return err
		}
	}
	return nil
}

// stageRows are rows of the stage, by column.
type stageRows struct {
	refs, providers, uids, bodies, hashes, keys []string
	parents, since, documents, lines            []int64
}

func (r *stageRows) add(it staged, uid string) {
	r.refs, r.providers, r.uids = append(r.refs, it.Ref), append(r.providers, it.provider), append(r.uids, uid)
	r.bodies, r.hashes, r.keys = append(r.bodies, it.Body), append(r.hashes, it.Hash), append(r.keys, it.LocationKey)
	r.parents, r.since = append(r.parents, it.parent), append(r.since, it.since)
	r.documents, r.lines = append(r.documents, int64(it.Document)), append(r.lines, int64(it.Line))
}

func (r *stageRows) insert(t *tx) error {
	_, err := t.withRows("INSERT INTO stage (ref, provider, parent_id, uid, body, hash, location_key, since, document, line, accepted)"+
		" SELECT c1, c2, c3, c4, c5, c6, NULLIF(c7, ''), c8, c9, c10, "+t.build().Bool(false)+" FROM", len(r.refs),
		" WHERE true ON CONFLICT (ref, provider, parent_id) DO UPDATE SET body = excluded.body, hash = excluded.hash, location_key = excluded.location_key, since = excluded.since,"+
			" document = excluded.document, line = excluded.line",
		texts(r.refs), texts(r.providers), numbers(r.parents), texts(r.uids), texts(r.bodies), texts(r.hashes), texts(r.keys), numbers(r.since), numbers(r.documents), numbers(r.lines))
	return err
}

// merged is what a merge did.
type merged struct {
	added, changed []int64
	conflicts      int
}

// vacant holds for an entity e that nobody hands in any more.
const vacant = "NOT EXISTS (SELECT 1 FROM provider_edge p WHERE p.target_id = e.id)" +
	" AND NOT EXISTS (SELECT 1 FROM entity_edge g WHERE g.target_id = e.id)"

// holds holds for an entity e that the source of a row of the stage hands in.
const holds = "(EXISTS (SELECT 1 FROM provider_edge p WHERE p.target_id = e.id AND p.provider = stage.provider)" +
	" OR EXISTS (SELECT 1 FROM entity_edge g WHERE g.target_id = e.id AND g.parent_id = stage.parent_id))"

// earlier holds for a row s of the stage behind a row o with the same ref: of
// several sources of a ref, the one that has waited longest counts.
const earlier = "o.ref = s.ref AND (o.since, o.provider, o.parent_id) < (s.since, s.provider, s.parent_id)"

// merge brings what is staged into the catalog: new entities, changed ones,
// who hands them in, and what is refused. What became of the edges that are no
// longer staged is the business of the caller.
//
// The rule of claims: whoever hands an entity in first holds its ref under a
// location key, and only the same key may change it. No key gives way to any.
// Without a key the source itself is the key, so that two sources do not take
// the place of each other for ever; but such a holder gives way to a key. What
// was refused before has its chance with every merge of the ref.
func (t *tx) merge(lane int) (m merged, err error) {
	if m.added, err = t.addStaged(); err != nil {
		return m, err
	}
	if err := t.takeOver(); err != nil {
		return m, err
	}
	if err := t.run("UPDATE stage SET accepted = " + t.build().Bool(true) +
		" WHERE EXISTS (SELECT 1 FROM entity e WHERE e.ref = stage.ref AND e.location_key IS NOT DISTINCT FROM stage.location_key" +
		" AND (stage.location_key IS NOT NULL OR " + holds + " OR " + vacant +
		" AND NOT EXISTS (SELECT 1 FROM stage o WHERE o.ref = stage.ref AND o.location_key IS NULL AND (o.since, o.provider, o.parent_id) < (stage.since, stage.provider, stage.parent_id))))"); err != nil {
		return m, err
	}
	b := t.build()
	b.Write("UPDATE entity SET unprocessed = s.body, unprocessed_hash = s.hash FROM stage s",
		" WHERE s.ref = entity.ref AND s.accepted AND entity.unprocessed_hash <> s.hash",
		" AND NOT EXISTS (SELECT 1 FROM stage o WHERE o.accepted AND ", earlier, ")",
		" RETURNING id")
	if m.changed, err = t.ids(b); err != nil {
		return m, err
	}
	added := make(map[int64]bool, len(m.added))
	for _, id := range m.added {
		added[id] = true
	}
	m.changed = slices.DeleteFunc(m.changed, func(id int64) bool { return added[id] })
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

// addStaged adds the entities of refs in the stage that nobody has handed in,
// and returns their ids. It locks the others, and adds what was refused of
// them before: from here on nobody changes who holds a ref, takes back what was
// refused, or removes a holder while its successor is being refused.
func (t *tx) addStaged() (added []int64, err error) {
	const insert = "INSERT INTO entity (uid, ref, location_key, unprocessed, unprocessed_hash, discovered_at)" +
		" SELECT s.uid, s.ref, s.location_key, s.body, s.hash, %s FROM stage s" +
		" WHERE NOT EXISTS (SELECT 1 FROM entity e WHERE e.ref = s.ref)" +
		" AND NOT EXISTS (SELECT 1 FROM stage o WHERE " + earlier + ")" +
		" ORDER BY s.ref ON CONFLICT (ref) DO NOTHING RETURNING id"
	for range lockTries {
		locked, err := t.lockEntities("EXISTS (SELECT 1 FROM stage s WHERE s.ref = e.ref)")
		if err != nil {
			return nil, err
		}
		if err := t.joinClaims(); err != nil {
			return nil, err
		}
		b := t.build()
		b.Write(fmt.Sprintf(insert, sqltext.ID(t.now)))
		ids, err := t.ids(b)
		if added = append(added, ids...); err != nil || !t.postgres() {
			return added, err
		}
		// Between the statements somebody may have added an entity, which is not
		// locked, or may have removed one that the second still saw.
		b = t.build()
		b.Write("SELECT count(DISTINCT ref) FROM stage")
		refs := int64(0)
		if err := t.each(b, func(rows *sql.Rows) error { return rows.Scan(&refs) }); err != nil || refs == locked+int64(len(ids)) {
			return added, err
		}
	}
	return nil, fmt.Errorf("%d tries to lock what is handed in failed: others change it all the time", lockTries)
}

// joinClaims brings what was refused of the refs in the stage before, as it is
// now, into the stage.
func (t *tx) joinClaims() error {
	if err := t.run("INSERT INTO stage (ref, provider, parent_id, uid, body, hash, location_key, since, document, line, accepted)"+
		" SELECT c.ref, c.provider, c.parent_id, s.uid, c.body, c.hash, NULLIF(c.location_key, ''), c.claimed_at, c.document, c.line, "+t.build().Bool(false)+
		" FROM entity_claim c JOIN stage s ON s.ref = c.ref WHERE NOT EXISTS (SELECT 1 FROM stage o WHERE "+earlier+")"+
		" ON CONFLICT (ref, provider, parent_id) DO UPDATE SET body = excluded.body, hash = excluded.hash, location_key = excluded.location_key,"+
		" since = excluded.since, document = excluded.document, line = excluded.line WHERE stage.since <> "+sqltext.ID(never),
		"DELETE FROM stage WHERE since <> "+sqltext.ID(never)+
			" AND NOT EXISTS (SELECT 1 FROM entity_claim c WHERE c.ref = stage.ref AND c.provider = stage.provider AND c.parent_id = stage.parent_id)",
	); err != nil {
		return err
	}
	return t.dropClaimsOfNobody()
}

// lockTries bounds how often what is handed in is locked anew.
const lockTries = 20

// dropClaimsOfNobody forgets staged claims of parents that were removed at this
// moment, and keeps the others from being removed.
func (t *tx) dropClaimsOfNobody() error {
	if !t.postgres() {
		return nil // there is one writer at a time
	}
	const gone = " AND NOT EXISTS (SELECT 1 FROM entity p WHERE p.id = c.parent_id)"
	return t.run("SELECT p.id FROM entity p WHERE p.id IN (SELECT parent_id FROM stage WHERE parent_id <> 0) ORDER BY p.ref FOR KEY SHARE",
		"DELETE FROM stage c WHERE c.parent_id <> 0"+gone,
		"DELETE FROM entity_claim c WHERE c.parent_id <> 0 AND c.ref IN (SELECT ref FROM stage)"+gone)
}

// taker is somebody who may take an entity over.
type taker struct {
	id     int64
	key    sql.NullString
	parent int64
	vacant bool
}

// takeOver gives refs whose holder has no location key, or that are vacant, to
// a location key that is staged.
func (t *tx) takeOver() error {
	var takers []taker
	b := t.build()
	b.Write("SELECT e.id, s.location_key, s.parent_id, ", vacant, " FROM stage s JOIN entity e ON e.ref = s.ref",
		" WHERE e.location_key IS DISTINCT FROM s.location_key",
		" AND (e.location_key IS NULL OR ", vacant,
		" AND NOT EXISTS (SELECT 1 FROM stage o WHERE o.ref = s.ref AND o.location_key IS NOT DISTINCT FROM e.location_key))",
		" ORDER BY e.id, s.since, s.provider, s.parent_id")
	err := t.each(b, func(rows *sql.Rows) error {
		var k taker
		err := rows.Scan(&k.id, &k.key, &k.parent, &k.vacant)
		takers = append(takers, k)
		return err
	})
	if err != nil {
		return err
	}
	last := int64(0)
	for _, k := range takers {
		if k.id == last {
			continue // somebody before took it
		}
		if !k.vacant {
			// What an entity leads to must not take its place: that would end
			// what leads there, and give the place back, and so on for ever.
			if below, err := t.leadsTo(k.id, k.parent); err != nil {
				return err
			} else if below {
				continue
			}
			if err := t.displace(k.id); err != nil {
				return err
			}
		}
		last = k.id
		b := t.build()
		b.Write("UPDATE entity SET location_key = ", b.Arg(k.key), " WHERE id = ", sqltext.ID(k.id))
		if _, err := t.exec(b); err != nil {
			return err
		}
	}
	return nil
}

// leadsTo reports whether one entity emits the other, or what emits it.
func (t *tx) leadsTo(from, to int64) (bool, error) {
	b := t.build()
	b.Write("WITH RECURSIVE below(id) AS (SELECT target_id FROM entity_edge WHERE parent_id = ", sqltext.ID(from),
		" UNION SELECT g.target_id FROM entity_edge g JOIN below b ON g.parent_id = b.id) SELECT id FROM below WHERE id = ", sqltext.ID(to))
	ids, err := t.ids(b)
	return len(ids) > 0, err
}

// displace makes refused hand-ins of those that hand an entity in.
func (t *tx) displace(id int64) error {
	target := sqltext.ID(id)
	const into = "INSERT INTO entity_claim (ref, provider, parent_id, location_key, body, hash, claimed_at) SELECT e.ref, "
	tail := ", '', e.unprocessed, e.unprocessed_hash, " + sqltext.ID(t.now)
	if t.postgres() {
		// A parent that is removed at this moment claims nothing.
		if err := t.run("SELECT p.id FROM entity p WHERE p.id IN (SELECT parent_id FROM entity_edge WHERE target_id = " + target + ") ORDER BY p.ref FOR KEY SHARE"); err != nil {
			return err
		}
	}
	return t.run(
		into+"p.provider, 0"+tail+" FROM provider_edge p JOIN entity e ON e.id = p.target_id WHERE p.target_id = "+target+" ON CONFLICT DO NOTHING",
		into+"'', g.parent_id"+tail+" FROM entity_edge g JOIN entity e ON e.id = g.target_id JOIN entity p ON p.id = g.parent_id WHERE g.target_id = "+target+" ON CONFLICT DO NOTHING",
		"DELETE FROM provider_edge WHERE target_id = "+target,
		"DELETE FROM entity_edge WHERE target_id = "+target,
	)
}

func (t *tx) mergeEdges() error {
	// Whoever gets its first edge anew is no orphan any more, which shows in
	// its final form.
	return t.run(
		"INSERT INTO entity_dirty (entity_id, since) SELECT e.id, "+sqltext.ID(t.now)+" FROM stage s JOIN entity e ON e.ref = s.ref"+
			" JOIN orphan_candidate c ON c.entity_id = e.id WHERE s.accepted",
		"INSERT INTO provider_edge (provider, target_id, ref, hash, location_key) SELECT s.provider, e.id, s.ref, s.hash, COALESCE(s.location_key, '')"+
			" FROM stage s JOIN entity e ON e.ref = s.ref WHERE s.accepted AND s.provider <> '' ON CONFLICT (provider, target_id)"+
			" DO UPDATE SET hash = excluded.hash, location_key = excluded.location_key"+
			" WHERE provider_edge.hash <> excluded.hash OR provider_edge.location_key <> excluded.location_key",
		"INSERT INTO entity_edge (parent_id, target_id, document, line) SELECT s.parent_id, e.id, s.document, s.line FROM stage s JOIN entity e ON e.ref = s.ref"+
			" WHERE s.accepted AND s.parent_id <> 0 ON CONFLICT (parent_id, target_id) DO UPDATE SET document = excluded.document, line = excluded.line"+
			" WHERE entity_edge.document <> excluded.document OR entity_edge.line <> excluded.line",
	)
}

// mergeClaims keeps what was refused, so that it can be taken up when the
// holder goes, and forgets what is refused no longer.
func (t *tx) mergeClaims() (int, error) {
	const same = "s.ref = entity_claim.ref AND s.provider = entity_claim.provider AND s.parent_id = entity_claim.parent_id"
	if err := t.run("DELETE FROM entity_claim WHERE EXISTS (SELECT 1 FROM stage s WHERE s.accepted AND " + same + ")"); err != nil {
		return 0, err
	}
	b := t.build()
	b.Write("INSERT INTO entity_claim (ref, provider, parent_id, location_key, body, hash, document, line, claimed_at)",
		" SELECT s.ref, s.provider, s.parent_id, COALESCE(s.location_key, ''), s.body, s.hash, s.document, s.line, ", sqltext.ID(t.now), " FROM stage s",
		" WHERE NOT s.accepted AND s.since = ", sqltext.ID(never),
		" AND NOT EXISTS (SELECT 1 FROM entity_claim WHERE ", same, " AND entity_claim.hash = s.hash AND entity_claim.location_key = COALESCE(s.location_key, '')",
		" AND entity_claim.document = s.document AND entity_claim.line = s.line)",
		" ON CONFLICT (ref, provider, parent_id) DO UPDATE SET location_key = excluded.location_key, body = excluded.body, hash = excluded.hash, document = excluded.document, line = excluded.line")
	if _, err := t.exec(b); err != nil {
		return 0, err
	}
	n := 0
	b = t.build()
	b.Write("SELECT count(*) FROM stage s WHERE NOT s.accepted AND s.since = ", sqltext.ID(never))
	err := t.each(b, func(rows *sql.Rows) error { return rows.Scan(&n) })
	return n, err
}

// stageClaims stages what was refused of a ref so far.
func (t *tx) stageClaims(ref string) error {
	b := t.build()
	b.Write("SELECT provider, parent_id, location_key, body, hash, claimed_at, document, line FROM entity_claim WHERE ref = ", b.Arg(ref))
	var items []staged
	err := t.each(b, func(rows *sql.Rows) error {
		it := staged{Deferred: Deferred{Ref: ref}}
		err := rows.Scan(&it.provider, &it.parent, &it.LocationKey, &it.Body, &it.Hash, &it.since, &it.Document, &it.Line)
		items = append(items, it)
		return err
	})
	if err != nil {
		return err
	}
	return t.stage(items)
}

// withdraw forgets the refused hand-ins that a condition on entity_claim holds
// for. Somebody may be taking one of them up at this moment, since its holder
// goes: what hands the entity in is known for sure only after that, so edges
// have to be looked at later.
func (t *tx) withdraw(condition *sqltext.Builder) error {
	if _, err := t.lockEntities("e.ref IN (SELECT ref FROM entity_claim WHERE "+condition.String()+")", condition.Args()...); err != nil {
		return err
	}
	_, err := t.ExecContext(t.ctx, "DELETE FROM entity_claim WHERE "+condition.String(), condition.Args()...)
	return err
}

// Conflict is a claim that was refused.
type Conflict struct{ Ref, Wanted, Holder string }

// stagedConflicts returns the claims in the stage that were refused.
func (t *tx) stagedConflicts() (out []Conflict, err error) {
	b := t.build()
	b.Write("SELECT s.ref, COALESCE(s.location_key, ''), COALESCE(e.location_key, '') FROM stage s JOIN entity e ON e.ref = s.ref WHERE NOT s.accepted AND s.since = ", sqltext.ID(never), " ORDER BY s.ref")
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
