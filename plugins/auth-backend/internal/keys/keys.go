// Package keys has the keys that sign user tokens: one that signs at a time,
// and the public parts of all that tokens may still be signed with.
//
//	ring := keys.NewRotating(keys.Database(db), jose.ES256, time.Hour, time.Now)
//	key, err := ring.Signing(ctx)
//	…
//	signature, err := key.Sign(input)
package keys

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/flight"
	"github.com/flytower/flytower/internal/signingkey"
)

// Ring is a set of keys. It is safe for concurrent use.
type Ring interface {
	// Signing returns the key to sign with. When it returns, everybody can
	// read its public part.
	Signing(ctx context.Context) (*Key, error)
	// Public returns the JSON Web Keys of which tokens may be good.
	Public(ctx context.Context) ([]json.RawMessage, error)
	// Prune forgets the keys of which no token can be good any more.
	Prune(ctx context.Context) error
}

// Key is a key pair.
type Key struct {
	ID        string
	Algorithm jose.SignatureAlgorithm
	jwk       json.RawMessage
	private   crypto.Signer
	created   time.Time
}

func newKey(id string, alg jose.SignatureAlgorithm, public crypto.PublicKey, private crypto.Signer, use string) (*Key, error) {
	jwk, err := jose.JSONWebKey{Key: public, KeyID: id, Algorithm: string(alg), Use: use}.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding the public key %q: %w", id, err)
	}
	return &Key{ID: id, Algorithm: alg, jwk: jwk, private: private}, nil
}

// Sign returns the signature of the input as a JSON Web Signature has it.
func (k *Key) Sign(input []byte) ([]byte, error) {
	return signingkey.Sign(k.private, k.Algorithm, input)
}

// Store keeps the public parts of keys where all replicas see them.
type Store interface {
	Add(ctx context.Context, id string, jwk json.RawMessage, created time.Time) error
	// List returns the keys that were created since then, oldest first.
	List(ctx context.Context, since time.Time) ([]json.RawMessage, error)
	// RemoveBefore removes the keys that were created before.
	RemoveBefore(ctx context.Context, before time.Time) error
}

// published is for how many lifetimes of a key its public part is published:
// one while it signs, one while the last token that it signed is good, and
// one more for clocks that differ.
const published = 3

// Rotating makes a key when one is needed and the last has signed for long
// enough. The private parts never leave the memory of the process, so every
// replica, and every start, has keys of its own.
type Rotating struct {
	store    Store
	alg      jose.SignatureAlgorithm
	lifetime time.Duration
	now      func() time.Time

	making  flight.Group[struct{}, *Key]
	mu      sync.Mutex
	current *Key
}

// NewRotating returns a ring whose keys sign for as long as the tokens that
// they sign are good.
func NewRotating(store Store, alg jose.SignatureAlgorithm, lifetime time.Duration, now func() time.Time) *Rotating {
	return &Rotating{store: store, alg: alg, lifetime: lifetime, now: now}
}

// Signing implements [Ring].
func (r *Rotating) Signing(ctx context.Context) (*Key, error) {
	if k := r.fresh(); k != nil {
		return k, nil
	}
	return r.making.Do(ctx, struct{}{}, func(ctx context.Context) (*Key, error) {
		if k := r.fresh(); k != nil {
			return k, nil
		}
		private, err := signingkey.Generate(r.alg)
		if err != nil {
			return nil, err
		}
		k, err := newKey(uuid.NewString(), r.alg, private.Public(), private, "")
		if err != nil {
			return nil, err
		}
		k.created = r.now()
		if err := r.store.Add(ctx, k.ID, k.jwk, k.created); err != nil {
			return nil, fmt.Errorf("publishing a new signing key: %w", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.current = k
		return k, nil
	})
}

// fresh returns the current key if it may still sign.
func (r *Rotating) fresh() *Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil && r.now().Before(r.current.created.Add(r.lifetime)) {
		return r.current
	}
	return nil
}

// Public implements [Ring]. It asks the store each time: a replica may have
// published a key, and handed out a token, the moment before.
func (r *Rotating) Public(ctx context.Context) ([]json.RawMessage, error) {
	keys, err := r.store.List(ctx, r.oldest())
	if err != nil {
		return nil, fmt.Errorf("listing the signing keys: %w", err)
	}
	return keys, nil
}

// Prune implements [Ring].
func (r *Rotating) Prune(ctx context.Context) error {
	if err := r.store.RemoveBefore(ctx, r.oldest()); err != nil {
		return fmt.Errorf("removing old signing keys: %w", err)
	}
	return nil
}

func (r *Rotating) oldest() time.Time { return r.now().Add(-published * r.lifetime) }

// Static has keys of files, which are the same in all replicas and never
// expire.
type Static struct {
	signing *Key
	public  []json.RawMessage
}

// NewStatic reads the keys of the array auth.keyStore.static.keys at key: the
// first one signs, all are published.
func NewStatic(cfg core.Config, key string) (*Static, error) {
	pairs, err := signingkey.Pairs(cfg, key)
	if err != nil {
		return nil, err
	}
	s := &Static{}
	for _, p := range pairs {
		k, err := newKey(p.ID, p.Algorithm, p.Public, p.Private, "sig")
		if err != nil {
			return nil, err
		}
		if s.signing == nil {
			s.signing = k
		}
		s.public = append(s.public, k.jwk)
	}
	return s, nil
}

// Signing implements [Ring].
func (s *Static) Signing(context.Context) (*Key, error) { return s.signing, nil }

// Public implements [Ring].
func (s *Static) Public(context.Context) ([]json.RawMessage, error) { return s.public, nil }

// Prune implements [Ring]; nothing expires.
func (s *Static) Prune(context.Context) error { return nil }
