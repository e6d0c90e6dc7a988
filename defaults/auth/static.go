package auth

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/go-jose/go-jose/v4"

	"github.com/flytower/flytower/core"
)

// fileRing has keys of files; the first signs, and they never expire.
type fileRing struct{ keys []*key }

func (r *fileRing) static() bool           { return true }
func (r *fileRing) current() (*key, error) { return r.keys[0], nil }
func (r *fileRing) find(kid string) *key   { return findKey(r.keys, kid) }
func (r *fileRing) published() []*key      { return r.keys }

// newFileRing reads the keys of backend.auth.pluginKeyStore.static.
func newFileRing(cfg core.Config) (*fileRing, error) {
	entries, err := cfg.List("keys")
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, configError(cfg, "keys", "needs at least one key", "name the files of a key pair, for example made with openssl ecparam -name prime256v1")
	}
	ring := &fileRing{}
	for i, entry := range entries {
		k, err := readKey(entry, i == 0)
		if err != nil {
			return nil, err
		}
		if ring.find(k.kid) != nil {
			return nil, configError(entry, "keyId", fmt.Sprintf("repeats the id %q", k.kid), "give every key an id of its own")
		}
		ring.keys = append(ring.keys, k)
	}
	return ring, nil
}

func readKey(cfg core.Config, signs bool) (*key, error) {
	kid, err := cfg.String("keyId")
	if err != nil {
		return nil, err
	}
	name, err := cfg.StringOr("algorithm", string(jose.ES256))
	if err != nil {
		return nil, err
	}
	alg, ok := algorithm(name)
	if !ok {
		return nil, configError(cfg, "algorithm", fmt.Sprintf("is %q, which is no known algorithm with a public key", name), "use ES256")
	}
	public, err := readPEM(cfg, "publicKeyFile", "PUBLIC KEY", func(der []byte) (any, error) { return x509.ParsePKIXPublicKey(der) })
	if err != nil {
		return nil, err
	}
	var private crypto.PrivateKey
	if signs || cfg.Has("privateKeyFile") {
		if private, err = readPEM(cfg, "privateKeyFile", "PRIVATE KEY", x509.ParsePKCS8PrivateKey); err != nil {
			return nil, err
		}
		pair, ok := private.(interface{ Public() crypto.PublicKey })
		same, comparable := public.(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !comparable || !same.Equal(pair.Public()) {
			return nil, configError(cfg, "privateKeyFile", "does not belong to the publicKeyFile", "")
		}
	}
	k, err := newKey(kid, alg, public, private)
	if err == nil {
		err = usable(jose.JSONWebKey{Key: public}, string(alg))
	}
	if err != nil {
		return nil, &core.ConfigError{Key: cfg.Path("publicKeyFile"), Position: cfg.Position("publicKeyFile"), Problem: fmt.Sprintf("is not a key for %s: %s", alg, err), Err: err}
	}
	return k, nil
}

func readPEM(cfg core.Config, option, kind string, decode func([]byte) (any, error)) (any, error) {
	name, err := cfg.String(option)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, &core.ConfigError{Key: cfg.Path(option), Position: cfg.Position(option), Problem: fmt.Sprintf("names a file that cannot be read: %s", err), Err: err}
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		err = errors.New("there is no PEM block of this kind")
	} else {
		var k any
		if k, err = decode(block.Bytes); err == nil {
			return k, nil
		}
	}
	return nil, &core.ConfigError{
		Key: cfg.Path(option), Position: cfg.Position(option), Err: err,
		Problem: fmt.Sprintf("names a file without a usable %q block (%s)", kind, name),
		Remedy:  "convert it with openssl: SPKI for the public, PKCS #8 for the private key",
	}
}
