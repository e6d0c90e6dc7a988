package auth

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/flight"
)

//go:embed migrations
var migrations embed.FS

// keyTable is the table of published keys in the database of a plugin. Other
// backends that serve the same plugin read and write it, too.
const keyTable = "backstage_backend_public_keys__keys"

// timeLayout is how the table writes times.
const timeLayout = "2006-01-02T15:04:05.000Z"

// keyStore publishes the keys with which a plugin signs to its replicas. It
// opens the database when it is first used.
type keyStore struct {
	db  core.DatabaseService
	now func() time.Time
	log *slog.Logger

	work   flight.Group[string, struct{}]
	mu     sync.Mutex
	ready  bool
	stored map[string]time.Time // expiry by kid
}

func newKeyStore(db core.DatabaseService, now func() time.Time, log *slog.Logger) *keyStore {
	return &keyStore{db: db, now: now, log: log, stored: map[string]time.Time{}}
}

func (s *keyStore) open(ctx context.Context) (*sql.DB, error) {
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	if !ready {
		_, err := s.work.Do(ctx, "migrate", func(ctx context.Context) (struct{}, error) {
			files, err := fs.Sub(migrations, "migrations")
			if err == nil {
				err = s.db.Migrate(ctx, core.Migrations{Name: "backstage_backend_public_keys", FS: files})
			}
			if err == nil {
				s.mu.Lock()
				s.ready = true
				s.mu.Unlock()
			}
			return struct{}{}, err
		})
		if err != nil {
			return nil, fmt.Errorf("preparing the table of signing keys: %w", err)
		}
	}
	return s.db.DB(ctx)
}

// publish makes sure that the key is in the table. It must return before a
// token that was signed with the key leaves.
func (s *keyStore) publish(ctx context.Context, k *key) error {
	s.mu.Lock()
	_, stored := s.stored[k.kid]
	s.mu.Unlock()
	if stored {
		return nil
	}
	_, err := s.work.Do(ctx, k.kid, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.insert(ctx, k) })
	return err
}

func (s *keyStore) insert(ctx context.Context, k *key) error {
	if _, err := s.open(ctx); err != nil {
		return err
	}
	err := s.db.WriteTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO "+keyTable+" (id, key, expires_at) VALUES ("+s.arg(1)+", "+s.arg(2)+", "+s.arg(3)+") ON CONFLICT (id) DO NOTHING",
			k.kid, string(k.jwk), k.expires.UTC().Format(timeLayout))
		return err
	})
	if err != nil {
		return fmt.Errorf("publishing the signing key: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for kid, expires := range s.stored {
		if !now.Before(expires) {
			delete(s.stored, kid)
		}
	}
	s.stored[k.kid] = k.expires
	return nil
}

func (s *keyStore) arg(n int) string {
	if s.db.Dialect() == core.PostgreSQL {
		return fmt.Sprintf("$%d", n)
	}
	return fmt.Sprintf("?%d", n)
}

// publishedKey is a row.
type publishedKey struct {
	kid string
	jwk json.RawMessage
}

// list returns the keys that are not expired, and removes the others.
func (s *keyStore) list(ctx context.Context) ([]publishedKey, error) {
	db, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	live, expired, err := s.read(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("listing the published keys: %w", err)
	}
	if len(expired) > 0 {
		err := s.db.WriteTx(ctx, func(tx *sql.Tx) error {
			for _, kid := range expired {
				if _, err := tx.ExecContext(ctx, "DELETE FROM "+keyTable+" WHERE id = "+s.arg(1), kid); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			s.log.WarnContext(ctx, "expired signing keys were not removed", "error", err)
		}
	}
	return live, nil
}

func (s *keyStore) read(ctx context.Context, db *sql.DB) (live []publishedKey, expired []string, err error) {
	rows, err := db.QueryContext(ctx, "SELECT id, key, expires_at FROM "+keyTable+" ORDER BY expires_at, id")
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	now := s.now()
	for rows.Next() {
		var kid, jwk, until string
		if err := rows.Scan(&kid, &jwk, &until); err != nil {
			return nil, nil, err
		}
		expires, err := time.Parse(time.RFC3339, until)
		switch {
		case err != nil || !json.Valid([]byte(jwk)):
			// Not ours to judge: neither published nor removed.
		case now.Before(expires):
			live = append(live, publishedKey{kid, json.RawMessage(jwk)})
		default:
			expired = append(expired, kid)
		}
	}
	return live, expired, rows.Err()
}
