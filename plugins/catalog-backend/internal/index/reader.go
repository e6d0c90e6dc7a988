package index

import (
	"context"
	"database/sql"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/postings"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// Tables answers the same questions with SQL; it is a read.Reader.
type Tables interface {
	List(ctx context.Context, q read.Request) ([]read.Item, error)
	Count(ctx context.Context, q read.Request) (int, error)
	ByRefs(ctx context.Context, refs []string, filter query.Predicate) ([][]byte, error)
	ByUID(ctx context.Context, uid string, filter query.Predicate) ([]byte, error)
	Facets(ctx context.Context, keys []string, filter query.Predicate) (map[string][]read.Facet, error)
	Ancestry(ctx context.Context, ref string) ([]read.Node, error)
}

// Reader answers from the index where it can and from the tables where it
// cannot. Both give the same answers.
type Reader struct {
	index  *Index
	tables Tables
	bodies *bodies
}

// NewReader returns a reader. cacheBytes bounds the entities that it keeps in
// memory.
func NewReader(x *Index, tables Tables, cacheBytes int) *Reader {
	return &Reader{index: x, tables: tables, bodies: newBodies(cacheBytes)}
}

// List returns a page of entities.
func (r *Reader) List(ctx context.Context, q read.Request) ([]read.Item, error) {
	if terms := r.index.current(ctx); terms != nil {
		if hits, ok := terms.List(q); ok {
			entities, ok, err := r.fetch(ctx, hits)
			if err != nil {
				return nil, err
			}
			if ok {
				items := make([]read.Item, len(hits))
				for i, h := range hits {
					items[i] = read.Item{Position: h.Position, HasValue: h.HasValue, Entity: entities[i]}
				}
				return items, nil
			}
		}
	}
	return r.tables.List(ctx, q)
}

// Count returns how many entities there are, whatever the place and the limit.
func (r *Reader) Count(ctx context.Context, q read.Request) (int, error) {
	if terms := r.index.current(ctx); terms != nil {
		if n, ok := terms.Count(q); ok {
			return n, nil
		}
	}
	return r.tables.Count(ctx, q)
}

// ByRefs returns the JSON texts of the entities with the refs, in their order;
// nil for one that is not there or that the filter excludes.
func (r *Reader) ByRefs(ctx context.Context, refs []string, filter query.Predicate) ([][]byte, error) {
	if terms := r.index.current(ctx); terms != nil {
		entities, ok, err := r.fetch(ctx, terms.ByRefs(refs, filter))
		if ok || err != nil {
			return entities, err
		}
	}
	return r.tables.ByRefs(ctx, refs, filter)
}

// ByUID returns the JSON text of the entity with the uid, nil if it is not
// there or the filter excludes it.
func (r *Reader) ByUID(ctx context.Context, uid string, filter query.Predicate) ([]byte, error) {
	if terms := r.index.current(ctx); terms != nil {
		hit, found := terms.ByUID(uid, filter)
		if !found {
			return nil, nil
		}
		entities, ok, err := r.fetch(ctx, []postings.Hit{hit})
		if err != nil {
			return nil, err
		}
		if ok {
			return entities[0], nil
		}
	}
	return r.tables.ByUID(ctx, uid, filter)
}

// Facets returns the values of each key, sorted by value, over the entities
// that meet the filter.
func (r *Reader) Facets(ctx context.Context, keys []string, filter query.Predicate) (map[string][]read.Facet, error) {
	if terms := r.index.current(ctx); terms != nil {
		if facets, ok := terms.Facets(keys, filter); ok {
			return facets, nil
		}
	}
	return r.tables.Facets(ctx, keys, filter)
}

// Ancestry returns the entity and, behind it, all entities that it descends
// from. The index does not know who emitted what, so the tables answer.
func (r *Reader) Ancestry(ctx context.Context, ref string) ([]read.Node, error) {
	return r.tables.Ancestry(ctx, ref)
}

// maxKept is up to how many entities of one answer are kept for the next; a
// download of all would drive out what is asked often.
const maxKept = 4096

// fetch returns the JSON texts of entities, nil for hits without an id. It
// returns false if one of them is not what was indexed any more.
func (r *Reader) fetch(ctx context.Context, hits []postings.Hit) ([][]byte, bool, error) {
	out := make([][]byte, len(hits))
	missing := map[int64]uint32{}
	var ids []int64
	for i, h := range hits {
		if h.ID == 0 {
			continue
		}
		if out[i] = r.bodies.get(h.ID, h.Mark); out[i] == nil {
			if _, twice := missing[h.ID]; !twice {
				ids = append(ids, h.ID)
			}
			missing[h.ID] = h.Mark
		}
	}
	if len(ids) == 0 {
		return out, true, nil
	}
	found := make(map[int64][]byte, len(ids))
	f := follower{database: r.index.database}
	for len(ids) > 0 {
		part := ids[:min(idChunk, len(ids))]
		ids = ids[len(part):]
		b := sqltext.New(f.database.Dialect())
		b.Write("SELECT id, final, final_hash FROM entity WHERE final IS NOT NULL AND id IN (", b.IDs(part), ")")
		err := f.each(ctx, b, func(rows *sql.Rows) error {
			var id int64
			var entity []byte
			var hash sql.NullString
			if err := rows.Scan(&id, &entity, &hash); err != nil {
				return err
			}
			if mark(hash.String) == missing[id] {
				found[id] = entity
			}
			return nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	if len(found) < len(missing) {
		return nil, false, nil
	}
	for i, h := range hits {
		if out[i] == nil && h.ID != 0 {
			out[i] = found[h.ID]
		}
	}
	if len(missing) <= maxKept {
		for id, entity := range found {
			r.bodies.put(id, missing[id], entity)
		}
	}
	return out, true, nil
}
