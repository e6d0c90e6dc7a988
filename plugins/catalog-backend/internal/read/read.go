// Package read answers questions about the final entities from the tables of
// the catalog.
//
//	reader := read.New(database)
//	page, err := reader.List(ctx, read.Request{Filter: p, Order: order, Limit: 20})
//
// It holds no connection while a caller works on what it returned.
package read

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// Reader reads final entities.
type Reader struct {
	database core.DatabaseService
	keys     dictionary
}

// New returns a reader of the database.
func New(database core.DatabaseService) *Reader { return &Reader{database: database} }

// Request asks for entities.
type Request struct {
	// Filter restricts them; nil does not.
	Filter query.Predicate
	// FullText restricts them further.
	FullText query.FullText
	// Order is by value and then by ref; without it, by ref. Without
	// KeepUnordered only its first member counts.
	Order []query.Order
	// KeepUnordered keeps entities that lack a field of the order, behind all
	// others. Without it they are left out.
	KeepUnordered bool
	// After, if not nil, begins behind that place; with Before set, it ends
	// before it, and the result is still in the order of the list. Both go
	// without KeepUnordered only.
	After  *query.Position
	Before bool
	// Offset and Limit cut the list; Limit 0 returns nothing.
	Offset, Limit int
	// Fields are those to return of each entity; nil for all.
	Fields *query.Projection
	// Bare is for whoever needs the places of the first item and of the last two
	// only.
	Bare bool
	// Once says that the entities are not likely to be asked for again soon.
	Once bool
	// Into is where the items may be put; nil makes room for them.
	Into []Item
}

// Item is an entity of a list.
type Item struct {
	query.Position
	// HasValue is false if the entity lacks the field of the order.
	HasValue bool
	// Entity is its JSON text, or what the request wants of it. It must not be
	// changed.
	Entity []byte
}

