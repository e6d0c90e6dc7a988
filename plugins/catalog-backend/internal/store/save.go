package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

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
	// Entity is what Processed is the text of. It is optional, spares reading
	// the text, and is Save's to change, however that ends.
	Entity catalogcommon.Entity
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

	links []link // of Relations, once they were asked for
}

// link is a relation without its origin.
type link struct{ source, kind, target string }

func (r *Result) related() []link {
	if len(r.links) != len(r.Relations) {
		r.links = make([]link, len(r.Relations))
		for i, rel := range r.Relations {
			r.links[i] = link{rel.Source.String(), rel.Type, rel.Target.String()}
		}
	}
	return r.links
}

// RelationLines returns a line for each of the relations.
func (r *Result) RelationLines() []string {
	out := make([]string, len(r.Relations))
	for i, l := range r.related() {
		out[i] = l.source + " " + l.kind + " " + l.target
	}
	return out
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
	results = distinct(results)
	var news []Result
	for _, r := range results {
		if r.Hash != r.Work.ResultHash {
			news = append(news, r)
		}
	}
	remembered := slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Hash != r.Work.ResultHash || r.Cache == r.Work.Cache })
	anew := false
	err = s.write(ctx, func(t *tx) error {
		if anew {
			// The first try changed the entities.
			for i := range news {
				news[i].Entity = nil
			}
		}
		anew = true
		saved = Saved{}
		current, known, err := t.current(news)
		if err != nil {
			return err
		}
		saved.Stale = len(news) - len(current)
		if err := t.settle(results, current, news); err != nil {
			return err
		}
		if err := t.saveCaches(remembered); err != nil || len(current) == 0 {
			t.quiet = true
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
		if saved.Stitched, err = t.saveStates(current, known); err != nil {
			return err
		}
		// Neighbours follow soon: many entities have the same ones, and locking
		// them here would make transactions wait for each other in circles.
		here := make(map[string]bool, len(current))
		for _, r := range current {
			here[r.Work.Ref] = true
		}
		return t.dirtyRefs(neighbours, here)
	})
	if err != nil {
		return saved, err
	}
	return saved, s.tellPlanner(ctx, saved.Stitched.Changed)
}

// distinct returns the results by ref, and of several of an entity, which was
// claimed again after its lease had run out, the last.
func distinct(results []Result) []Result {
	results = slices.Clone(results)
	slices.Reverse(results)
	slices.SortStableFunc(results, func(a, b Result) int { return compare(a.Work.Ref, b.Work.Ref) })
	return slices.CompactFunc(results, func(a, b Result) bool { return a.Work.ID == b.Work.ID })
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

// state is what an entity was before a result.
type state struct {
	hash      string // of what was handed in
	finalHash sql.NullString
}

// current keeps the results of entities that are still what was processed,
// and still this store's to process. It locks them.
func (t *tx) current(results []Result) ([]Result, map[int64]state, error) {
	if len(results) == 0 {
		return nil, nil, nil
	}
	known := make(map[int64]state, len(results))
	b := t.build()
	b.Write("SELECT e.id, e.unprocessed_hash, e.final_hash FROM entity e JOIN entity_due d ON d.entity_id = e.id WHERE ", t.held("d."), " AND e.id ", b.AnyID(resultIDs(results)))
	if t.postgres() {
		b.Write(" ORDER BY e.ref FOR UPDATE OF e")
	}
	err := t.each(b, func(rows *sql.Rows) error {
		var id int64
		var s state
		err := rows.Scan(&id, &s.hash, &s.finalHash)
		known[id] = s
		return err
	})
	return slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return known[r.Work.ID].hash != r.Work.Hash }), known, err
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
	stale := make(map[int64]bool, len(news))
	for _, r := range news {
		stale[r.Work.ID] = true
	}
	for _, r := range current {
		stale[r.Work.ID] = false
	}
	if t.postgres() {
		b := t.build()
		b.Write("SELECT entity_id FROM entity_due WHERE entity_id ", b.AnyID(resultIDs(results)), " ORDER BY entity_id FOR UPDATE")
		if _, err := t.exec(b); err != nil {
			return err
		}
	}
	var ids, nexts, times, lanes []int64
	for _, r := range results {
		next, at := never, r.Work.dueAt
		if !r.Next.IsZero() {
			next = r.Next.UnixMilli()
		}
		if stale[r.Work.ID] {
			at = never // only the lease ends
		}
		ids, nexts, times, lanes = append(ids, r.Work.ID), append(nexts, next), append(times, at), append(lanes, int64(r.Work.Lane))
	}
	// A row whose time or lane is not what was claimed was made due again
	// meanwhile.
	const asClaimed = "CASE WHEN entity_due.next_at = n.c3 AND entity_due.lane = n.c4 THEN "
	_, err := t.withRows("UPDATE entity_due SET lane = "+asClaimed+sqltext.ID(LanePeriodic)+" ELSE entity_due.lane END, next_at = "+asClaimed+"n.c2 ELSE entity_due.next_at END,"+
		" lease_until = 0, holder = 0 FROM", len(ids), " WHERE "+t.held("entity_due.")+" AND entity_due.entity_id = n.c1",
		numbers(ids), numbers(nexts), numbers(times), numbers(lanes))
	return err
}

