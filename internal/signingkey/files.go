package signingkey

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

// Pair is a key pair of files. Private is nil where only the public key is
// known.
type Pair struct {
	ID        string
	Algorithm jose.SignatureAlgorithm
	Public    crypto.PublicKey
	Private   crypto.Signer
}

// Pairs reads the key pairs that the array of objects at key names, each with
// keyId, publicKeyFile (SPKI in PEM), privateKeyFile (PKCS #8 in PEM) and
// algorithm (default ES256). The first one signs, so it needs its private
// key. Ids must differ.
func Pairs(cfg core.Config, key string) ([]Pair, error) {
	entries, err := cfg.List(key)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, problem(cfg, key, nil, "needs at least one key", "name the files of a key pair, for example made with openssl ecparam -name prime256v1")
	}
	seen := map[string]bool{}
	pairs := make([]Pair, len(entries))
	for i, entry := range entries {
		if pairs[i], err = readPair(entry, i == 0); err != nil {
			return nil, err
		}
		if id := pairs[i].ID; seen[id] {
			return nil, problem(entry, "keyId", nil, fmt.Sprintf("repeats the id %q", id), "give every key an id of its own")
		}
		seen[pairs[i].ID] = true
	}
	return pairs, nil
}

func readPair(cfg core.Config, signs bool) (p Pair, err error) {
	if p.ID, err = cfg.String("keyId"); err != nil {
		return p, err
	}
	name, err := cfg.StringOr("algorithm", string(jose.ES256))
	if err != nil {
		return p, err
	}
	var ok bool
	if p.Algorithm, ok = Algorithm(name); !ok {
		return p, problem(cfg, "algorithm", nil, fmt.Sprintf("is %q, which is no known algorithm with a public key", name), "use ES256")
	}
	if p.Public, err = readPEM(cfg, "publicKeyFile", "PUBLIC KEY", func(der []byte) (any, error) { return x509.ParsePKIXPublicKey(der) }); err != nil {
		return p, err
	}
	if err := Fits(p.Public, p.Algorithm); err != nil {
		return p, problem(cfg, "publicKeyFile", err, fmt.Sprintf("is not a key for %s: %s", p.Algorithm, err), "")
	}
	if !signs && !cfg.Has("privateKeyFile") {
		return p, nil
	}
	private, err := readPEM(cfg, "privateKeyFile", "PRIVATE KEY", x509.ParsePKCS8PrivateKey)
	if err != nil {
		return p, err
	}
	p.Private, ok = private.(crypto.Signer)
	same, comparable := p.Public.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !comparable || !same.Equal(p.Private.Public()) {
		return p, problem(cfg, "privateKeyFile", nil, "does not belong to the publicKeyFile", "")
	}
	return p, nil
}

func readPEM(cfg core.Config, option, kind string, decode func([]byte) (any, error)) (any, error) {
	name, err := cfg.String(option)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, problem(cfg, option, err, fmt.Sprintf("names a file that cannot be read: %s", err), "")
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
	return nil, problem(cfg, option, err, fmt.Sprintf("names a file without a usable %q block (%s)", kind, name),
		"convert it with openssl: SPKI for the public, PKCS #8 for the private key")
}

// problem says what is wrong at a key, or at its parent where it is absent.
func problem(cfg core.Config, key string, cause error, problem, remedy string) error {
	at := cfg.Position(key)
	if at == (core.Position{}) {
		at = cfg.Position("")
	}
	return &core.ConfigError{Key: cfg.Path(key), Position: at, Problem: problem, Remedy: remedy, Err: cause}
}
