package locations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// imported marks, among the fingerprints, that Import ran.
const imported = "locations of Backstage"

// Import takes over the locations that users registered with a Backstage
// backend which had the same database before: they are all that cannot be read
// again from elsewhere. It does so once, and returns how many they were. The
// tables of Backstage stay as they are.
func Import(ctx context.Context, database core.DatabaseService) (n int, err error) {
	err = database.WriteTx(ctx, func(t *sql.Tx) error {
		n = 0
		build := func() *sqltext.Builder { return sqltext.New(database.Dialect()) }
		b := build()
		b.Write("INSERT INTO fingerprint (name, value) VALUES ", b.Row(imported, "done"), " ON CONFLICT (name) DO NOTHING")
		result, err := t.ExecContext(ctx, b.String(), b.Args()...)
		if err != nil {
			return err
		}
		if first, err := result.RowsAffected(); err != nil || first == 0 {
			return err
		}
		there := "SELECT to_regclass('locations') IS NOT NULL"
		if database.Dialect() == core.SQLite {
			there = "SELECT count(*) > 0 FROM sqlite_master WHERE type = 'table' AND name = 'locations'"
		}
		var found bool
		if err := t.QueryRowContext(ctx, there).Scan(&found); err != nil || !found {
			return err
		}
		// Earlier versions kept a location of their own; its type is "bootstrap".
		old, err := texts(ctx, t, "SELECT CAST(id AS text), type, target FROM locations WHERE type <> 'bootstrap' ORDER BY id")
		if err != nil {
			return err
		}
		for _, l := range old {
			b := build()
			b.Write("INSERT INTO location (", columns, ") VALUES ", b.Row(l[0], l[1], l[2], entityRef(l[1], l[2])), " ON CONFLICT DO NOTHING")
			if _, err := t.ExecContext(ctx, b.String(), b.Args()...); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("importing the locations of a Backstage backend: %w", err)
	}
	return n, nil
}

func texts(ctx context.Context, t *sql.Tx, query string) (out [][3]string, err error) {
	rows, err := t.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var row [3]string
		if err := rows.Scan(&row[0], &row[1], &row[2]); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, rows.Err()
}
