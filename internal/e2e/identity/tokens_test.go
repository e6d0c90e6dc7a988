package identity

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// The kinds of tokens, by their header parameter typ.
const (
	typUser    = "vnd.backstage.user"
	typLimited = "vnd.backstage.limited-user"
	typPlugin  = "vnd.backstage.plugin"
)

type claims map[string]any

// with returns the claims with another value of one; nil removes it.
func (c claims) with(name string, v any) claims {
	c = maps.Clone(c)
	if c[name] = v; v == nil {
		delete(c, name)
	}
	return c
}

// sign signs claims with ES256.
func sign(t testing.TB, key *ecdsa.PrivateKey, kid, typ string, c claims) string {
	t.Helper()
	header := fmt.Sprintf(`{"alg":"ES256","kid":%q}`, kid)
	if typ != "" {
		header = fmt.Sprintf(`{"typ":%q,"alg":"ES256","kid":%q}`, typ, kid)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return signText(t, key, header, string(payload))
}

// signText signs exactly these texts with ES256.
func signText(t testing.TB, key *ecdsa.PrivateKey, header, payload string) string {
	t.Helper()
	signed := b64(header) + "." + b64(payload)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + b64(string(signature))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// hs256 signs with a shared secret.
func hs256(secret, header string, c claims) string {
	payload, _ := json.Marshal(c) // strings and numbers encode
	signed := b64(header) + "." + b64(string(payload))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + b64(string(mac.Sum(nil)))
}

// resigned returns the token with other parts and the old signature; an empty
// part stays.
func resigned(token, header, payload string) string {
	parts := strings.Split(token, ".")
	if header != "" {
		parts[0] = b64(header)
	}
	if payload != "" {
		parts[1] = b64(payload)
	}
	return strings.Join(parts, ".")
}
