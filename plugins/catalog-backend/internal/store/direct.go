package store

import (
	"context"
	"database/sql"
	"runtime"
	"slices"
	"sync"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

// Entities that a provider hands in for the first time, and that are ready, are
// written in their final state at once: with their relations, final forms and
// search rows, and with nothing to do in the queue. Each row is written once.

// loadReady writes those of the entities in the spool that are ready and new,
// and returns the numbers of the others. The numbers are sorted.
func (t *tx) loadReady(provider string, in *spool, seqs []int64, r *Report) ([]int64, error) {
	if !slices.Contains(in.ready, true) {
		return seqs, nil
	}
	isKnown, err := t.knownRefs(in)
	if err != nil {
		return nil, err
	}
	var direct, rest []int64
	for _, seq := range seqs {
		if in.isReady(seq) && !isKnown[seq] {
			direct = append(direct, seq)
		} else {
			rest = append(rest, seq)
		}
	}
	if len(direct) == 0 {
		return rest, nil
	}
	ids, err := t.newEntityIDs(len(direct))
	if err != nil {
		return nil, err
	}
	l := &directLoad{tx: t, provider: provider, in: in, seqs: direct, ids: ids}
	if err := l.loadRelations(); err != nil {
		return nil, err
	}
	if err := l.loadEntities(); err != nil {
		return nil, err
	}
	r.Added, r.Finals = len(direct), len(direct)
	if !t.postgres() {
		return rest, nil // there is one writer at a time
	}
	return rest, l.noteLoads()
}

// noteLoads notes what CheckLoads has to look at.
func (l *directLoad) noteLoads() error {
	type run struct {
		first, last int64
		doubtful    bool
	}
	var runs []run
	for _, id := range l.ids {
		if n := len(runs); n > 0 && runs[n-1].last == id-1 {
			runs[n-1].last = id
		} else {
			runs = append(runs, run{first: id, last: id})
		}
	}
	for _, id := range l.related {
		runs = append(runs, run{id, id, true})
	}
	return l.load("entity_load", []string{"first_id", "last_id", "doubtful"}, len(runs), func(i int, row []any) []any {
		return append(row, runs[i].first, runs[i].last, runs[i].doubtful)
	})
}

// knownRefs returns the numbers of ready entities in the spool whose refs
// somebody has handed in.
func (t *tx) knownRefs(in *spool) (map[int64]bool, error) {
	b := t.build()
	b.Write("SELECT 1 WHERE EXISTS (SELECT 1 FROM entity) OR EXISTS (SELECT 1 FROM entity_claim)")
	if any, err := t.ids(b); err != nil || len(any) == 0 {
		return nil, err
	}
	out := map[int64]bool{}
	refs, place, seq := make([]string, 0, arrayRows), map[string]int64{}, int64(-1)
	find := func() error {
		b := t.build()
		b.Write("SELECT ref FROM entity WHERE ref ", b.AnyText(refs), " UNION ALL SELECT ref FROM entity_claim WHERE ref ", b.AnyText(refs))
		err := t.each(b, func(rows *sql.Rows) error {
			var ref string
			err := rows.Scan(&ref)
			out[place[ref]] = true
			return err
		})
		refs = refs[:0]
		clear(place)
		return err
	}
	for d, err := range in.entities(nil) {
		if err != nil {
			return nil, err
		}
		if seq++; !in.isReady(seq) {
			continue
		}
		refs, place[d.Ref] = append(refs, d.Ref), seq
		if len(refs) == cap(refs) {
			if err := find(); err != nil {
				return nil, err
			}
		}
	}
	return out, find()
}

// newEntityIDs returns ids that no entity has, in ascending order.
func (t *tx) newEntityIDs(n int) ([]int64, error) {
	b := t.build()
	if t.postgres() {
		b.Write("SELECT nextval(pg_get_serial_sequence('entity', 'id')) FROM generate_series(1, ", sqltext.ID(int64(n)), ")")
		ids, err := t.ids(b)
		slices.Sort(ids)
		return ids, err
	}
	b.Write("SELECT seq FROM sqlite_sequence WHERE name = 'entity'")
	last, err := t.ids(b)
	ids := make([]int64, n)
	for i := range ids {
		if ids[i] = int64(i + 1); len(last) > 0 {
			ids[i] += last[0]
		}
	}
	return ids, err
}

// directLoad is the writing of new entities.
type directLoad struct {
	*tx
	provider  string
	in        *spool
	seqs, ids []int64 // of the entities
	related   []int64 // of those that entities have relations to which were there before
}

// each calls fn for the entities, in order.
func (l *directLoad) each(want parts, fn func(i int, d Deferred) error) error {
	next, seq := 0, -1
	for d, err := range l.in.entities(func(seq int) parts {
		if next < len(l.seqs) && l.seqs[next] == int64(seq) {
			return want
		}
		return heads
	}) {
		if err != nil {
			return err
		}
		if seq++; next == len(l.seqs) {
			return nil
		}
		if l.seqs[next] != int64(seq) {
			continue
		}
		if err := fn(next, d); err != nil {
			return err
		}
		next++
	}
	return nil
}

// loadRelations writes the relations, and marks entities that are there and
// have new ones.
func (l *directLoad) loadRelations() error {
	part := make([]triple, 0, arrayRows)
	load := func() error {
		err := l.load("relation", relationColumns, len(part), func(i int, row []any) []any {
			return append(row, part[i].origin, part[i].source, part[i].kind, part[i].target)
		})
		part = part[:0]
		return err
	}
	err := l.each(relations, func(i int, d Deferred) error {
		for _, r := range d.Ready.relations {
			if part = append(part, newTriple(l.ids[i], d.Ref, r)); len(part) == cap(part) {
				if err := load(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := load(); err != nil {
		return err
	}
	// The new entities are not there yet.
	return l.run("INSERT INTO entity_dirty (entity_id, since) SELECT DISTINCT e.id, " + sqltext.ID(l.now) + " FROM relation r JOIN entity e ON e.ref = r.source_ref" +
		" WHERE " + foreign + " AND r.origin_id BETWEEN " + sqltext.ID(l.ids[0]) + " AND " + sqltext.ID(l.ids[len(l.ids)-1]) + " AND EXISTS (SELECT 1 FROM entity)")
}

var relationColumns = []string{"origin_id", "source_ref", "type", "target_ref"}

// directRows is how many entities are completed at a time.
const directRows = 256

// newEntity is an entity on its way into the tables.
type newEntity struct {
	id int64
	Deferred
	relations []catalogcommon.EntityRelation
	final     readyFinal
}

// loadEntities writes the entities, while the next ones are completed.
func (l *directLoad) loadEntities() error {
	var before []newEntity
	next := func(part []newEntity) error {
		keys, err := l.relate(part)
		if err != nil {
			return err
		}
		var completing sync.WaitGroup
		workers := min(runtime.GOMAXPROCS(0), len(part))
		for w := range workers {
			completing.Go(func() {
				for i := w; i < len(part); i += workers {
					part[i].final = part[i].Ready.complete(part[i].relations, keys)
				}
			})
		}
		err = l.write(before)
		completing.Wait()
		before = part
		return err
	}
	part, size := make([]newEntity, 0, directRows), 0
	err := l.each(everything, func(i int, d Deferred) error {
		part = append(part, newEntity{id: l.ids[i], Deferred: d})
		if size += len(d.Body) + len(d.Ready.text); len(part) < cap(part) && size < stageMemory {
			return nil
		}
		err := next(part)
		part, size = make([]newEntity, 0, directRows), 0
		return err
	})
	if err != nil {
		return err
	}
	if err := next(part); err != nil {
		return err
	}
	return l.write(before)
}

// relate finds the relations of entities, and the ids of the search keys that
// these have.
func (l *directLoad) relate(part []newEntity) (map[string]int64, error) {
	if len(part) == 0 {
		return nil, nil
	}
	refs := make([]string, len(part))
	for i, e := range part {
		refs[i] = e.Ref
	}
	place := make(map[string]int, len(part))
	for i, e := range part {
		place[e.Ref] = i
	}
	types := map[string]bool{}
	var rows []entitysearch.Row
	add := func(e *newEntity, r catalogcommon.EntityRelation) {
		e.relations = append(e.relations, r)
		if !types[r.Type] {
			types[r.Type] = true
			if key := entitysearch.Fold(entitysearch.RelationPrefix + r.Type); !entitysearch.TooLong(key) {
				rows = append(rows, entitysearch.Row{Key: key})
			}
		}
	}
	for i := range part {
		for _, own := range part[i].Ready.relations {
			if own.source == part[i].Ref {
				add(&part[i], catalogcommon.EntityRelation{Type: own.kind, TargetRef: own.target})
			}
		}
	}
	b := l.build()
	b.Write("SELECT origin_id, source_ref, type, target_ref FROM relation WHERE ", foreign, " AND source_ref ", b.AnyText(refs)) // several origins may say the same
	err := l.tx.each(b, func(found *sql.Rows) error {
		var origin int64
		var source string
		var r catalogcommon.EntityRelation
		if err := found.Scan(&origin, &source, &r.Type, &r.TargetRef); err != nil {
			return err
		}
		e := &part[place[source]]
		add(e, r)
		if _, mine := slices.BinarySearch(l.ids, origin); !mine && (len(l.related) == 0 || l.related[len(l.related)-1] != e.id) {
			l.related = append(l.related, e.id)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l.keyIDs([]final{{rows: rows}})
}

// write writes entities that are complete.
func (l *directLoad) write(part []newEntity) error {
	err := l.load("entity", []string{"id", "uid", "ref", "location_key", "unprocessed", "unprocessed_hash", "processed", "result_hash", "cache", "final", "final_hash", "discovered_at", "updated_at"},
		len(part), func(i int, row []any) []any {
			e := &part[i]
			return append(row, e.id, e.Ready.uid, e.Ref, nullable(e.LocationKey), e.Body, e.Hash, fromFinal, e.Ready.hash, nullable(e.Ready.cache), e.final.text, e.final.hash, l.now, l.now)
		})
	if err != nil {
		return err
	}
	if err := l.load("provider_edge", []string{"provider", "target_id", "ref", "hash", "location_key"}, len(part), func(i int, row []any) []any {
		return append(row, l.provider, part[i].id, part[i].Ref, part[i].Hash, part[i].LocationKey)
	}); err != nil {
		return err
	}
	if err := l.load("entity_due", []string{"entity_id", "lane", "next_at"}, len(part), func(i int, row []any) []any {
		return append(row, part[i].id, int16(LanePeriodic), never)
	}); err != nil {
		return err
	}
	if err := l.writeRows(part); err != nil {
		return err
	}
	if err := l.load("entity_change", []string{"entity_id", "deleted"}, len(part), func(i int, row []any) []any { return append(row, part[i].id, false) }); err != nil {
		return err
	}
	var doubtful []int64
	for _, e := range part {
		if e.final.doubtful {
			doubtful = append(doubtful, e.id)
		}
	}
	return l.dirty(doubtful)
}

func (l *directLoad) writeRows(part []newEntity) error {
	if !l.store.eager {
		return l.load("search_behind", []string{"entity_id", "rows"}, len(part), func(i int, row []any) []any { return append(row, part[i].id, part[i].final.rows) })
	}
	var rows []searchRow
	for _, e := range part {
		var err error
		if rows, err = appendSearchRows(rows, e.id, e.final.rows); err != nil {
			return err
		}
	}
	return l.loadSearch(rows)
}

// CheckLoads marks what may be related to entities that were written in their
// final state, and was not seen by their transaction, nor saw them: another
// transaction was under way. It has to be called until left is false: first all
// transactions that were under way have to end.
func (s *Store) CheckLoads(ctx context.Context) (left bool, err error) {
	db, err := s.database.DB(ctx)
	if err != nil || s.database.Dialect() != core.PostgreSQL {
		return false, err
	}
	b := sqltext.New(s.database.Dialect())
	b.Write("SELECT 1 FROM entity_load LIMIT 1")
	if err := each(ctx, db, b, func(*sql.Rows) error { left = true; return nil }); err != nil || !left {
		return false, err
	}
	err = s.transaction(ctx, func(t *tx) error {
		left = false
		b := t.build()
		// All transactions that have written something by now have smaller numbers.
		b.Write("UPDATE entity_load SET until = txid_snapshot_xmax(txid_current_snapshot()) WHERE until = 0")
		if n, err := t.exec(b); err != nil || n > 0 {
			left = true
			return err
		}
		if err := t.checkLoads(); err != nil {
			return err
		}
		b = t.build()
		b.Write("SELECT 1 FROM entity_load LIMIT 1")
		return t.each(b, func(*sql.Rows) error { left = true; return nil })
	})
	return left, err
}

func (t *tx) checkLoads() error {
	type load struct {
		first, last int64
		doubtful    bool
	}
	var loads []load
	b := t.build()
	b.Write("DELETE FROM entity_load WHERE until <= txid_snapshot_xmin(txid_current_snapshot()) RETURNING first_id, last_id, doubtful")
	if err := t.each(b, func(rows *sql.Rows) error {
		var l load
		err := rows.Scan(&l.first, &l.last, &l.doubtful)
		loads = append(loads, l)
		return err
	}); err != nil {
		return err
	}
	mark := "INSERT INTO entity_dirty (entity_id, since) SELECT DISTINCT e.id, " + sqltext.ID(t.now) + " FROM entity e "
	for _, l := range loads {
		among := " BETWEEN " + sqltext.ID(l.first) + " AND " + sqltext.ID(l.last)
		if l.doubtful {
			// A relation that was seen may have gone meanwhile.
			if err := t.run(mark + "WHERE e.id" + among); err != nil {
				return err
			}
			continue
		}
		related := "JOIN relation r ON r.source_ref = e.ref WHERE " + foreign + " AND "
		if err := t.run(mark+related+"e.id"+among+" AND r.origin_id NOT"+among, mark+related+"r.origin_id"+among+" AND e.id NOT"+among); err != nil {
			return err
		}
	}
	return nil
}
