package read

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// Entities that were just made have their search rows in search_behind, for a
// while, all rows of one as one text. Most of the time the table is empty; so a
// statement asks entity_search alone, tells in the same snapshot whether
// something is behind, and is asked anew in another form if so.

// row is a row of an answer, whose columns are those that were asked for.
type row interface{ Scan(to ...any) error }

// askAbout answers a question about the keys that q names.
func (r *Reader) askAbout(ctx context.Context, db querier, q Request, write func(*statement), each func(row) error) error {
	keys, err := r.keysOf(ctx, q)
	if err != nil {
		return err
	}
	return r.ask(ctx, db, keys, write, each)
}

// ask answers a question about keys, and asks db and nothing else: db may be a
// transaction. The first column of the statement must not be null.
func (r *Reader) ask(ctx context.Context, db querier, keys map[string]int64, write func(*statement), each func(row) error) error {
	s := &statement{Builder: sqltext.New(r.database.Dialect()), keys: keys}
	if len(keys) == 0 { // no search rows are asked for
		write(s)
		return s.each(ctx, db, func(rows *sql.Rows) error { return each(rows) })
	}
	s.Write("SELECT q.*, b.behind FROM (SELECT EXISTS (SELECT 1 FROM search_behind) AS behind) AS b LEFT JOIN (")
	write(s)
	s.Write(") AS q ON NOT b.behind")
	behind, first := false, true
	err := s.each(ctx, db, func(rows *sql.Rows) error {
		if first {
			first = false
			late, nothing, err := look(rows)
			if behind = late; err != nil || late || nothing {
				return err
			}
		}
		return each(inner{rows})
	})
	if err != nil || !behind {
		return err
	}
	s = &statement{Builder: sqltext.New(r.database.Dialect()), keys: keys, behind: true}
	var ids, named []string
	for _, id := range slices.Sorted(maps.Values(keys)) {
		ids = append(ids, sqltext.ID(id))
		// A look at the text tells most entities without the key, and spares
		// taking their rows apart.
		named = append(named, "packed LIKE '%["+sqltext.ID(id)+",%' OR packed LIKE '%["+sqltext.ID(id)+"]%'")
	}
	some, late := " WHERE key_id IN ("+strings.Join(ids, ",")+")", ""
	if len(named) <= maxNamed {
		late = " AND (" + strings.Join(named, " OR ") + ")"
	}
	const columns = "SELECT entity_id, key_id, value, original, item FROM "
	s.Write("WITH ", rowsNow, " AS MATERIALIZED (", columns, "entity_search", some, " UNION ALL ", columns, "search_behind_row", some, late, ") ")
	write(s)
	return s.each(ctx, db, func(rows *sql.Rows) error { return each(rows) })
}

// maxNamed is for how many keys texts are looked at before they are taken apart.
const maxNamed = 16

// rowsNow names the search rows of some keys, wherever they are.
const rowsNow = "search_now"

// rowsTable is where the statement reads search rows.
func (s *statement) rowsTable() string {
	if s.behind {
		return rowsNow
	}
	return "entity_search"
}

// look reads the first row, which is always there: whether rows are behind,
// and whether the answer is empty.
func look(rows *sql.Rows) (behind, nothing bool, err error) {
	columns, err := rows.Columns()
	if err != nil {
		return false, false, err
	}
	var first, others null
	to := make([]any, len(columns))
	for i := range to {
		to[i] = &others
	}
	to[0], to[len(to)-1] = &first, &behind
	if err := rows.Scan(to...); err != nil {
		return false, false, fmt.Errorf("looking for search rows that are behind: %w", err)
	}
	return behind, bool(first), nil
}

// null is whether a column was null.
type null bool

// Scan implements [sql.Scanner].
func (n *null) Scan(v any) error { *n = v == nil; return nil }

// inner is a row without the column that says whether rows are behind.
type inner struct{ *sql.Rows }

func (r inner) Scan(to ...any) error {
	behind := false
	return r.Rows.Scan(append(to, &behind)...)
}
