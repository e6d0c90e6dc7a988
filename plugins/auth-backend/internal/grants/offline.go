package grants

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/auth-backend/internal/schema"
)

// Offline says whether there are refresh tokens, and for how long.
type Offline struct {
	Enabled bool
	// Lifetime is how long a token is good that is not used.
	Lifetime time.Duration
	// MaxLifetime is how long a family of tokens is good, each of which
	// replaced the one before.
	MaxLifetime time.Duration
	// MaxPerUser is how many families a user has; the one that was not used for
	// longest goes.
	MaxPerUser int
}

// grace is for how long after its replacement a token is refused without
// consequences: its answer may have been lost on the way, or two programs may
// share it.
const grace = 30 * time.Second

// A refresh token is "<id>.<secret>". The first characters of the secret are
// the mark of the family, which stays when the rest is replaced: who presents
// the mark with another rest has a token that was good once, and no guess.
const (
	markBytes   = 16
	markLength  = 22 // characters of 16 bytes in base64
	secretBytes = 32
	maxToken    = 512 // bytes
)

// stored is what the database has of a token: digests of the mark and of the
// token. Hashes of other backends begin otherwise, and fit no token.
const stored = "sha256:"

func storedToken(token string) (text string) {
	_, secret, _ := strings.Cut(token, ".")
	if len(secret) < markLength {
		return ""
	}
	return stored + digest("mark."+secret[:markLength]) + ":" + digest(token)
}

// beginOffline makes a family with its first token. A client has one per user.
func (s *Store) beginOffline(ctx context.Context, tx *sql.Tx, client, user string) (id, token string, err error) {
	dialect, now := s.DB.Dialect(), schema.Time(s.DB.Dialect(), s.Now())
	id = uuid.NewString()
	token = id + "." + newSecret(markBytes) + newSecret(secretBytes)
	for _, step := range []struct {
		statement string
		args      []any
	}{
		{"DELETE FROM offline_sessions WHERE user_entity_ref = $1 AND oidc_client_id = $2", []any{user, client}},
		{"INSERT INTO offline_sessions (id, user_entity_ref, oidc_client_id, token_hash, created_at, last_used_at) VALUES ($1, $2, $3, $4, $5, $5)",
			[]any{id, user, client, storedToken(token), now}},
		{"DELETE FROM offline_sessions WHERE user_entity_ref = $1 AND id <> $2 AND id NOT IN (SELECT id FROM offline_sessions WHERE user_entity_ref = $1 AND id <> $2 ORDER BY last_used_at DESC, id LIMIT $3)",
			[]any{user, id, s.Offline.MaxPerUser - 1}},
	} {
		if _, err := tx.ExecContext(ctx, schema.Query(dialect, step.statement), step.args...); err != nil {
			return "", "", err
		}
	}
	return id, token, nil
}

// end removes a family; "" is none.
func (s *Store) end(ctx context.Context, tx *sql.Tx, id string) error {
	if id == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, schema.Query(s.DB.Dialect(), "DELETE FROM offline_sessions WHERE id = $1"), id)
	return err
}

// End removes a family.
func (s *Store) End(ctx context.Context, id string) error {
	err := s.DB.WriteTx(ctx, func(tx *sql.Tx) error { return s.end(ctx, tx, id) })
	if err != nil {
		return fmt.Errorf("revoking a refresh token: %w", err)
	}
	return nil
}

// family is a row.
type family struct {
	id, user, client, hash string
	live                   bool // not expired
	fresh                  bool // its token was replaced a moment ago
}

// errInvalid is the answer to whatever is no refresh token that is good.
func errInvalid() error { return apierr.Authentication("Invalid refresh token") }

// family returns that of a token.
func (s *Store) family(ctx context.Context, token string) (family, error) {
	id, _, ok := strings.Cut(token, ".")
	if !ok || len(token) > maxToken || uuid.Validate(id) != nil || storedToken(token) == "" {
		return family{}, errInvalid()
	}
	db, err := s.DB.DB(ctx)
	if err != nil {
		return family{}, err
	}
	f := family{id: id}
	var client sql.NullString
	dialect, now := s.DB.Dialect(), s.Now()
	err = db.QueryRowContext(ctx, schema.Query(dialect, `
		SELECT user_entity_ref, oidc_client_id, token_hash, last_used_at > $1 AND created_at > $2, last_used_at > $3 FROM offline_sessions WHERE id = $4`),
		schema.Time(dialect, now.Add(-s.Offline.Lifetime)), schema.Time(dialect, now.Add(-s.Offline.MaxLifetime)), schema.Time(dialect, now.Add(-grace)), id).
		Scan(&f.user, &client, &f.hash, &f.live, &f.fresh)
	if errors.Is(err, sql.ErrNoRows) {
		return family{}, errInvalid()
	}
	if err != nil {
		return family{}, fmt.Errorf("reading a refresh token: %w", err)
	}
	f.client = client.String
	return f, nil
}

