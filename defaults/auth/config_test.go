package auth_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/auth"
	"github.com/flytower/flytower/internal/configtest"
)

func newShared(t testing.TB, config core.ConfigRoot, added ...core.ExternalTokenHandler) (*auth.Shared, error) {
	s, err := auth.New(config, slog.New(slog.DiscardHandler), nil, added)
	if err == nil {
		t.Cleanup(func() { _ = s.Close(context.Background()) })
	}
	return s, err
}

func TestMistakesInTheConfiguration(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	one := pemKey(t, "one", true)
	access := func(entry string) string {
		return "backend:\n  auth:\n    externalAccess:\n      - " + entry
	}
	files := func(keys string) string {
		return "backend:\n  auth:\n    pluginKeyStore:\n      type: static\n      static: {keys: [" + keys + "]}"
	}
	for name, c := range map[string]struct {
		config string
		key    string
		line   int
	}{
		"no type":                 {access("options: {}"), "backend.auth.externalAccess[0].type", 4},
		"unknown type":            {access("{type: oauth, options: {}}"), "backend.auth.externalAccess[0].type", 4},
		"static without token":    {access("{type: static, options: {subject: x}}"), "backend.auth.externalAccess[0].options.token", 4},
		"static, short token":     {access("{type: static, options: {token: 1234567, subject: x}}"), "backend.auth.externalAccess[0].options.token", 4},
		"static, short text":      {access("{type: static, options: {token: seven77, subject: x}}"), "backend.auth.externalAccess[0].options.token", 4},
		"static, token of words":  {access("{type: static, options: {token: 'a long token', subject: x}}"), "backend.auth.externalAccess[0].options.token", 4},
		"static, subject":         {access("{type: static, options: {token: abcdefgh, subject: 'a b'}}"), "backend.auth.externalAccess[0].options.subject", 4},
		"legacy, not base64":      {access("{type: legacy, options: {secret: '!!', subject: x}}"), "backend.auth.externalAccess[0].options.secret", 4},
		"legacy without subject":  {access("{type: legacy, options: {secret: YWJj}}"), "backend.auth.externalAccess[0].options.subject", 4},
		"jwks without url":        {access("{type: jwks, options: {}}"), "backend.auth.externalAccess[0].options.url", 4},
		"jwks, bad url":           {access("{type: jwks, options: {url: 'file:///etc/passwd'}}"), "backend.auth.externalAccess[0].options.url", 4},
		"jwks, symmetric":         {access("{type: jwks, options: {url: 'http://x/y', algorithm: HS256}}"), "backend.auth.externalAccess[0].options.algorithm", 4},
		"restriction of nothing":  {access("{type: static, options: {token: abcdefgh, subject: x}, accessRestrictions: []}"), "backend.auth.externalAccess[0].accessRestrictions", 4},
		"restriction, no plugin":  {access("{type: static, options: {token: abcdefgh, subject: x}, accessRestrictions: [{}]}"), "backend.auth.externalAccess[0].accessRestrictions[0].plugin", 4},
		"restriction, twice":      {access("{type: static, options: {token: abcdefgh, subject: x}, accessRestrictions: [{plugin: a}, {plugin: a}]}"), "backend.auth.externalAccess[0].accessRestrictions[1].plugin", 4},
		"restriction, typo":       {access("{type: static, options: {token: abcdefgh, subject: x}, accessRestrictions: [{plugin: a, permissions: b}]}"), "backend.auth.externalAccess[0].accessRestrictions[0].permissions", 4},
		"restriction, action":     {access("{type: static, options: {token: abcdefgh, subject: x}, accessRestrictions: [{plugin: a, permissionAttribute: {action: look}}]}"), "backend.auth.externalAccess[0].accessRestrictions[0].permissionAttribute.action", 4},
		"restriction, attribute":  {access("{type: static, options: {token: abcdefgh, subject: x}, accessRestrictions: [{plugin: a, permissionAttribute: {color: red}}]}"), "backend.auth.externalAccess[0].accessRestrictions[0].permissionAttribute.color", 4},
		"restriction, word":       {access("{type: static, options: {token: abcdefgh, subject: x}, accessRestrictions: [{plugin: a, permissionAttribute: read}]}"), "backend.auth.externalAccess[0].accessRestrictions[0].permissionAttribute", 4},
		"restriction, empty":      {access("{type: static, options: {token: abcdefgh, subject: x}, accessRestrictions: [{plugin: a, permission: ' '}]}"), "backend.auth.externalAccess[0].accessRestrictions[0].permission", 4},
		"old key without secret":  {"backend:\n  auth:\n    keys:\n      - {}", "backend.auth.keys[0].secret", 4},
		"policy":                  {"backend:\n  auth:\n    dangerouslyDisableDefaultAuthPolicy: maybe", "backend.auth.dangerouslyDisableDefaultAuthPolicy", 3},
		"key store":               {"backend:\n  auth:\n    pluginKeyStore:\n      type: firestore", "backend.auth.pluginKeyStore.type", 4},
		"no files":                {files(""), "backend.auth.pluginKeyStore.static.keys", 5},
		"missing file":            {files("{keyId: a, publicKeyFile: /nonexistent, privateKeyFile: /nonexistent}"), "backend.auth.pluginKeyStore.static.keys[0].publicKeyFile", 5},
		"broken file":             {files("{keyId: a, publicKeyFile: " + broken + "}"), "backend.auth.pluginKeyStore.static.keys[0].publicKeyFile", 5},
		"public key alone":        {files(pemKey(t, "one", false)), "backend.auth.pluginKeyStore.static.keys[0].privateKeyFile", 5},
		"keys of different pairs": {files(mix(one, pemKey(t, "two", true))), "backend.auth.pluginKeyStore.static.keys[0].privateKeyFile", 5},
		"same id":                 {files(one + ", " + pemKey(t, "one", false)), "backend.auth.pluginKeyStore.static.keys[1].keyId", 5},
		"key of another kind":     {files(strings.TrimSuffix(one, "}") + ", algorithm: RS256}"), "backend.auth.pluginKeyStore.static.keys[0].publicKeyFile", 5},
		"no such algorithm":       {files(strings.TrimSuffix(one, "}") + ", algorithm: HS256}"), "backend.auth.pluginKeyStore.static.keys[0].algorithm", 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newShared(t, configtest.FromYAML(t, c.config))
			var at *core.ConfigError
			if !errors.As(err, &at) {
				t.Fatalf("got %v", err)
			}
			if at.Key != c.key || at.Position.Source != "app-config.yaml" || at.Position.Line != c.line {
				t.Errorf("got %v (key %s, position %s)\nwant key %s, line %d", err, at.Key, at.Position, c.key, c.line)
			}
			for _, secret := range []string{"a long token", "seven77", "!!"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells the secret: %v", err)
				}
			}
		})
	}
}

