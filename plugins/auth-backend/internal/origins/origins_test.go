package origins_test

import (
	"errors"
	"testing"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/plugins/auth-backend/internal/origins"
)

func TestAllows(t *testing.T) {
	t.Parallel()
	allowed, err := origins.FromConfig(configtest.FromYAML(t, `
		app: {baseUrl: 'https://Portal.example.com/backstage'}
		auth:
		  experimentalExtraAllowedOrigins: ['https://*.preview.example.com', 'http://localhost:*', 'https://**.deep.test', 'https://{a,b}.test:8443']
	`))
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]bool{
		"https://portal.example.com":             true,
		"https://portal.example.com:443":         true,
		"HTTPS://PORTAL.EXAMPLE.COM":             true,
		"https://portal.example.com/path?x":      true, // its origin counts
		"http://portal.example.com":              false,
		"https://portal.example.com:8443":        false,
		"https://portal.example.com.evil.test":   false,
		"https://portal.example.com@evil.test":   false,
		"https://evil.test/portal.example.com":   false,
		"https://x.preview.example.com":          true,
		"https://x.y.preview.example.com":        true,
		"https://X.Preview.example.com":          true,
		"https://preview.example.com":            false,
		"http://x.preview.example.com":           false,
		"https://evil.test/.preview.example.com": false,
		"http://localhost:3000":                  true,
		"http://localhost":                       false,
		"https://x.deep.test":                    true,
		"https://a.test:8443":                    true,
		"https://c.test:8443":                    false,
		"null":                                   false,
		"":                                       false,
		"file:///etc/passwd":                     false,
		"javascript:alert(1)":                    false,
		"https://":                               false,
		"://":                                    false,
	} {
		if got := allowed.Allows(origin); got != want {
			t.Errorf("%s: %t, want %t", origin, got, want)
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for name, yaml := range map[string]string{
		"no app":            "auth: {}",
		"app without URL":   "app: {baseUrl: portal}",
		"malformed pattern": "app: {baseUrl: 'http://x'}\nauth: {experimentalExtraAllowedOrigins: ['https://[x']}",
		"pattern, not list": "app: {baseUrl: 'http://x'}\nauth: {experimentalExtraAllowedOrigins: 'https://x'}",
	} {
		var at *core.ConfigError
		if _, err := origins.FromConfig(configtest.FromYAML(t, yaml)); !errors.As(err, &at) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
