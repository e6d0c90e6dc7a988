// Package origins decides which pages may take part in a sign-in.
package origins

import (
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/flytower/flytower/core"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

// patternsKey lists patterns of more origins.
const patternsKey = "auth.experimentalExtraAllowedOrigins"

// Allowed are the origins that may take part.
type Allowed struct {
	app      string
	patterns []string
}

// AppURL returns the address of the frontend: app.baseUrl, or, where that is
// not set, backend.baseUrl, at which a backend serves the frontend itself.
func AppURL(cfg core.Config) (string, error) {
	if !cfg.Has("app.baseUrl") && cfg.Has("backend.baseUrl") {
		return cfg.String("backend.baseUrl")
	}
	return cfg.String("app.baseUrl")
}

// FromConfig reads the [AppURL], whose origin is allowed, and the patterns of
// auth.experimentalExtraAllowedOrigins. A "*" in a pattern stands for any
// text without a slash.
func FromConfig(cfg core.Config) (*Allowed, error) {
	base, err := AppURL(cfg)
	if err != nil {
		return nil, err
	}
	app, ok := authnode.OriginOf(base)
	if !ok {
		return nil, &core.ConfigError{
			Key: cfg.Path("app.baseUrl"), Position: cfg.Position("app.baseUrl"),
			Problem: "is not an http or https URL", Remedy: "use the address of the frontend, for example https://portal.example.com",
		}
	}
	patterns, err := cfg.Strings(patternsKey)
	if err != nil {
		return nil, err
	}
	a := &Allowed{app: app}
	for _, p := range patterns {
		// Origins have no path, so there is nothing for "**" to descend into.
		for strings.Contains(p, "**") {
			p = strings.ReplaceAll(p, "**", "*")
		}
		p = strings.ToLower(p)
		if !doublestar.ValidatePattern(p) {
			return nil, &core.ConfigError{
				Key: cfg.Path(patternsKey), Position: cfg.Position(patternsKey),
				Problem: "has a malformed pattern, " + p, Remedy: "write it like https://*.preview.example.com",
			}
		}
		a.patterns = append(a.patterns, p)
	}
	return a, nil
}

// Allows reports whether pages of the origin may take part.
func (a *Allowed) Allows(origin string) bool {
	normal, ok := authnode.OriginOf(origin)
	if !ok {
		return false
	}
	if normal == a.app {
		return true
	}
	for _, p := range a.patterns {
		if matched, err := doublestar.Match(p, normal); err == nil && matched {
			return true
		}
	}
	return false
}
