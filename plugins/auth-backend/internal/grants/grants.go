// Package grants keeps what users have let clients do: the requests that they
// are to answer, the codes of those that they have approved, and the refresh
// tokens that came of them. All of it is in the database, so any replica goes
// on where another has begun; secrets are there as hashes only.
//
//	id, err := store.Begin(ctx, grants.Request{ClientID: c.ID, …})       // a client asks
//	code, request, err := store.Approve(ctx, id, "user:default/jane")    // the user agrees
//	grant, err := store.Exchange(ctx, grants.Exchange{Code: code, …})    // once
//	next, err := store.Refresh(ctx, grant.RefreshToken, clientID, check) // again and again
//
// Errors of the kind NotFound and Input are about the request of a user,
// those of the kind Authentication about a code or a refresh token.
package grants

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/auth-backend/internal/schema"
)

const (
	// requestLife is how long a user has to answer.
	requestLife = time.Hour
	// codeLife is how long a client has to exchange a code.
	codeLife = 10 * time.Minute
	// replayed is for how long after that a second use of a code is noticed.
	replayed = 24 * time.Hour
)

// ScopeOffline is the scope with which a client asks for a refresh token.
const ScopeOffline = "offline_access"

// Store has the grants.
type Store struct {
	DB      core.DatabaseService
	Offline Offline
	Now     func() time.Time
}

// Request is what a client asks a user for.
type Request struct {
	ClientID string
	// ClientName is what the client calls itself; Verified says that its id
	// vouches for that.
	ClientName string
	Verified   bool

	RedirectURI, Scope, State, Nonce string
	// Challenge is that of PKCE (RFC 7636), and Method how it was made: S256 or
	// plain. Both are empty without PKCE.
	Challenge, Method string
	// Browser is a hash of the secret of the browser in which the request
	// began; empty where nobody asks.
	Browser string
}

// Pending is a request that waits for an answer.
type Pending struct {
	ID string
	Request
	// SignedIn is who has signed in, in that browser, to answer.
	SignedIn string
}

// ReuseError says that a code or a refresh token was used a second time, and
// that what came of it was revoked.
type ReuseError struct {
	What                  string
	ClientID, User, Grant string
}

// Error names what was used.
func (e *ReuseError) Error() string { return e.What }

// Unwrap makes it an authentication error.
func (e *ReuseError) Unwrap() error { return apierr.Authentication("%s", e.What) }

// Begin keeps a request and returns its id.
func (s *Store) Begin(ctx context.Context, r Request) (string, error) {
	id, dialect := uuid.NewString(), s.DB.Dialect()
	err := s.DB.WriteTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, schema.Query(dialect, `
			INSERT INTO oauth_authorization_sessions
				(id, client_id, redirect_uri, scope, state, response_type, code_challenge, code_challenge_method, nonce, status, expires_at)
			VALUES ($1, $2, $3, $4, $5, 'code', $6, $7, $8, 'pending', $9)`),
			id, r.ClientID, r.RedirectURI, null(r.Scope), null(r.State), null(r.Challenge), null(r.Method), null(r.Nonce),
			schema.Time(dialect, s.Now().Add(requestLife))); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, schema.Query(dialect, `
			INSERT INTO oauth_authorization_details (session_id, client_name, verified, browser) VALUES ($1, $2, $3, $4)`),
			id, r.ClientName, r.Verified, r.Browser)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("keeping the authorization request of %s: %w", r.ClientID, err)
	}
	return id, nil
}

func null(text string) sql.NullString { return sql.NullString{String: text, Valid: text != ""} }

// Pending returns a request that waits for an answer.
func (s *Store) Pending(ctx context.Context, id string) (Pending, error) {
	if uuid.Validate(id) != nil {
		return Pending{}, apierr.NotFound("Invalid authorization session")
	}
	db, err := s.DB.DB(ctx)
	if err != nil {
		return Pending{}, err
	}
	p := Pending{ID: id}
	var (
		status                                                         string
		live                                                           bool
		scope, state, challenge, method, nonce, name, browser, signing sql.NullString
		verified                                                       sql.NullBool
	)
	dialect := s.DB.Dialect()
	err = db.QueryRowContext(ctx, schema.Query(dialect, `
		SELECT s.client_id, s.redirect_uri, s.scope, s.state, s.code_challenge, s.code_challenge_method, s.nonce, s.status, s.expires_at > $1,
			d.client_name, d.verified, d.browser, d.signed_in
		FROM oauth_authorization_sessions s LEFT JOIN oauth_authorization_details d ON d.session_id = s.id
		WHERE s.id = $2`), schema.Time(dialect, s.Now()), id).
		Scan(&p.ClientID, &p.RedirectURI, &scope, &state, &challenge, &method, &nonce, &status, &live, &name, &verified, &browser, &signing)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Pending{}, apierr.NotFound("Invalid authorization session")
	case err != nil:
		return Pending{}, fmt.Errorf("reading an authorization request: %w", err)
	case !live:
		return Pending{}, apierr.Input("Authorization session expired")
	case status != "pending":
		return Pending{}, apierr.NotFound("Authorization session not found or expired")
	}
	p.Scope, p.State, p.Challenge, p.Method, p.Nonce = scope.String, state.String, challenge.String, method.String, nonce.String
	p.ClientName, p.Verified, p.Browser, p.SignedIn = name.String, verified.Bool, browser.String, signing.String
	if p.ClientName == "" {
		p.ClientName = p.ClientID
	}
	return p, nil
}

