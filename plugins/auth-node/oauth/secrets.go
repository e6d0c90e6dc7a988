package oauth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// Secrets belong to one sign-in. They are known to the browser that began it
// and to the backend, and not to the identity provider before they are used.
// They differ by provider and environment.
type Secrets struct {
	// Verifier is the code_verifier of PKCE (RFC 7636): the request for
	// authorization has its S256 challenge, the exchange of the code has itself.
	Verifier string
	// Nonce is for the claim nonce of the ID token (OpenID Connect Core 1.0
	// §3.1.2.1).
	Nonce string
}

// attempt is what the browser keeps of a sign-in that it has begun. The state
// has the nonce, too, so it is no secret; the seed, from which the secrets are
// derived, is.
type attempt struct {
	nonce string
	seed  []byte
}

func newAttempt() attempt {
	random := make([]byte, 16+32)
	_, _ = rand.Read(random) // never fails
	return attempt{nonce: base64.StdEncoding.EncodeToString(random[:16]), seed: random[16:]}
}

// encode returns the value of the cookie.
func (a attempt) encode() string {
	return a.nonce + "." + base64.RawURLEncoding.EncodeToString(a.seed)
}

// decodeAttempt reads what encode returns. A cookie of another backend of the
// family has the nonce alone.
func decodeAttempt(value string) attempt {
	nonce, text, _ := strings.Cut(value, ".")
	seed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(seed) != 32 {
		seed = nil
	}
	return attempt{nonce: nonce, seed: seed}
}

// secrets derives the secrets for a provider in an environment.
func (a attempt) secrets(provider, env string) Secrets {
	if a.seed == nil {
		return Secrets{}
	}
	derive := func(purpose string) []byte {
		mac := hmac.New(sha256.New, a.seed)
		mac.Write([]byte(purpose + "\x00" + provider + "\x00" + env + "\x00" + a.nonce))
		return mac.Sum(nil)
	}
	return Secrets{
		Verifier: base64.RawURLEncoding.EncodeToString(derive("code_verifier")),
		Nonce:    base64.StdEncoding.EncodeToString(derive("nonce")[:16]),
	}
}
