// Package snapshots keeps archives of workspaces in the database, in chunks.
package snapshots

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

//go:embed migrations
var migrations embed.FS

const (
	// chunkSize is how much of an archive is in memory, in bytes.
	chunkSize = 1 << 20
	// cleanTimeout is how long removing half a snapshot may take.
	cleanTimeout = 15 * time.Second
)

// Store is a workspace provider. Use [New].
type Store struct {
	database core.DatabaseService
	limit    int64
}

var _ scaffoldernode.WorkspaceProvider = (*Store)(nil)

// New returns the store in a database whose tables it makes. limit bounds an
// archive, in bytes.
func New(ctx context.Context, database core.DatabaseService, limit int64) (*Store, error) {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := database.Migrate(ctx, core.Migrations{Name: "scaffolder_workspaces", FS: steps}); err != nil {
		return nil, fmt.Errorf("prepare the tables of workspaces: %w", err)
	}
	return &Store{database, limit}, nil
}

// Save implements [scaffoldernode.WorkspaceProvider]. Every chunk is a
// transaction of its own, which is short, and the last one says that the
// snapshot is complete.
func (s *Store) Save(ctx context.Context, snapshot scaffoldernode.WorkspaceSnapshot, archive io.Reader) error {
	err := s.save(ctx, snapshot, archive)
	if err != nil {
		clean, done := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
		defer done()
		_ = s.Remove(clean, snapshot) // what is left goes with the task
	}
	return err
}

func (s *Store) save(ctx context.Context, snapshot scaffoldernode.WorkspaceSnapshot, archive io.Reader) error {
	chunk := make([]byte, chunkSize)
	left := s.limit
	for number := 0; ; number++ {
		n, err := io.ReadFull(archive, chunk)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return err
		}
		if left -= int64(n); left < 0 {
			return apierr.Input("the files of the task need more than the %d bytes that scaffolder.taskRecovery.database.maxWorkspaceBytes allows", s.limit)
		}
		if err := s.saveChunk(ctx, snapshot, number, chunk[:n], last); err != nil {
			return fmt.Errorf("save a workspace in the database: %w", err)
		}
		if last {
			return nil
		}
	}
}

func (s *Store) saveChunk(ctx context.Context, snapshot scaffoldernode.WorkspaceSnapshot, number int, chunk []byte, last bool) error {
	return s.database.WriteTx(ctx, func(tx *sql.Tx) error {
		if number == 0 {
			if _, err := tx.ExecContext(ctx, `INSERT INTO scaffolder_workspace_snapshot (task_id, snapshot_id, saved_at) VALUES ($1, $2, $3)`,
				snapshot.TaskID, snapshot.ID, time.Now().UnixMilli()); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO scaffolder_workspace_chunk (task_id, snapshot_id, number, data) VALUES ($1, $2, $3, $4)`,
			snapshot.TaskID, snapshot.ID, number, chunk); err != nil {
			return err
		}
		if !last {
			return nil
		}
		result, err := tx.ExecContext(ctx, `UPDATE scaffolder_workspace_snapshot SET chunks = $1 WHERE task_id = $2 AND snapshot_id = $3`, number+1, snapshot.TaskID, snapshot.ID)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, errors.New("the snapshot was removed meanwhile"))
		}
		return nil
	})
}

// Open implements [scaffoldernode.WorkspaceProvider].
func (s *Store) Open(ctx context.Context, snapshot scaffoldernode.WorkspaceSnapshot) (io.ReadCloser, error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return nil, err
	}
	r := &reader{ctx: ctx, db: db, snapshot: snapshot}
	err = db.QueryRowContext(ctx, `SELECT chunks FROM scaffolder_workspace_snapshot WHERE task_id = $1 AND snapshot_id = $2 AND chunks IS NOT NULL`, snapshot.TaskID, snapshot.ID).Scan(&r.chunks)
	if err != nil {
		return nil, failed(err)
	}
	return r, nil
}

func failed(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		err = fs.ErrNotExist
	}
	return fmt.Errorf("read a workspace from the database: %w", err)
}

// reader reads the chunks of a snapshot, one at a time.
type reader struct {
	ctx          context.Context
	db           *sql.DB
	snapshot     scaffoldernode.WorkspaceSnapshot
	next, chunks int
	chunk        []byte
}

func (r *reader) Read(p []byte) (int, error) {
	for len(r.chunk) == 0 {
		if r.next == r.chunks {
			return 0, io.EOF
		}
		err := r.db.QueryRowContext(r.ctx, `SELECT data FROM scaffolder_workspace_chunk WHERE task_id = $1 AND snapshot_id = $2 AND number = $3`, r.snapshot.TaskID, r.snapshot.ID, r.next).Scan(&r.chunk)
		if err != nil {
			return 0, failed(err)
		}
		r.next++
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

func (r *reader) Close() error {
	r.next, r.chunk = r.chunks, nil
	return nil
}

// Remove implements [scaffoldernode.WorkspaceProvider].
func (s *Store) Remove(ctx context.Context, snapshot scaffoldernode.WorkspaceSnapshot) error {
	err := s.database.WriteTx(ctx, func(tx *sql.Tx) error {
		for _, table := range []string{"scaffolder_workspace_chunk", "scaffolder_workspace_snapshot"} {
			if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE task_id = $1 AND (snapshot_id = $2 OR $3)`, snapshot.TaskID, snapshot.ID, snapshot.ID == ""); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove a workspace from the database: %w", err)
	}
	return nil
}

// List implements [scaffoldernode.WorkspaceProvider].
func (s *Store) List(ctx context.Context) iter.Seq2[scaffoldernode.KeptWorkspace, error] {
	return func(yield func(scaffoldernode.KeptWorkspace, error) bool) {
		all, err := s.list(ctx)
		if err != nil {
			yield(scaffoldernode.KeptWorkspace{}, fmt.Errorf("list the workspaces in the database: %w", err))
			return
		}
		for _, kept := range all {
			if !yield(kept, nil) {
				return
			}
		}
	}
}

// list reads all, so that no connection is held while the caller works.
func (s *Store) list(ctx context.Context) (all []scaffoldernode.KeptWorkspace, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, `SELECT task_id, max(saved_at) FROM scaffolder_workspace_snapshot GROUP BY task_id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var kept scaffoldernode.KeptWorkspace
		var saved int64
		if err := rows.Scan(&kept.TaskID, &saved); err != nil {
			return nil, err
		}
		kept.Saved = time.UnixMilli(saved)
		all = append(all, kept)
	}
	return all, rows.Err()
}
