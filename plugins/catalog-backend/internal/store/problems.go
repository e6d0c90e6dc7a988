package store

import (
	"context"
	"database/sql"
	"iter"
	"time"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// Unprocessed is an entity without a final form.
type Unprocessed struct {
	UID, Ref                    string
	Body, Hash                  string
	Processed, ResultHash       string
	Cache, Errors               string // JSON, or empty
	LocationKey                 string
	Due, Discovered             time.Time // Due is zero for what is not due by itself
	id, dueMillis, seenInMillis int64
}

// problemPage is how many rows of a listing are read at a time.
const problemPage = 200

// Unprocessed yields the entities without a final form, in the order in which
// they were handed in first; only those whose processing failed, if failed is
// set. It reads page by page.
func (s *Store) Unprocessed(ctx context.Context, failed bool) iter.Seq2[Unprocessed, error] {
	return pages(func(last Unprocessed) (page []Unprocessed, err error) {
		db, err := s.database.DB(ctx)
		if err != nil {
			return nil, err
		}
		b := sqltext.New(s.database.Dialect())
		b.Write("SELECT e.id, e.uid, e.ref, e.unprocessed, e.unprocessed_hash, COALESCE(e.processed, ''), COALESCE(e.result_hash, ''), COALESCE(e.cache, ''),",
			" COALESCE(e.errors, ''), COALESCE(e.location_key, ''), e.discovered_at, COALESCE(d.next_at, ", sqltext.ID(never), ")",
			" FROM entity e LEFT JOIN entity_due d ON d.entity_id = e.id WHERE e.final IS NULL AND e.id > ", sqltext.ID(last.id))
		if failed {
			b.Write(" AND e.errors IS NOT NULL")
		}
		b.Write(" ORDER BY e.id LIMIT ", sqltext.ID(problemPage))
		err = each(ctx, db, b, func(rows *sql.Rows) error {
			var u Unprocessed
			err := rows.Scan(&u.id, &u.UID, &u.Ref, &u.Body, &u.Hash, &u.Processed, &u.ResultHash, &u.Cache, &u.Errors, &u.LocationKey, &u.seenInMillis, &u.dueMillis)
			u.Discovered = time.UnixMilli(u.seenInMillis).UTC()
			if u.dueMillis < never {
				u.Due = time.UnixMilli(u.dueMillis).UTC()
			}
			page = append(page, u)
			return err
		})
		return page, err
	})
}

// pages yields the items of pages, until one is not full. next returns the
// page behind an item; the first one is behind the zero item.
func pages[T any](next func(last T) ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var last T
		for {
			page, err := next(last)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, last = range page {
				if !yield(last, nil) {
					return
				}
			}
			if len(page) < problemPage {
				return
			}
		}
	}
}

// Source hands an entity in: a provider, or a parent.
type Source struct{ Provider, Parent string }

// Refused is a hand-in that waits for its ref.
type Refused struct {
	Ref            string
	By             Source
	Wanted, Holder string   // location keys
	HeldBy         []Source // nobody, if the entity is about to be taken over
	Body           string
	Since          time.Time
	// Document is which document of its file it is, from 1, Line where that
	// begins, HeldDocument which one counts; 0 if that is not known.
	Document, Line, HeldDocument int

	parent, place int64 // of By, and among what it led to twice
}

// Refused yields the hand-ins that were refused, by ref, and then the documents
// that do not count since their parent led to another one with the same ref:
// there the same parent is the holder. It reads page by page.
func (s *Store) Refused(ctx context.Context) iter.Seq2[Refused, error] {
	return func(yield func(Refused, error) bool) {
		for _, all := range []iter.Seq2[Refused, error]{s.claims(ctx), s.doubles(ctx)} {
			for r, err := range all {
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

func (s *Store) claims(ctx context.Context) iter.Seq2[Refused, error] {
	return pages(func(last Refused) (page []Refused, err error) {
		db, err := s.database.DB(ctx)
		if err != nil {
			return nil, err
		}
		b := sqltext.New(s.database.Dialect())
		b.Write("SELECT c.ref, c.provider, c.parent_id, COALESCE(p.ref, ''), c.location_key, COALESCE(e.location_key, ''), c.body, c.claimed_at, c.document, c.line",
			" FROM entity_claim c LEFT JOIN entity e ON e.ref = c.ref LEFT JOIN entity p ON p.id = c.parent_id",
			" WHERE (c.ref, c.provider, c.parent_id) > (", b.Arg(last.Ref), ", ", b.Arg(last.By.Provider), ", ", sqltext.ID(last.parent), ")",
			" ORDER BY c.ref, c.provider, c.parent_id LIMIT ", sqltext.ID(problemPage))
		err = each(ctx, db, b, func(rows *sql.Rows) error {
			var r Refused
			var at int64
			err := rows.Scan(&r.Ref, &r.By.Provider, &r.parent, &r.By.Parent, &r.Wanted, &r.Holder, &r.Body, &at, &r.Document, &r.Line)
			r.Since = time.UnixMilli(at).UTC()
			page = append(page, r)
			return err
		})
		if err != nil || len(page) == 0 {
			return nil, err
		}
		holders, err := s.holders(ctx, db, page)
		for i, r := range page {
			page[i].HeldBy = holders[r.Ref]
		}
		return page, err
	})
}

// holders returns who hands in the entities that others were refused.
func (s *Store) holders(ctx context.Context, db querier, page []Refused) (map[string][]Source, error) {
	out := map[string][]Source{}
	var refs []string
	for _, r := range page {
		if len(refs) == 0 || refs[len(refs)-1] != r.Ref {
			refs = append(refs, r.Ref)
		}
	}
	b := sqltext.New(s.database.Dialect())
	b.Write("SELECT e.ref, p.provider AS provider, '' AS parent FROM provider_edge p JOIN entity e ON e.id = p.target_id WHERE e.ref IN (", b.List(refs), ")",
		" UNION ALL SELECT e.ref, '', f.ref FROM entity_edge g JOIN entity e ON e.id = g.target_id JOIN entity f ON f.id = g.parent_id WHERE e.ref IN (", b.List(refs), ")",
		" ORDER BY provider, parent")
	err := each(ctx, db, b, func(rows *sql.Rows) error {
		var ref string
		var by Source
		err := rows.Scan(&ref, &by.Provider, &by.Parent)
		out[ref] = append(out[ref], by)
		return err
	})
	return out, err
}
