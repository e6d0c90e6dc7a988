package snapshots_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/scaffolder-backend-module-workspace-database/internal/snapshots"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/workspacetest"
)

func newStore(t *testing.T, db *testdb.Database, limit int64) *snapshots.Store {
	t.Helper()
	store, err := snapshots.New(t.Context(), db.Service, limit)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestProvider(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) { workspacetest.Run(t, newStore(t, db, 50<<20)) })
}

var snapshot = scaffoldernode.WorkspaceSnapshot{TaskID: "018f3a52-0000-4000-8000-000000000001", ID: "b1"}

func rows(t *testing.T, db *testdb.Database) (n int) {
	t.Helper()
	if err := db.DB.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM scaffolder_workspace_chunk) + (SELECT count(*) FROM scaffolder_workspace_snapshot)`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTooLargeAWorkspaceLeavesNothing(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		store := newStore(t, db, 3<<20)
		err := store.Save(t.Context(), snapshot, bytes.NewReader(make([]byte, 3<<20+1)))
		if err == nil || !strings.Contains(err.Error(), "scaffolder.taskRecovery.database.maxWorkspaceBytes") {
			t.Errorf("it ended with %v", err)
		}
		if n := rows(t, db); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		if err := store.Save(t.Context(), snapshot, bytes.NewReader(make([]byte, 3<<20))); err != nil {
			t.Errorf("one that is just small enough: %v", err)
		}
	})
}

// dying is an archive whose process ends in the midst of it.
type dying struct {
	left int
	end  func()
}

func (d *dying) Read(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		d.end()
		panic("the process ends here")
	}
	return len(p), nil
}

// TestASaveWhoseProcessEnds leaves half a snapshot, which is not one.
func TestASaveWhoseProcessEnds(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		store := newStore(t, db, 50<<20)
		ctx, end := context.WithCancel(t.Context())
		func() {
			defer func() { _ = recover() }()
			_ = store.Save(ctx, snapshot, &dying{left: 5 << 20, end: end})
		}()
		if rows(t, db) == 0 {
			t.Fatal("nothing was saved before the end")
		}
		if _, err := store.Open(t.Context(), snapshot); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("half a snapshot is opened: %v", err)
		}
		listed := 0
		for _, err := range store.List(t.Context()) {
			if err != nil {
				t.Error(err)
			}
			listed++
		}
		if listed != 1 {
			t.Errorf("%d tasks are listed, so nobody would remove what is left", listed)
		}
		if err := store.Remove(t.Context(), scaffoldernode.WorkspaceSnapshot{TaskID: snapshot.TaskID}); err != nil || rows(t, db) != 0 {
			t.Errorf("after the removal there are %d rows: %v", rows(t, db), err)
		}
		// A chunk that somebody removes while it is read.
		if err := store.Save(t.Context(), snapshot, bytes.NewReader(make([]byte, 3<<20))); err != nil {
			t.Fatal(err)
		}
		r, err := store.Open(t.Context(), snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Remove(t.Context(), snapshot); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what was removed is read: %v", err)
		}
	})
}
