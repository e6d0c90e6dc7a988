// Package schema holds the tables of the auth plugin, as migrations for each
// SQL dialect. They are those of the same plugin in Node, so that an existing
// database can be taken over.
package schema

import (
	"embed"
	"io/fs"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
)

//go:embed migrations
var files embed.FS

// Migrations returns the steps that make the tables.
func Migrations() core.Migrations {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic("schema: the embedded migrations are missing: " + err.Error())
	}
	return core.Migrations{FS: sub}
}

// Query returns a statement with the placeholders $1, $2, … in the dialect.
func Query(d core.Dialect, text string) string {
	if d == core.SQLite {
		return strings.ReplaceAll(text, "$", "?")
	}
	return text
}

// Time returns a point in time as the columns of the dialect have it. SQLite
// has text in UTC that compares in order of time.
func Time(d core.Dialect, t time.Time) any {
	if d == core.SQLite {
		return t.UTC().Format(time.DateTime)
	}
	return t.UTC()
}