// saveStates writes what became of the entities, and their final forms;
// without success, what they were stays, with the errors.
func (t *tx) saveStates(results []Result, known map[int64]state) (Stitched, error) {
	bases := make([]base, 0, len(results))
	var failed []int64
	for _, r := range results {
		if !r.OK {
			failed = append(failed, r.Work.ID)
			continue
		}
		bases = append(bases, base{id: r.Work.ID, uid: r.Work.UID, ref: r.Work.Ref, processed: r.Processed, entity: r.Entity, errors: r.Errors, hash: known[r.Work.ID].finalHash})
	}
	old, err := t.bases(failed)
	if err != nil {
		return Stitched{}, err
	}
	errors := map[int64]string{}
	for _, r := range results {
		errors[r.Work.ID] = r.Errors
	}
	for _, o := range old {
		o.errors = errors[o.id]
		bases = append(bases, o)
	}
	finals, done, err := t.finals(bases)
	if err != nil {
		return done, err
	}
	changed := make(map[int64]final, len(finals))
	for _, f := range finals {
		changed[f.id] = f
	}
	var ids []int64
	var hashes, errs, caches, processed, texted, finalHashes []string
	for _, r := range results {
		text := ""
		if r.OK {
			text = r.Processed
		}
		f, ok := changed[r.Work.ID]
		if ok {
			text = f.processed
		}
		ids, hashes, errs, caches = append(ids, r.Work.ID), append(hashes, r.Hash), append(errs, r.Errors), append(caches, r.Cache)
		processed, texted, finalHashes = append(processed, text), append(texted, f.entity), append(finalHashes, f.hash)
	}
	if _, err := t.withRows("UPDATE entity SET result_hash = n.c2, errors = NULLIF(n.c3, ''), cache = NULLIF(n.c4, ''), processed = COALESCE(NULLIF(n.c5, ''), entity.processed),"+
		" final = COALESCE(NULLIF(n.c6, ''), entity.final), final_hash = COALESCE(NULLIF(n.c7, ''), entity.final_hash),"+
		" updated_at = CASE WHEN n.c6 = '' THEN entity.updated_at ELSE n.c8 END FROM", len(ids), " WHERE entity.id = n.c1",
		numbers(ids), texts(hashes), texts(errs), texts(caches), texts(processed), texts(texted), texts(finalHashes), numbers(repeat(t.now, len(ids)))); err != nil {
		return done, err
	}
	return done, t.saveSearch(finals)
}

// saveCaches writes what processors remember although their results are what
// they were.
func (t *tx) saveCaches(results []Result) error {
	caches := make([]string, len(results))
	for i, r := range results {
		caches[i] = r.Cache
	}
	_, err := t.withRows("UPDATE entity SET cache = NULLIF(n.c2, '') FROM", len(results), " WHERE entity.id = n.c1", numbers(resultIDs(results)), texts(caches))
	return err
}

// triple is a relation of an origin, which is its source if that is empty.
type triple struct {
	origin               int64
	source, kind, target string
}

// foreign holds for a row of relation whose source is not its origin.
const foreign = "source_ref <> ''"

func newTriple(origin int64, ref string, l link) triple {
	if l.source == ref {
		l.source = ""
	}
	return triple{origin, l.source, l.kind, l.target}
}

// saveRelations writes the difference, and returns the refs whose relations
// changed.
func (t *tx) saveRelations(results []Result) ([]string, error) {
	if len(results) == 0 {
		return nil, nil
	}
	want := map[triple]bool{}
	var added []triple
	for _, r := range results {
		for _, l := range r.related() {
			x := newTriple(r.Work.ID, r.Work.Ref, l)
			if !want[x] {
				want[x] = true
				added = append(added, x)
			}
		}
	}
	have := map[triple]bool{}
	touched := map[string]bool{}
	var removed []triple
	b := t.build()
	b.Write("SELECT origin_id, source_ref, type, target_ref FROM relation WHERE origin_id ", b.AnyID(resultIDs(results)))
	err := t.each(b, func(rows *sql.Rows) error {
		var x triple
		err := rows.Scan(&x.origin, &x.source, &x.kind, &x.target)
		if have[x] = true; !want[x] {
			removed = append(removed, x)
			touched[x.source] = true
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	added = slices.DeleteFunc(added, func(x triple) bool { return have[x] })
	for _, x := range added {
		touched[x.source] = true
	}
	if len(removed) > 0 {
		ids, sources, kinds, targets := make([]int64, len(removed)), make([]string, len(removed)), make([]string, len(removed)), make([]string, len(removed))
		for i, x := range removed {
			ids[i], sources[i], kinds[i], targets[i] = x.origin, x.source, x.kind, x.target
		}
		head, tail := "DELETE FROM relation USING", " WHERE origin_id = n.c1 AND source_ref = n.c2 AND type = n.c3 AND target_ref = n.c4"
		if !t.postgres() {
			head, tail = "DELETE FROM relation WHERE (origin_id, source_ref, type, target_ref) IN (SELECT c1, c2, c3, c4 FROM", ")"
		}
		if _, err := t.withRows(head, len(ids), tail, numbers(ids), texts(sources), texts(kinds), texts(targets)); err != nil {
			return nil, err
		}
	}
	err = t.load("relation", relationColumns, len(added), func(i int, row []any) []any {
		return append(row, added[i].origin, added[i].source, added[i].kind, added[i].target)
	})
	delete(touched, "") // what is saved is built anew in any case
	return slices.Sorted(maps.Keys(touched)), err
}

func (t *tx) saveKeys(results []Result) error {
	if len(results) == 0 {
		return nil
	}
	if err := t.forIDs("DELETE FROM refresh_key WHERE entity_id", resultIDs(results), ""); err != nil {
		return err
	}
	var ids []int64
	var keys []string
	for _, r := range results {
		for _, k := range r.Keys {
			ids, keys = append(ids, r.Work.ID), append(keys, k)
		}
	}
	_, err := t.withRows("INSERT INTO refresh_key (entity_id, key) SELECT c1, c2 FROM", len(ids), " WHERE true ON CONFLICT DO NOTHING", numbers(ids), texts(keys))
	return err
}
