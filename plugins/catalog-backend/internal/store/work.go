package store

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Work is an entity that is due.
type Work struct {
	ID          int64
	UID, Ref    string
	Lane        int
	Unprocessed string
	Hash        string // of Unprocessed
	LocationKey string
	Cache       string // JSON, or empty
	ResultHash  string
	// Waited is how long it was due.
	Waited time.Duration

	dueAt int64
}

// Claim takes up to limit entities that are due, most urgent first, and holds
// them for the lease: a claim that is not settled by then is anybody's again.
func (s *Store) Claim(ctx context.Context, limit int, lease time.Duration) ([]Work, error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return nil, err
	}
	now := s.now()
	// Most polls find nothing, and need no transaction for that.
	b := sqltext.New(s.database.Dialect())
	b.Write("SELECT 1 FROM entity_due WHERE next_at <= ", sqltext.ID(now), " AND lease_until <= ", sqltext.ID(now), " LIMIT 1")
	any := false
	if err := each(ctx, db, b, func(*sql.Rows) error { any = true; return nil }); err != nil || !any {
		return nil, err
	}
	var work []Work
	err = s.database.WriteTx(ctx, func(raw *sql.Tx) error {
		t := &tx{Tx: raw, ctx: ctx, store: s, now: now}
		work, err = t.claim(limit, lease)
		return err
	})
	return work, err
}

