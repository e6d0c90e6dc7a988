package grants_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/auth-backend/internal/grants"
	"github.com/flytower/flytower/plugins/auth-backend/internal/schema"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

const jane = "user:default/jane"

func TestNothingStaysForEver(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
			t.Fatal(err)
		}
		now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
		s := &grants.Store{DB: db.Service, Now: func() time.Time { return now }, Offline: grants.Offline{
			Enabled: true, Lifetime: 10 * 24 * time.Hour, MaxLifetime: 30 * 24 * time.Hour, MaxPerUser: 5,
		}}
		begin := func(client string) string {
			t.Helper()
			id, err := s.Begin(t.Context(), grants.Request{ClientID: client, RedirectURI: "http://127.0.0.1/cb", Scope: "offline_access", Challenge: strings.Repeat("x", 43), Method: "plain"})
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		grant := func(client string) grants.Grant {
			t.Helper()
			code, _, err := s.Approve(t.Context(), begin(client), jane)
			if err != nil {
				t.Fatal(err)
			}
			g, err := s.Exchange(t.Context(), grants.Exchange{Code: code, RedirectURI: "http://127.0.0.1/cb", Verifier: strings.Repeat("x", 43)})
			if err != nil || g.RefreshToken == "" {
				t.Fatalf("%+v: %v", g, err)
			}
			return g
		}
		rows := func(want string) {
			t.Helper()
			if err := s.Prune(t.Context()); err != nil {
				t.Fatal(err)
			}
			var counts []string
			for _, table := range []string{"oauth_authorization_sessions", "oauth_authorization_details", "oidc_authorization_codes", "offline_sessions"} {
				var n int
				if err := db.DB.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
					t.Fatal(err)
				}
				counts = append(counts, fmt.Sprint(n))
			}
			if got := strings.Join(counts, " "); got != want {
				t.Errorf("rows of sessions, details, codes and refresh tokens: %s, want %s", got, want)
			}
		}
		begin("a") // nobody answers
		if _, err := s.Reject(t.Context(), begin("a"), jane); err != nil {
			t.Fatal(err)
		}
		g, idle := grant("b"), grant("c")
		rows("4 4 2 2")
		now = now.Add(61 * time.Minute)
		rows("2 2 2 2")
		now = now.Add(24 * time.Hour)
		rows("0 0 0 2")
		now = now.Add(5 * 24 * time.Hour)
		if _, err := s.Refresh(t.Context(), g.RefreshToken, "", func(grants.Grant) error { return nil }); err != nil {
			t.Fatal(err)
		}
		now = now.Add(6 * 24 * time.Hour)
		rows("0 0 0 1")
		_ = idle
		now = now.Add(30 * 24 * time.Hour)
		rows("0 0 0 0")

		// The database has nothing with which somebody could go on.
		id := begin("d")
		code, _, err := s.Approve(t.Context(), id, jane)
		if err != nil {
			t.Fatal(err)
		}
		var stored string
		if err := db.DB.QueryRowContext(t.Context(), "SELECT code FROM oidc_authorization_codes").Scan(&stored); err != nil || stored == code || strings.Contains(stored, code) {
			t.Errorf("the code is stored: %v", err)
		}
		last := grant("e")
		if err := db.DB.QueryRowContext(t.Context(), "SELECT token_hash FROM offline_sessions").Scan(&stored); err != nil {
			t.Fatal(err)
		}
		_, secret, _ := strings.Cut(last.RefreshToken, ".")
		if strings.Contains(stored, secret[:22]) || strings.Contains(stored, secret[22:]) {
			t.Error("the refresh token is stored")
		}
		// A failure to issue a token costs the client nothing.
		down := apierr.ServiceUnavailable("down")
		if _, err := s.Refresh(t.Context(), last.RefreshToken, "", func(grants.Grant) error { return down }); apierr.KindOf(err) != apierr.KindServiceUnavailable {
			t.Errorf("error %v", err)
		}
		if _, err := s.Refresh(t.Context(), last.RefreshToken, "", func(grants.Grant) error { return nil }); err != nil {
			t.Errorf("after a failure: %v", err)
		}
		// A hash that another backend has made fits nothing.
		if _, err := db.DB.ExecContext(t.Context(), "UPDATE offline_sessions SET token_hash = 'c2FsdA.aGFzaA'"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Refresh(t.Context(), last.RefreshToken, "", func(grants.Grant) error { return nil }); apierr.KindOf(err) != apierr.KindAuthentication {
			t.Errorf("a foreign hash: %v", err)
		}
	})
}

// FuzzRefresh looks for a text that is taken for a refresh token.
func FuzzRefresh(f *testing.F) {
	for _, seed := range []string{"", ".", "1.", "00000000-0000-4000-8000-000000000000." + strings.Repeat("A", 65), strings.Repeat(".", 600)} {
		f.Add(seed)
	}
	db := testdb.NewSQLite(f)
	if err := db.Service.Migrate(f.Context(), schema.Migrations()); err != nil {
		f.Fatal(err)
	}
	s := &grants.Store{DB: db.Service, Now: time.Now, Offline: grants.Offline{Enabled: true, Lifetime: time.Hour, MaxLifetime: 2 * time.Hour, MaxPerUser: 1}}
	if _, err := db.DB.ExecContext(f.Context(), "INSERT INTO offline_sessions (id, user_entity_ref, oidc_client_id, token_hash, created_at, last_used_at) VALUES ('00000000-0000-4000-8000-000000000000', 'user:default/jane', 'a', '', '9999-01-01', '9999-01-01')"); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := s.Refresh(t.Context(), token, "", func(grants.Grant) error { return nil }); apierr.KindOf(err) != apierr.KindAuthentication {
			t.Errorf("%q: %v", token, err)
		}
		if g, err := s.Revoke(t.Context(), token, "a"); g.ID != "" || err != nil {
			t.Errorf("%q revokes %+v: %v", token, g, err)
		}
	})
}
