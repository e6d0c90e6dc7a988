package store

import (
	"database/sql"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// column is a column of a set of rows.
type column struct {
	array string // the type of an array of it in PostgreSQL
	all   any    // []int64, []string or []bool
	at    func(i int) any
	part  func(from, to int) any
}

func columnOf[T any](array string, values []T) column {
	return column{array, values, func(i int) any { return values[i] }, func(from, to int) any { return values[from:to] }}
}

func numbers(v []int64) column { return columnOf("bigint[]", v) }
func texts(v []string) column  { return columnOf("text[]", v) }

// arrayRows is how many rows a statement of PostgreSQL takes at most.
const arrayRows = 5000

// shapes are the numbers of rows that a statement of SQLite takes, so that few
// texts of statements are enough for any number.
var shapes = [...]int{200, 50, 10, 1}

// withRows runs a statement once or more with rows as the table n, whose
// columns are c1, c2 and so on: head, the table, tail. It returns how many
// rows it touched.
func (t *tx) withRows(head string, count int, tail string, columns ...column) (touched int64, err error) {
	for from := 0; from < count; {
		size := min(count-from, arrayRows)
		if !t.postgres() {
			for _, size = range shapes {
				if size <= count-from {
					break
				}
			}
		}
		n, err := t.execRows(head, from, from+size, tail, columns)
		if err != nil {
			return touched, err
		}
		touched += n
		from += size
	}
	return touched, nil
}

func (t *tx) execRows(head string, from, to int, tail string, columns []column) (int64, error) {
	var b strings.Builder
	b.WriteString(head)
	var args []any
	if t.postgres() {
		b.WriteString(" unnest(")
		for i, c := range columns {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(t.placeholder(i + 1))
			b.WriteString("::")
			b.WriteString(c.array)
			args = append(args, c.part(from, to))
		}
		b.WriteString(") AS n (" + columnNames(len(columns), "", "c") + ")")
	} else {
		b.WriteString(" (SELECT " + columnNames(len(columns), "column", "c") + " FROM (VALUES ")
		row := "(" + strings.TrimSuffix(strings.Repeat("?,", len(columns)), ",") + ")"
		args = make([]any, 0, (to-from)*len(columns))
		for i := from; i < to; i++ {
			if i > from {
				b.WriteByte(',')
			}
			b.WriteString(row)
			for _, c := range columns {
				args = append(args, c.at(i))
			}
		}
		b.WriteString(")) AS n")
	}
	b.WriteString(tail)
	result, err := t.prepared(b.String(), args)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

var digits = [...]string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}

func columnNames(n int, from, to string) string {
	names := make([]string, n)
	for i := range names {
		if names[i] = to + digits[i]; from != "" {
			names[i] = from + digits[i] + " AS " + names[i]
		}
	}
	return strings.Join(names, ", ")
}

// prepared runs a statement that is run again and again with other rows. The
// driver of PostgreSQL keeps what is prepared by itself.
func (t *tx) prepared(text string, args []any) (sql.Result, error) {
	if t.postgres() {
		return t.ExecContext(t.ctx, text, args...)
	}
	stmt, ok := t.statements[text]
	if !ok {
		var err error
		if stmt, err = t.PrepareContext(t.ctx, text); err != nil { // the transaction closes it
			return nil, err
		}
		if t.statements == nil {
			t.statements = map[string]*sql.Stmt{}
		}
		t.statements[text] = stmt
	}
	return stmt.ExecContext(t.ctx, args...)
}

// load adds rows to a table, each of which row appends the values of to dst.
// It is the fastest way, and knows nothing of conflicts.
func (t *tx) load(table string, columns []string, count int, row func(i int, dst []any) []any) error {
	if count == 0 {
		return nil
	}
	if t.conn != nil {
		return t.copy(table, columns, count, row)
	}
	if t.postgres() {
		return t.loadLiterally(table, columns, count, row)
	}
	head := "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES "
	one := "(" + strings.TrimSuffix(strings.Repeat("?,", len(columns)), ",") + ")"
	var args []any
	for from := 0; from < count; {
		size := 0
		for _, size = range shapes {
			if size <= count-from {
				break
			}
		}
		args = args[:0]
		for i := from; i < from+size; i++ {
			args = row(i, args)
		}
		if _, err := t.prepared(head+one+strings.Repeat(","+one, size-1), args); err != nil {
			return err
		}
		from += size
	}
	return nil
}

// loadLiterally is load for a PostgreSQL that is reached without pgx.
func (t *tx) loadLiterally(table string, columns []string, count int, row func(i int, dst []any) []any) error {
	items := make([]int, count)
	for i := range items {
		items[i] = i
	}
	for part := range slices.Chunk(items, chunk) {
		b := t.build()
		b.Write("INSERT INTO ", table, " (", strings.Join(columns, ", "), ") VALUES ")
		for n, i := range part {
			if n > 0 {
				b.Write(",")
			}
			b.Write(b.Row(row(i, nil)...))
		}
		if _, err := t.exec(b); err != nil {
			return err
		}
	}
	return nil
}

// copy is load by COPY.
func (t *tx) copy(table string, columns []string, count int, row func(i int, dst []any) []any) error {
	i := -1
	values := make([]any, 0, len(columns))
	return t.conn.Raw(func(driver any) error {
		c, ok := driver.(*stdlib.Conn)
		if !ok {
			return t.loadLiterally(table, columns, count, row)
		}
		_, err := c.Conn().CopyFrom(t.ctx, pgx.Identifier{table}, columns, pgx.CopyFromFunc(func() ([]any, error) {
			if i++; i == count {
				return nil, nil
			}
			values = row(i, values[:0])
			return values, nil
		}))
		return err
	})
}
