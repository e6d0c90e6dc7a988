// Package signingkey has the asymmetric keys with which tokens are signed: it
// generates them, reads them from the files that a configuration names, and
// signs with them.
//
//	private, err := signingkey.Generate(jose.ES256)
//	…
//	signature, err := signingkey.Sign(private, jose.ES256, input)
//
// Libraries for JSON Web Signatures choose the order of the header members on
// their own. Who has to write a header byte by byte signs with this package.
package signingkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the algorithms
	_ "crypto/sha512"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// Algorithms returns the algorithms that tokens may be signed with: those
// with a public key to verify with (RFC 7518 §3.1, RFC 8037 §3.1).
func Algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.ES256, jose.ES384, jose.ES512, jose.RS256, jose.RS384, jose.RS512,
		jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
	}
}

// Algorithm returns the algorithm with the name; ok is false if tokens must
// not have it.
func Algorithm(name string) (alg jose.SignatureAlgorithm, ok bool) {
	for _, a := range Algorithms() {
		if string(a) == name {
			return a, true
		}
	}
	return "", false
}

// curve returns the curve of an ECDSA algorithm, nil for the others.
func curve(alg jose.SignatureAlgorithm) elliptic.Curve {
	switch alg {
	case jose.ES256:
		return elliptic.P256()
	case jose.ES384:
		return elliptic.P384()
	case jose.ES512:
		return elliptic.P521()
	default:
		return nil
	}
}

func isRSA(alg jose.SignatureAlgorithm) bool {
	return len(alg) == 5 && (alg[:2] == "RS" || alg[:2] == "PS")
}

// Fits tells why a public key cannot verify signatures of the algorithm; nil
// if it can.
func Fits(public crypto.PublicKey, alg jose.SignatureAlgorithm) error {
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		if curve(alg) == public.Curve {
			return nil
		}
	case *rsa.PublicKey:
		if isRSA(alg) {
			if n := public.N.BitLen(); n < 2048 || n > 8192 {
				return fmt.Errorf("RSA keys must have 2048 to 8192 bits, not %d", n)
			}
			return nil
		}
	case ed25519.PublicKey:
		if alg == jose.EdDSA {
			return nil
		}
	}
	return fmt.Errorf("the key does not fit the algorithm %s", alg)
}

// Generate returns a new private key for the algorithm. RSA keys have 2048
// bits.
func Generate(alg jose.SignatureAlgorithm) (crypto.Signer, error) {
	var private crypto.Signer
	var err error
	switch c := curve(alg); {
	case c != nil:
		private, err = ecdsa.GenerateKey(c, rand.Reader)
	case isRSA(alg):
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case alg == jose.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, fmt.Errorf("%q is no signature algorithm with a public key", alg)
	}
	if err != nil {
		return nil, fmt.Errorf("generating a key for %s: %w", alg, err)
	}
	return private, nil
}

// Sign returns the signature of the input as a JSON Web Signature has it,
// before base64url: that of ECDSA is r and s, each as long as the order of
// the curve (RFC 7518 §3.4).
func Sign(private crypto.Signer, alg jose.SignatureAlgorithm, input []byte) ([]byte, error) {
	if err := Fits(private.Public(), alg); err != nil {
		return nil, err
	}
	if alg == jose.EdDSA {
		return private.Sign(rand.Reader, input, crypto.Hash(0))
	}
	hash := hashOf(alg)
	h := hash.New()
	h.Write(input)
	digest := h.Sum(nil)
	if key, ok := private.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			return nil, err
		}
		size := (key.Params().BitSize + 7) / 8
		signature := make([]byte, 2*size)
		r.FillBytes(signature[:size])
		s.FillBytes(signature[size:])
		return signature, nil
	}
	var opts crypto.SignerOpts = hash
	if alg[:2] == "PS" {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	return private.Sign(rand.Reader, digest, opts)
}

// hashOf returns the hash that the digits of the algorithm name.
func hashOf(alg jose.SignatureAlgorithm) crypto.Hash {
	switch alg[2:] {
	case "384":
		return crypto.SHA384
	case "512":
		return crypto.SHA512
	default:
		return crypto.SHA256
	}
}