// List returns a page of entities.
func (r *Reader) List(ctx context.Context, q Request) ([]Item, error) {
	db, err := r.database.DB(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := r.keysOf(ctx, q)
	if err != nil {
		return nil, err
	}
	return r.list(ctx, db, q, keys)
}

// Page returns a page of entities and how many there are, whatever the place
// and the limit, both as of the same time.
func (r *Reader) Page(ctx context.Context, q Request) (items []Item, total int, err error) {
	db, err := r.database.DB(ctx)
	if err != nil {
		return nil, 0, err
	}
	// Keys are looked up before the transaction has one of the connections:
	// whoever waits for a second one while it has the first waits for ever.
	keys, err := r.keysOf(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	if q.Limit <= 0 {
		total, err = r.count(ctx, db, q, keys)
		return nil, total, err
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, 0, fmt.Errorf("reading the catalog: %w", err)
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	if items, err = r.list(ctx, tx, q, keys); err != nil {
		return nil, 0, err
	}
	total, err = r.count(ctx, tx, q, keys)
	return items, total, err
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// list asks db and nothing else: db may be a transaction.
func (r *Reader) list(ctx context.Context, db querier, q Request, keys map[string]int64) ([]Item, error) {
	if q.Limit <= 0 {
		return nil, nil
	}
	items := q.Into[:0]
	err := r.ask(ctx, db, keys, func(s *statement) { s.list(q) }, func(rows row) error {
		var it Item
		var value sql.NullString
		if err := rows.Scan(&it.Ref, &it.Entity, &value); err != nil {
			return err
		}
		it.Value, it.HasValue = value.String, value.Valid
		if q.Fields != nil {
			it.Entity = q.Fields.Append(nil, it.Entity)
		}
		items = append(items, it)
		return nil
	})
	if q.Before {
		slices.Reverse(items)
	}
	return items, err
}

func (s *statement) list(q Request) {
	s.Write("SELECT e.ref, e.final, ")
	if len(q.Order) > 0 {
		s.Write("o0.value")
	} else {
		s.Write("NULL")
	}
	s.from(q)
	s.conditions(q)
	s.keyset(q)
	s.Write(" ORDER BY ")
	descending := false
	for i, o := range q.Order {
		alias := "o" + strconv.Itoa(i)
		if q.KeepUnordered {
			s.Write("(", alias, ".value IS NULL), ")
		}
		s.Write(alias, ".value", direction(o.Descending != q.Before), ", ")
		descending = o.Descending && !q.KeepUnordered
	}
	s.Write("e.ref", direction(descending != q.Before), " LIMIT ", sqltext.ID(int64(q.Limit)))
	if q.Offset > 0 {
		s.Write(" OFFSET ", sqltext.ID(int64(q.Offset)))
	}
}

// Count returns how many entities there are, whatever the place and the limit.
func (r *Reader) Count(ctx context.Context, q Request) (int, error) {
	db, err := r.database.DB(ctx)
	if err != nil {
		return 0, err
	}
	keys, err := r.keysOf(ctx, q)
	if err != nil {
		return 0, err
	}
	return r.count(ctx, db, q, keys)
}

func (r *Reader) count(ctx context.Context, db querier, q Request, keys map[string]int64) (n int, err error) {
	err = r.ask(ctx, db, keys, func(s *statement) {
		s.Write("SELECT count(*)")
		tables := q
		if q.KeepUnordered {
			tables.Order = nil // it leaves nothing out
		}
		s.from(tables)
		s.conditions(q)
	}, func(rows row) error { return rows.Scan(&n) })
	return n, err
}

// refChunk bounds how many refs one statement names.
const refChunk = 500

// ByRefs returns the JSON texts of the entities with the refs, in their order;
// nil for one that is not there or that the filter excludes.
func (r *Reader) ByRefs(ctx context.Context, refs []string, filter query.Predicate) ([][]byte, error) {
	db, err := r.database.DB(ctx)
	if err != nil {
		return nil, err
	}
	found := make(map[string][]byte, len(refs))
	for chunk := range slices.Chunk(refs, refChunk) {
		err := r.askAbout(ctx, db, Request{Filter: filter}, func(s *statement) {
			s.Write("SELECT e.ref, e.final FROM entity e WHERE e.final IS NOT NULL AND e.ref IN (", s.List(chunk), ") AND ")
			s.where(filter)
		}, func(rows row) error {
			var ref string
			var entity []byte
			if err := rows.Scan(&ref, &entity); err != nil {
				return err
			}
			found[ref] = entity
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	out := make([][]byte, len(refs))
	for i, ref := range refs {
		out[i] = found[ref]
	}
	return out, nil
}

// ByUID returns the JSON text of the entity with the uid, nil if it is not
// there or the filter excludes it.
func (r *Reader) ByUID(ctx context.Context, uid string, filter query.Predicate) (entity []byte, err error) {
	db, err := r.database.DB(ctx)
	if err != nil {
		return nil, err
	}
	err = r.askAbout(ctx, db, Request{Filter: filter}, func(s *statement) {
		s.Write("SELECT e.final FROM entity e WHERE e.final IS NOT NULL AND e.uid = ", s.Arg(uid), " AND ")
		s.where(filter)
	}, func(rows row) error { return rows.Scan(&entity) })
	return entity, err
}

// Facet is a value of a key, and how many entities have it.
type Facet struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

// Facets returns the values of each key, sorted by value, over the entities
// that meet the filter.
func (r *Reader) Facets(ctx context.Context, keys []string, filter query.Predicate) (map[string][]Facet, error) {
	out := make(map[string][]Facet, len(keys))
	for _, key := range keys {
		facets, err := r.facet(ctx, strings.ToLower(key), filter)
		if err != nil {
			return nil, err
		}
		out[key] = facets
	}
	return out, nil
}

func (r *Reader) facet(ctx context.Context, key string, filter query.Predicate) ([]Facet, error) {
	db, err := r.database.DB(ctx)
	if err != nil {
		return nil, err
	}
	facets := []Facet{}
	err = r.askAbout(ctx, db, Request{Filter: filter, Order: []query.Order{{Field: key}}}, func(s *statement) {
		s.Write("SELECT v.original, count(*) FROM (")
		s.values(key)
		s.Write(") AS v WHERE 1=1")
		s.restrict("v.entity_id", filter)
		s.Write(" GROUP BY v.original")
	}, func(rows row) error {
		var f Facet
		if err := rows.Scan(&f.Value, &f.Count); err != nil {
			return err
		}
		facets = append(facets, f)
		return nil
	})
	slices.SortFunc(facets, func(a, b Facet) int { return strings.Compare(a.Value, b.Value) })
	return facets, err
}

// Node is an entity with those that emitted it.
type Node struct {
	Ref     string
	Entity  []byte
	Parents []string
}

// MaxAncestors bounds an ancestry.
const MaxAncestors = 10_000

// Ancestry returns the entity and, behind it, all entities that it descends
// from, each once; nil if the entity is not there. Only final entities count.
func (r *Reader) Ancestry(ctx context.Context, ref string) ([]Node, error) {
	nodes, err := r.lineage(ctx, ref)
	if err != nil || len(nodes) == 0 {
		return nil, err
	}
	refs := make([]string, len(nodes))
	for i, n := range nodes {
		refs[i] = n.Ref
	}
	entities, err := r.ByRefs(ctx, refs, nil)
	if err != nil || entities[0] == nil {
		return nil, err
	}
	// One of them may have vanished meanwhile.
	out := make([]Node, 0, len(nodes))
	for i, n := range nodes {
		if entities[i] != nil {
			out = append(out, Node{Ref: n.Ref, Entity: entities[i], Parents: n.Parents})
		}
	}
	return out, nil
}

// lineage returns the nodes of the ancestry of an entity, without the
// entities; nil if there is no final entity with the ref.
func (r *Reader) lineage(ctx context.Context, ref string) ([]Node, error) {
	s := &statement{Builder: sqltext.New(r.database.Dialect())}
	s.Write("WITH RECURSIVE line(id) AS (SELECT id FROM entity WHERE final IS NOT NULL AND ref = ", s.Arg(ref),
		" UNION SELECT p.id FROM line JOIN entity_edge g ON g.target_id = line.id JOIN entity p ON p.id = g.parent_id WHERE p.final IS NOT NULL)",
		" SELECT e.ref, p.ref FROM (SELECT id FROM line LIMIT ", sqltext.ID(MaxAncestors), ") AS l JOIN entity e ON e.id = l.id",
		" LEFT JOIN entity_edge g ON g.target_id = l.id LEFT JOIN entity p ON p.id = g.parent_id AND p.final IS NOT NULL ORDER BY e.ref, p.ref")
	parents := map[string][]string{}
	err := r.query(ctx, s, func(rows *sql.Rows) error {
		var child string
		var parent sql.NullString
		if err := rows.Scan(&child, &parent); err != nil {
			return err
		}
		if _, known := parents[child]; !known {
			parents[child] = []string{}
		}
		if parent.Valid {
			parents[child] = append(parents[child], parent.String)
		}
		return nil
	})
	if err != nil || len(parents) == 0 {
		return nil, err
	}
	var out []Node
	seen := map[string]bool{ref: true}
	for stack := []string{ref}; len(stack) > 0; {
		current := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		n := Node{Ref: current, Parents: parents[current]}
		out = append(out, n)
		for _, p := range n.Parents {
			if _, kept := parents[p]; kept && !seen[p] {
				seen[p] = true
				stack = append(stack, p)
			}
		}
	}
	return out, nil
}

// maxConditions bounds the conditions of a statement: databases take very long
// to plan thousands of sub-queries. A condition may have any number of values.
const maxConditions = 500

// countConditions returns how many conditions a predicate has.
func countConditions(p query.Predicate) (n int) {
	switch p := p.(type) {
	case nil:
		return 0
	case query.All:
		for _, m := range p {
			n += countConditions(m)
		}
		return n
	case query.Any:
		for _, m := range p {
			n += countConditions(m)
		}
		return n
	case query.Not:
		return countConditions(p.Predicate)
	default:
		return 1
	}
}

// keysOf returns the ids of all search keys that q names. It may need a
// connection.
func (r *Reader) keysOf(ctx context.Context, q Request) (map[string]int64, error) {
	if n := countConditions(q.Filter); n > maxConditions {
		return nil, apierr.ServiceUnavailable("The index of the catalog is not loaded, and without it a query may have %d conditions, not %d; try again later", maxConditions, n)
	}
	names := map[string]bool{}
	predicateKeys(q.Filter, names)
	for _, o := range q.Order {
		for _, k := range candidates(o.Field) {
			names[k] = true
		}
	}
	for _, f := range q.FullText.Fields {
		names[f] = true
	}
	return r.keys.lookup(ctx, r, names)
}

func direction(descending bool) string {
	if descending {
		return " DESC"
	}
	return " ASC"
}

// from writes the tables: the entities, and for each field of the order a row
// with the smallest value (the largest, if descending) that each has.
func (s *statement) from(q Request) {
	s.Write(" FROM entity e")
	for i, o := range q.Order {
		alias := "o" + strconv.Itoa(i)
		switch n, literal := s.keys[o.Field]; {
		case s.hasItems(o.Field) || !literal || s.behind:
			s.grouped(o, alias, q.KeepUnordered)
		case q.KeepUnordered:
			// Each entity looks its value up.
			s.Write(" LEFT JOIN entity_search ", alias, " ON ", alias, ".entity_id = e.id AND ", alias, ".key_id = ", sqltext.ID(n),
				" AND ", alias, ".value IS NOT NULL AND ", s.first(o, alias))
		default:
			// The index of values gives the order, so that a page ends early.
			s.Write(" JOIN entity_search ", alias, " ON ", alias, ".entity_id = e.id AND ", alias, ".key_id = ", sqltext.ID(n),
				" AND ", alias, ".value IS NOT NULL AND ", s.first(o, alias))
		}
		if !q.KeepUnordered {
			return
		}
	}
}

// first holds for the row that an entity is sorted by, of those that it has of
// the key.
func (s *statement) first(o query.Order, alias string) string {
	op, key := "<", "x.key_id"
	if o.Descending {
		op = ">"
	}
	if s.Dialect() == core.SQLite {
		key = "+x.key_id" // look at the rows of the entity, not at those of the key
	}
	return "NOT EXISTS (SELECT 1 FROM entity_search x WHERE x.entity_id = " + alias + ".entity_id AND " + key + " = " + alias + ".key_id AND x.value " + op + " " + alias + ".value)"
}

// grouped joins the values of a key that stands, perhaps, for items of arrays.
func (s *statement) grouped(o query.Order, alias string, keep bool) {
	pick, join := "MIN", " JOIN "
	if o.Descending {
		pick = "MAX"
	}
	if keep {
		join = " LEFT JOIN "
	}
	s.Write(join, "(SELECT r.entity_id, ", pick, "(r.value) AS value FROM (")
	s.values(o.Field)
	s.Write(") AS r GROUP BY r.entity_id) ", alias, " ON ", alias, ".entity_id = e.id")
}

func (s *statement) conditions(q Request) {
	s.Write(" WHERE e.final IS NOT NULL AND ")
	s.where(q.Filter)
	s.fullText(q)
}

// fullText writes that one of the fields contains the term.
func (s *statement) fullText(q Request) {
	if q.FullText.Term == "" {
		return
	}
	fields := q.FullText.Fields
	if len(fields) == 0 {
		if len(q.Order) == 0 {
			// Nothing is searched but the identity of an entity.
			s.Write(" AND e.uid LIKE ", s.Arg("%"+sqltext.EscapeLike(q.FullText.Term)+"%"), ` ESCAPE '\'`)
			return
		}
		fields = []string{q.Order[0].Field}
	}
	var ids []string
	for _, f := range fields {
		if n, ok := s.keys[f]; ok {
			ids = append(ids, sqltext.ID(n))
		}
	}
	if len(ids) == 0 {
		s.Write(" AND ", s.truth(false))
		return
	}
	s.Write(" AND e.id IN (SELECT entity_id FROM ", s.rowsTable(), " WHERE key_id IN (", strings.Join(ids, ","), ") AND value LIKE ",
		s.Arg("%"+sqltext.EscapeLike(q.FullText.Term)+"%"), ` ESCAPE '\')`)
}

// keyset writes that the entity lies behind (or before) a place.
func (s *statement) keyset(q Request) {
	if q.After == nil {
		return
	}
	descending := len(q.Order) > 0 && q.Order[0].Descending
	op := ">"
	if descending != q.Before {
		op = "<"
	}
	if len(q.Order) == 0 {
		s.Write(" AND e.ref ", op, " ", s.Arg(q.After.Ref))
		return
	}
	s.Write(" AND o0.value ", op, "= ", s.Arg(q.After.Value), " AND (o0.value ", op, " ", s.Arg(q.After.Value), " OR o0.value = ", s.Arg(q.After.Value), " AND e.ref ", op, " ", s.Arg(q.After.Ref), ")")
}

// restrict writes that the column is an entity that meets the filter.
func (s *statement) restrict(column string, filter query.Predicate) {
	if filter == nil {
		return
	}
	s.Write(" AND ", column, " IN (SELECT e.id FROM entity e WHERE ")
	s.where(filter)
	s.Write(")")
}

func (r *Reader) query(ctx context.Context, s *statement, each func(*sql.Rows) error) error {
	db, err := r.database.DB(ctx)
	if err != nil {
		return err
	}
	return s.each(ctx, db, each)
}

func (s *statement) each(ctx context.Context, db querier, each func(*sql.Rows) error) (err error) {
	rows, err := db.QueryContext(ctx, s.String(), s.Args()...)
	if err != nil {
		return fmt.Errorf("reading the catalog: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := each(rows); err != nil {
			return fmt.Errorf("reading the catalog: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading the catalog: %w", err)
	}
	return nil
}
