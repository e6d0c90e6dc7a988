package auth_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// hs256 signs with a shared secret.
func hs256(secret, header string, c claims) string {
	payload, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	signed := b64(header) + "." + b64(string(payload))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + b64(string(mac.Sum(nil)))
}

// embedded signs with a key of its own that it brings along in the header.
func embedded(t testing.TB, c claims) string {
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: mustKey(t)}, (&jose.SignerOptions{EmbedJWK: true}).WithType("vnd.backstage.user"))
	if err != nil {
		t.Fatal(err)
	}
	return compact(t, s, payload)
}

// critical demands that an extension is understood.
func critical(t testing.TB, i *issuer, c claims) string {
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	opts := (&jose.SignerOptions{}).WithType("vnd.backstage.user").WithHeader("kid", i.kid).WithHeader("x-must", true).WithCritical("x-must")
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.private}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return compact(t, s, payload)
}

func compact(t testing.TB, s jose.Signer, payload []byte) string {
	sig, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := sig.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
