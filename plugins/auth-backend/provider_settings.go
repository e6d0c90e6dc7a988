package authbackend

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/auth-backend/internal/clients"
	"github.com/flytower/flytower/plugins/auth-backend/internal/grants"
	"github.com/flytower/flytower/plugins/auth-backend/internal/origins"
	"github.com/flytower/flytower/plugins/auth-backend/internal/redirects"
)

// loopback are the addresses of programs on the machine of a user.
var loopback = []string{"http://localhost:*/*", "http://127.0.0.1:*/*", "http://[::1]:*/*"}

// openIDSettings are those of the OpenID provider.
type openIDSettings struct {
	registration, documents    bool
	registered                 redirects.Patterns // addresses that clients may register
	keep                       clients.Retention
	documentIDs, documentAddrs redirects.Patterns
	offline                    grants.Offline
	skipPresence               bool // of the user in the catalog
	root, app, title           string
	environment                string
	pages                      string
}

const (
	pagesAuto   = "auto"
	pagesAlways = "always"
	pagesNever  = "never"
)

func readOpenID(c core.Config, log *slog.Logger) (s openIDSettings, err error) {
	if err = s.readOffline(c); err != nil {
		return s, err
	}
	if err = s.readClients(c, log); err != nil {
		return s, err
	}
	if s.app, err = origins.AppURL(c); err != nil {
		return s, err
	}
	s.app = strings.TrimRight(s.app, "/")
	if s.root, err = c.StringOr("backend.baseUrl", s.app); err != nil {
		return s, err
	}
	s.root = strings.TrimRight(s.root, "/")
	if s.title, err = c.StringOr("app.title", "Developer portal"); err != nil {
		return s, err
	}
	if s.environment, err = c.StringOr("auth.environment", "development"); err != nil {
		return s, err
	}
	const pages = "auth.builtInPages"
	if s.pages, err = c.StringOr(pages, pagesAuto); err != nil {
		return s, err
	}
	if s.pages != pagesAuto && s.pages != pagesAlways && s.pages != pagesNever {
		return s, problem(c, pages, fmt.Sprintf("is %q", s.pages), "use auto, always or never")
	}
	return s, nil
}

func (s *openIDSettings) readOffline(c core.Config) (err error) {
	const key = "auth.experimentalRefreshToken"
	sub := c.Sub(key)
	o := &s.offline
	if o.Enabled, err = sub.BoolOr("enabled", false); err != nil {
		return err
	}
	if o.Lifetime, err = sub.DurationOr("tokenLifetime", 30*24*time.Hour); err != nil {
		return err
	}
	if o.MaxLifetime, err = sub.DurationOr("maxRotationLifetime", 365*24*time.Hour); err != nil {
		return err
	}
	if o.MaxPerUser, err = sub.IntOr("maxTokensPerUser", 20); err != nil {
		return err
	}
	if s.skipPresence, err = sub.BoolOr("dangerouslyDisableCatalogPresenceCheck", false); err != nil {
		return err
	}
	switch {
	case o.Lifetime <= 0:
		return problem(sub, "tokenLifetime", "must be longer than nothing", "for example {days: 30}")
	case o.MaxLifetime <= o.Lifetime:
		return problem(sub, "maxRotationLifetime", "must be longer than tokenLifetime", "for example {years: 1}")
	case o.MaxPerUser <= 0:
		return problem(sub, "maxTokensPerUser", "must be at least 1", "for example 20")
	}
	return nil
}

func (s *openIDSettings) readClients(c core.Config, log *slog.Logger) (err error) {
	const registrationKey = "auth.experimentalDynamicClientRegistration"
	reg := c.Sub(registrationKey)
	if s.registration, err = reg.BoolOr("enabled", false); err != nil {
		return err
	}
	if s.registration {
		log.Warn("clients may register themselves, which is deprecated: client id metadata documents tell who a client is",
			"position", c.Position(registrationKey).String())
	}
	if s.registered, err = patterns(reg, "allowedRedirectUriPatterns", append([]string{"cursor://*", "https://www.cursor.com/*"}, loopback...)); err != nil {
		return err
	}
	if s.keep.Max, err = reg.IntOr("maxClients", 5000); err != nil {
		return err
	}
	if s.keep.Unused, err = reg.DurationOr("unusedClientLifetime", 30*24*time.Hour); err != nil {
		return err
	}
	if s.keep.Max <= 0 {
		return problem(reg, "maxClients", "must be at least 1", "for example 5000")
	}
	if s.keep.Unused < 24*time.Hour {
		return problem(reg, "unusedClientLifetime", "must be at least a day", "for example {days: 30}")
	}
	key := "auth.clientIdMetadataDocuments"
	if !c.Has(key) {
		key = "auth.experimentalClientIdMetadataDocuments" // its former name
	}
	docs := c.Sub(key)
	if s.documents, err = docs.BoolOr("enabled", false); err != nil {
		return err
	}
	if s.documentIDs, err = patterns(docs, "allowedClientIdPatterns", []string{
		"https://claude.ai/*", "https://vscode.dev/*", "https://chatgpt.com/oauth/codex/*/client.json",
	}); err != nil {
		return err
	}
	s.documentAddrs, err = patterns(docs, "allowedRedirectUriPatterns", loopback)
	return err
}

func patterns(c core.Config, key string, fallback []string) (redirects.Patterns, error) {
	texts := fallback
	if c.Has(key) {
		var err error
		if texts, err = c.Strings(key); err != nil {
			return nil, err
		}
	}
	all, err := redirects.ParsePatterns(texts)
	if err != nil {
		return nil, &core.ConfigError{
			Key: c.Path(key), Position: c.Position(key), Problem: "is malformed", Err: err,
			Remedy: `write patterns like https://client.example.com/* or http://127.0.0.1:*/callback`,
		}
	}
	return all, nil
}
