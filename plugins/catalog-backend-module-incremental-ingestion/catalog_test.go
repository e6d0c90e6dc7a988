package catalogmoduleincrementalingestion_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	catalogmoduleincrementalingestion "github.com/flytower/flytower/plugins/catalog-backend-module-incremental-ingestion"
)

// groups starts a catalog with the provider, whose first burst has run when
// it returns.
func groups(t *testing.T, s *source, database backend.Feature) *backendtest.Server {
	t.Helper()
	srv := backendtest.Start(t, catalogbackend.Plugin, catalogmoduleincrementalingestion.Module, with(s, onePage()), database, backendtest.Silent())
	if err := srv.WaitForTask(t, "catalog", "staff"); err != nil {
		t.Fatal(err)
	}
	return srv
}

// wantGroups waits until these groups are what the catalog serves.
func wantGroups(t *testing.T, srv *backendtest.Server, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var entities []struct{ Metadata struct{ Name string } }
		srv.Client(t).As(backendtest.User("user:default/ann")).Get("/api/catalog/entities?filter=kind=group").Expect(200).JSON(&entities)
		names := []string{}
		for _, e := range entities {
			names = append(names, e.Metadata.Name)
		}
		slices.Sort(names)
		d := cmp.Diff(want, names)
		if d == "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("(-want +got):\n%s", d)
		}
	}
}

func TestRestarts(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		s := &source{pages: []string{"a b", "c", "d"}}
		wants := [][]string{
			{"a", "b"}, {"a", "b", "c"}, {"a", "b", "c", "d"}, // each is a burst after a start
			{"a", "b", "c", "d", "e"}, {"a", "b", "c", "d", "e"}, {"a", "e"},
		}
		for i, want := range wants {
			if i == 3 {
				s.set("a e", "", "")
			}
			srv := groups(t, s, database)
			wantGroups(t, srv, want...)
			if err := srv.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff([]string{"0", "1", "2", "0", "1", "2"}, s.asked); d != "" {
			t.Errorf("pages (-want +got):\n%s", d)
		}
	})
}

// crashVariable tells a child process that it shall kill itself while it reads
// the page of that number.
const crashVariable = "INCREMENTAL_TEST_CRASH_AT"

func TestKilledAtEveryPage(t *testing.T) {
	folder := os.Getenv("INCREMENTAL_TEST_DATABASE")
	if folder == "" {
		folder = t.TempDir()
	}
	database := backendtest.Config(map[string]any{"backend": map[string]any{"database": map[string]any{
		"client": "better-sqlite3", "connection": map[string]any{"directory": folder},
	}}})
	s := &source{pages: []string{"a b", "c", "d"}}
	if at, err := strconv.Atoi(os.Getenv(crashVariable)); err == nil {
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		s.before = func(_ context.Context, page int) error {
			if page == at {
				if err := self.Kill(); err != nil {
					t.Error(err)
				}
				select {} // until the signal arrives
			}
			return nil
		}
		srv := groups(t, s, database)
		for range len(s.pages) {
			if err := srv.RunTask(t, "catalog", "staff"); err != nil {
				t.Fatal(err)
			}
		}
		t.Fatal("it is still alive")
	}
	for at := range s.pages {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledAtEveryPage$")
		child.Env = append(os.Environ(), crashVariable+"="+strconv.Itoa(at), "INCREMENTAL_TEST_DATABASE="+folder)
		out, err := child.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Exited() {
			t.Fatalf("the child ended with %v:\n%s", err, out)
		}
	}
	srv := groups(t, s, database)
	wantGroups(t, srv, "a", "b", "c", "d")
	if d := cmp.Diff([]string{"2"}, s.asked); d != "" { // the others are in the catalog
		t.Errorf("pages after the crashes (-want +got):\n%s", d)
	}
}
