package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/flytower/flytower/internal/signingkey"
)

// The header parameter typ tells the kinds of tokens apart.
const (
	typUser    = "vnd.backstage.user"
	typLimited = "vnd.backstage.limited-user"
	typPlugin  = "vnd.backstage.plugin"
)

// userAudience is the audience of user tokens. Old ones have no typ and are
// told by it.
const userAudience = "backstage"

// maxTokenLength bounds what is looked at, in bytes: a user token has at most
// 32768, and a plugin token may carry one.
const maxTokenLength = 64 << 10

// asymmetric are the signature algorithms that tokens may have: those with a
// public key to verify with.
var asymmetric = signingkey.Algorithms()

// jwt is a JSON Web Token that was taken apart, not verified. Members are
// kept by their exact names; encoding/json would match fields in any case. It
// does not change.
type jwt struct {
	text   string
	digest [sha256.Size]byte // of text, or zero
	typ    string
	alg    string
	kid    string
	hasKid bool
	claims map[string]any // numbers are json.Number
}

// parse takes a token apart. It fails for anything that is not a JWS in
// compact form with a JSON object as payload.
func parse(token string) (*jwt, error) {
	if len(token) > maxTokenLength {
		return nil, fmt.Errorf("the token is longer than %d bytes", maxTokenLength)
	}
	if strings.Count(token, ".") != 2 {
		return nil, errors.New("the token does not have three parts")
	}
	head, rest, _ := strings.Cut(token, ".")
	body, _, _ := strings.Cut(rest, ".")
	header, err := object(head)
	if err != nil {
		return nil, fmt.Errorf("the header of the token %w", err)
	}
	if _, critical := header["crit"]; critical {
		return nil, errors.New("the token has critical header parameters, which are not supported")
	}
	t := &jwt{text: token}
	t.typ, _ = header["typ"].(string)
	t.alg, _ = header["alg"].(string)
	t.kid, t.hasKid = header["kid"].(string)
	if t.claims, err = object(body); err != nil {
		return nil, fmt.Errorf("the payload of the token %w", err)
	}
	return t, nil
}

func object(part string) (map[string]any, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, errors.New("is not base64url")
	}
	if !utf8.Valid(raw) {
		return nil, errors.New("is not UTF-8")
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil || m == nil {
		return nil, errors.New("is not a JSON object")
	}
	if dec.More() {
		return nil, errors.New("has text after the JSON object")
	}
	return m, nil
}

// str returns a claim that must be a non-empty string.
func (t *jwt) str(claim string) (string, bool) {
	s, ok := t.claims[claim].(string)
	return s, ok && s != ""
}

// seconds returns a claim that is a point in time.
func (t *jwt) seconds(claim string) (float64, bool) {
	n, ok := t.claims[claim].(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	if err != nil || math.IsInf(f, 0) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return f, true
}

func (t *jwt) expires() (time.Time, bool) {
	s, ok := t.seconds("exp")
	if !ok {
		return time.Time{}, false
	}
	return fromSeconds(s), true
}

func fromSeconds(s float64) time.Time {
	whole, part := math.Modf(s)
	return time.Unix(int64(whole), int64(part*1e9)).UTC()
}

// audience reports whether the token is meant for one of the given.
func (t *jwt) audience(accepted []string) bool {
	switch aud := t.claims["aud"].(type) {
	case string:
		return slices.Contains(accepted, aud)
	case []any:
		return slices.ContainsFunc(aud, func(a any) bool {
			s, ok := a.(string)
			return ok && slices.Contains(accepted, s)
		})
	}
	return false
}

// expectation is what a token must fulfil besides its signature.
type expectation struct {
	algorithms []jose.SignatureAlgorithm
	typ        string // "" is any
	audience   []string
	issuer     []string
	required   []string
}

// keyFinder returns the public key that belongs to a header.
type keyFinder func(ctx context.Context, kid string, hasKid bool, alg string) (any, error)

// verify checks signature and claims. There is no tolerance for clocks: the
// other backends have none.
func (t *jwt) verify(ctx context.Context, find keyFinder, known *signatures, want expectation, now time.Time) error {
	if want.typ != "" && t.typ != want.typ {
		return fmt.Errorf("its typ is %q, want %q", t.typ, want.typ)
	}
	// The cheap part first: a token that is expired or for somebody else is
	// not worth a look for keys.
	if err := t.check(want, now); err != nil {
		return err
	}
	key, err := find(ctx, t.kid, t.hasKid, t.alg)
	if err != nil {
		return err
	}
	return known.verify(t, key, want.algorithms, now)
}

// check looks at the claims.
func (t *jwt) check(want expectation, now time.Time) error {
	for _, name := range want.required {
		if _, ok := t.claims[name]; !ok {
			return fmt.Errorf("its claim %q is missing", name)
		}
	}
	if len(want.audience) > 0 && !t.audience(want.audience) {
		return fmt.Errorf("its audience is not %s", strings.Join(want.audience, " or "))
	}
	if iss, _ := t.str("iss"); len(want.issuer) > 0 && !slices.Contains(want.issuer, iss) {
		return fmt.Errorf("its issuer is not %s", strings.Join(want.issuer, " or "))
	}
	for _, name := range []string{"iat", "nbf", "exp"} {
		if _, present := t.claims[name]; !present {
			continue
		}
		s, ok := t.seconds(name)
		at := fromSeconds(s)
		switch {
		case !ok:
			return fmt.Errorf("its claim %q is not a time", name)
		case name == "nbf" && at.After(now):
			return fmt.Errorf("it is not valid before %s", at.Format(time.RFC3339))
		case name == "exp" && !now.Before(at):
			return fmt.Errorf("it expired at %s", at.Format(time.RFC3339))
		}
	}
	return nil
}

// errNoProof and errNotUser tell why there is no limited form of a token.
var (
	errNoProof = errors.New("it has no user identity proof")
	errNotUser = errors.New("it is not a user token")
)

// limited returns the limited form of a user token. It needs no private key:
// the claim uip is the signature of exactly the header and the payload that
// are written here.
func (t *jwt) limited() (string, error) {
	switch t.typ {
	case "", typLimited:
		return t.text, nil
	case typUser:
	default:
		return "", errNotUser
	}
	uip, ok := t.str("uip")
	if !ok || strings.ContainsAny(uip, ". \t\r\n") {
		return "", errNoProof
	}
	header := []byte(`{"typ":"` + typLimited + `","alg":`)
	header = appendString(header, t.alg)
	if t.hasKid {
		header = appendString(append(header, `,"kid":`...), t.kid)
	}
	header = append(header, '}')

	sub, ok := t.str("sub")
	if !ok {
		return "", errNotUser
	}
	payload := appendString([]byte(`{"sub":`), sub)
	for _, name := range []string{"iat", "exp"} {
		s, ok := t.seconds(name)
		if !ok {
			return "", errNotUser
		}
		payload = append(append(append(payload, ',', '"'), name...), '"', ':')
		payload = strconv.AppendFloat(payload, s, 'f', -1, 64)
	}
	payload = append(payload, '}')
	enc := base64.RawURLEncoding
	return enc.EncodeToString(header) + "." + enc.EncodeToString(payload) + "." + uip, nil
}

// appendString appends a JSON string as JavaScript writes it: other than
// encoding/json, it leaves <, >, & and U+2028 and U+2029 alone.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
