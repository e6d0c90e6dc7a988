// Package schema holds the tables of the scaffolder, as migrations for each
// SQL dialect. ARCHITECTURE.md of the plugin tells what each is for.
package schema

import (
	"embed"
	"io/fs"

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