// mix returns the entry with the private key of the other.
func mix(one, two string) string {
	return one[:strings.Index(one, "privateKeyFile")] + two[strings.Index(two, "privateKeyFile"):]
}

func TestExternalAccessFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	entry := func(token string) string {
		return "backend: {auth: {externalAccess: [{type: static, options: {token: " + token + ", subject: ci}}]}}"
	}
	config, update := configtest.Live(t, entry("first-token"))
	shared, err := newShared(t, config)
	if err != nil {
		t.Fatal(err)
	}
	catalog := shared.Plugin("catalog", &places{}, nil, slog.New(slog.DiscardHandler))
	good := func() (tokens []string) {
		for _, token := range []string{"first-token", "second-token"} {
			if _, err := catalog.Authenticate(t.Context(), token, false); err == nil {
				tokens = append(tokens, token)
			}
		}
		return tokens
	}
	for _, s := range []struct{ config, good string }{
		{entry("first-token"), "first-token"},
		{entry("second-token"), "second-token"},
		{entry("short"), "second-token"}, // broken: the old stays
		{"{}", ""},
	} {
		update(s.config)
		if got := strings.Join(good(), ","); got != s.good {
			t.Errorf("after %s: %q is good, want %q", s.config, got, s.good)
		}
	}
}

func TestOldKeys(t *testing.T) {
	t.Parallel()
	p := start(t, "backend: {auth: {keys: [{secret: c29tZS1zZWNyZXQ=}]}}")
	c, err := p.plugin("catalog").Authenticate(t.Context(), legacy("some-secret", claims{"sub": "backstage-server"}), false)
	if err != nil || c.Principal.Subject != "external:backstage-plugin" {
		t.Errorf("got %+v, %v", c.Principal, err)
	}
	if !strings.Contains(p.log.String(), "backend.auth.externalAccess") {
		t.Errorf("no warning: %s", p.log)
	}
}

