package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"sync"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/behind"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/postings"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// follower brings terms in step with the database. One goroutine uses it.
type follower struct {
	database  core.DatabaseService
	terms     *postings.Index
	room      []row            // for documents
	fields    map[int64]uint32 // numbers of search keys in the terms, by their ids
	cursor    int64            // version of the last change that was read
	gaps      []gap
	maxMemory int64
	// applied is how many entities changed since the terms were compacted, and
	// appliedBefore what it was at the last look at the database.
	applied, appliedBefore int
}

// gap is a range of versions that were not there when later ones were.
type gap struct {
	from, to int64
	// until is the number of a transaction: when all before it have ended, the
	// versions that are still not there never will be. It is 0 until it is
	// known.
	until int64
}

// errBroken says that the terms are of no use any more.
var errBroken = errors.New("the index is broken")

const (
	loadPage   = 1000
	keyPage    = 10_000
	changePage = 5000
	idChunk    = 500
	gapChunk   = 100
	// maxGaps is more than interrupted transactions leave behind.
	maxGaps = 100_000
)

func (f *follower) build() *sqltext.Builder { return sqltext.New(f.database.Dialect()) }

// load reads all entities. What changes meanwhile is behind the cursor, or in
// a gap.
func (f *follower) load(ctx context.Context) error {
	b := f.build()
	b.Write("SELECT COALESCE(MAX(version), 0) FROM entity_change")
	if err := f.each(ctx, b, func(rows *sql.Rows) error { return rows.Scan(&f.cursor) }); err != nil {
		return err
	}
	if err := f.findGaps(ctx); err != nil {
		return err
	}
	if err := f.loadKeys(ctx); err != nil {
		return err
	}
	for last := int64(0); ; {
		to := last
		b := f.build()
		b.Write("SELECT COALESCE(MAX(id), 0) FROM (SELECT id FROM entity WHERE id > ", sqltext.ID(last), " ORDER BY id LIMIT ", sqltext.ID(loadPage), ") AS page")
		if err := f.each(ctx, b, func(rows *sql.Rows) error { return rows.Scan(&to) }); err != nil || to == 0 {
			return err
		}
		documents, err := f.documents(ctx, func(*sqltext.Builder) string { return "BETWEEN " + sqltext.ID(last+1) + " AND " + sqltext.ID(to) })
		if err != nil {
			return err
		}
		if err := f.apply(documents, nil); err != nil {
			return err
		}
		last = to
	}
}

// findGaps finds versions below the cursor that are not there: transactions
// that are under way may have them.
func (f *follower) findGaps(ctx context.Context) error {
	if f.database.Dialect() != core.PostgreSQL || f.cursor == 0 {
		return nil
	}
	b := f.build()
	b.Write("SELECT p, version FROM (SELECT version, COALESCE(LAG(version) OVER (ORDER BY version), 0) AS p FROM entity_change WHERE version <= ",
		sqltext.ID(f.cursor), ") AS v WHERE version > p + 1")
	err := f.each(ctx, b, func(rows *sql.Rows) error {
		var before, after int64
		err := rows.Scan(&before, &after)
		f.gaps = append(f.gaps, gap{from: before + 1, to: after - 1})
		return err
	})
	if err != nil {
		return err
	}
	return f.dateGaps(ctx)
}

// dateGaps notes on new gaps which transactions may fill them: those that have
// a number by now, since a transaction has one before it has a version.
func (f *follower) dateGaps(ctx context.Context) error {
	if !slices.ContainsFunc(f.gaps, func(g gap) bool { return g.until == 0 }) {
		return nil
	}
	if len(f.gaps) > maxGaps {
		return fmt.Errorf("there are %d gaps between the changes of the catalog, more than can be followed", len(f.gaps))
	}
	_, next, err := f.transactions(ctx)
	for i := range f.gaps {
		if f.gaps[i].until == 0 {
			f.gaps[i].until = next
		}
	}
	return err
}

