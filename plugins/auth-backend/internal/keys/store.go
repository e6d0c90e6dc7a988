package keys

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/auth-backend/internal/schema"
)

// Database returns the store in the table signing_keys, which replicas of
// this plugin in Node read and write, too.
func Database(db core.DatabaseService) Store { return database{db} }

type database struct{ db core.DatabaseService }

func (d database) Add(ctx context.Context, id string, jwk json.RawMessage, created time.Time) error {
	dialect := d.db.Dialect()
	return d.db.WriteTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, schema.Query(dialect, "INSERT INTO signing_keys (kid, created_at, key) VALUES ($1, $2, $3)"),
			id, schema.Time(dialect, created), string(jwk))
		return err
	})
}

func (d database) List(ctx context.Context, since time.Time) ([]json.RawMessage, error) {
	db, err := d.db.DB(ctx)
	if err != nil {
		return nil, err
	}
	dialect := d.db.Dialect()
	rows, err := db.QueryContext(ctx, schema.Query(dialect, "SELECT key FROM signing_keys WHERE created_at >= $1 ORDER BY created_at, kid"), schema.Time(dialect, since))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	keys := []json.RawMessage{}
	for rows.Next() {
		var jwk string
		if err := rows.Scan(&jwk); err != nil {
			return nil, err
		}
		if json.Valid([]byte(jwk)) {
			keys = append(keys, json.RawMessage(jwk))
		}
	}
	return keys, rows.Err()
}

func (d database) RemoveBefore(ctx context.Context, before time.Time) error {
	dialect := d.db.Dialect()
	return d.db.WriteTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, schema.Query(dialect, "DELETE FROM signing_keys WHERE created_at < $1"), schema.Time(dialect, before))
		return err
	})
}

// Memory returns a store that ends with the process, for a single instance.
func Memory() Store { return &memory{} }

type memory struct {
	mu   sync.Mutex
	keys []memoryKey // oldest first
}

type memoryKey struct {
	jwk     json.RawMessage
	created time.Time
}

func (m *memory) Add(_ context.Context, _ string, jwk json.RawMessage, created time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys = append(m.keys, memoryKey{jwk, created})
	return nil
}

func (m *memory) List(_ context.Context, since time.Time) ([]json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := []json.RawMessage{}
	for _, k := range m.keys {
		if !k.created.Before(since) {
			keys = append(keys, k.jwk)
		}
	}
	return keys, nil
}

func (m *memory) RemoveBefore(_ context.Context, before time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys = slices.DeleteFunc(m.keys, func(k memoryKey) bool { return k.created.Before(before) })
	return nil
}
