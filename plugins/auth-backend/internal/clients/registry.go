package clients

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/auth-backend/internal/redirects"
	"github.com/flytower/flytower/plugins/auth-backend/internal/schema"
)

// Registry has the clients that registered themselves.
type Registry struct {
	DB core.DatabaseService
	// Allowed are the addresses that may be registered.
	Allowed redirects.Patterns
	Keep    Retention
	Now     func() time.Time
}

// Registration is what a client says of itself.
type Registration struct {
	Name          string
	RedirectURIs  []string
	ResponseTypes []string
	GrantTypes    []string
	Scope         string
	// AuthMethod is "none" for clients that cannot keep a secret.
	AuthMethod string
}

// Registered is a client that has registered itself.
type Registered struct {
	Registration
	ID string
	// Secret is empty for public clients. It is not stored, and cannot be had
	// a second time.
	Secret  string
	Created time.Time
}

// ErrFull says that there are as many clients as there may be.
var ErrFull = errors.New("as many clients have registered as may; clients that nobody lets in are removed after a day")

const (
	defaultName     = "Backstage CLI"
	maxRedirectURIs = 50
	maxScope        = 1000 // bytes
)

// supported are the values of registrations that mean something here; others
// are left out, as RFC 7591 §3.2.1 allows.
var supported = struct{ responses, grants, methods []string }{
	[]string{"code"}, []string{"authorization_code", "refresh_token"}, []string{"client_secret_basic", "client_secret_post", "none"},
}

func subset(given, known, fallback []string) []string {
	given = slices.DeleteFunc(slices.Clone(given), func(s string) bool { return !slices.Contains(known, s) })
	if len(given) == 0 {
		return fallback
	}
	return given
}

// Register adds a client; an input error if an address cannot be one of its.
func (g *Registry) Register(ctx context.Context, reg Registration) (Registered, error) {
	if len(reg.RedirectURIs) > maxRedirectURIs {
		return Registered{}, apierr.Input("At most %d redirect_uris can be registered", maxRedirectURIs)
	}
	for _, uri := range reg.RedirectURIs {
		if redirects.Check(uri) != nil || !g.Allowed.Match(uri) {
			return Registered{}, apierr.Input("Invalid redirect_uri '%s'", uri)
		}
	}
	if len(reg.Scope) > maxScope {
		return Registered{}, apierr.Input("The scope is longer than %d bytes", maxScope)
	}
	if reg.Name = cleanName(reg.Name); reg.Name == "" {
		reg.Name = defaultName
	}
	reg.ResponseTypes = subset(reg.ResponseTypes, supported.responses, []string{"code"})
	reg.GrantTypes = subset(reg.GrantTypes, supported.grants, []string{"authorization_code"})
	if !slices.Contains(supported.methods, reg.AuthMethod) {
		reg.AuthMethod = "client_secret_basic"
	}
	out := Registered{Registration: reg, ID: uuid.NewString(), Created: g.Now()}
	stored := ""
	if reg.AuthMethod != "none" {
		out.Secret = rand.Text()
		stored = storedSecret(out.Secret)
	}
	metadata, err := json.Marshal(map[string]string{"token_endpoint_auth_method": reg.AuthMethod})
	if err != nil {
		return Registered{}, err
	}
	dialect := g.DB.Dialect()
	err = g.DB.WriteTx(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM oidc_clients").Scan(&n); err != nil {
			return err
		}
		if n >= g.Keep.Max {
			return ErrFull
		}
		if _, err := tx.ExecContext(ctx, schema.Query(dialect, `
			INSERT INTO oidc_clients (client_id, client_secret, client_name, response_types, grant_types, redirect_uris, scope, metadata)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`),
			out.ID, stored, reg.Name, list(reg.ResponseTypes), list(reg.GrantTypes), list(reg.RedirectURIs), reg.Scope, string(metadata)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, schema.Query(dialect, "INSERT INTO oidc_client_uses (client_id, used_at) VALUES ($1, $2)"),
			out.ID, schema.Time(dialect, out.Created))
		return err
	})
	if errors.Is(err, ErrFull) {
		return Registered{}, err
	}
	if err != nil {
		return Registered{}, fmt.Errorf("registering a client: %w", err)
	}
	return out, nil
}

