package auth

import (
	"crypto"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/signingkey"
)

// fileRing has keys of files; the first signs, and they never expire.
type fileRing struct{ keys []*key }

func (r *fileRing) static() bool           { return true }
func (r *fileRing) current() (*key, error) { return r.keys[0], nil }
func (r *fileRing) find(kid string) *key   { return findKey(r.keys, kid) }
func (r *fileRing) published() []*key      { return r.keys }

// newFileRing reads the keys of backend.auth.pluginKeyStore.static.
func newFileRing(cfg core.Config) (*fileRing, error) {
	pairs, err := signingkey.Pairs(cfg, "keys")
	if err != nil {
		return nil, err
	}
	ring := &fileRing{}
	for _, p := range pairs {
		var private crypto.PrivateKey
		if p.Private != nil {
			private = p.Private
		}
		k, err := newKey(p.ID, p.Algorithm, p.Public, private)
		if err != nil {
			return nil, err
		}
		ring.keys = append(ring.keys, k)
	}
	return ring, nil
}
