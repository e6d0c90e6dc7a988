package tokens_test

import (
	"encoding/base64"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/auth"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/plugins/auth-backend/internal/keys"
	"github.com/flytower/flytower/plugins/auth-backend/internal/tokens"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 999e6, time.UTC)

func newIssuer(alg jose.SignatureAlgorithm) *tokens.Issuer {
	now := func() time.Time { return noon }
	return &tokens.Issuer{
		Keys: keys.NewRotating(keys.Memory(), alg, time.Hour, now), URL: "http://127.0.0.1:7107/api/auth", Lifetime: time.Hour, Now: now,
	}
}

func issue(t *testing.T, i *tokens.Issuer, c authnode.TokenClaims) string {
	t.Helper()
	token, err := i.Issue(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return token.Reveal()
}

// part returns a decoded part of a token.
func part(t *testing.T, token string, n int) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.Strict().DecodeString(strings.Split(token, ".")[n])
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// verify fails unless the signature of the token fits the one published key.
func verify(t *testing.T, i *tokens.Issuer, token string) {
	t.Helper()
	all, err := i.Keys.Public(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(all[0]); err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(key.Algorithm)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jws.Verify(key); err != nil {
		t.Errorf("token %s: %v", token, err)
	}
}

func kid(t *testing.T, i *tokens.Issuer) string {
	t.Helper()
	k, err := i.Keys.Signing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return k.ID
}

// Other backends put the limited token together byte by byte, so the notation
// of the parts is part of the wire format.
func TestTokensAreWrittenByteByByte(t *testing.T) {
	t.Parallel()
	const sub = "user:default/<jane>&\u2028co\"" // also what encoders like to escape
	extra := map[string]any{"zone": "a<b", "level": 3, "nested": map[string]any{"list": []string{"x"}}}
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.ES512, jose.RS256, jose.PS384, jose.EdDSA} {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			i := newIssuer(alg)
			i.WithOwnership = true
			token := issue(t, i, authnode.TokenClaims{Subject: sub, Ownership: []string{sub, "group:default/a"}, Extra: extra})
			verify(t, i, token)
			if got, want := part(t, token, 0), `{"typ":"vnd.backstage.user","alg":"`+string(alg)+`","kid":"`+kid(t, i)+`"}`; got != want {
				t.Errorf("header %s, want %s", got, want)
			}
			const jsonSub = `"user:default/<jane>&` + "\u2028" + `co\""`
			payload := part(t, token, 1)
			before, proof, _ := strings.Cut(payload, `,"uip":"`)
			proof, _ = strings.CutSuffix(proof, `"}`)
			want := `{"level":3,"nested":{"list":["x"]},"zone":"a<b","iss":"http://127.0.0.1:7107/api/auth","sub":` + jsonSub +
				`,"ent":[` + jsonSub + `,"group:default/a"],"aud":"backstage","iat":1893499200,"exp":1893502800`
			if before != want {
				t.Errorf("payload %s\nwant    %s", before, want)
			}
			encode := base64.RawURLEncoding.EncodeToString
			limited := encode([]byte(`{"typ":"vnd.backstage.limited-user","alg":"`+string(alg)+`","kid":"`+kid(t, i)+`"}`)) + "." +
				encode([]byte(`{"sub":`+jsonSub+`,"iat":1893499200,"exp":1893502800}`)) + "." + proof
			verify(t, i, limited)

			// The auth service of the plugins derives the same.
			shared, err := auth.New(configtest.FromYAML(t, "{}"), slog.New(slog.DiscardHandler), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = shared.Close(t.Context()) })
			derived, expires, err := shared.Plugin("catalog", nil, nil, slog.New(slog.DiscardHandler)).
				LimitedUserToken(t.Context(), core.UserCredentials(sub, "", core.NewToken(token), time.Time{}, false))
			if err != nil || derived.Reveal() != limited || expires.Unix() != 1893502800 {
				t.Errorf("derived %s until %s, error %v\nwant    %s", derived.Reveal(), expires, err, limited)
			}
		})
	}
}

func TestOwnershipIsLeftOut(t *testing.T) {
	t.Parallel()
	i := newIssuer(jose.ES256)
	payload := part(t, issue(t, i, authnode.TokenClaims{Subject: "user:default/jane", Ownership: []string{"group:default/a"}}), 1)
	if !strings.HasPrefix(payload, `{"iss":"http://127.0.0.1:7107/api/auth","sub":"user:default/jane","aud":"backstage","iat":`) {
		t.Errorf("payload %s", payload)
	}
	i.WithOwnership = true
	if payload := part(t, issue(t, i, authnode.TokenClaims{Subject: "user:default/jane"}), 1); !strings.Contains(payload, `"ent":[]`) {
		t.Errorf("payload %s", payload)
	}
}

func TestRefusedClaims(t *testing.T) {
	t.Parallel()
	big := make([]string, 2000)
	for n := range big {
		big[n] = "group:default/team-of-many"
	}
	for name, claims := range map[string]authnode.TokenClaims{
		"no subject":           {},
		"subject without kind": {Subject: "jane"},
		"malformed subject":    {Subject: "user:/jane"},
		"too large":            {Subject: "user:default/jane", Ownership: big},
		"not JSON":             {Subject: "user:default/jane", Extra: map[string]any{"f": func() {}}},
		"another issuer":       {Subject: "user:default/jane", Extra: map[string]any{"iss": "x"}},
		"another subject":      {Subject: "user:default/jane", Extra: map[string]any{"sub": "user:default/root"}},
		"another expiry":       {Subject: "user:default/jane", Extra: map[string]any{"exp": 4102444800}},
		"another proof":        {Subject: "user:default/jane", Extra: map[string]any{"uip": "x"}},
	} {
		i := newIssuer(jose.ES256)
		i.WithOwnership = true
		if token, err := i.Issue(t.Context(), claims); err == nil || !token.IsZero() {
			t.Errorf("%s: token %s, error %v", name, token.Reveal(), err)
		}
	}
}
