package auth

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/flytower/flytower/internal/flight"
)

// signatures remembers which signatures were found to fit which key, since
// the arithmetic is most of the cost of a token, and tokens come many times.
// The key is looked up and the claims are checked each time, so a key that is
// withdrawn and a token that expires stop being good at once.
type signatures struct {
	fit *flight.Cache[signature, struct{}]
}

type signature struct {
	token [sha256.Size]byte
	key   any
}

const (
	signaturesKept = 10_000
	signatureKept  = 10 * time.Minute
)

func newSignatures(now func() time.Time) *signatures {
	return &signatures{flight.NewCache[signature, struct{}](signaturesKept, signatureKept, now)}
}

func (s *signatures) verify(t *jwt, key any, algorithms []jose.SignatureAlgorithm, now time.Time) error {
	if !slices.Contains(algorithms, jose.SignatureAlgorithm(t.alg)) {
		return fmt.Errorf("its algorithm %.20q is not accepted", t.alg)
	}
	id := signature{sha256.Sum256([]byte(t.text)), key}
	if k, ok := key.(ed25519.PublicKey); ok {
		id.key = string(k) // the others are pointers
	}
	if _, known := s.fit.Peek(id); known {
		return nil
	}
	sig, err := jose.ParseSignedCompact(t.text, algorithms)
	if err != nil {
		return fmt.Errorf("reading the signature: %w", err)
	}
	if _, err := sig.Verify(key); err != nil {
		return errors.New("its signature does not fit")
	}
	s.fit.Put(id, struct{}{}, now.Add(signatureKept))
	return nil
}
