package fakeidp

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// idToken makes the ID token of a session (OpenID Connect Core 1.0 §2). The
// caller has the lock.
func (s *Server) idToken(g *grant, access, nonce string) (string, error) {
	half := sha256.Sum256([]byte(access))
	now := time.Now()
	claims := map[string]any{
		"iss": s.settings.Issuer, "sub": g.user.Subject, "aud": s.settings.ClientID,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "at_hash": base64.RawURLEncoding.EncodeToString(half[:16]),
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	maps.Copy(claims, g.user.IDClaims)
	if s.forge.Claims != nil {
		s.forge.Claims(claims)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	var key jose.SigningKey
	switch s.forge.Algorithm {
	case "none":
		encode := base64.RawURLEncoding.EncodeToString
		return encode([]byte(`{"alg":"none","kid":"rsa"}`)) + "." + encode(payload) + ".", nil
	case "HS256":
		public, err := x509.MarshalPKIXPublicKey(s.rsa.Public())
		if err != nil {
			return "", err
		}
		key = jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: public, KeyID: "rsa"}}
	case "ES256":
		key = jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.ec, KeyID: "ec"}}
	case "", "RS256":
		private := s.rsa
		if s.forge.OtherKey {
			if private, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
				return "", err
			}
		}
		key = jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: private, KeyID: "rsa"}}
	default:
		return "", fmt.Errorf("the identity provider has no key for %s", s.forge.Algorithm)
	}
	signer, err := jose.NewSigner(key, nil)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
