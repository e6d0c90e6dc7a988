// Package sqltext grows SQL statements whose conditions are known at run time
// only, with their arguments, for each dialect.
//
//	b := sqltext.New(core.SQLite)
//	b.Write("SELECT id FROM entity WHERE ref IN (", b.List(refs), ")")
//	rows, err := db.QueryContext(ctx, b.String(), b.Args()...)
package sqltext

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Builder is a growing statement.
type Builder struct {
	dialect core.Dialect
	text    strings.Builder
	args    []any
}

// New returns an empty statement.
func New(dialect core.Dialect) *Builder { return &Builder{dialect: dialect} }

// Dialect returns the dialect of the statement.
func (b *Builder) Dialect() core.Dialect { return b.dialect }

// Write appends parts of the text.
func (b *Builder) Write(parts ...string) {
	for _, p := range parts {
		b.text.WriteString(p)
	}
}

// Arg adds an argument and returns its placeholder. Placeholders must be
// written in the order in which they were made. A text that no row can have,
// see [catalogcommon.Storable], is made one that PostgreSQL takes: it is
// compared with what is there, and finds nothing.
func (b *Builder) Arg(v any) string {
	if text, ok := v.(string); ok && !catalogcommon.IsStorable(text) {
		v = comparison(text)
	}
	b.args = append(b.args, v)
	if b.dialect == core.PostgreSQL {
		return "$" + strconv.Itoa(len(b.args))
	}
	return "?"
}

// comparison is what a text is compared as.
func comparison(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
}

// List adds strings and returns their placeholders, comma separated.
func (b *Builder) List(values []string) string { return list(b, values) }

// IDs adds numbers and returns their placeholders, comma separated.
func (b *Builder) IDs(values []int64) string { return list(b, values) }

// AnyID returns a condition on the column before it: being one of the numbers.
// Its text does not depend on how many there are, so a statement of it is
// prepared once.
func (b *Builder) AnyID(values []int64) string {
	if b.dialect == core.PostgreSQL {
		return "= ANY(" + b.Arg(values) + "::bigint[])"
	}
	out := make([]byte, 0, 8*len(values)+2)
	out = append(out, '[')
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendInt(out, v, 10)
	}
	return "IN (SELECT value FROM json_each(" + b.Arg(string(append(out, ']'))) + "))"
}

// AnyText is AnyID for strings.
func (b *Builder) AnyText(values []string) string {
	if b.dialect == core.PostgreSQL {
		if slices.ContainsFunc(values, func(v string) bool { return !catalogcommon.IsStorable(v) }) {
			values = slices.Clone(values)
			for i, v := range values {
				values[i] = comparison(v)
			}
		}
		return "= ANY(" + b.Arg(values) + "::text[])"
	}
	raw, err := json.Marshal(values)
	if err != nil {
		panic("sqltext: strings that cannot be written as JSON: " + err.Error())
	}
	return "IN (SELECT value FROM json_each(" + b.Arg(string(raw)) + "))"
}

func list[T any](b *Builder, values []T) string {
	var s strings.Builder
	for i, v := range values {
		if i > 0 {
			s.WriteByte(',')
		}
		s.WriteString(b.Arg(v))
	}
	return s.String()
}

// Row adds the values of a row and returns "(…)".
func (b *Builder) Row(values ...any) string {
	var s strings.Builder
	s.WriteByte('(')
	for i, v := range values {
		if i > 0 {
			s.WriteByte(',')
		}
		s.WriteString(b.Arg(v))
	}
	s.WriteByte(')')
	return s.String()
}

// Bool returns a literal.
func (b *Builder) Bool(v bool) string {
	switch {
	case b.dialect == core.PostgreSQL && v:
		return "TRUE"
	case b.dialect == core.PostgreSQL:
		return "FALSE"
	case v:
		return "1"
	default:
		return "0"
	}
}

// String returns the text.
func (b *Builder) String() string { return b.text.String() }

// Args returns the arguments in the order of their placeholders.
func (b *Builder) Args() []any { return b.args }

// ID returns a literal.
func ID(n int64) string { return strconv.FormatInt(n, 10) }

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// EscapeLike escapes what LIKE … ESCAPE '\' gives a meaning to.
func EscapeLike(text string) string { return likeEscaper.Replace(text) }