// SignIn remembers who has signed in to answer a request; "" is nobody.
func (s *Store) SignIn(ctx context.Context, id, user string) error {
	err := s.DB.WriteTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, schema.Query(s.DB.Dialect(), "UPDATE oauth_authorization_details SET signed_in = $1 WHERE session_id = $2"), user, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("remembering who signed in: %w", err)
	}
	return nil
}

// Approve lets the client in on behalf of the user. The code is good for ten
// minutes, once.
func (s *Store) Approve(ctx context.Context, id, user string) (code string, p Pending, err error) {
	code = newSecret(32)
	p, err = s.answer(ctx, id, user, "approved", func(tx *sql.Tx) error {
		dialect := s.DB.Dialect()
		_, err := tx.ExecContext(ctx, schema.Query(dialect, "INSERT INTO oidc_authorization_codes (code, session_id, expires_at) VALUES ($1, $2, $3)"),
			digest(code), id, schema.Time(dialect, s.Now().Add(codeLife)))
		return err
	})
	if err != nil {
		return "", Pending{}, err
	}
	return code, p, nil
}

// Reject turns the client away.
func (s *Store) Reject(ctx context.Context, id, user string) (Pending, error) {
	return s.answer(ctx, id, user, "rejected", func(*sql.Tx) error { return nil })
}

// answer gives a pending request its answer, once.
func (s *Store) answer(ctx context.Context, id, user, status string, then func(*sql.Tx) error) (Pending, error) {
	p, err := s.Pending(ctx, id)
	if err != nil {
		return Pending{}, err
	}
	answered := false
	err = s.DB.WriteTx(ctx, func(tx *sql.Tx) error {
		n, err := affected(tx.ExecContext(ctx, schema.Query(s.DB.Dialect(), `
			UPDATE oauth_authorization_sessions SET status = $1, user_entity_ref = $2 WHERE id = $3 AND status = 'pending'`), status, user, id))
		if answered = n == 0; answered || err != nil {
			return err
		}
		return then(tx)
	})
	if err != nil {
		return Pending{}, fmt.Errorf("answering an authorization request: %w", err)
	}
	if answered {
		return Pending{}, apierr.NotFound("Authorization session not found or expired")
	}
	return p, nil
}

func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Exchange is what a client presents to get tokens for a code.
type Exchange struct {
	Code, RedirectURI, Verifier string
	// ClientID is who says to be the client; "" if nobody.
	ClientID string
	// Authenticated says that the client has shown its secret.
	Authenticated bool
}

// Grant is what a client has got.
type Grant struct {
	ClientID, User, Scope, Nonce string
	// RefreshToken is empty unless the client asked for one and may have one.
	RefreshToken string
	// ID names the family of the refresh token.
	ID string
}

// Exchange takes a code. The second time it revokes what came of the first.
func (s *Store) Exchange(ctx context.Context, x Exchange) (g Grant, err error) {
	var refused error
	err = s.DB.WriteTx(ctx, func(tx *sql.Tx) (err error) {
		g, refused, err = s.exchange(ctx, tx, x)
		return err
	})
	if err != nil {
		return Grant{}, fmt.Errorf("exchanging an authorization code: %w", err)
	}
	if refused != nil {
		return Grant{}, refused
	}
	return g, nil
}

// exchange is [Store.Exchange] within a transaction. That a code is refused
// does not undo the revocation that follows of it.
func (s *Store) exchange(ctx context.Context, tx *sql.Tx, x Exchange) (g Grant, refused, err error) {
	c, err := s.code(ctx, tx, x.Code)
	if err != nil || c == nil {
		return g, apierr.Authentication("Invalid authorization code"), err
	}
	g = Grant{ClientID: c.client, User: c.user, Scope: c.scope, Nonce: c.nonce}
	if !c.used {
		if refused := x.check(c); refused != nil {
			return g, refused, nil
		}
		n, err := affected(tx.ExecContext(ctx, schema.Query(s.DB.Dialect(), "UPDATE oidc_authorization_codes SET used = true WHERE code = $1 AND used = false"), digest(x.Code)))
		if err != nil {
			return g, nil, err
		}
		if n == 0 { // another request was faster, and has ended by now
			if c, err = s.code(ctx, tx, x.Code); err != nil || c == nil {
				return g, apierr.Authentication("Invalid authorization code"), err
			}
			c.used = true
		}
	}
	if c.used {
		return g, &ReuseError{What: "Authorization code already used", ClientID: c.client, User: c.user, Grant: c.offlineSession}, s.end(ctx, tx, c.offlineSession)
	}
	if !s.Offline.Enabled || !slices.Contains(strings.Fields(g.Scope), ScopeOffline) {
		return g, nil, nil
	}
	if g.ID, g.RefreshToken, err = s.beginOffline(ctx, tx, g.ClientID, g.User); err != nil {
		return g, nil, err
	}
	_, err = tx.ExecContext(ctx, schema.Query(s.DB.Dialect(), "UPDATE oauth_authorization_details SET offline_session_id = $1 WHERE session_id = $2"), g.ID, c.session)
	return g, nil, err
}

