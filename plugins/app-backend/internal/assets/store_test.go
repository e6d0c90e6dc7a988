package assets_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/app-backend/internal/assets"
	"github.com/flytower/flytower/plugins/app-backend/internal/frontend"
)

// bundle is a bundle in memory that counts what is read.
type bundle struct {
	files   map[string]string
	changes string // the file that changes

	mu   sync.Mutex
	read []string
}

func (b *bundle) StaticFiles(context.Context) (all []frontend.StaticFile, err error) {
	for path := range b.files {
		all = append(all, frontend.StaticFile{Path: path, Changes: path == b.changes})
	}
	return all, nil
}

func (b *bundle) ReadStatic(path string, limit int64) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read = append(b.read, path)
	if int64(len(b.files[path])) > limit {
		return nil, errors.New("too large")
	}
	return []byte(b.files[path]), nil
}

func (b *bundle) reads() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.read)
}

// clock is the time of a replica.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func newClock() *clock { return &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func newStore(t *testing.T, db *testdb.Database, c *clock) *assets.Store {
	t.Helper()
	s := assets.New(db.Service, slog.New(slog.DiscardHandler), c.now)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func keep(t *testing.T, s *assets.Store, b *bundle) {
	t.Helper()
	if _, err := s.Keep(t.Context(), assets.Main, b); err != nil {
		t.Fatal(err)
	}
}

// content returns what is kept, "" if nothing is.
func content(t *testing.T, s *assets.Store, namespace, path string) string {
	t.Helper()
	f, err := s.In(namespace).Find(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if f == nil {
		return ""
	}
	text, err := io.ReadAll(f)
	if err := errors.Join(err, f.Err()); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestKeep(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		time := newClock()
		s := newStore(t, db, time)
		old := &bundle{files: map[string]string{"main.1.js": "one", "nested/a.css": "a", "same.js": "same", "empty.js": ""}}
		keep(t, s, old)
		if n := old.reads(); n != 4 {
			t.Errorf("%d files were read, want 4", n)
		}
		keep(t, s, old)
		if n := old.reads(); n != 4 {
			t.Errorf("files that are there were read again: %q", old.read)
		}
		if _, err := s.Keep(t.Context(), assets.Public, &bundle{files: map[string]string{"main.1.js": "public"}}); err != nil {
			t.Fatal(err)
		}
		if got := content(t, s, assets.Main, "main.1.js"); got != "one" {
			t.Errorf("got %q", got)
		}
		if got := content(t, s, assets.Public, "main.1.js"); got != "public" {
			t.Errorf("the other namespace has %q", got)
		}
		if got := content(t, s, assets.Main, "none.js"); got != "" {
			t.Errorf("got %q", got)
		}
		f, err := s.In(assets.Main).Find(t.Context(), "empty.js")
		if err != nil || f == nil || !f.ModTime().Equal(time.Time) {
			t.Errorf("the empty file: %v, %v", f, err)
		}
	})
}

// TestRetention lets a deployment run for long, and then updates it: what it
// served until then is kept for a week from then on.
func TestRetention(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		time := newClock()
		s := newStore(t, db, time)
		old := &bundle{files: map[string]string{"main.1.js": "one", "same.js": "same"}}
		keep(t, s, old)
		step := func(d int) {
			t.Helper()
			time.Time = time.AddDate(0, 0, d)
			if err := s.Prune(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			if err := s.Renew(t.Context(), assets.Main, old); err != nil {
				t.Fatal(err)
			}
			step(5)
		}
		next := &bundle{files: map[string]string{"main.2.js": "two", "same.js": "same"}}
		keep(t, s, next)
		step(1)
		if got := content(t, s, assets.Main, "main.1.js"); got != "one" {
			t.Errorf("the earlier file is gone: %q", got)
		}
		step(2)
		if got := content(t, s, assets.Main, "main.1.js"); got != "" {
			t.Errorf("the earlier file is still there")
		}
		for _, path := range []string{"main.2.js", "same.js"} {
			if content(t, s, assets.Main, path) == "" {
				t.Errorf("%s is gone", path)
			}
		}
	})
}

func TestChangingFile(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		s := newStore(t, db, newClock())
		keep(t, s, &bundle{files: map[string]string{"main.js": "title: one"}, changes: "main.js"})
		keep(t, s, &bundle{files: map[string]string{"main.js": "title: two"}, changes: "main.js"})
		if got := content(t, s, assets.Main, "main.js"); got != "title: two" {
			t.Errorf("got %q", got)
		}
	})
}

