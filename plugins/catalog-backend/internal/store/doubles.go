package store

import (
	"context"
	"database/sql"
	"iter"
	"time"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// double is a document that does not count, since its parent led to another
// one with the same ref.
type double struct {
	parent     int64
	lost, kept Deferred
}

// distinctChildren returns what the entities emitted, one document per parent
// and ref, and the documents that do not count: of several in one file all but
// the last, of several files all but the first.
func distinctChildren(results []Result) (all []staged, doubles []double) {
	for _, r := range results {
		places := map[string]int{}
		first := len(doubles)
		for _, d := range r.Deferred {
			i, seen := places[d.Ref]
			switch {
			case !seen:
				places[d.Ref] = len(all)
				all = append(all, staged{Deferred: d, parent: r.Work.ID, since: never})
			case all[i].LocationKey == d.LocationKey:
				doubles = append(doubles, double{parent: r.Work.ID, lost: all[i].Deferred})
				all[i].Deferred = d
			default:
				doubles = append(doubles, double{parent: r.Work.ID, lost: d})
			}
		}
		for i := first; i < len(doubles); i++ {
			doubles[i].kept = all[places[doubles[i].lost.Ref]].Deferred
		}
	}
	return all, doubles
}

// conflictsAmong returns the doubles that are in two files.
func conflictsAmong(doubles []double) (out []Conflict) {
	for _, d := range doubles {
		if d.lost.LocationKey != d.kept.LocationKey {
			out = append(out, Conflict{Ref: d.lost.Ref, Wanted: d.lost.LocationKey, Holder: d.kept.LocationKey})
		}
	}
	return out
}

// saveDoubles replaces the doubles of the parents.
func (t *tx) saveDoubles(parents []int64, doubles []double) error {
	if err := t.forIDs("DELETE FROM entity_twice WHERE parent_id", parents, ""); err != nil || len(doubles) == 0 {
		return err
	}
	columns := []string{"parent_id", "place", "ref", "location_key", "body", "document", "line", "kept_key", "kept_document", "since"}
	return t.load("entity_twice", columns, len(doubles), func(i int, row []any) []any {
		d := doubles[i]
		return append(row, d.parent, int64(i), d.lost.Ref, d.lost.LocationKey, d.lost.Body, int64(d.lost.Document), int64(d.lost.Line),
			d.kept.LocationKey, int64(d.kept.Document), t.now)
	})
}

// doubles yields the documents that do not count since their own parent led to
// another one with the same ref.
func (s *Store) doubles(ctx context.Context) iter.Seq2[Refused, error] {
	return pages(func(last Refused) (page []Refused, err error) {
		db, err := s.database.DB(ctx)
		if err != nil {
			return nil, err
		}
		b := sqltext.New(s.database.Dialect())
		after := last.place
		if last.parent == 0 {
			after = -1
		}
		b.Write("SELECT c.parent_id, c.place, c.ref, p.ref, c.location_key, c.kept_key, c.body, c.document, c.line, c.kept_document, c.since",
			" FROM entity_twice c JOIN entity p ON p.id = c.parent_id WHERE (c.parent_id, c.place) > (", sqltext.ID(last.parent), ", ", sqltext.ID(after), ")",
			" ORDER BY c.parent_id, c.place LIMIT ", sqltext.ID(problemPage))
		err = each(ctx, db, b, func(rows *sql.Rows) error {
			var r Refused
			var at int64
			err := rows.Scan(&r.parent, &r.place, &r.Ref, &r.By.Parent, &r.Wanted, &r.Holder, &r.Body, &r.Document, &r.Line, &r.HeldDocument, &at)
			r.Since, r.HeldBy = time.UnixMilli(at).UTC(), []Source{r.By}
			page = append(page, r)
			return err
		})
		return page, err
	})
}
