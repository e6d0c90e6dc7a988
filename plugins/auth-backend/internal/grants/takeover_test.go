package grants_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/auth-backend/internal/grants"
	"github.com/flytower/flytower/plugins/auth-backend/internal/schema"
)

// theirs are the tables of a database that the same plugin in Node has made.
const theirs = `
CREATE TABLE oidc_clients (client_id varchar(255) PRIMARY KEY, client_secret varchar(255) NOT NULL, client_name varchar(255) NOT NULL,
	response_types text NOT NULL, grant_types text NOT NULL, redirect_uris text NOT NULL, scope text, metadata text);
CREATE TABLE oauth_authorization_sessions (id varchar(255) PRIMARY KEY, client_id varchar(255) NOT NULL, user_entity_ref varchar(255),
	redirect_uri text NOT NULL, scope text, state text, response_type varchar(255) NOT NULL, code_challenge varchar(255),
	code_challenge_method varchar(255), nonce varchar(255), status text CHECK (status IN ('pending', 'approved', 'rejected', 'expired')) DEFAULT 'pending',
	expires_at TIMESTAMP_TYPE NOT NULL);
CREATE TABLE oidc_authorization_codes (code varchar(255) PRIMARY KEY, session_id varchar(255) NOT NULL REFERENCES oauth_authorization_sessions (id) ON DELETE CASCADE,
	expires_at TIMESTAMP_TYPE NOT NULL, used boolean DEFAULT false);
CREATE TABLE offline_sessions (id varchar(255) PRIMARY KEY, user_entity_ref varchar(255) NOT NULL, oidc_client_id varchar(255), token_hash text NOT NULL,
	created_at TIMESTAMP_TYPE NOT NULL DEFAULT CURRENT_TIMESTAMP, last_used_at TIMESTAMP_TYPE NOT NULL DEFAULT CURRENT_TIMESTAMP);
INSERT INTO offline_sessions (id, user_entity_ref, oidc_client_id, token_hash) VALUES ('0b0a9b0e-0000-4000-8000-000000000001', 'user:default/jane', 'c', 'c2FsdA.aGFzaA');
INSERT INTO oauth_authorization_sessions (id, client_id, redirect_uri, response_type, code_challenge, code_challenge_method, expires_at)
	VALUES ('0b0a9b0e-0000-4000-8000-000000000002', 'c', 'http://127.0.0.1/cb', 'code', 'CHALLENGE', 'plain', '2999-01-01 00:00:00');
`

func TestDatabaseOfAnotherBackend(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		challenge := strings.Repeat("x", 43)
		kind := map[core.Dialect]string{core.PostgreSQL: "timestamptz", core.SQLite: "datetime"}[db.Dialect]
		for statement := range strings.SplitSeq(strings.NewReplacer("TIMESTAMP_TYPE", kind, "CHALLENGE", challenge).Replace(theirs), ";\n") {
			if strings.TrimSpace(statement) == "" {
				continue
			}
			if _, err := db.DB.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
			t.Fatal(err)
		}
		s := &grants.Store{DB: db.Service, Now: time.Now, Offline: grants.Offline{Enabled: true, Lifetime: time.Hour, MaxLifetime: 2 * time.Hour, MaxPerUser: 3}}
		if err := s.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		exchange := func(id string) (grants.Grant, error) {
			code, _, err := s.Approve(t.Context(), id, jane)
			if err != nil {
				t.Fatal(err)
			}
			return s.Exchange(t.Context(), grants.Exchange{Code: code, RedirectURI: "http://127.0.0.1/cb", Verifier: challenge})
		}
		// A request that has begun there goes on here, and new ones begin.
		if g, err := exchange("0b0a9b0e-0000-4000-8000-000000000002"); err != nil || g.ClientID != "c" {
			t.Errorf("%+v: %v", g, err)
		}
		id, err := s.Begin(t.Context(), grants.Request{ClientID: "c", RedirectURI: "http://127.0.0.1/cb", Scope: "offline_access", Challenge: challenge, Method: "plain"})
		if err != nil {
			t.Fatal(err)
		}
		g, err := exchange(id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Refresh(t.Context(), g.RefreshToken, "c", func(grants.Grant) error { return nil }); err != nil {
			t.Error(err)
		}
		// The refresh token of there is no good here.
		if _, err := s.Refresh(context.Background(), "0b0a9b0e-0000-4000-8000-000000000001."+strings.Repeat("A", 43), "c", func(grants.Grant) error { return nil }); err == nil {
			t.Error("a foreign token is taken")
		}
	})
}
