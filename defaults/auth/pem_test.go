package auth_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

type ctx = context.Context

// pemKey writes a key pair to files, and returns its entry in the
// configuration.
func pemKey(t testing.TB, id string, private bool) string {
	t.Helper()
	k, dir := mustKey(t), t.TempDir()
	write := func(name, kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	entry := fmt.Sprintf("{keyId: %s, publicKeyFile: %s", id, write("public.pem", "PUBLIC KEY", der, err))
	if private {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		entry += ", privateKeyFile: " + write("private.pem", "PRIVATE KEY", der, err)
	}
	return entry + "}"
}