// transactions returns the number of the oldest transaction under way and the
// number of the next one.
func (f *follower) transactions(ctx context.Context) (oldest, next int64, err error) {
	b := f.build()
	b.Write("SELECT txid_snapshot_xmin(s), txid_snapshot_xmax(s) FROM txid_current_snapshot() AS s")
	err = f.each(ctx, b, func(rows *sql.Rows) error { return rows.Scan(&oldest, &next) })
	return oldest, next, err
}

// fillGaps returns entities whose changes appeared in gaps, and closes gaps
// that nothing can appear in any more.
func (f *follower) fillGaps(ctx context.Context) (changed []int64, err error) {
	if len(f.gaps) == 0 {
		return nil, nil
	}
	oldest, _, err := f.transactions(ctx)
	if err != nil {
		return nil, err
	}
	// What ended before that is visible now.
	var open []gap
	for part := range slices.Chunk(f.gaps, gapChunk) {
		b := f.build()
		b.Write("SELECT version, entity_id FROM entity_change WHERE ")
		for i, g := range part {
			if i > 0 {
				b.Write(" OR ")
			}
			b.Write("version BETWEEN ", sqltext.ID(g.from), " AND ", sqltext.ID(g.to))
		}
		b.Write(" ORDER BY version")
		var there []int64
		err := f.each(ctx, b, func(rows *sql.Rows) error {
			var version, id int64
			err := rows.Scan(&version, &id)
			there, changed = append(there, version), append(changed, id)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, g := range part {
			if g.until == 0 || g.until > oldest {
				open = append(open, g.without(there)...)
			}
		}
	}
	f.gaps = open
	return changed, nil
}

// without returns what is left of the gap without some versions, which are
// sorted.
func (g gap) without(versions []int64) (left []gap) {
	for _, v := range versions {
		if v < g.from || v > g.to {
			continue
		}
		if v > g.from {
			left = append(left, gap{g.from, v - 1, g.until})
		}
		g.from = v + 1
	}
	if g.from <= g.to {
		left = append(left, g)
	}
	return left
}

// poll applies all changes since the last look.
func (f *follower) poll(ctx context.Context) error {
	old := f.gaps
	late, err := f.fillGaps(ctx)
	if err != nil {
		return err
	}
	if err := f.refresh(ctx, late); err != nil {
		f.gaps = old
		return err
	}
	for {
		n, err := f.advance(ctx)
		if err != nil {
			return err
		}
		if n < changePage {
			return f.dateGaps(ctx)
		}
	}
}

// advance applies a page of changes, and returns how many those were.
func (f *follower) advance(ctx context.Context) (int, error) {
	b := f.build()
	b.Write("SELECT version, entity_id FROM entity_change WHERE version > ", sqltext.ID(f.cursor), " ORDER BY version LIMIT ", sqltext.ID(changePage))
	var changed []int64
	var gaps []gap
	cursor := f.cursor
	err := f.each(ctx, b, func(rows *sql.Rows) error {
		var version, id int64
		err := rows.Scan(&version, &id)
		changed = append(changed, id)
		if version > cursor+1 {
			gaps = append(gaps, gap{from: cursor + 1, to: version - 1})
		}
		cursor = version
		return err
	})
	if err != nil {
		return 0, err
	}
	if len(gaps) > 0 && gaps[0].from == f.cursor+1 {
		if err := f.checkTrimmed(ctx); err != nil {
			return 0, err
		}
	}
	if err := f.refresh(ctx, changed); err != nil {
		return 0, err
	}
	f.cursor = cursor
	if f.database.Dialect() == core.PostgreSQL {
		f.gaps = append(f.gaps, gaps...)
	}
	return len(changed), nil
}

// checkTrimmed reports whether changes behind the cursor were forgotten.
func (f *follower) checkTrimmed(ctx context.Context) error {
	b := f.build()
	b.Write("SELECT COALESCE(MIN(version), 0) FROM entity_change")
	var first int64
	if err := f.each(ctx, b, func(rows *sql.Rows) error { return rows.Scan(&first) }); err != nil {
		return err
	}
	if first > f.cursor+1 {
		return fmt.Errorf("%w: it has the changes up to %d, and the first that is listed is %d", errBehind, f.cursor, first)
	}
	return nil
}

// refresh applies the present state of entities. The next ones are read while
// the ones before are applied.
func (f *follower) refresh(ctx context.Context, ids []int64) error {
	type page struct {
		documents []postings.Document
		removed   []int64
		err       error
	}
	slices.Sort(ids)
	ctx, cancel := context.WithCancel(ctx)
	pages := make(chan page)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(pages)
		for part := range slices.Chunk(slices.Compact(ids), idChunk) {
			var p page
			p.documents, p.err = f.documents(ctx, func(b *sqltext.Builder) string { return b.AnyID(part) })
			there := make(map[int64]bool, len(p.documents))
			for _, d := range p.documents {
				there[d.ID] = true
			}
			p.removed = slices.DeleteFunc(slices.Clone(part), func(id int64) bool { return there[id] })
			select {
			case pages <- p:
			case <-ctx.Done():
				return
			}
			if p.err != nil {
				return
			}
		}
	})
	defer reading.Wait()
	defer cancel()
	for p := range pages {
		if p.err != nil {
			return p.err
		}
		if err := f.apply(p.documents, p.removed); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (f *follower) apply(documents []postings.Document, removed []int64) error {
	if err := f.terms.Apply(documents, removed); err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	f.applied += len(documents) + len(removed)
	if int64(f.terms.Memory().Bytes) > f.maxMemory {
		return errTooLarge
	}
	return nil
}

// compactAfter is how many changed entities make the terms worth compacting at
// least.
const compactAfter = 2000

// wasteful reports whether the terms should be laid out in order again: after as
// many changes as there are entities, such as by the first ingestion, or after
// fewer once it has become quiet.
func (f *follower) wasteful() bool {
	quiet := f.applied == f.appliedBefore
	f.appliedBefore = f.applied
	n := f.terms.Len()
	return f.applied >= max(compactAfter, n) || quiet && f.applied >= max(compactAfter, n/10)
}

func (f *follower) compact() {
	f.terms.Compact()
	f.applied, f.appliedBefore = 0, 0
}

// mark is what the index knows of the content of an entity.
func mark(hash string) uint32 {
	h := fnv.New32a()
	_, _ = io.WriteString(h, hash) // a hash does not fail
	return h.Sum32()
}

// documents reads the entities whose ids meet a condition, with their rows. It
// is one statement, so that the rows are those of the content that the mark
// stands for. An entity has its rows in one of two tables.
func (f *follower) documents(ctx context.Context, condition func(b *sqltext.Builder) string) ([]postings.Document, error) {
	var documents []postings.Document
	found := f.room[:0]
	defer func() {
		clear(found)
		if f.room = found; cap(found) > maxRoom {
			f.room = nil // let the collector have the rare huge one
		}
	}()
	unknown := map[int64]bool{}
	add := func(r row) {
		if _, ok := f.fields[r.key]; !ok {
			unknown[r.key] = true
		}
		found = append(found, r)
	}
	const entityKey, behindKey, edgeKey = 0, -1, -2 // no search keys have these ids
	parents := map[int64][]int64{}
	b := f.build()
	b.Write("SELECT id, ", sqltext.ID(entityKey), ", ref, final_hash, ", b.Bool(false), " FROM entity WHERE final IS NOT NULL AND id ", condition(b),
		" UNION ALL SELECT entity_id, key_id, value, original, item FROM entity_search WHERE entity_id ", condition(b),
		" UNION ALL SELECT entity_id, ", sqltext.ID(behindKey), ", rows, NULL, ", b.Bool(false), " FROM search_behind WHERE entity_id ", condition(b),
		" UNION ALL SELECT target_id, ", sqltext.ID(edgeKey), ", CAST(parent_id AS text), NULL, ", b.Bool(false), " FROM entity_edge WHERE target_id ", condition(b))
	err := f.each(ctx, b, func(rows *sql.Rows) error {
		var r row
		var value, original sql.NullString
		if err := rows.Scan(&r.entity, &r.key, &value, &original, &r.Item); err != nil {
			return err
		}
		switch r.key {
		case entityKey:
			documents = append(documents, postings.Document{ID: r.entity, Ref: value.String, Mark: mark(original.String)})
			return nil
		case edgeKey:
			id, err := strconv.ParseInt(value.String, 10, 64)
			parents[r.entity] = append(parents[r.entity], id)
			return err
		case behindKey:
			return behind.Each(value.String, func(b behind.Row) {
				add(row{r.entity, b.Key, postings.Row{Value: b.Value, Original: b.Original, Null: b.Null, Item: b.Item}})
			})
		}
		r.Value, r.Original, r.Null = value.String, original.String, !value.Valid
		add(r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := f.learn(ctx, unknown); err != nil {
		return nil, err
	}
	place := make(map[int64]int, len(documents))
	for i, d := range documents {
		place[d.ID] = i
		documents[i].Parents = parents[d.ID]
	}
	// The documents share one array for their rows.
	count, all := make([]int, len(documents)), 0
	for _, r := range found {
		if i, ok := place[r.entity]; ok {
			count[i]++
			all++
		}
	}
	rows := make([]postings.Row, all)
	for i, n := range count {
		documents[i].Rows, rows = rows[:0:n], rows[n:]
	}
	for _, r := range found {
		if i, ok := place[r.entity]; ok {
			r.Field = f.fields[r.key]
			documents[i].Rows = append(documents[i].Rows, r.Row)
		}
	}
	return documents, nil
}

// maxRoom bounds the rows that there is room for between two readings.
const maxRoom = 64 << 10

// row is a search row of an entity, under the id of its key.
type row struct {
	entity, key int64
	postings.Row
}

// learn looks up search keys.
func (f *follower) learn(ctx context.Context, keys map[int64]bool) error {
	ids := make([]int64, 0, len(keys))
	for id := range keys {
		ids = append(ids, id)
	}
	for part := range slices.Chunk(ids, idChunk) {
		b := f.build()
		b.Write("SELECT id, key FROM search_key WHERE id IN (", b.IDs(part), ")")
		if _, err := f.readKeys(ctx, b); err != nil {
			return err
		}
	}
	for id := range keys {
		if _, ok := f.fields[id]; !ok {
			return fmt.Errorf("the table entity_search names the key %d, which search_key does not have", id)
		}
	}
	return nil
}

func (f *follower) loadKeys(ctx context.Context) error {
	for last := int64(0); ; {
		b := f.build()
		b.Write("SELECT id, key FROM search_key WHERE id > ", sqltext.ID(last), " ORDER BY id LIMIT ", sqltext.ID(keyPage))
		next, err := f.readKeys(ctx, b)
		if err != nil || next == 0 {
			return err
		}
		last = next
	}
}

func (f *follower) readKeys(ctx context.Context, b *sqltext.Builder) (last int64, err error) {
	err = f.each(ctx, b, func(rows *sql.Rows) error {
		var key string
		if err := rows.Scan(&last, &key); err != nil {
			return err
		}
		f.fields[last] = f.terms.Field(key)
		return nil
	})
	return last, err
}

func (f *follower) each(ctx context.Context, b *sqltext.Builder, fn func(*sql.Rows) error) (err error) {
	db, err := f.database.DB(ctx)
	if err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, b.String(), b.Args()...)
	if err != nil {
		return fmt.Errorf("following the catalog: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return fmt.Errorf("following the catalog: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("following the catalog: %w", err)
	}
	return nil
}