func TestExternalKeySets(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	p := start(t, `
backend:
  auth:
    externalAccess:
      - type: jwks
        options: {url: `+i.url+`/jwks.json, algorithm: "ES256, RS256", issuer: [a, b], audience: one two, subjectPrefix: idp}
      - type: jwks
        options: {url: `+i.url+`/jwks.json, issuer: c}
`)
	catalog := p.plugin("catalog")
	now := p.clock.now()
	base := claims{"sub": "robot", "iss": "b", "aud": []string{"two"}, "exp": now.Unix() + 60}
	for name, c := range map[string]struct {
		token, subject string
	}{
		"first":          {i.sign("", base), "external:idp:robot"},
		"second":         {i.sign("JWT", claims{"sub": "robot", "iss": "c"}), "external:robot"},
		"wrong issuer":   {i.sign("", base.with("iss", "d")), ""},
		"wrong audience": {i.sign("", base.with("aud", "three")), ""},
		"expired":        {i.sign("", base.with("exp", now.Unix())), ""},
		"no subject":     {i.sign("", base.with("sub", nil)), ""},
		"other key":      {signWith(t, mustKey(t), i.kid, "", base), ""},
		"symmetric":      {hs256("secret", `{"alg":"HS256"}`, base), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := catalog.Authenticate(t.Context(), c.token, false)
			if got.Principal.Subject != c.subject || (err == nil) != (c.subject != "") {
				t.Errorf("got %q, %v", got.Principal.Subject, err)
			}
			if err != nil && apierr.KindOf(err) != apierr.KindAuthentication {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAddedKindsOfTokens(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	initialize := func(options core.Config) (core.ExternalTokenVerifier, error) {
		word, err := options.String("word")
		return func(_ context.Context, token string) (string, bool, error) {
			if token == "explode" {
				return "", false, boom
			}
			return "magic", token == word, nil
		}, err
	}
	config := configtest.FromYAML(t, "backend: {auth: {externalAccess: [{type: magic, options: {word: sesame}, accessRestrictions: [{plugin: cave}]}]}}")
	shared, err := newShared(t, config, core.ExternalTokenHandler{Type: "magic", Initialize: initialize})
	if err != nil {
		t.Fatal(err)
	}
	cave := shared.Plugin("cave", &places{}, nil, slog.New(slog.DiscardHandler))
	if c, err := cave.Authenticate(t.Context(), "sesame", false); err != nil || c.Principal.Subject != "magic" || c.Principal.Restrictions == nil {
		t.Errorf("got %+v, %v", c.Principal, err)
	}
	for _, token := range []string{"explode", "barley"} {
		if _, err := cave.Authenticate(t.Context(), token, false); apierr.KindOf(err) != apierr.KindAuthentication || strings.Contains(err.Error(), "boom") {
			t.Errorf("%s: got %v", token, err)
		}
	}
	house := shared.Plugin("house", &places{}, nil, slog.New(slog.DiscardHandler))
	if _, err := house.Authenticate(t.Context(), "sesame", false); apierr.KindOf(err) != apierr.KindNotAllowed {
		t.Errorf("elsewhere: %v", err)
	}

	magic := core.ExternalTokenHandler{Type: "magic", Initialize: initialize}
	for name, added := range map[string][]core.ExternalTokenHandler{
		"twice":         {magic, magic},
		"built in":      {magic, {Type: "static", Initialize: initialize}},
		"nameless":      {magic, {Initialize: initialize}},
		"no verifier":   {{Type: "magic", Initialize: func(core.Config) (core.ExternalTokenVerifier, error) { return nil, nil }}},
		"uninitialized": {{Type: "magic"}},
	} {
		if _, err := newShared(t, config, added...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzAuthenticate(f *testing.F) {
	p := start(f, externalConfig)
	catalog := p.plugin("catalog")
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	good := p.users.user("user:default/jane", now)
	f.Add(good)
	f.Add(vectorPlugin)
	f.Add("static-token-")
	f.Add(hs256("x", `{"alg":"HS256"}`, claims{"sub": "backstage-server"}))
	f.Add(b64(`{"typ":"vnd.backstage.user","alg":"none"}`) + "." + b64(`{"sub":"x","iat":1,"exp":9e15}`) + ".")
	f.Fuzz(func(t *testing.T, token string) {
		switch token {
		case good, "static-token-1", "restricted-token-1":
			return
		}
		if c, err := catalog.Authenticate(t.Context(), token, true); err == nil {
			t.Errorf("authenticated as %+v", c.Principal)
		}
		user := core.UserCredentials("user:default/x", "", core.NewToken(token), time.Time{}, false)
		if limited, _, err := catalog.LimitedUserToken(t.Context(), user); err == nil && strings.Count(limited.Reveal(), ".") != 2 {
			t.Errorf("limited token %q", limited.Reveal())
		}
	})
}

func FuzzExternalAccess(f *testing.F) {
	f.Add("static", "token-12345", "ci", "a, b", "read")
	f.Add("legacy", "YWJj", "x y", "", "look")
	f.Add("jwks", "http://[::1", "\x00", ",", "\u00a0")
	f.Fuzz(func(t *testing.T, kind, secret, subject, permission, action string) {
		quoted := func(s string) string { return "'" + strings.ReplaceAll(clean(s), "'", "''") + "'" }
		config := configtest.FromYAML(t, "backend: {auth: {externalAccess: [{type: "+quoted(kind)+", options: {token: "+quoted(secret)+", secret: "+quoted(secret)+", url: "+quoted(secret)+
			", subject: "+quoted(subject)+", algorithm: "+quoted(action)+"}, accessRestrictions: [{plugin: "+quoted(subject)+", permission: "+quoted(permission)+", permissionAttribute: {action: "+quoted(action)+"}}]}]}}")
		_, err := newShared(t, config)
		if err != nil && len(clean(secret)) > 12 && strings.Contains(err.Error(), clean(secret)) {
			t.Errorf("the error tells the secret: %v", err)
		}
	})
}

// clean leaves what a quoted YAML scalar on one line can have.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffd || r > 0xffff {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