// list writes texts as JSON.
func list(texts []string) string {
	raw, err := json.Marshal(texts)
	if err != nil {
		panic(err) // there is no text that is no JSON
	}
	return string(raw)
}

// find returns a client, nil if there is none.
func (g *Registry) find(ctx context.Context, id string) (*Client, error) {
	db, err := g.DB.DB(ctx)
	if err != nil {
		return nil, err
	}
	c := &Client{ID: id}
	var uris string
	var metadata sql.NullString
	err = db.QueryRowContext(ctx, schema.Query(g.DB.Dialect(), "SELECT client_secret, client_name, redirect_uris, metadata FROM oidc_clients WHERE client_id = $1"), id).
		Scan(&c.secret, &c.Name, &uris, &metadata)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	var more struct {
		AuthMethod string `json:"token_endpoint_auth_method"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(uris), &c.RedirectURIs)
	}
	if err == nil && metadata.String != "" {
		err = json.Unmarshal([]byte(metadata.String), &more)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the client %s: %w", id, err)
	}
	c.Public = more.AuthMethod == "none" && c.secret == ""
	return c, nil
}

// often is how long the use of a client is not written again.
const often = time.Hour

// Used remembers that a client was used, and whether a user has let it in.
// Clients that did not register themselves are none of its business.
func (g *Registry) Used(ctx context.Context, id string, approved bool) error {
	if isDocument(id) {
		return nil
	}
	dialect, now := g.DB.Dialect(), g.Now()
	err := g.DB.WriteTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, schema.Query(dialect, `
			INSERT INTO oidc_client_uses (client_id, used_at, approved) VALUES ($1, $2, $3)
			ON CONFLICT (client_id) DO UPDATE SET used_at = excluded.used_at, approved = oidc_client_uses.approved OR excluded.approved
			WHERE oidc_client_uses.used_at < $4 OR (excluded.approved AND NOT oidc_client_uses.approved)`),
			id, schema.Time(dialect, now), approved, schema.Time(dialect, now.Add(-often)))
		return err
	})
	if err != nil {
		return fmt.Errorf("remembering the use of the client %s: %w", id, err)
	}
	return nil
}

// Prune removes the clients that are not used any more. Those with a refresh
// token stay.
func (g *Registry) Prune(ctx context.Context) error {
	dialect, now := g.DB.Dialect(), g.Now()
	err := g.DB.WriteTx(ctx, func(tx *sql.Tx) error {
		// The time of clients that another backend has registered begins now.
		if _, err := tx.ExecContext(ctx, schema.Query(dialect, `
			INSERT INTO oidc_client_uses (client_id, used_at, approved)
			SELECT client_id, $1, true FROM oidc_clients c WHERE NOT EXISTS (SELECT 1 FROM oidc_client_uses u WHERE u.client_id = c.client_id)`),
			schema.Time(dialect, now)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, schema.Query(dialect, `
			DELETE FROM oidc_clients WHERE client_id IN (
				SELECT client_id FROM oidc_client_uses WHERE used_at < $1 OR (NOT approved AND used_at < $2)
			) AND NOT EXISTS (SELECT 1 FROM offline_sessions s WHERE s.oidc_client_id = oidc_clients.client_id)`),
			schema.Time(dialect, now.Add(-g.Keep.Unused)), schema.Time(dialect, now.Add(-neverApproved))); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM oidc_client_uses WHERE client_id NOT IN (SELECT client_id FROM oidc_clients)")
		return err
	})
	if err != nil {
		return fmt.Errorf("removing unused clients: %w", err)
	}
	return nil
}

// hashed begins what is stored of a secret. Other backends store the secret.
const hashed = "sha256:"

func storedSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hashed + base64.RawStdEncoding.EncodeToString(sum[:])
}

func sameSecret(stored, given string) bool {
	if strings.HasPrefix(stored, hashed) {
		given = storedSecret(given)
	}
	return stored != "" && subtle.ConstantTimeCompare([]byte(stored), []byte(given)) == 1
}
