package engine_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/engine"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/schema"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

func TestFoldersThatWereLeftBehindAreRemoved(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
			t.Fatal(err)
		}
		store, dir := tasks.NewStore(db.Service), t.TempDir()
		var claims [2]*tasks.Claim
		for i := range claims {
			err := store.Create(t.Context(), tasks.New{ID: tasks.NewID(), Spec: json.RawMessage(`{}`)})
			if err == nil {
				claims[i], err = store.Claim(t.Context(), time.Minute)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		ended, running := claims[0], claims[1].ID
		if err := store.Complete(t.Context(), ended, scaffoldercommon.TaskCompleted, scaffoldercommon.EventBody{}); err != nil {
			t.Fatal(err)
		}
		want := map[string]bool{running: true, running + "_step-1": true, tasks.NewID(): true, "other": true, "dry-run-" + ended.ID: true}
		all := []string{ended.ID, ended.ID + "_step-1"}
		for name := range want {
			all = append(all, name)
		}
		for _, name := range all {
			if err := os.MkdirAll(filepath.Join(dir, name, "inside"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		e := &engine.Engine{Store: store, Runner: &engine.Runner{WorkDir: dir}}
		if err := e.Sweep(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != len(all) {
			t.Errorf("of folders that are in use, %d are left, %v", len(left), err)
		}
		if err := e.Sweep(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, entry := range entries {
			got[entry.Name()] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
