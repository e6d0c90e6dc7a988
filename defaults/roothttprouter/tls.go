package roothttprouter

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/core"
)

const httpsKey = "backend.https"

// certificates gives the certificate for each handshake. It is replaced when
// the configuration, or a file that it includes, changes.
type certificates struct {
	current atomic.Pointer[tls.Certificate]
}

// load reads backend.https. on is false if the server speaks plain HTTP.
func (c *certificates) load(config core.Config, cacheDir string, now time.Time) (on bool, err error) {
	v, ok := config.Value(httpsKey)
	if !ok || v == false {
		return false, nil
	}
	var cert *tls.Certificate
	switch {
	case config.Has(httpsKey + ".certificate"):
		cert, err = configuredCertificate(config)
	case v == true || isObject(v):
		cert, err = developmentCertificate(config, cacheDir, now)
	default:
		err = configError(config, httpsKey, "must be true, or an object with a certificate", "")
	}
	if err != nil {
		return false, err
	}
	c.current.Store(cert)
	return true, nil
}

func isObject(v any) bool { _, ok := v.(map[string]any); return ok }

func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}

func configuredCertificate(config core.Config) (*tls.Certificate, error) {
	const key = httpsKey + ".certificate"
	certText, err := config.String(key + ".cert")
	if err != nil {
		return nil, err
	}
	keyText, err := config.String(key + ".key")
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair([]byte(certText), []byte(keyText))
	if err != nil {
		return nil, &core.ConfigError{
			Key: config.Path(key), Position: config.Position(key), Err: err,
			Problem: "is no pair of a certificate and its key: " + err.Error(),
			Remedy:  "give both as PEM text, for example with $file",
		}
	}
	return &cert, nil
}

const (
	devValidity = 30 * 24 * time.Hour
	devReuse    = 5 * 24 * time.Hour // a certificate that is good for less is replaced
)

// developmentCertificate returns a self-signed certificate for the host of
// backend.baseUrl, and keeps it in a file, so that browsers are asked to
// accept it once only.
func developmentCertificate(config core.Config, dir string, now time.Time) (*tls.Certificate, error) {
	base, err := config.String("backend.baseUrl")
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" {
		return nil, configError(config, "backend.baseUrl", "is no URL with a host", "for example https://localhost:7007")
	}
	path := filepath.Join(dir, ".dev-cert.pem")
	if st, err := os.Stat(filepath.Join(dir, "node_modules")); err == nil && st.IsDir() {
		path = filepath.Join(dir, "node_modules", ".cache", "backstage-backend", "dev-cert.pem")
	}
	if cert, err := readDevelopmentCertificate(path, u.Hostname(), now); err == nil {
		return cert, nil
	}
	text, err := makeDevelopmentCertificate(u.Hostname(), now)
	if err != nil {
		return nil, fmt.Errorf("making a development certificate: %w", err)
	}
	if err := writeFile(path, text); err != nil {
		return nil, fmt.Errorf("keeping the development certificate: %w; set %s.certificate, or make the directory writable", err, httpsKey)
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("making a development certificate: %w", err)
	}
	return &cert, nil
}

func readDevelopmentCertificate(path, host string, now time.Time) (*tls.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	if cert.Leaf.NotAfter.Before(now.Add(devReuse)) {
		return nil, errors.New("it expires soon")
	}
	return &cert, cert.Leaf.VerifyHostname(host)
}

func makeDevelopmentCertificate(host string, now time.Time) ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "dev-cert"},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(devValidity),
		// Developers trust this certificate, and its key lies in a file: it must
		// be good for this server alone, not for certificates of other sites.
		BasicConstraintsValid: true, SignatureAlgorithm: x509.SHA256WithRSA,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", "localhost.localdomain"},
		IPAddresses: []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP("::1"), net.ParseIP("fe80::1")},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = append(template.IPAddresses, ip)
	} else if host != "localhost" {
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...), nil
}

// writeFile replaces a file at once, readable by its owner only.
func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".dev-cert-*") // has mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		if rm := os.Remove(f.Name()); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}
	return err
}
