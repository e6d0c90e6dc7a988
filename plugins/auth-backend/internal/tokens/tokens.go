// Package tokens issues user tokens: JSON Web Tokens that tell every plugin
// who the user is, and from which a limited token can be derived that is good
// for cookies.
//
//	issuer := &tokens.Issuer{Keys: ring, URL: "https://portal.example.com/api/auth", Lifetime: time.Hour, Now: time.Now}
//	token, err := issuer.Issue(ctx, authnode.TokenClaims{Subject: "user:default/jane"})
//
// # The proof of identity
//
// The claim uip of a token is the signature of its limited form: of a header
// of another type, and of a payload with the subject and the two times alone.
// Who holds the token puts the limited one together from these parts, byte by
// byte, without a key. So header and payloads are written here with the order
// and the notation that all backends of the family use.
package tokens

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/plugins/auth-backend/internal/keys"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

const (
	typeUser    = "vnd.backstage.user"
	typeLimited = "vnd.backstage.limited-user"
	audience    = "backstage"
)

// maxLength is how many bytes a token may have. Proxies and servers refuse
// requests with larger headers.
const maxLength = 32768

// Issuer issues tokens. It is safe for concurrent use.
type Issuer struct {
	Keys keys.Ring
	// URL names the issuer: the URL of the auth plugin that browsers use.
	URL string
	// Lifetime is how long a token is good for.
	Lifetime time.Duration
	// WithOwnership puts what the user owns by in the token, as claim ent.
	WithOwnership bool
	Now           func() time.Time
}

// reserved are the claims that a resolver cannot choose.
var reserved = [...]string{"iss", "sub", "ent", "aud", "iat", "nbf", "exp", "jti", "uip", "azp"}

// Issue returns a token with the claims.
func (i *Issuer) Issue(ctx context.Context, claims authnode.TokenClaims) (core.Token, error) {
	return i.issue(ctx, claims, forClient{})
}

// IssueAccess returns a token that the user has let a client use: that of
// [Issuer.Issue], and the claim azp names the client.
func (i *Issuer) IssueAccess(ctx context.Context, claims authnode.TokenClaims, client string) (core.Token, error) {
	return i.issue(ctx, claims, forClient{id: client})
}

// IssueID returns a token that tells a client who the user is, as OpenID
// Connect has it: the client is among its audience, and it has the nonce of
// the client.
func (i *Issuer) IssueID(ctx context.Context, claims authnode.TokenClaims, client, nonce string) (core.Token, error) {
	return i.issue(ctx, claims, forClient{id: client, nonce: nonce, audience: true})
}

// forClient is what a token has that a client gets.
type forClient struct {
	id, nonce string
	audience  bool
}

// AuthorizedParty returns the client that a token was issued to, "" where the
// user has it from a sign-in. It does not verify the token.
func AuthorizedParty(token core.Token) string {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var payload struct {
		Party string `json:"azp"`
	}
	if json.Unmarshal(raw, &payload) != nil {
		return ""
	}
	return payload.Party
}

func (i *Issuer) issue(ctx context.Context, claims authnode.TokenClaims, to forClient) (core.Token, error) {
	if _, err := catalogcommon.ParseRef(claims.Subject, catalogcommon.RefDefaults{}); err != nil {
		return core.Token{}, apierr.Wrap(apierr.KindError, err, `"sub" claim provided by the auth resolver is not a valid EntityRef.`)
	}
	payload, err := customClaims(claims.Extra)
	if err != nil {
		return core.Token{}, err
	}
	key, err := i.Keys.Signing(ctx)
	if err != nil {
		return core.Token{}, fmt.Errorf("issuing a user token: %w", err)
	}
	now := i.Now()
	iat := now.Unix()
	exp := now.Add(i.Lifetime).Unix()

	_, proof, err := sign(key, typeLimited, limitedPayload(claims.Subject, iat, exp))
	if err != nil {
		return core.Token{}, fmt.Errorf("signing the proof of a user's identity: %w", err)
	}
	payload = member(payload, "iss", i.URL)
	payload = member(payload, "sub", claims.Subject)
	if i.WithOwnership {
		ent := make([]any, len(claims.Ownership))
		for n, ref := range claims.Ownership {
			ent[n] = ref
		}
		payload = member(payload, "ent", ent)
	}
	if to.audience {
		payload = member(payload, "aud", []any{audience, to.id})
	} else {
		payload = member(payload, "aud", audience)
	}
	payload = number(payload, "iat", iat)
	payload = number(payload, "exp", exp)
	payload = member(payload, "uip", proof)
	if to.id != "" {
		payload = member(payload, "azp", to.id)
	}
	if to.nonce != "" {
		payload = member(payload, "nonce", to.nonce)
	}
	payload = append(payload, '}')
	input, signature, err := sign(key, typeUser, payload)
	if err != nil {
		return core.Token{}, fmt.Errorf("signing a user token: %w", err)
	}
	token := input + "." + signature
	if len(token) > maxLength {
		return core.Token{}, apierr.New(apierr.KindError, "Failed to issue a new user token. The resulting token is excessively large (%d bytes, at most %d are sent): let the resolver add fewer claims, or keep auth.omitIdentityTokenOwnershipClaim on", len(token), maxLength)
	}
	return core.NewToken(token), nil
}

// customClaims begins the payload with the claims of the resolver.
func customClaims(extra map[string]any) ([]byte, error) {
	payload := []byte{'{'}
	if len(extra) == 0 {
		return payload, nil
	}
	for name := range extra {
		if slices.Contains(reserved[:], name) {
			return nil, apierr.New(apierr.KindError, "the auth resolver set the claim %q, which every token has; choose another name", name)
		}
	}
	plain, err := jsonvalue.Normalize(extra)
	if err != nil {
		return nil, fmt.Errorf("the claims of the auth resolver are not JSON: %w", err)
	}
	object := jsonvalue.Append(nil, plain)
	return object[:len(object)-1], nil
}

// limitedPayload returns the payload of the limited form.
func limitedPayload(subject string, iat, exp int64) []byte {
	b := member([]byte{'{'}, "sub", subject)
	b = number(b, "iat", iat)
	return append(number(b, "exp", exp), '}')
}

// sign returns what is signed, header and payload, and the signature.
func sign(key *keys.Key, typ string, payload []byte) (input, signature string, err error) {
	header := member([]byte{'{'}, "typ", typ)
	header = member(header, "alg", string(key.Algorithm))
	header = append(member(header, "kid", key.ID), '}')
	enc := base64.RawURLEncoding
	input = enc.EncodeToString(header) + "." + enc.EncodeToString(payload)
	raw, err := key.Sign([]byte(input))
	return input, enc.EncodeToString(raw), err
}

// member appends a member to an object.
func member(b []byte, name string, value any) []byte {
	b = jsonvalue.AppendString(comma(b), name)
	return jsonvalue.Append(append(b, ':'), value)
}

func number(b []byte, name string, n int64) []byte {
	b = jsonvalue.AppendString(comma(b), name)
	return strconv.AppendInt(append(b, ':'), n, 10)
}

func comma(b []byte) []byte {
	if len(b) > 1 {
		return append(b, ',')
	}
	return b
}