// code is a code with the request that the user has approved.
type code struct {
	session, client, user, redirect, status, scope, nonce string
	challenge, method                                     string
	offlineSession                                        string // what came of it
	used, live                                            bool
}

// code returns a code, nil if there is none.
func (s *Store) code(ctx context.Context, tx *sql.Tx, text string) (*code, error) {
	var c code
	var user, scope, nonce, challenge, method, offlineSession sql.NullString
	dialect := s.DB.Dialect()
	err := tx.QueryRowContext(ctx, schema.Query(dialect, `
		SELECT c.session_id, c.used, c.expires_at > $1, s.client_id, s.redirect_uri, s.status, s.user_entity_ref, s.scope,
			s.code_challenge, s.code_challenge_method, s.nonce, d.offline_session_id
		FROM oidc_authorization_codes c JOIN oauth_authorization_sessions s ON s.id = c.session_id
			LEFT JOIN oauth_authorization_details d ON d.session_id = s.id
		WHERE c.code = $2`), schema.Time(dialect, s.Now()), digest(text)).
		Scan(&c.session, &c.used, &c.live, &c.client, &c.redirect, &c.status, &user, &scope, &challenge, &method, &nonce, &offlineSession)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	c.user, c.scope, c.nonce, c.challenge, c.method, c.offlineSession = user.String, scope.String, nonce.String, challenge.String, method.String, offlineSession.String
	return &c, err
}

// check tells why a code that was not used yet is not for who presents it.
func (x Exchange) check(c *code) error {
	switch {
	case !c.live:
		return apierr.Authentication("Authorization code expired")
	case c.status != "approved":
		return apierr.Authentication("Authorization not approved")
	case x.ClientID != "" && x.ClientID != c.client:
		return apierr.Authentication("The authorization code was issued to another client")
	case x.RedirectURI != c.redirect:
		return apierr.Authentication("Redirect URI mismatch")
	case c.challenge == "" && x.Verifier != "":
		// Somebody has taken the challenge out of the request (RFC 9700 §2.1.1).
		return apierr.Authentication("Invalid code verifier: the request had no code challenge")
	case c.challenge == "" && !x.Authenticated:
		return apierr.Authentication("A code without PKCE needs the authentication of the client")
	case c.challenge != "" && x.Verifier == "":
		return apierr.Authentication("Code verifier is required")
	case c.challenge != "" && !verifies(c.challenge, c.method, x.Verifier):
		return apierr.Authentication("Invalid code verifier")
	}
	return nil
}

// verifies checks PKCE (RFC 7636 §4.6).
func verifies(challenge, method, verifier string) bool {
	if method == "S256" {
		sum := sha256.Sum256([]byte(verifier))
		verifier = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return subtle.ConstantTimeCompare([]byte(challenge), []byte(verifier)) == 1
}

// Prune removes what is of no use any more.
func (s *Store) Prune(ctx context.Context) error {
	dialect, now := s.DB.Dialect(), s.Now()
	err := s.DB.WriteTx(ctx, func(tx *sql.Tx) error {
		for _, step := range []struct {
			statement string
			args      []any
		}{
			{"DELETE FROM oauth_authorization_sessions WHERE expires_at < $1 OR (status <> 'approved' AND expires_at < $2)",
				[]any{schema.Time(dialect, now.Add(-replayed)), schema.Time(dialect, now)}},
			{"DELETE FROM oauth_authorization_details WHERE session_id NOT IN (SELECT id FROM oauth_authorization_sessions)", nil},
			{"DELETE FROM offline_sessions WHERE last_used_at < $1 OR created_at < $2",
				[]any{schema.Time(dialect, now.Add(-s.Offline.Lifetime)), schema.Time(dialect, now.Add(-s.Offline.MaxLifetime))}},
		} {
			if _, err := tx.ExecContext(ctx, schema.Query(dialect, step.statement), step.args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("removing old grants: %w", err)
	}
	return nil
}

// newSecret returns random bytes as text.
func newSecret(bytes int) string {
	raw := make([]byte, bytes)
	_, _ = rand.Read(raw) // it never fails
	return base64.RawURLEncoding.EncodeToString(raw)
}

// digest is what is stored of a secret of 128 bits or more. It needs no salt
// and no slow hash: there is nothing to guess.
func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