// TestReplicas starts several replicas at once.
func TestReplicas(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		files := map[string]string{}
		for i := range 450 { // more than a batch
			files[fmt.Sprintf("%d.js", i)] = fmt.Sprint(i)
		}
		c := newClock()
		var wait sync.WaitGroup
		for i := range 4 {
			wait.Go(func() {
				s := assets.New(db.Service, slog.New(slog.DiscardHandler), c.now)
				own := map[string]string{fmt.Sprintf("own-%d.js", i): "own"}
				for path, text := range files {
					own[path] = text
				}
				if err := s.Prepare(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := s.Keep(t.Context(), assets.Main, &bundle{files: own}); err != nil {
					t.Error(err)
				}
				if err := s.Prune(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		s := newStore(t, db, c)
		for _, path := range []string{"0.js", "449.js", "own-0.js", "own-3.js"} {
			if content(t, s, assets.Main, path) == "" {
				t.Errorf("%s is not there", path)
			}
		}
		var rows int
		if err := db.DB.QueryRowContext(t.Context(), "SELECT count(*) FROM static_assets_cache").Scan(&rows); err != nil || rows != 454 {
			t.Errorf("%d rows, %v", rows, err)
		}
	})
}

// TestLargeFile reads a file that is sent in pieces, forwards and backwards.
func TestLargeFile(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		s := newStore(t, db, newClock())
		random := rand.New(rand.NewPCG(1, 2))
		large := make([]byte, 1<<20+12_345)
		for i := range large {
			large[i] = byte(random.IntN(256))
		}
		keep(t, s, &bundle{files: map[string]string{"large.wasm": string(large), "too-large.wasm": strings.Repeat("x", assets.MaxFile+1)}})
		f, err := s.In(assets.Main).Find(t.Context(), "large.wasm")
		if err != nil || f == nil {
			t.Fatalf("%v, %v", f, err)
		}
		if err := iotest.TestReader(f, large); err != nil {
			t.Error(err)
		}
		if got := content(t, s, assets.Main, "too-large.wasm"); got != "" {
			t.Errorf("a file of %d bytes is kept", len(got))
		}

		// Somebody removes it while it is read.
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if _, err := db.DB.ExecContext(t.Context(), "DELETE FROM static_assets_cache"); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err == nil || f.Err() == nil || !bytes.HasPrefix(large, got) {
			t.Errorf("%d bytes of a file that is gone were read without an error", len(got))
		}
		if _, err := f.Seek(-1, io.SeekStart); err == nil {
			t.Error("seek before the beginning: no error")
		}
	})
}

// TestTakeOver begins with the table of a Node backend.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		binary, at := "blob", "datetime"
		if db.Dialect == "postgres" {
			binary, at = "bytea", "timestamptz"
		}
		for _, statement := range []string{
			"CREATE TABLE static_assets_cache (path text NOT NULL, content " + binary + " NOT NULL, last_modified_at " + at +
				" NOT NULL DEFAULT CURRENT_TIMESTAMP, namespace varchar(255) DEFAULT 'default', PRIMARY KEY (namespace, path))",
			"CREATE INDEX static_asset_cache_last_modified_at_idx ON static_assets_cache (last_modified_at)",
		} {
			if _, err := db.DB.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		insert := "INSERT INTO static_assets_cache (path, content) VALUES ('old.js', $1)"
		if _, err := db.DB.ExecContext(t.Context(), strings.ReplaceAll(insert, "$1", map[bool]string{true: "$1", false: "?1"}[db.Dialect == "postgres"]), []byte("old")); err != nil {
			t.Fatal(err)
		}
		s := newStore(t, db, &clock{time.Now()})
		if err := s.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := content(t, s, assets.Main, "old.js"); got != "old" {
			t.Errorf("got %q", got)
		}
		keep(t, s, &bundle{files: map[string]string{"old.js": "old", "new.js": "new"}})
		if got := content(t, s, assets.Main, "new.js"); got != "new" {
			t.Errorf("got %q", got)
		}
	})
}

func TestBeforeItIsPrepared(t *testing.T) {
	t.Parallel()
	s := assets.New(nil, slog.New(slog.DiscardHandler), time.Now)
	if f, err := s.In(assets.Main).Find(t.Context(), "main.js"); f != nil || err != nil {
		t.Errorf("%v, %v", f, err)
	}
}
