package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
)

const (
	// tokenLifetime is how long a plugin token is good for, and how long a
	// key signs.
	tokenLifetime = time.Hour
	// keyLifetime is how long the public part of a key is published.
	keyLifetime = 3 * tokenLifetime
)

// key is a key pair of this process, or of a file the public part alone.
type key struct {
	kid     string
	alg     jose.SignatureAlgorithm
	public  crypto.PublicKey
	jwk     json.RawMessage
	signer  jose.Signer // nil where there is no private part
	created time.Time
	expires time.Time // zero is never
}

func newKey(kid string, alg jose.SignatureAlgorithm, public crypto.PublicKey, private crypto.PrivateKey) (*key, error) {
	jwk, err := jose.JSONWebKey{Key: public, KeyID: kid, Algorithm: string(alg)}.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding the public key %q: %w", kid, err)
	}
	k := &key{kid: kid, alg: alg, public: public, jwk: jwk}
	if private == nil {
		return k, nil
	}
	opts := (&jose.SignerOptions{}).WithType(typPlugin).WithHeader("kid", kid)
	if k.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: private}, opts); err != nil {
		return nil, fmt.Errorf("using the private key %q with %s: %w", kid, alg, err)
	}
	return k, nil
}

// sign returns a plugin token with the claims.
func (k *key) sign(claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	sig, err := k.signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return sig.CompactSerialize()
}

// keyRing has the keys of this process. All plugins share it, since whoever
// controls the process controls them all.
type keyRing interface {
	// current returns the key to sign with.
	current() (*key, error)
	// find returns the key with the id, nil where there is none.
	find(kid string) *key
	// published returns the keys that are not expired.
	published() []*key
	// static reports whether the keys are the same in every replica, so that
	// nobody needs to be told of them.
	static() bool
}

// rotatingRing makes a key when one is needed and the last has signed for
// long enough. The private parts never leave the memory.
type rotatingRing struct {
	now func() time.Time

	mu   sync.Mutex
	keys []*key // oldest first
}

func (r *rotatingRing) static() bool { return false }

func (r *rotatingRing) current() (*key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if n := len(r.keys); n > 0 && now.Before(r.keys[n-1].created.Add(tokenLifetime)) {
		return r.keys[n-1], nil
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating a signing key: %w", err)
	}
	k, err := newKey(uuid.NewString(), jose.ES256, &private.PublicKey, private)
	if err != nil {
		return nil, err
	}
	k.created, k.expires = now, now.Add(keyLifetime)
	r.prune(now)
	r.keys = append(r.keys, k)
	return k, nil
}

// prune forgets expired keys. The caller holds the lock.
func (r *rotatingRing) prune(now time.Time) {
	for len(r.keys) > 0 && !now.Before(r.keys[0].expires) {
		r.keys = r.keys[1:]
	}
}

func (r *rotatingRing) find(kid string) *key {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prune(r.now())
	return findKey(r.keys, kid)
}

func (r *rotatingRing) published() []*key {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prune(r.now())
	return append([]*key(nil), r.keys...)
}

func findKey(keys []*key, kid string) *key {
	for _, k := range keys {
		if k.kid == kid {
			return k
		}
	}
	return nil
}
