package read

import (
	"strings"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

// statement is a growing SQL text that knows the search keys.
type statement struct {
	*sqltext.Builder
	keys   map[string]int64 // ids of the search keys that it may name
	behind bool             // it reads rows that are not in entity_search yet, too
}

// candidates returns every search key that a condition on key can concern:
// the key itself, and each prefix at a dot, whose array items it may name.
func candidates(key string) []string {
	if entitysearch.TooLong(key) {
		return nil // there are no rows with such a key
	}
	out := []string{key}
	for i := len(key) - 1; i > 0; i-- {
		if key[i] == '.' {
			out = append(out, key[:i])
		}
	}
	return out
}

// predicateKeys adds the candidates of all keys of p to keys.
func predicateKeys(p query.Predicate, keys map[string]bool) {
	add := func(key string) {
		for _, k := range candidates(key) {
			keys[k] = true
		}
	}
	switch p := p.(type) {
	case query.All:
		for _, m := range p {
			predicateKeys(m, keys)
		}
	case query.Any:
		for _, m := range p {
			predicateKeys(m, keys)
		}
	case query.Not:
		predicateKeys(p.Predicate, keys)
	case query.Exists:
		add(p.Key)
	case query.In:
		add(p.Key)
	case query.HasPrefix:
		add(p.Key)
	}
}

// where writes the condition p on the entity e.
func (s *statement) where(p query.Predicate) {
	switch p := p.(type) {
	case nil:
		s.Write(s.truth(true))
	case query.All:
		s.join(p, " AND ", true)
	case query.Any:
		s.join(p, " OR ", false)
	case query.Not:
		s.Write("NOT ")
		s.where(p.Predicate)
	case query.Exists:
		s.rows(p.Key, func(string) string { return "" }, true)
	case query.In:
		itemMatches := false
		for _, v := range p.Values {
			itemMatches = itemMatches || v == "true"
		}
		s.rows(p.Key, func(alias string) string { return " AND " + alias + "value IN (" + s.List(p.Values) + ")" }, itemMatches)
	case query.HasPrefix:
		s.rows(p.Key, func(alias string) string {
			return " AND " + alias + "value LIKE " + s.Arg(sqltext.EscapeLike(p.Prefix)+"%") + ` ESCAPE '\'`
		}, strings.HasPrefix("true", p.Prefix))
	}
}

func (s *statement) truth(v bool) string {
	if v {
		return "(1=1)"
	}
	return "(1=0)"
}

func (s *statement) join(ps []query.Predicate, op string, empty bool) {
	if len(ps) == 0 {
		s.Write(s.truth(empty))
		return
	}
	s.Write("(")
	for i, p := range ps {
		if i > 0 {
			s.Write(op)
		}
		s.where(p)
	}
	s.Write(")")
}

// rows writes that the entity has a search row of the key that meets the
// condition. Rows of array items stand for the key "<key>.<item>" with the
// value true, so they count where true would meet it.
func (s *statement) rows(key string, condition func(alias string) string, itemMatches bool) {
	var parts []string
	if n, ok := s.keys[key]; ok {
		parts = append(parts, "SELECT entity_id FROM "+s.rowsTable()+" WHERE key_id = "+sqltext.ID(n)+condition(""))
	}
	if itemMatches {
		parts = append(parts, s.itemRows(key)...)
	}
	if len(parts) == 0 {
		s.Write(s.truth(false))
		return
	}
	s.Write("e.id IN (", strings.Join(parts, " UNION ALL "), ")")
}

func (s *statement) itemRows(key string) []string {
	var parts []string
	for i, prefix := range candidates(key) {
		if i == 0 {
			continue // the key itself
		}
		if n, ok := s.keys[prefix]; ok {
			parts = append(parts, "SELECT entity_id FROM "+s.rowsTable()+" WHERE key_id = "+sqltext.ID(n)+
				" AND value = "+s.Arg(key[len(prefix)+1:])+" AND item = "+s.Bool(true))
		}
	}
	return parts
}

// values writes a query for the entities (entity_id) that have the key, with
// each value (value) and how it is written (original). Nulls are left out.
func (s *statement) values(key string) {
	n, literal := s.keys[key]
	items := s.hasItems(key)
	if literal || !items {
		if !literal {
			n = -1 // a key that nobody has
		}
		s.Write("SELECT entity_id, value, COALESCE(original, value) AS original FROM ", s.rowsTable(), " WHERE key_id = ", sqltext.ID(n), " AND value IS NOT NULL")
	}
	if literal && items {
		s.Write(" UNION ALL ")
	}
	if items {
		s.Write("SELECT DISTINCT entity_id, 'true' AS value, 'true' AS original FROM (", strings.Join(s.itemRows(key), " UNION ALL "), ") AS i")
	}
}

// hasItems reports whether there are keys whose array items key may name.
func (s *statement) hasItems(key string) bool {
	for i, prefix := range candidates(key) {
		if _, ok := s.keys[prefix]; ok && i > 0 {
			return true
		}
	}
	return false
}
