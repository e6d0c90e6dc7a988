package store

import (
	"slices"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// repeat returns n times a value.
func repeat[T any](v T, n int) []T { return slices.Repeat([]T{v}, n) }

// due puts entities into the queue, at the earlier of the times and in the
// more urgent of the lanes. One that is being processed gets a later time than
// the one it was claimed for, by which its worker sees that it is due again.
func (t *tx) due(ids []int64, lane int, at int64) error {
	slices.Sort(ids)
	_, err := t.withRows("INSERT INTO entity_due (entity_id, lane, next_at) SELECT c1, c2, c3 FROM", len(ids),
		" WHERE true ORDER BY c1 ON CONFLICT (entity_id) DO UPDATE SET lane = CASE WHEN excluded.lane < entity_due.lane THEN excluded.lane ELSE entity_due.lane END,"+
			" next_at = CASE WHEN entity_due.holder <> 0"+
			" THEN CASE WHEN excluded.next_at > entity_due.next_at THEN excluded.next_at ELSE entity_due.next_at + 1 END"+
			" WHEN excluded.next_at < entity_due.next_at THEN excluded.next_at ELSE entity_due.next_at END",
		numbers(ids), numbers(repeat(int64(lane), len(ids))), numbers(repeat(at, len(ids))))
	return err
}

// dirty marks entities whose final form has to be built anew. Marks wait for
// nobody.
func (t *tx) dirty(ids []int64) error {
	return t.load("entity_dirty", []string{"entity_id", "since"}, len(ids), func(i int, row []any) []any { return append(row, ids[i], t.now) })
}

// dirtyRefs marks the entities with the refs, those that exist, but not some.
func (t *tx) dirtyRefs(refs []string, but map[string]bool) error {
	refs = slices.DeleteFunc(slices.Clone(refs), func(ref string) bool { return but[ref] })
	for part := range slices.Chunk(refs, arrayRows) {
		b := t.build()
		b.Write("INSERT INTO entity_dirty (entity_id, since) SELECT id, ", sqltext.ID(t.now), " FROM entity WHERE ref ", b.AnyText(part))
		if _, err := t.exec(b); err != nil {
			return err
		}
	}
	return nil
}
