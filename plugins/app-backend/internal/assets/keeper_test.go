package assets_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/database"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/app-backend/internal/assets"
)

// unreachable is a database that cannot be reached for a while.
type unreachable struct {
	core.DatabaseService
	failures int
}

func (u *unreachable) Migrate(ctx context.Context, m core.Migrations) error {
	if u.failures > 0 {
		u.failures--
		return errors.New("the database is down")
	}
	return u.DatabaseService.Migrate(ctx, m)
}

// TestRun keeps files as soon as the database is there, and renews their time.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := testdb.NewSQLite(t)
		s := assets.New(&unreachable{db.Service, 2}, slog.New(slog.DiscardHandler), time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Run(ctx, map[string]assets.Bundle{assets.Main: &bundle{files: map[string]string{"main.js": "main"}}})
		}()
		time.Sleep(14 * time.Second) // the pauses are of 5 and 10 seconds
		synctest.Wait()
		if got := content(t, s, assets.Main, "main.js"); got != "" {
			t.Errorf("kept too early: %q", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := content(t, s, assets.Main, "main.js"); got != "main" {
			t.Errorf("got %q", got)
		}
		time.Sleep(30 * 24 * time.Hour)
		synctest.Wait()
		f, err := s.In(assets.Main).Find(t.Context(), "main.js")
		if err != nil || f == nil {
			t.Fatalf("after a month: %v, %v", f, err)
		}
		if age := time.Since(f.ModTime()); age > 7*time.Hour {
			t.Errorf("the time was renewed %s ago", age)
		}
		cancel()
		<-ended
	})
}

// TestInMemory does not put a second copy of a frontend into memory.
func TestInMemory(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	files := &bundle{files: map[string]string{"main.js": "main"}}
	s := assets.New(database.Wrap(db, core.SQLite), slog.New(slog.DiscardHandler), time.Now)
	s.Run(t.Context(), map[string]assets.Bundle{assets.Main: files}) // returns at once
	if n := files.reads(); n != 0 {
		t.Errorf("%d files were read", n)
	}
	if got := content(t, s, assets.Main, "main.js"); got != "" {
		t.Errorf("got %q", got)
	}
}
