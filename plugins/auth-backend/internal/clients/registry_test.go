package clients_test

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/auth-backend/internal/clients"
	"github.com/flytower/flytower/plugins/auth-backend/internal/schema"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
			t.Fatal(err)
		}
		now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
		g := &clients.Registry{
			DB: db.Service, Allowed: patterns(t, "*"), Keep: clients.Retention{Unused: 30 * 24 * time.Hour, Max: 6}, Now: func() time.Time { return now },
		}
		k := clients.Known{Registry: g}
		const uri = "http://127.0.0.1:1/cb"
		register := func(method string) clients.Registered {
			t.Helper()
			c, err := g.Register(t.Context(), clients.Registration{RedirectURIs: []string{uri}, AuthMethod: method})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		secret, public := register(""), register("none")
		if public.Secret != "" || secret.Secret == "" {
			t.Errorf("secrets %q and %q", public.Secret, secret.Secret)
		}
		// Another backend of the family has its secret as it is.
		if _, err := db.DB.ExecContext(t.Context(), `INSERT INTO oidc_clients (client_id, client_secret, client_name, response_types, grant_types, redirect_uris) VALUES ('theirs', 'plain', 'N', '["code"]', '[]', '["http://127.0.0.1:1/cb"]')`); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			id, secret string
			good       bool
		}{
			{secret.ID, secret.Secret, true}, {secret.ID, "x", false}, {secret.ID, "", false}, {public.ID, "", true}, {public.ID, "x", false},
			{"theirs", "plain", true}, {"theirs", "x", false}, {"theirs", "", false}, {"nobody", "", false}, {"", "", false}, {"https://agent.test/x", "", false},
		} {
			c, err := k.Authenticate(t.Context(), tt.id, tt.secret)
			if good := err == nil; good != tt.good || good && c.ID != tt.id || !good && apierr.KindOf(err) != apierr.KindAuthentication {
				t.Errorf("%s with %q: %v", tt.id, tt.secret, err)
			}
		}
		for _, id := range []string{"nobody", "", "https://agent.test/x"} {
			if _, err := k.Find(t.Context(), id); apierr.KindOf(err) != apierr.KindInput {
				t.Errorf("%q: %v", id, err)
			}
		}
		var stored string
		if err := db.DB.QueryRowContext(t.Context(), "SELECT client_secret FROM oidc_clients WHERE client_id = '"+secret.ID+"'").Scan(&stored); err != nil || stored == secret.Secret {
			t.Errorf("the secret is stored: %v", err)
		}

		// Who was let in stays for 30 days after its last use, others for one.
		used, kept := register(""), register("")
		check := func(when string, want map[string]bool) {
			t.Helper()
			if err := g.Prune(t.Context()); err != nil {
				t.Fatal(err)
			}
			for id, there := range want {
				if _, err := k.Find(t.Context(), id); there != (err == nil) {
					t.Errorf("%s: %s: %v", when, id, err)
				}
			}
		}
		use := func(id string, approved bool) {
			t.Helper()
			if err := g.Used(t.Context(), id, approved); err != nil {
				t.Fatal(err)
			}
		}
		use(used.ID, false)
		use(used.ID, true)
		use(kept.ID, true)
		use("https://agent.test/x", true)
		if _, err := db.DB.ExecContext(t.Context(), "INSERT INTO offline_sessions (id, user_entity_ref, oidc_client_id, token_hash) VALUES ('1', 'user:default/jane', '"+kept.ID+"', 'x')"); err != nil {
			t.Fatal(err)
		}
		check("at once", map[string]bool{secret.ID: true, public.ID: true, used.ID: true, kept.ID: true, "theirs": true})
		now = now.Add(25 * time.Hour)
		check("after a day", map[string]bool{secret.ID: false, public.ID: false, used.ID: true, kept.ID: true, "theirs": true})
		now = now.Add(10 * 24 * time.Hour)
		use(used.ID, false)
		now = now.Add(25 * 24 * time.Hour)
		check("after its use", map[string]bool{used.ID: true, kept.ID: true, "theirs": false})
		now = now.Add(10 * 24 * time.Hour)
		check("long after its use", map[string]bool{used.ID: false, kept.ID: true})

		for range 5 {
			register("")
		}
		if _, err := g.Register(t.Context(), clients.Registration{RedirectURIs: []string{uri}}); !errors.Is(err, clients.ErrFull) {
			t.Errorf("one too many: %v", err)
		}
	})
}
