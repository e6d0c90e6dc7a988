package ingest

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/flytower/flytower/core"
)

//go:embed migrations
var migrations embed.FS

// baseline remembers how many entities of each kind a provider had, in the
// database of the plugin, so that a restart does not forget.
type baseline struct {
	db       core.DatabaseService
	provider string
}

func (b baseline) migrate(ctx context.Context) error {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	if err := b.db.Migrate(ctx, core.Migrations{Name: "ingest", FS: steps}); err != nil {
		return fmt.Errorf("preparing the table of what providers had: %w", err)
	}
	return nil
}

// known returns the numbers of the last full run with the same settings.
func (b baseline) known(ctx context.Context, fingerprint string) (map[string]int, error) {
	db, err := b.db.DB(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, "SELECT kind, entities FROM ingest_baseline WHERE provider = $1 AND fingerprint = $2", b.provider, fingerprint)
	if err != nil {
		return nil, fmt.Errorf("reading what provider %s had: %w", b.provider, err)
	}
	defer rows.Close() //nolint:errcheck // read only
	counts := map[string]int{}
	for rows.Next() {
		var kind string
		var n int
		if err := rows.Scan(&kind, &n); err != nil {
			return nil, fmt.Errorf("reading what provider %s had: %w", b.provider, err)
		}
		counts[kind] = n
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading what provider %s had: %w", b.provider, err)
	}
	return counts, nil
}

// record replaces the numbers.
func (b baseline) record(ctx context.Context, fingerprint string, counts map[string]int) error {
	err := b.db.WriteTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM ingest_baseline WHERE provider = $1", b.provider); err != nil {
			return err
		}
		for _, kind := range slices.Sorted(maps.Keys(counts)) {
			if _, err := tx.ExecContext(ctx, "INSERT INTO ingest_baseline (provider, kind, fingerprint, entities) VALUES ($1, $2, $3, $4)",
				b.provider, kind, fingerprint, counts[kind]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("recording what provider %s has: %w", b.provider, err)
	}
	return nil
}

// removed lowers the number after entities were removed by a delta.
func (b baseline) removed(ctx context.Context, n int) error {
	err := b.db.WriteTx(ctx, func(tx *sql.Tx) error {
		// A delta does not tell of which kind its refs were. Lowering all is on
		// the side of letting the next full run pass.
		_, err := tx.ExecContext(ctx, "UPDATE ingest_baseline SET entities = CASE WHEN entities > $1 THEN entities - $1 ELSE 0 END WHERE provider = $2", n, b.provider)
		return err
	})
	if err != nil {
		return fmt.Errorf("recording what provider %s has: %w", b.provider, err)
	}
	return nil
}

// added raises the number of a kind after entities were added by a delta.
func (b baseline) added(ctx context.Context, kind string, n int) error {
	err := b.db.WriteTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE ingest_baseline SET entities = entities + $1 WHERE provider = $2 AND kind = $3", n, b.provider, kind)
		return err
	})
	if err != nil {
		return fmt.Errorf("recording what provider %s has: %w", b.provider, err)
	}
	return nil
}