// is reports whether the token is the good one of the family, and marked
// whether it is or was one of it.
func (f family) is(token string) (good, marked bool) {
	given := storedToken(token)
	good = subtle.ConstantTimeCompare([]byte(f.hash), []byte(given)) == 1
	mark, _, _ := strings.Cut(strings.TrimPrefix(f.hash, stored), ":")
	givenMark, _, _ := strings.Cut(strings.TrimPrefix(given, stored), ":")
	marked = strings.HasPrefix(f.hash, stored) && subtle.ConstantTimeCompare([]byte(mark), []byte(givenMark)) == 1
	return good, marked
}

// Refresh replaces a refresh token. clientID is the client that has
// authenticated itself, "" if none has. issue is called with the grant before
// the token is replaced, so that a failure costs the client nothing; where it
// returns [ErrGone], the family ends.
//
// A token that was replaced before is refused, and 30 seconds after its
// replacement the whole family ends: either the client or somebody else has a
// token that is not its own.
func (s *Store) Refresh(ctx context.Context, token, clientID string, issue func(Grant) error) (Grant, error) {
	f, err := s.family(ctx, token)
	if err != nil {
		return Grant{}, err
	}
	good, marked := f.is(token)
	switch {
	case !marked:
		return Grant{}, errInvalid()
	case !f.live:
		if err := s.End(ctx, f.id); err != nil {
			return Grant{}, err
		}
		return Grant{}, apierr.Authentication("The refresh token has expired")
	case clientID != "" && clientID != f.client:
		return Grant{}, apierr.Authentication("The refresh token was issued to another client")
	case !good && f.fresh:
		return Grant{}, errInvalid()
	case !good:
		if err := s.End(ctx, f.id); err != nil {
			return Grant{}, err
		}
		return Grant{}, &ReuseError{What: "Invalid refresh token", ClientID: f.client, User: f.user, Grant: f.id}
	case !s.Offline.Enabled:
		return Grant{}, apierr.Authentication("Refresh tokens are not enabled")
	}
	_, secret, _ := strings.Cut(token, ".")
	g := Grant{ClientID: f.client, User: f.user, ID: f.id, RefreshToken: f.id + "." + secret[:markLength] + newSecret(secretBytes)}
	if err := issue(g); err != nil {
		if errors.Is(err, ErrGone) {
			err = errors.Join(err, s.End(ctx, f.id))
		}
		return Grant{}, err
	}
	var replaced int64
	dialect := s.DB.Dialect()
	err = s.DB.WriteTx(ctx, func(tx *sql.Tx) (err error) {
		replaced, err = affected(tx.ExecContext(ctx, schema.Query(dialect, "UPDATE offline_sessions SET token_hash = $1, last_used_at = $2 WHERE id = $3 AND token_hash = $4"),
			storedToken(g.RefreshToken), schema.Time(dialect, s.Now()), f.id, f.hash))
		return err
	})
	if err != nil {
		return Grant{}, fmt.Errorf("replacing a refresh token: %w", err)
	}
	if replaced == 0 { // another request was faster
		return Grant{}, errInvalid()
	}
	return g, nil
}

// ErrGone says that the user whom a refresh token stands for is no more.
var ErrGone = apierr.Authentication("The user of the refresh token does not exist any more")

// Revoke ends the family of a token of the client. It is no error if there is
// none. The grant says whose it was.
func (s *Store) Revoke(ctx context.Context, token, clientID string) (Grant, error) {
	f, err := s.family(ctx, token)
	if apierr.KindOf(err) == apierr.KindAuthentication {
		return Grant{}, nil
	}
	if err != nil {
		return Grant{}, err
	}
	// Also one that was replaced ends its family: its holder wants no access.
	if _, marked := f.is(token); !marked || f.client != clientID {
		return Grant{}, nil
	}
	return Grant{ClientID: f.client, User: f.user, ID: f.id}, s.End(ctx, f.id)
}
