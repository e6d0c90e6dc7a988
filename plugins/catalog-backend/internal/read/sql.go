package read

import (
	"strconv"
	"strings"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
)

// statement grows an SQL text and its arguments.
type statement struct {
	dialect core.Dialect
	keys    map[string]int64 // ids of the search keys that it may name
	text    strings.Builder
	args    []any
}

func (s *statement) write(parts ...string) {
	for _, p := range parts {
		s.text.WriteString(p)
	}
}

// arg adds an argument and returns its placeholder.
func (s *statement) arg(v any) string {
	s.args = append(s.args, v)
	if s.dialect == core.PostgreSQL {
		return "$" + strconv.Itoa(len(s.args))
	}
	return "?"
}

func (s *statement) list(values []string) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(s.arg(v))
	}
	return b.String()
}

func id(n int64) string { return strconv.FormatInt(n, 10) }

func (s *statement) bool(v bool) string {
	switch {
	case s.dialect == core.PostgreSQL && v:
		return "TRUE"
	case s.dialect == core.PostgreSQL:
		return "FALSE"
	case v:
		return "1"
	default:
		return "0"
	}
}

// candidates returns every search key that a condition on key can concern:
// the key itself, and each prefix at a dot, whose array items it may name.
func candidates(key string) []string {
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
		s.write(s.truth(true))
	case query.All:
		s.join(p, " AND ", true)
	case query.Any:
		s.join(p, " OR ", false)
	case query.Not:
		s.write("NOT ")
		s.where(p.Predicate)
	case query.Exists:
		s.rows(p.Key, func(string) string { return "" }, true)
	case query.In:
		itemMatches := false
		for _, v := range p.Values {
			itemMatches = itemMatches || v == "true"
		}
		s.rows(p.Key, func(alias string) string { return " AND " + alias + "value IN (" + s.list(p.Values) + ")" }, itemMatches)
	case query.HasPrefix:
		s.rows(p.Key, func(alias string) string {
			return " AND " + alias + "value LIKE " + s.arg(escapeLike(p.Prefix)+"%") + ` ESCAPE '\'`
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
		s.write(s.truth(empty))
		return
	}
	s.write("(")
	for i, p := range ps {
		if i > 0 {
			s.write(op)
		}
		s.where(p)
	}
	s.write(")")
}

// rows writes that the entity has a search row of the key that meets the
// condition. Rows of array items stand for the key "<key>.<item>" with the
// value true, so they count where true would meet it.
func (s *statement) rows(key string, condition func(alias string) string, itemMatches bool) {
	var parts []string
	if n, ok := s.keys[key]; ok {
		parts = append(parts, "SELECT entity_id FROM search WHERE key_id = "+id(n)+condition(""))
	}
	if itemMatches {
		parts = append(parts, s.itemRows(key)...)
	}
	if len(parts) == 0 {
		s.write(s.truth(false))
		return
	}
	s.write("e.id IN (", strings.Join(parts, " UNION ALL "), ")")
}

func (s *statement) itemRows(key string) []string {
	var parts []string
	for _, prefix := range candidates(key)[1:] {
		if n, ok := s.keys[prefix]; ok {
			parts = append(parts, "SELECT entity_id FROM search WHERE key_id = "+id(n)+
				" AND value = "+s.arg(key[len(prefix)+1:])+" AND item = "+s.bool(true))
		}
	}
	return parts
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func escapeLike(text string) string { return likeEscaper.Replace(text) }
