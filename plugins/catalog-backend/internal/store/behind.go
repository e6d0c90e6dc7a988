package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/behind"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// takeBehind removes what is in search_behind of entities, and returns those
// that had something there. It waits for who is writing their rows, so that
// what is not returned has its rows in entity_search.
func (t *tx) takeBehind(ids []int64) (map[int64]bool, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	b := t.build()
	b.Write("DELETE FROM search_behind WHERE entity_id ", b.AnyID(ids), " RETURNING entity_id")
	found, err := t.ids(b)
	out := make(map[int64]bool, len(found))
	for _, id := range found {
		out[id] = true
	}
	return out, err
}

// loadBehind puts the search rows of final forms where WriteRows finds them.
func (t *tx) loadBehind(finals []final, keys map[string]int64) error {
	var room []behind.Row
	var text []byte
	return t.load("search_behind", []string{"entity_id", "rows"}, len(finals), func(i int, out []any) []any {
		room = room[:0]
		for _, r := range finals[i].rows {
			if r.Derived {
				continue // it follows from the row of the item
			}
			room = append(room, behindRow(r, keys[r.Key]))
		}
		text = behind.Append(text[:0], room)
		return append(out, finals[i].id, string(text))
	})
}

// WriteRows writes the search rows of up to limit entities that have none in
// entity_search yet, and returns how many entities that were. Entities that
// another instance is at are left to it.
func (s *Store) WriteRows(ctx context.Context, limit int) (n int, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return 0, err
	}
	b := sqltext.New(s.database.Dialect())
	b.Write("SELECT 1 FROM search_behind LIMIT 1")
	if err := each(ctx, db, b, func(*sql.Rows) error { n++; return nil }); err != nil || n == 0 {
		return 0, err
	}
	err = s.transaction(ctx, func(t *tx) error {
		n, err = t.writeRows(limit)
		return err
	})
	return n, err
}

func (t *tx) writeRows(limit int) (n int, err error) {
	b := t.build()
	b.Write("DELETE FROM search_behind WHERE entity_id IN (SELECT entity_id FROM search_behind ORDER BY entity_id LIMIT ", sqltext.ID(int64(limit)))
	if t.postgres() {
		b.Write(" FOR UPDATE SKIP LOCKED")
	}
	b.Write(") RETURNING entity_id, rows")
	var rows []searchRow
	err = t.each(b, func(found *sql.Rows) error {
		var id int64
		var text string
		if err := found.Scan(&id, &text); err != nil {
			return err
		}
		n++
		rows, err = appendSearchRows(rows, id, text)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, t.loadSearch(rows)
}

// appendSearchRows appends the rows of an entity that are in a text.
func appendSearchRows(rows []searchRow, id int64, text string) ([]searchRow, error) {
	err := behind.Each(text, func(r behind.Row) {
		rows = append(rows, newSearchRow(id, r))
	})
	if err != nil {
		return nil, fmt.Errorf("search rows of entity %d: %w", id, err)
	}
	return rows, nil
}

// TidyRows tells PostgreSQL that many rows were written: what entity_search
// holds now, and that search_behind is empty: until it knows, each look into that
// table reads what was there.
func (s *Store) TidyRows(ctx context.Context) error {
	if s.database.Dialect() != core.PostgreSQL {
		return nil
	}
	db, err := s.database.DB(ctx)
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, "VACUUM (ANALYZE) search_behind"); err != nil {
		return err
	}
	return s.analyze(ctx, "entity_search")
}