func (t *tx) claim(limit int, lease time.Duration) ([]Work, error) {
	now := sqltext.ID(t.now)
	b := t.build()
	b.Write("UPDATE entity_due SET holder = ", sqltext.ID(t.store.holder), ", lease_until = ", sqltext.ID(t.now+lease.Milliseconds()), " WHERE entity_id IN (",
		"SELECT entity_id FROM entity_due WHERE next_at <= ", now, " AND lease_until <= ", now, " ORDER BY lane, next_at LIMIT ", sqltext.ID(int64(limit)))
	if t.postgres() {
		b.Write(" FOR UPDATE SKIP LOCKED")
	}
	b.Write(") RETURNING entity_id, lane, next_at")
	type claim struct {
		lane int
		at   int64
	}
	claims := map[int64]claim{}
	err := t.each(b, func(rows *sql.Rows) error {
		var id int64
		var c claim
		err := rows.Scan(&id, &c.lane, &c.at)
		claims[id] = c
		return err
	})
	if err != nil || len(claims) == 0 {
		return nil, err
	}
	ids := make([]int64, 0, len(claims))
	for id := range claims {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var work []Work
	for part := range slices.Chunk(ids, chunk) {
		b := t.build()
		b.Write("SELECT id, uid, ref, unprocessed, unprocessed_hash, COALESCE(location_key, ''), COALESCE(cache, ''), COALESCE(result_hash, '') FROM entity WHERE id IN (", b.IDs(part), ")")
		err := t.each(b, func(rows *sql.Rows) error {
			var w Work
			err := rows.Scan(&w.ID, &w.UID, &w.Ref, &w.Unprocessed, &w.Hash, &w.LocationKey, &w.Cache, &w.ResultHash)
			c := claims[w.ID]
			w.Lane, w.Waited, w.dueAt = c.lane, time.Duration(t.now-c.at)*time.Millisecond, c.at
			work = append(work, w)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(work, func(a, b Work) int { return a.Lane - b.Lane })
	return work, nil
}

// Result is what processing made of an entity.
type Result struct {
	Work Work
	// Hash covers everything below but Cache and Next. If it is that of the
	// last result, nothing but the queue and the cache is written.
	Hash string
	// OK is false if there were errors: the last good state stays, and only
	// the errors are recorded.
	OK bool
	// Processed is the entity, without relations and status.
	Processed string
	// Errors is a JSON array, or empty.
	Errors    string
	Relations []catalogcommon.Relation
	Deferred  []Deferred
	Keys      []string
	// Cache replaces the cache.
	Cache string
	// Next is when the entity is due again; zero is never, unless something
	// changes.
	Next time.Time
}

// never is the time of what is not due by itself.
const never = int64(1) << 60

// Saved tells what saving results led to.
type Saved struct {
	// Stale are results of entities that were handed in anew meanwhile; they
	// are due again.
	Stale     int
	Conflicts []Conflict
	Stitched  Stitched
}

// Save writes results, and the final form of the entities that they change,
// in one transaction.
func (s *Store) Save(ctx context.Context, results []Result) (saved Saved, err error) {
	results = slices.Clone(results)
	slices.SortFunc(results, func(a, b Result) int { return compare(a.Work.Ref, b.Work.Ref) })
	var news []Result
	for _, r := range results {
		if r.Hash != r.Work.ResultHash {
			news = append(news, r)
		}
	}
	remembered := slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Hash != r.Work.ResultHash || r.Cache == r.Work.Cache })
	err = s.write(ctx, func(t *tx) error {
		saved = Saved{}
		current, err := t.current(news)
		if err != nil {
			return err
		}
		saved.Stale = len(news) - len(current)
		if err := t.settle(results, current, news); err != nil {
			return err
		}
		if err := t.saveCaches(remembered); err != nil || len(current) == 0 {
			return err
		}
		if err := t.saveStates(current); err != nil {
			return err
		}
		good := slices.DeleteFunc(slices.Clone(current), func(r Result) bool { return !r.OK })
		neighbours, err := t.saveRelations(good)
		if err != nil {
			return err
		}
		if err := t.saveKeys(good); err != nil {
			return err
		}
		if saved.Conflicts, err = t.saveChildren(good); err != nil {
			return err
		}
		saved.Stitched, err = t.stitchNow(current, neighbours)
		return err
	})
	if err != nil {
		return saved, err
	}
	return saved, s.tellPlanner(ctx, saved.Stitched.Changed)
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

// held holds for what this store claimed, and nobody took over since.
func (t *tx) held(alias string) string {
	return alias + "holder = " + sqltext.ID(t.store.holder)
}

// current keeps the results of entities that are still what was processed,
// and still this store's to process. It locks them.
func (t *tx) current(results []Result) ([]Result, error) {
	hashes := map[int64]string{}
	ids := resultIDs(results)
	for part := range slices.Chunk(ids, chunk) {
		b := t.build()
		b.Write("SELECT e.id, e.unprocessed_hash FROM entity e JOIN entity_due d ON d.entity_id = e.id WHERE ", t.held("d."), " AND e.id IN (", b.IDs(part), ")")
		if t.postgres() {
			b.Write(" ORDER BY e.ref FOR UPDATE OF e")
		}
		err := t.each(b, func(rows *sql.Rows) error {
			var id int64
			var hash string
			err := rows.Scan(&id, &hash)
			hashes[id] = hash
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return hashes[r.Work.ID] != r.Work.Hash }), nil
}

func resultIDs(results []Result) []int64 {
	ids := make([]int64, len(results))
	for i, r := range results {
		ids[i] = r.Work.ID
	}
	return ids
}

// settle gives the claims back. An entity that was handed in anew, or made
// due while it was processed, stays due.
func (t *tx) settle(results, current, news []Result) error {
	fresh := map[int64]bool{}
	for _, r := range current {
		fresh[r.Work.ID] = true
	}
	isNew := map[int64]bool{}
	for _, r := range news {
		isNew[r.Work.ID] = true
	}
	for part := range slices.Chunk(results, chunk) {
		b := t.build()
		if t.postgres() {
			b.Write("SELECT entity_id FROM entity_due WHERE entity_id IN (", b.IDs(resultIDs(part)), ") ORDER BY entity_id FOR UPDATE")
			if _, err := t.exec(b); err != nil {
				return err
			}
			b = t.build()
		}
		b.Write("UPDATE entity_due SET lane = ", sqltext.ID(LanePeriodic), ", next_at = n.column2 FROM (VALUES ")
		count := 0
		for _, r := range part {
			if isNew[r.Work.ID] && !fresh[r.Work.ID] {
				continue // stale: only the lease ends, below
			}
			if count > 0 {
				b.Write(",")
			}
			count++
			next := never
			if !r.Next.IsZero() {
				next = r.Next.UnixMilli()
			}
			b.Write("(", sqltext.ID(r.Work.ID), ",", sqltext.ID(next), ",", sqltext.ID(r.Work.dueAt), ",", sqltext.ID(int64(r.Work.Lane)), ")")
		}
		// A row whose time or lane is not what was claimed was made due again
		// meanwhile.
		b.Write(") AS n WHERE ", t.held("entity_due."), " AND entity_due.entity_id = n.column1 AND entity_due.next_at = n.column3 AND entity_due.lane = n.column4")
		if count > 0 {
			if _, err := t.exec(b); err != nil {
				return err
			}
		}
	}
	return t.forIDs("UPDATE entity_due SET lease_until = 0, holder = 0 WHERE "+t.held("")+" AND entity_id IN ", resultIDs(results), "")
}

// saveStates writes what became of the entities; without success, what they
// were stays.
func (t *tx) saveStates(results []Result) error {
	return updateRows(t, "result_hash = n.column2, errors = n.column3, cache = n.column4, processed = COALESCE(n.column5, entity.processed)", results,
		func(r Result) (int64, []any) {
			var processed any
			if r.OK {
				processed = r.Processed
			}
			return r.Work.ID, []any{r.Hash, nullable(r.Errors), nullable(r.Cache), processed}
		})
}

// saveCaches writes what processors remember although their results are what
// they were.
func (t *tx) saveCaches(results []Result) error {
	return updateRows(t, "cache = n.column2", results, func(r Result) (int64, []any) { return r.Work.ID, []any{nullable(r.Cache)} })
}

// triple is a relation of an origin.
type triple struct {
	origin               int64
	source, kind, target string
}

// saveRelations writes the difference, and returns the refs whose relations
// changed.
func (t *tx) saveRelations(results []Result) ([]string, error) {
	want := map[triple]bool{}
	for _, r := range results {
		for _, rel := range r.Relations {
			want[triple{r.Work.ID, rel.Source.String(), rel.Type, rel.Target.String()}] = true
		}
	}
	have := map[triple]bool{}
	for part := range slices.Chunk(resultIDs(results), chunk) {
		b := t.build()
		b.Write("SELECT origin_id, source_ref, type, target_ref FROM relation WHERE origin_id IN (", b.IDs(part), ")")
		err := t.each(b, func(rows *sql.Rows) error {
			var x triple
			err := rows.Scan(&x.origin, &x.source, &x.kind, &x.target)
			have[x] = true
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var added, removed []triple
	touched := map[string]bool{}
	for x := range want {
		if !have[x] {
			added = append(added, x)
			touched[x.source] = true
		}
	}
	for x := range have {
		if !want[x] {
			removed = append(removed, x)
			touched[x.source] = true
		}
	}
	for _, x := range removed {
		b := t.build()
		b.Write("DELETE FROM relation WHERE origin_id = ", sqltext.ID(x.origin), " AND source_ref = ", b.Arg(x.source), " AND type = ", b.Arg(x.kind), " AND target_ref = ", b.Arg(x.target))
		if _, err := t.exec(b); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(added, func(a, b triple) int {
		if a.origin != b.origin {
			return int(a.origin - b.origin)
		}
		return compare(a.source+a.kind+a.target, b.source+b.kind+b.target)
	})
	err := insertRows(t, "INSERT INTO relation (origin_id, source_ref, type, target_ref) VALUES ", " ON CONFLICT DO NOTHING",
		added, func(x triple) []any { return []any{x.origin, x.source, x.kind, x.target} })
	refs := make([]string, 0, len(touched))
	for ref := range touched {
		refs = append(refs, ref)
	}
	slices.Sort(refs)
	return refs, err
}

func (t *tx) saveKeys(results []Result) error {
	if err := t.forIDs("DELETE FROM refresh_key WHERE entity_id IN ", resultIDs(results), ""); err != nil {
		return err
	}
	type row struct {
		id  int64
		key string
	}
	var rows []row
	for _, r := range results {
		for _, k := range r.Keys {
			rows = append(rows, row{r.Work.ID, k})
		}
	}
	return insertRows(t, "INSERT INTO refresh_key (entity_id, key) VALUES ", " ON CONFLICT DO NOTHING", rows,
		func(r row) []any { return []any{r.id, r.key} })
}

// saveChildren merges what the entities emitted. A child that its parent no
// longer emits becomes a candidate orphan, unless somebody else hands it in or
// takes it over.
func (t *tx) saveChildren(results []Result) ([]Conflict, error) {
	var all []staged
	var twice []Conflict
	for _, r := range results {
		places := map[string]int{}
		for _, d := range r.Deferred {
			// Of two documents with one ref, the last one in a file counts, and the
			// first of several files.
			i, seen := places[d.Ref]
			switch {
			case !seen:
				places[d.Ref] = len(all)
				all = append(all, staged{Deferred: d, parent: r.Work.ID, since: never})
			case all[i].LocationKey == d.LocationKey:
				all[i].Deferred = d
			default:
				twice = append(twice, Conflict{Ref: d.Ref, Wanted: d.LocationKey, Holder: all[i].LocationKey})
			}
		}
	}
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
	for part := range slices.Chunk(parents, chunk) {
		b := t.build()
		b.Write("UPDATE entity_due SET lane = ", sqltext.ID(LaneInteractive), " WHERE next_at <= ", sqltext.ID(t.now), " AND lane > ", sqltext.ID(LaneInteractive),
			" AND entity_id IN (SELECT target_id FROM entity_edge WHERE parent_id IN (", b.IDs(part), "))")
		if _, err := t.exec(b); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) hadChildren(parents []int64) (bool, error) {
	for part := range slices.Chunk(parents, chunk) {
		b := t.build()
		b.Write("SELECT parent_id FROM entity_edge WHERE parent_id IN (", b.IDs(part), ")",
			" UNION ALL SELECT parent_id FROM entity_claim WHERE parent_id IN (", b.IDs(part), ") LIMIT 1")
		if ids, err := t.ids(b); err != nil || len(ids) > 0 {
			return true, err
		}
	}
	return false, nil
}

// dropChildren takes away the edges and refused claims of parents that are not
// in the stage any more, or there with another claim.
func (t *tx) dropChildren(parents []int64) error {
	b := t.build()
	b.Write("DELETE FROM entity_edge WHERE parent_id IN (", b.IDs(parents), ") AND NOT EXISTS (SELECT 1 FROM stage s JOIN entity e ON e.ref = s.ref",
		" WHERE e.id = entity_edge.target_id AND s.parent_id = entity_edge.parent_id AND s.location_key IS NOT DISTINCT FROM e.location_key) RETURNING target_id")
	targets, err := t.ids(b)
	if err != nil {
		return err
	}
	b = t.build()
	b.Write("DELETE FROM entity_claim WHERE parent_id IN (", b.IDs(parents), ") AND NOT EXISTS (SELECT 1 FROM stage s WHERE s.ref = entity_claim.ref AND s.parent_id = entity_claim.parent_id)")
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
	b.Write("SELECT DISTINCT parent_id FROM entity_edge WHERE target_id IN (", b.IDs(ids), ")")
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
	if err := insertRows(t, "INSERT INTO orphan_candidate (entity_id, since) VALUES ", " ON CONFLICT (entity_id) DO UPDATE SET since = excluded.since",
		ids, func(id int64) []any { return []any{id, t.now} }); err != nil {
		return err
	}
	if err := t.dirty(ids); err != nil {
		return err
	}
	b = t.build()
	b.Write("SELECT e.ref FROM entity e WHERE e.id IN (", b.IDs(ids), ") AND ", vacant,
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

// Renew extends the claims of entities.
func (s *Store) Renew(ctx context.Context, ids []int64, lease time.Duration) error {
	return s.setLease(ctx, ids, s.now()+lease.Milliseconds())
}

// Release gives claims back: the entities are due for anybody at once.
func (s *Store) Release(ctx context.Context, ids []int64) error { return s.setLease(ctx, ids, 0) }

// Postpone gives a claim back that is to be taken again after a while.
func (s *Store) Postpone(ctx context.Context, id int64, delay time.Duration) error {
	return s.setLease(ctx, []int64{id}, s.now()+delay.Milliseconds())
}

func (s *Store) setLease(ctx context.Context, ids []int64, until int64) error {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return s.database.WriteTx(ctx, func(raw *sql.Tx) error {
		t := &tx{Tx: raw, ctx: ctx, store: s, now: s.now()}
		return t.forIDs("UPDATE entity_due SET lease_until = "+sqltext.ID(until)+" WHERE "+t.held("")+" AND entity_id IN ", ids, "")
	})
}
