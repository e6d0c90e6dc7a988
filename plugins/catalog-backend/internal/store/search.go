package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/behind"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// saveFinals writes final forms, their search rows and the changes.
func (t *tx) saveFinals(finals []final) error {
	ids, bodies, hashes, processed := make([]int64, len(finals)), make([]string, len(finals)), make([]string, len(finals)), make([]string, len(finals))
	for i, f := range finals {
		ids[i], bodies[i], hashes[i], processed[i] = f.id, f.entity, f.hash, f.processed
	}
	if _, err := t.withRows("UPDATE entity SET final = n.c2, final_hash = n.c3, processed = n.c4, updated_at = n.c5 FROM", len(ids), " WHERE entity.id = n.c1",
		numbers(ids), texts(bodies), texts(hashes), texts(processed), numbers(repeat(t.now, len(ids)))); err != nil {
		return err
	}
	return t.saveSearch(finals)
}

// searchRow is a row of entity_search.
type searchRow struct {
	entity, key     int64
	value, original sql.NullString // original only where it differs
	item            bool
}

// saveSearch writes what differs in the search rows of final forms, and the
// changes. What has no rows in entity_search yet gets them later, by WriteRows.
func (t *tx) saveSearch(finals []final) error {
	if len(finals) == 0 {
		return nil
	}
	keys, err := t.keyIDs(finals)
	if err != nil {
		return err
	}
	var known []int64
	for _, f := range finals {
		if !f.fresh {
			known = append(known, f.id)
		}
	}
	behindNow, err := t.takeBehind(known)
	if err != nil {
		return err
	}
	known = slices.DeleteFunc(known, func(id int64) bool { return behindNow[id] })
	var rows []searchRow
	var later []final
	for _, f := range finals {
		if (f.fresh || behindNow[f.id]) && !t.store.eager {
			later = append(later, f)
			continue
		}
		for _, r := range f.rows {
			if r.Derived {
				continue // it follows from the row of the item
			}
			rows = append(rows, newSearchRow(f.id, behindRow(r, keys[r.Key])))
		}
	}
	if rows, err = t.withoutThere(rows, known); err != nil {
		return err
	}
	if len(rows) > manyRows {
		if err := t.expectMany(); err != nil {
			return err
		}
	}
	if err := t.loadSearch(rows); err != nil {
		return err
	}
	if err := t.loadBehind(later, keys); err != nil {
		return err
	}
	return t.load("entity_change", []string{"entity_id", "deleted"}, len(finals), func(i int, out []any) []any { return append(out, finals[i].id, false) })
}

// newSearchRow returns a row of an entity as it is in entity_search.
func newSearchRow(entity int64, r behind.Row) searchRow {
	return searchRow{entity: entity, key: r.Key, item: r.Item,
		value: sql.NullString{String: r.Value, Valid: !r.Null}, original: sql.NullString{String: r.Original, Valid: r.Original != ""}}
}

func (t *tx) loadSearch(rows []searchRow) error {
	return t.load("entity_search", []string{"entity_id", "key_id", "value", "original", "item"}, len(rows), func(i int, out []any) []any {
		r := &rows[i]
		return append(out, r.entity, r.key, plain(r.value), plain(r.original), r.item)
	})
}

func plain(s sql.NullString) any {
	if !s.Valid {
		return nil
	}
	return s.String
}

// withoutThere returns the rows that are not there yet, and removes those of
// known entities that are there and not among them.
func (t *tx) withoutThere(rows []searchRow, known []int64) ([]searchRow, error) {
	if len(known) == 0 {
		return rows, nil
	}
	place := "ctid::text"
	if !t.postgres() {
		place = "rowid"
	}
	isKnown := make(map[int64]bool, len(known))
	for _, id := range known {
		isKnown[id] = true
	}
	want := make(map[searchRow]bool, len(rows)) // false once it was found
	for _, r := range rows {
		if isKnown[r.entity] {
			want[r] = true
		}
	}
	var gone []string
	b := t.build()
	b.Write("SELECT ", place, ", entity_id, key_id, value, original, item FROM entity_search WHERE entity_id ", b.AnyID(known))
	err := t.each(b, func(found *sql.Rows) error {
		var at string
		var r searchRow
		err := found.Scan(&at, &r.entity, &r.key, &r.value, &r.original, &r.item)
		if want[r] {
			want[r] = false
		} else {
			gone = append(gone, at)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for part := range slices.Chunk(gone, arrayRows) {
		b := t.build()
		if t.postgres() {
			// The rows keep their places while their entity is locked.
			b.Write("DELETE FROM entity_search WHERE ctid = ANY(", b.Arg(part), "::text[]::tid[])")
		} else {
			b.Write("DELETE FROM entity_search WHERE rowid ", b.AnyText(part))
		}
		if _, err := t.exec(b); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(rows, func(r searchRow) bool { return isKnown[r.entity] && !want[r] }), nil
}

// maxKeys bounds how many ids of search keys are remembered.
const maxKeys = 100_000

// remember keeps ids of search keys, once they are committed.
func (s *Store) remember(found map[string]int64) {
	if len(found) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys)+len(found) > maxKeys {
		clear(s.keys)
	}
	maps.Copy(s.keys, found)
}

// keyIDs returns the ids of all search keys of the final forms, and makes
// those that are new.
func (t *tx) keyIDs(finals []final) (map[string]int64, error) {
	ids := map[string]int64{}
	var missing []string
	t.store.mu.Lock()
	for _, f := range finals {
		for _, r := range f.rows {
			if _, ok := ids[r.Key]; ok || r.Derived {
				continue
			}
			if ids[r.Key] = t.store.keys[r.Key]; ids[r.Key] == 0 {
				missing = append(missing, r.Key)
			}
		}
	}
	t.store.mu.Unlock()
	if len(missing) == 0 {
		return ids, nil
	}
	slices.Sort(missing)
	if t.found == nil {
		t.found = map[string]int64{}
	}
	if err := t.findKeys(missing); err != nil {
		return nil, err
	}
	unmade := slices.DeleteFunc(slices.Clone(missing), func(n string) bool { return t.found[n] != 0 })
	if len(unmade) > 0 {
		if _, err := t.withRows("INSERT INTO search_key (key) SELECT c1 FROM", len(unmade), " WHERE true ORDER BY c1 ON CONFLICT (key) DO NOTHING", texts(unmade)); err != nil {
			return nil, err
		}
		if err := t.findKeys(unmade); err != nil {
			return nil, err
		}
	}
	for _, n := range missing {
		if ids[n] = t.found[n]; ids[n] == 0 {
			return nil, errors.New("the search key " + n + " was neither found nor made")
		}
	}
	return ids, nil
}

func (t *tx) findKeys(names []string) error {
	b := t.build()
	b.Write("SELECT key, id FROM search_key WHERE key ", b.AnyText(names))
	return t.each(b, func(rows *sql.Rows) error {
		var key string
		var id int64
		err := rows.Scan(&key, &id)
		t.found[key] = id
		return err
	})
}

// TrimChanges forgets changes that are older than a number of versions.
func (s *Store) TrimChanges(ctx context.Context, keep int64) error {
	return s.transaction(ctx, func(t *tx) error {
		_, err := t.ExecContext(ctx, "DELETE FROM entity_change WHERE version <= (SELECT MAX(version) FROM entity_change) - "+sqltext.ID(keep))
		return err
	})
}
