package signingkey_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/signingkey"
)

func TestSignaturesVerify(t *testing.T) {
	t.Parallel()
	for _, alg := range signingkey.Algorithms() {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			private, err := signingkey.Generate(alg)
			if err != nil {
				t.Fatal(err)
			}
			for range 20 { // r and s of ECDSA are shorter than the curve now and then
				input := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"typ":"x","alg":%q}`, alg)) + "." + base64.RawURLEncoding.EncodeToString([]byte("{}"))
				signature, err := signingkey.Sign(private, alg, []byte(input))
				if err != nil {
					t.Fatal(err)
				}
				jws, err := jose.ParseSignedCompact(input+"."+base64.RawURLEncoding.EncodeToString(signature), []jose.SignatureAlgorithm{alg})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := jws.Verify(private.Public()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestFits(t *testing.T) {
	t.Parallel()
	keys := map[jose.SignatureAlgorithm]any{}
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.RS256, jose.EdDSA} {
		private, err := signingkey.Generate(alg)
		if err != nil {
			t.Fatal(err)
		}
		keys[alg] = private.Public()
	}
	for of, public := range keys {
		for _, alg := range append(signingkey.Algorithms(), jose.HS256, "none", "") {
			want := of == alg || of == jose.RS256 && (strings.HasPrefix(string(alg), "RS") || strings.HasPrefix(string(alg), "PS"))
			if got := signingkey.Fits(public, alg) == nil; got != want {
				t.Errorf("a key for %s fits %q: %t, want %t", of, alg, got, want)
			}
		}
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if signingkey.Fits(&short.PublicKey, jose.RS256) == nil {
		t.Error("an RSA key of 1024 bits is good")
	}
	for _, alg := range []jose.SignatureAlgorithm{jose.HS256, "none"} {
		if _, err := signingkey.Generate(alg); err == nil {
			t.Errorf("a key for %s was made", alg)
		}
	}
	if private, err := signingkey.Generate(jose.ES256); err != nil {
		t.Error(err)
	} else if _, err := signingkey.Sign(private, jose.ES512, nil); err == nil {
		t.Error("a key for ES256 signed for ES512")
	}
}

func TestPairs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, kind string, der []byte, err error) {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		private, err := signingkey.Generate(jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(private.Public())
		write(name+".pub", "PUBLIC KEY", der, err)
		der, err = x509.MarshalPKCS8PrivateKey(private)
		write(name, "PRIVATE KEY", der, err)
	}
	for _, tt := range []struct{ name, keys, problem string }{
		{"a pair and a public key", `[{keyId: a, publicKeyFile: a.pub, privateKeyFile: a}, {keyId: b, publicKeyFile: b.pub}]`, ""},
		{"none", `[]`, "needs at least one key"},
		{"first without private", `[{keyId: a, publicKeyFile: a.pub}]`, "is missing"},
		{"repeated id", `[{keyId: a, publicKeyFile: a.pub, privateKeyFile: a}, {keyId: a, publicKeyFile: b.pub}]`, "repeats the id"},
		{"of another pair", `[{keyId: a, publicKeyFile: a.pub, privateKeyFile: b}]`, "does not belong"},
		{"another algorithm", `[{keyId: a, publicKeyFile: a.pub, privateKeyFile: a, algorithm: RS256}]`, "is not a key for RS256"},
		{"symmetric algorithm", `[{keyId: a, publicKeyFile: a.pub, privateKeyFile: a, algorithm: HS256}]`, "no known algorithm"},
		{"private as public", `[{keyId: a, publicKeyFile: a, privateKeyFile: a}]`, "without a usable"},
		{"no such file", `[{keyId: a, publicKeyFile: c.pub, privateKeyFile: a}]`, "cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			keys := strings.NewReplacer("File: ", "File: "+dir+"/").Replace(tt.keys)
			pairs, err := signingkey.Pairs(configtest.FromYAML(t, "keys: "+keys), "keys")
			if tt.problem == "" {
				if err != nil || len(pairs) != 2 || pairs[0].Private == nil || pairs[1].Private != nil || pairs[1].ID != "b" {
					t.Fatalf("got %d pairs, error %v", len(pairs), err)
				}
				return
			}
			var at *core.ConfigError
			if !errors.As(err, &at) || !strings.Contains(err.Error(), tt.problem) || at.Position.Line == 0 {
				t.Errorf("error %v, want %q with a position", err, tt.problem)
			}
		})
	}
}
