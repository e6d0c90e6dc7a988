// Package assets keeps the static files of a frontend in the database for some
// days. A page that was loaded before an update of the frontend goes on to ask
// for files of the earlier bundle, and while replicas are updated one after
// the other, a page of one may reach another.
//
//	store := assets.New(database, time.Now)
//	if err := store.Prepare(ctx); err != nil { … }
//	err := store.Keep(ctx, assets.Main, bundle)
//	f, err := store.In(assets.Main).Find(ctx, "main.1a2b3c.js")
//
// Replicas share the table without knowing of each other: what is there is
// left alone, and the time of what a replica serves is renewed as long as it
// runs. So a file is kept for [Retention] after the last replica that had it
// in its bundle has ended.
package assets

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/app-backend/internal/frontend"
)

// The namespaces, one for each bundle.
const (
	Main   = "default"
	Public = "public"
)

const (
	// Retention is how long files are kept.
	Retention = 7 * 24 * time.Hour
	// MaxFile is the largest file that is kept, in bytes.
	MaxFile = 32 << 20
	// batch is how many rows a statement touches.
	batch = 200
)

//go:embed migrations
var files embed.FS

// Store is the table of files.
type Store struct {
	database core.DatabaseService
	log      *slog.Logger
	now      func() time.Time
	ready    atomic.Bool
}

// New returns the store in a database. It is empty until Prepare has returned.
func New(database core.DatabaseService, log *slog.Logger, now func() time.Time) *Store {
	return &Store{database: database, log: log, now: now}
}

// Prepare makes the table.
func (s *Store) Prepare(ctx context.Context) error {
	if s.ready.Load() {
		return nil
	}
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic("assets: the embedded migrations are missing: " + err.Error())
	}
	if err := s.database.Migrate(ctx, core.Migrations{FS: sub}); err != nil {
		return err
	}
	s.ready.Store(true)
	return nil
}

// query returns a statement in the dialect.
func (s *Store) query(text string) string {
	if s.database.Dialect() == core.SQLite {
		return strings.ReplaceAll(text, "$", "?")
	}
	return text
}

// time returns a point in time as the column has it.
func (s *Store) time(t time.Time) any {
	if s.database.Dialect() == core.SQLite {
		return t.UTC().Format(time.DateTime)
	}
	return t.UTC()
}

// Bundle is where files come from.
type Bundle interface {
	StaticFiles(ctx context.Context) ([]frontend.StaticFile, error)
	ReadStatic(path string, limit int64) ([]byte, error)
}

// Keep adds the files of a bundle that are not there, and renews the time of
// all. At most one file is in memory at a time.
func (s *Store) Keep(ctx context.Context, namespace string, bundle Bundle) (added int, err error) {
	all, err := bundle.StaticFiles(ctx)
	if err != nil {
		return 0, fmt.Errorf("list the static files of the frontend: %w", err)
	}
	paths := make([]string, len(all))
	changes := map[string]bool{}
	for i, f := range all {
		paths[i], changes[f.Path] = f.Path, f.Changes
	}
	there, err := s.touch(ctx, namespace, paths)
	if err != nil {
		return 0, err
	}
	for _, path := range paths {
		if there[path] && !changes[path] {
			continue
		}
		content, err := bundle.ReadStatic(path, MaxFile)
		if err != nil {
			s.log.WarnContext(ctx, "A static file of the frontend is not kept for the time after an update", "path", path, "error", err)
			continue
		}
		if err := s.insert(ctx, namespace, path, content); err != nil {
			return added, err
		}
		added++
	}
	return added, nil
}

// Renew renews the time of the files of a bundle.
func (s *Store) Renew(ctx context.Context, namespace string, bundle Bundle) error {
	all, err := bundle.StaticFiles(ctx)
	if err != nil {
		return fmt.Errorf("list the static files of the frontend: %w", err)
	}
	paths := make([]string, len(all))
	for i, f := range all {
		paths[i] = f.Path
	}
	_, err = s.touch(ctx, namespace, paths)
	return err
}

// touch renews the time of files and returns those that are there.
func (s *Store) touch(ctx context.Context, namespace string, paths []string) (there map[string]bool, err error) {
	there = map[string]bool{}
	slices.Sort(paths) // replicas that lock rows in the same order do not wait in a circle
	for some := range slices.Chunk(paths, batch) {
		places := make([]string, len(some))
		args := []any{s.time(s.now()), namespace}
		for i, p := range some {
			places[i] = fmt.Sprintf("$%d", i+3)
			args = append(args, p)
		}
		update := s.query("UPDATE static_assets_cache SET last_modified_at = $1 WHERE namespace = $2 AND path IN (" +
			strings.Join(places, ", ") + ") RETURNING path")
		var found []string
		err := s.database.WriteTx(ctx, func(tx *sql.Tx) (err error) {
			found, err = texts(ctx, tx, update, args...)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("renew the static files that are kept: %w", err)
		}
		for _, p := range found {
			there[p] = true
		}
	}
	return there, nil
}

func texts(ctx context.Context, tx *sql.Tx, query string, args ...any) (out []string, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, rows.Err()
}

// insert adds or replaces a file.
func (s *Store) insert(ctx context.Context, namespace, path string, content []byte) error {
	if content == nil {
		content = []byte{}
	}
	insert := s.query(`INSERT INTO static_assets_cache (namespace, path, content, last_modified_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (namespace, path) DO UPDATE SET content = excluded.content, last_modified_at = excluded.last_modified_at`)
	err := s.database.WriteTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, insert, namespace, path, content, s.time(s.now()))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the static file %s: %w", path, err)
	}
	return nil
}

// Prune removes the files whose time is over, of all namespaces.
func (s *Store) Prune(ctx context.Context) error {
	remove := s.query("DELETE FROM static_assets_cache WHERE last_modified_at < $1")
	err := s.database.WriteTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, remove, s.time(s.now().Add(-Retention)))
		return err
	})
	if err != nil {
		return fmt.Errorf("remove static files of old frontends: %w", err)
	}
	return nil
}

// In returns the files of a namespace.
func (s *Store) In(namespace string) frontend.Kept { return kept{s, namespace} }

type kept struct {
	store     *Store
	namespace string
}

// Find implements [frontend.Kept].
func (k kept) Find(ctx context.Context, path string) (frontend.KeptFile, error) {
	if !k.store.ready.Load() {
		return nil, nil
	}
	db, err := k.store.database.DB(ctx)
	if err != nil {
		return nil, err
	}
	f := &file{ctx: ctx, db: db, args: []any{k.namespace, path}, query: k.store.query(selectPiece)}
	var changed any
	find := k.store.query(fmt.Sprintf(`SELECT length(content), last_modified_at, substr(content, 1, %d)
		FROM static_assets_cache WHERE namespace = $1 AND path = $2`, piece))
	switch err := db.QueryRowContext(ctx, find, f.args...).Scan(&f.size, &changed, &f.piece); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if f.modTime, err = readTime(changed); err != nil {
		return nil, err
	}
	return f, nil
}

// readTime reads the column, which drivers give in one of two forms.
func readTime(v any) (time.Time, error) {
	switch v := v.(type) {
	case time.Time:
		return v.UTC().Truncate(time.Second), nil
	case string:
		return time.Parse(time.DateTime, v)
	default:
		return time.Time{}, fmt.Errorf("the column last_modified_at has a %T", v)
	}
}
