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
// withdrawn and a token that expires stop being good at once. What a token says
// is remembered, too, of those whose signature was found to fit once.
type signatures struct {
	fit    *flight.Cache[signature, struct{}]
	parsed *flight.Cache[[sha256.Size]byte, *jwt]
}

type signature struct {
	token [sha256.Size]byte
	key   any
}

const (
	signaturesKept = 10_000
	signatureKept  = 10 * time.Minute
	// parsedKept tokens of maxParsed bytes each are a few megabytes.
	parsedKept = 2_000
	maxParsed  = 4 << 10
)

func newSignatures(now func() time.Time) *signatures {
	return &signatures{
		fit:    flight.NewCache[signature, struct{}](signaturesKept, signatureKept, now),
		parsed: flight.NewCache[[sha256.Size]byte, *jwt](parsedKept, signatureKept, now),
	}
}

// parse is the function parse for a token that may be known. What it says does
// not depend on anything else, so it needs no look at keys or claims.
func (s *signatures) parse(token string) (*jwt, error) {
	if len(token) > maxParsed {
		return parse(token)
	}
	digest := sha256.Sum256([]byte(token))
	if t, ok := s.parsed.Peek(digest); ok {
		return t, nil
	}
	t, err := parse(token)
	if err == nil {
		t.digest = digest
	}
	return t, err
}

func (s *signatures) verify(t *jwt, key any, algorithms []jose.SignatureAlgorithm, now time.Time) error {
	if !slices.Contains(algorithms, jose.SignatureAlgorithm(t.alg)) {
		return fmt.Errorf("its algorithm %.20q is not accepted", t.alg)
	}
	id := signature{t.digest, key}
	if id.token == ([sha256.Size]byte{}) {
		id.token = sha256.Sum256([]byte(t.text))
	}
	if k, ok := key.(ed25519.PublicKey); ok {
		id.key = string(k) // the others are pointers
	}
	if _, known := s.fit.Peek(id); known {
		s.keep(t, now)
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
	s.keep(t, now)
	return nil
}

// keep remembers what a token says whose signature fits.
func (s *signatures) keep(t *jwt, now time.Time) {
	if t.digest == ([sha256.Size]byte{}) {
		return
	}
	if _, kept := s.parsed.Peek(t.digest); !kept {
		s.parsed.Put(t.digest, t, now.Add(signatureKept))
	}
}
