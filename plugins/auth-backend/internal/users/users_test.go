package users_test

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/auth-backend/internal/schema"
	"github.com/flytower/flytower/plugins/auth-backend/internal/users"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

func TestUsersAreRemembered(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
			t.Fatal(err)
		}
		now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
		store := users.NewStore(db.Service, func() time.Time { return now })
		put := func(ref string, claims map[string]any) {
			t.Helper()
			if err := store.Put(t.Context(), ref, claims); err != nil {
				t.Fatal(err)
			}
		}
		check := func(ref, want string) {
			t.Helper()
			if got, ok, err := store.Get(t.Context(), ref); err != nil || string(got) != want || ok != (want != "") {
				t.Errorf("%s: %s, %t, %v; want %s", ref, got, ok, err, want)
			}
		}
		const jane, joe = "user:default/jane", "user:default/joe"
		check(jane, "")
		put(jane, map[string]any{"sub": jane, "ent": []string{jane, "group:default/<a>"}, "level": 3})
		check(jane, `{"ent":["user:default/jane","group:default/<a>"],"level":3,"sub":"user:default/jane"}`)
		put(jane, map[string]any{"sub": jane, "ent": []string{}})
		check(jane, `{"ent":[],"sub":"user:default/jane"}`)

		// Who signs in stays, also where nothing changes.
		put(joe, map[string]any{"sub": joe})
		now = now.Add(29 * 24 * time.Hour)
		put(joe, map[string]any{"sub": joe})
		now = now.Add(2 * 24 * time.Hour)
		if err := store.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(jane, "")
		check(joe, `{"sub":"user:default/joe"}`)
		now = now.Add(30 * 24 * time.Hour)
		if err := store.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(joe, "")

		if err := store.Put(t.Context(), "user:default/"+strings.Repeat("x", 300), nil); err == nil {
			t.Error("a reference that does not fit is kept")
		}
		if err := store.Put(t.Context(), jane, map[string]any{"f": func() {}}); err == nil {
			t.Error("a claim that is not JSON is kept")
		}
	})
}
