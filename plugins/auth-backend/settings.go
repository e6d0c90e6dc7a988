package authbackend

import (
	_ "embed"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/signingkey"
	"github.com/flytower/flytower/plugins/auth-backend/internal/keys"
	"github.com/flytower/flytower/plugins/auth-backend/internal/origins"
)

//go:embed config.schema.json
var configSchema string

const (
	defaultLifetime = time.Hour
	minLifetime     = 10 * time.Minute
	maxLifetime     = 24 * time.Hour
)

// settings are what the plugin reads from the configuration once.
type settings struct {
	appURL        string
	algorithm     jose.SignatureAlgorithm
	withOwnership bool
	lifetime      time.Duration
	openID        openIDSettings
}

func readSettings(c core.Config, log *slog.Logger) (s settings, err error) {
	if s.appURL, err = origins.AppURL(c); err != nil {
		return s, err
	}
	s.appURL = strings.TrimRight(s.appURL, "/")
	const algorithm = "auth.identityTokenAlgorithm"
	name, err := c.StringOr(algorithm, string(jose.ES256))
	if err != nil {
		return s, err
	}
	var ok bool
	if s.algorithm, ok = signingkey.Algorithm(name); !ok {
		return s, problem(c, algorithm, fmt.Sprintf("is %q, which is no known algorithm with a public key", name), "use ES256")
	}
	omit, err := c.BoolOr("auth.omitIdentityTokenOwnershipClaim", true)
	if err != nil {
		return s, err
	}
	s.withOwnership = !omit
	if s.openID, err = readOpenID(c, log); err != nil {
		return s, err
	}
	const expiration = "auth.backstageTokenExpiration"
	wanted, err := c.DurationOr(expiration, defaultLifetime)
	if err != nil {
		return s, err
	}
	if s.lifetime = min(max(wanted, minLifetime), maxLifetime); s.lifetime != wanted {
		log.Warn("auth.backstageTokenExpiration is out of bounds; the nearest bound is used",
			"configured", wanted.String(), "used", s.lifetime.String(), "position", c.Position(expiration).String())
	}
	// A key signs for as long as a token lives, so a part of a second would
	// make tokens outlive their key's publication by rounding.
	s.lifetime = s.lifetime.Truncate(time.Second)
	return s, nil
}

// ring returns the keys that auth.keyStore describes.
func (s settings) ring(c core.Config, db core.DatabaseService, now func() time.Time) (keys.Ring, error) {
	const key = "auth.keyStore.provider"
	kind, err := c.StringOr(key, "database")
	if err != nil {
		return nil, err
	}
	switch kind {
	case "database":
		return keys.NewRotating(keys.Database(db), s.algorithm, s.lifetime, now), nil
	case "memory":
		return keys.NewRotating(keys.Memory(), s.algorithm, s.lifetime, now), nil
	case "static":
		return keys.NewStatic(c, "auth.keyStore.static.keys")
	default:
		return nil, problem(c, key, fmt.Sprintf("is %q, which is no known key store", kind), "use database, memory or static")
	}
}

// problem says what is wrong at a key.
func problem(c core.Config, key, problem, remedy string) error {
	return &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: problem, Remedy: remedy}
}
