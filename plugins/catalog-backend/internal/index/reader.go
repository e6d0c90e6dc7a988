package index

import (
	"context"
	"database/sql"
	"slices"
	"sync"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/postings"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
)

// Tables answers the same questions with SQL; it is a read.Reader.
type Tables interface {
	List(ctx context.Context, q read.Request) ([]read.Item, error)
	Count(ctx context.Context, q read.Request) (int, error)
	Page(ctx context.Context, q read.Request) (items []read.Item, total int, err error)
	ByRefs(ctx context.Context, refs []string, filter query.Predicate) ([][]byte, error)
	ByUID(ctx context.Context, uid string, filter query.Predicate) ([]byte, error)
	Facets(ctx context.Context, keys []string, filter query.Predicate) (map[string][]read.Facet, error)
	Ancestry(ctx context.Context, ref string) ([]read.Node, error)
}

// Reader answers from the index where it can and from the tables where it
// cannot. Both give the same answers.
type Reader struct {
	index   *Index
	tables  Tables
	bodies  *bodies
	columns *columns
	room    sync.Pool // of *[]postings.Hit
}

// NewReader returns a reader. cacheBytes bounds the entities that it keeps in
// memory, and what clients want of them.
func NewReader(x *Index, tables Tables, cacheBytes int) *Reader {
	forColumns := cacheBytes / 4
	return &Reader{
		index: x, tables: tables, bodies: newBodies(cacheBytes - forColumns), columns: newColumns(forColumns),
		room: sync.Pool{New: func() any { return new([]postings.Hit) }},
	}
}

// List returns a page of entities.
func (r *Reader) List(ctx context.Context, q read.Request) ([]read.Item, error) {
	if terms := r.index.current(ctx); terms != nil {
		room, _ := r.room.Get().(*[]postings.Hit)
		defer func() {
			clear(*room)
			r.room.Put(room)
		}()
		hits, ok := terms.AppendList((*room)[:0], q)
		*room = hits
		if ok {
			if items, ok, err := r.items(ctx, hits, q); ok || err != nil {
				return items, err
			}
		}
	}
	return r.tables.List(ctx, q)
}

// Page returns a page of entities and how many there are, whatever the place
// and the limit, both as of the same time.
func (r *Reader) Page(ctx context.Context, q read.Request) (items []read.Item, total int, err error) {
	if terms := r.index.current(ctx); terms != nil {
		if hits, total, ok := terms.Page(q); ok {
			if items, ok, err := r.items(ctx, hits, q); ok || err != nil {
				return items, total, err
			}
		}
	}
	return r.tables.Page(ctx, q)
}

// items returns what a list wants of the entities that it found.
func (r *Reader) items(ctx context.Context, hits []postings.Hit, q read.Request) ([]read.Item, bool, error) {
	entities, ok, err := r.project(ctx, hits, q)
	if !ok || err != nil {
		return nil, false, err
	}
	items := slices.Grow(q.Into[:0], len(hits))
	for i, h := range hits {
		items = append(items, read.Item{Position: h.Position, HasValue: h.HasValue, Entity: entities[i]})
	}
	return items, true, nil
}

// project returns what a projection keeps of entities.
func (r *Reader) project(ctx context.Context, hits []postings.Hit, q read.Request) ([][]byte, bool, error) {
	if q.Fields == nil {
		return r.fetch(ctx, hits, q.Once)
	}
	column := r.columns.get(q.Fields.String())
	texts := make([][]byte, len(hits))
	missing := column.lookup(hits, texts)
	if missing == 0 {
		return texts, true, nil
	}
	wanted, places := make([]postings.Hit, 0, missing), make([]int, 0, missing)
	for i, h := range hits {
		if texts[i] == nil {
			wanted, places = append(wanted, h), append(places, i)
		}
	}
	entities, ok, err := r.fetch(ctx, wanted, true)
	if !ok || err != nil {
		return nil, false, err
	}
	for i, entity := range entities {
		entities[i] = q.Fields.Append(nil, entity)
		texts[places[i]] = entities[i]
	}
	r.columns.put(column, wanted, entities)
	return texts, true, nil
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
		entities, ok, err := r.fetch(ctx, terms.ByRefs(refs, filter), false)
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
		entities, ok, err := r.fetch(ctx, []postings.Hit{hit}, false)
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
// from.
func (r *Reader) Ancestry(ctx context.Context, ref string) ([]read.Node, error) {
	if terms := r.index.current(ctx); terms != nil {
		if hits, nodes, ok := terms.Ancestry(ref); ok {
			entities, ok, err := r.fetch(ctx, hits, false)
			if err != nil {
				return nil, err
			}
			if ok {
				for i := range nodes {
					nodes[i].Entity = entities[i]
				}
				return nodes, nil
			}
		}
	}
	return r.tables.Ancestry(ctx, ref)
}

// fetchChunk is how many entities are read at a time.
const fetchChunk = 2000

// fetch returns the JSON texts of entities, nil for hits without an id. It
// returns false if one of them is not what was indexed any more. Those that are
// wanted once are not kept: a download of everything would drive out what is
// asked often.
func (r *Reader) fetch(ctx context.Context, hits []postings.Hit, once bool) ([][]byte, bool, error) {
	out := make([][]byte, len(hits))
	var missing map[int64]postings.Hit
	var ids []int64
	for i, h := range hits {
		if h.ID == 0 {
			continue
		}
		if out[i] = r.bodies.get(h.Ordinal, h.ID, h.Mark); out[i] == nil {
			if missing == nil {
				missing = map[int64]postings.Hit{}
			}
			if _, twice := missing[h.ID]; !twice {
				ids = append(ids, h.ID)
			}
			missing[h.ID] = h
		}
	}
	if len(ids) == 0 {
		return out, true, nil
	}
	found := make(map[int64][]byte, len(ids))
	f := follower{database: r.index.database}
	for len(ids) > 0 {
		part := ids[:min(fetchChunk, len(ids))]
		b := f.build()
		b.Write("SELECT id, final, final_hash FROM entity WHERE final IS NOT NULL AND id ", b.AnyID(part))
		ids = ids[len(part):]
		err := f.each(ctx, b, func(rows *sql.Rows) error {
			var id int64
			var entity []byte
			var hash sql.NullString
			if err := rows.Scan(&id, &entity, &hash); err != nil {
				return err
			}
			if mark(hash.String) == missing[id].Mark {
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
	if !once {
		for id, entity := range found {
			r.bodies.put(missing[id].Ordinal, id, missing[id].Mark, entity)
		}
	}
	return out, true, nil
}
