// Package clients knows the programs that may ask users for access: those that
// registered themselves (RFC 7591), and those whose id is the address of a
// document that describes them.
//
//	c, err := known.Find(ctx, id)
//	if err == nil && c.Allows(redirectURI) { … }
package clients

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/auth-backend/internal/redirects"
)

// Client is a program that may ask users for access.
type Client struct {
	ID string
	// Name is what the client calls itself.
	Name         string
	RedirectURIs []string
	// Verified says that the host in the id vouches for the name. Anybody can
	// register a client under any name.
	Verified bool
	// Public says that the client has no secret, so that only PKCE tells it
	// from whoever got hold of a code.
	Public bool

	secret  string             // as it is stored
	allowed redirects.Patterns // nil is all
}

// Allows reports whether answers may go to the address.
func (c *Client) Allows(redirectURI string) bool {
	return (c.allowed == nil || c.allowed.Match(redirectURI)) && redirects.Registered(c.RedirectURIs, redirectURI)
}

// Known are the clients that are known. Either part may be nil.
type Known struct {
	Registry  *Registry
	Documents *Documents
}

// Find returns the client with the id; an input error if there is none.
func (k Known) Find(ctx context.Context, id string) (*Client, error) {
	switch {
	case isDocument(id) && k.Documents != nil:
		return k.Documents.find(ctx, id)
	case !isDocument(id) && k.Registry != nil:
		c, err := k.Registry.find(ctx, id)
		if err == nil && c == nil {
			err = apierr.Input("Invalid client_id")
		}
		return c, err
	default:
		return nil, apierr.Input("Invalid client_id")
	}
}

// Authenticate returns the client that presents these credentials; an
// authentication error if they are not its own.
func (k Known) Authenticate(ctx context.Context, id, secret string) (*Client, error) {
	wrong := apierr.Authentication("Invalid client credentials")
	switch {
	case isDocument(id):
		// What the document says does not matter here, so it is not fetched.
		if k.Documents == nil || secret != "" || k.Documents.check(id) != nil {
			return nil, wrong
		}
		return &Client{ID: id, Public: true, Verified: true}, nil
	case k.Registry == nil || id == "":
		return nil, wrong
	}
	c, err := k.Registry.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if c == nil || !c.Public && !sameSecret(c.secret, secret) || c.Public && secret != "" {
		return nil, wrong
	}
	return c, nil
}

// isDocument reports whether a client id is the address of a document.
func isDocument(id string) bool {
	lower := strings.ToLower(id)
	return strings.HasPrefix(lower, "https://") || strings.HasPrefix(lower, "http://")
}

// maxName is how long a name is shown, in characters.
const maxName = 100

// cleanName leaves out of a name what could make it look like something else:
// control characters, and those that change the direction of text.
func cleanName(name string) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(name, "") {
		if !unicode.IsPrint(r) && r != ' ' {
			continue
		}
		if n++; n > maxName {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// Retention is how long clients that registered themselves are kept.
type Retention struct {
	// Unused is how long after its last use.
	Unused time.Duration
	// Max is how many there are at most.
	Max int
}

// neverApproved is how long a client is kept that no user has let in.
const neverApproved = 24 * time.Hour
