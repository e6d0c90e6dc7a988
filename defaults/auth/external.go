package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/signingkey"
)

// external is an entry of backend.auth.externalAccess.
type external struct {
	kind         string
	verify       core.ExternalTokenVerifier
	restrictions *restrictions // nil is none
}

// externals verify tokens from outside.
type externals struct {
	now    func() time.Time
	sets   *keySets
	known  *signatures
	client *http.Client
	added  map[string]core.ExternalTokenHandler
	log    *slog.Logger
}

// builtin are the types of external access that cannot be added.
var builtin = []string{"static", "legacy", "jwks"}

func addedHandlers(handlers []core.ExternalTokenHandler) (map[string]core.ExternalTokenHandler, error) {
	added := map[string]core.ExternalTokenHandler{}
	for _, h := range handlers {
		_, twice := added[h.Type]
		switch {
		case h.Type == "" || h.Initialize == nil:
			return nil, errors.New("an external token handler needs a type and a function that initializes it")
		case slices.Contains(builtin, h.Type):
			return nil, fmt.Errorf("the external token handler %q has the name of a built-in one; choose another type", h.Type)
		case twice:
			return nil, fmt.Errorf("there are two external token handlers of type %q; remove one", h.Type)
		}
		added[h.Type] = h
	}
	return added, nil
}

// read builds the entries that the configuration lists.
func (x *externals) read(cfg core.Config) ([]external, error) {
	entries, err := cfg.List("backend.auth.externalAccess")
	if err != nil {
		return nil, err
	}
	var list []external
	for _, entry := range entries {
		kind, err := entry.String("type")
		if err != nil {
			return nil, err
		}
		e := external{kind: kind}
		options := entry.Sub("options")
		switch kind {
		case "static":
			e.verify, err = staticTokens(options)
		case "legacy":
			e.verify, err = x.legacyTokens(options)
		case "jwks":
			e.verify, err = x.jwksTokens(options)
		default:
			h, ok := x.added[kind]
			if !ok {
				known := slices.Concat(builtin, slices.Sorted(maps.Keys(x.added)))
				return nil, configError(entry, "type", fmt.Sprintf("is %q, which is no known kind of external access", kind), "use one of "+strings.Join(known, ", "))
			}
			if e.verify, err = h.Initialize(options); err == nil && e.verify == nil {
				err = fmt.Errorf("the external token handler %q returned no verifier", kind)
			}
		}
		if err != nil {
			return nil, err
		}
		if e.restrictions, err = readRestrictions(entry); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	old, err := cfg.List("backend.auth.keys")
	if err != nil {
		return nil, err
	}
	for _, entry := range old {
		secret, err := readSecret(entry)
		if err != nil {
			return nil, err
		}
		list = append(list, external{kind: "legacy", verify: x.legacyVerifier(secret, "external:backstage-plugin")})
	}
	if len(old) > 0 {
		x.log.Warn("backend.auth.keys is deprecated; use backend.auth.externalAccess with type legacy", "position", cfg.Position("backend.auth.keys").String())
	}
	return list, nil
}

// word reads a string without white space.
func word(cfg core.Config, key string) (string, error) {
	s, err := cfg.String(key)
	if err == nil && strings.ContainsFunc(s, unicode.IsSpace) {
		err = configError(cfg, key, "must not contain spaces", "")
	}
	return s, err
}

// minStaticToken is the length that a static token must have.
const minStaticToken = 8

func staticTokens(cfg core.Config) (core.ExternalTokenVerifier, error) {
	token, err := word(cfg, "token")
	if err != nil {
		return nil, err
	}
	if len(token) < minStaticToken {
		return nil, configError(cfg, "token", fmt.Sprintf("must have at least %d characters", minStaticToken), `make one with: node -p 'require("crypto").randomBytes(24).toString("base64")'`)
	}
	subject, err := word(cfg, "subject")
	if err != nil {
		return nil, err
	}
	// Equal lengths, so that the time tells nothing about that of the token.
	want := sha256.Sum256([]byte(token))
	return func(_ context.Context, token string) (string, bool, error) {
		got := sha256.Sum256([]byte(token))
		return subject, subtle.ConstantTimeCompare(want[:], got[:]) == 1, nil
	}, nil
}

func (x *externals) legacyTokens(cfg core.Config) (core.ExternalTokenVerifier, error) {
	secret, err := readSecret(cfg)
	if err != nil {
		return nil, err
	}
	subject, err := word(cfg, "subject")
	if err != nil {
		return nil, err
	}
	return x.legacyVerifier(secret, subject), nil
}

func readSecret(cfg core.Config) ([]byte, error) {
	text, err := word(cfg, "secret")
	if err != nil {
		return nil, err
	}
	text = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(text), "=")
	secret, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(secret) == 0 {
		return nil, configError(cfg, "secret", "is not base64", "")
	}
	return secret, nil
}

// legacyVerifier accepts what old backends sent to each other. The signature
// is checked by hand, since the library refuses secrets of less than 32 bytes
// and theirs had 24.
func (x *externals) legacyVerifier(secret []byte, subject string) core.ExternalTokenVerifier {
	return func(_ context.Context, token string) (string, bool, error) {
		t, err := parse(token)
		if err != nil || t.alg != string(jose.HS256) {
			return "", false, nil
		}
		if _, has := t.claims["aud"]; has || t.claims["sub"] != "backstage-server" {
			return "", false, nil
		}
		signed, text := token[:strings.LastIndexByte(token, '.')], token[strings.LastIndexByte(token, '.')+1:]
		signature, err := base64.RawURLEncoding.Strict().DecodeString(text)
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(signed))
		if err != nil || !hmac.Equal(signature, mac.Sum(nil)) {
			return "", false, nil
		}
		if err := t.check(expectation{}, x.now()); err != nil {
			return "", false, apierr.Authentication("Illegal token: %s", err)
		}
		return subject, true, nil
	}
}

func (x *externals) jwksTokens(cfg core.Config) (core.ExternalTokenVerifier, error) {
	address, err := word(cfg, "url")
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, configError(cfg, "url", "is not the address of a JSON Web Key Set", "use an http or https URL")
	}
	want := expectation{algorithms: asymmetric, required: []string{"sub"}}
	names, err := stringList(cfg, "algorithm")
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		want.algorithms = nil
	}
	for _, name := range names {
		alg, ok := signingkey.Algorithm(name)
		if !ok {
			return nil, configError(cfg, "algorithm", fmt.Sprintf("is %q, which is no known algorithm with a public key", name), "use for example RS256 or ES256")
		}
		want.algorithms = append(want.algorithms, alg)
	}
	if want.issuer, err = stringList(cfg, "issuer"); err != nil {
		return nil, err
	}
	if want.audience, err = stringList(cfg, "audience"); err != nil {
		return nil, err
	}
	prefix := "external:"
	if cfg.Has("subjectPrefix") {
		p, err := word(cfg, "subjectPrefix")
		if err != nil {
			return nil, err
		}
		prefix += p + ":"
	}
	find := x.sets.finder("external "+address, fetchHTTP(x.client, address))
	return func(ctx context.Context, token string) (string, bool, error) {
		t, err := x.known.parse(token)
		if err != nil || !slices.Contains(want.algorithms, jose.SignatureAlgorithm(t.alg)) {
			return "", false, nil
		}
		if err := t.verify(ctx, find, x.known, want, x.now()); err != nil {
			x.log.DebugContext(ctx, "token does not belong to this external access", "url", address, "reason", err.Error())
			return "", false, nil
		}
		sub, ok := t.str("sub")
		return prefix + sub, ok, nil
	}, nil
}
