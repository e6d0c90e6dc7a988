package auth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// ok reports whether the token is good at the catalog.
func (p *process) ok(t testing.TB, token string) bool {
	t.Helper()
	_, err := p.plugin("catalog").Authenticate(t.Context(), token, false)
	return err == nil
}

func TestKeySetsAreKept(t *testing.T) {
	t.Parallel()
	p := start(t, "")
	now := p.clock.now()
	user := func(kid string) string {
		return signWith(t, p.users.private, kid, "vnd.backstage.user", claims{"sub": "user:default/jane", "iat": now.Unix(), "exp": now.Unix() + 36000})
	}
	steps := []struct {
		what    string
		advance time.Duration
		token   string
		ok      bool
		fetches int32 // in total
	}{
		{"first contact", 0, user(p.users.kid), true, 1},
		{"kept", 9 * time.Minute, user(p.users.kid), true, 1},
		{"too old", time.Minute, user(p.users.kid), true, 2},
		{"unknown key soon after", time.Second, user("new"), false, 3},
		{"unknown key after the cooldown", 30 * time.Second, user("new"), false, 4},
	}
	for _, s := range steps {
		p.clock.advance(s.advance)
		if got := p.ok(t, s.token); got != s.ok {
			t.Errorf("%s: good is %t", s.what, got)
		}
		if got := p.users.fetches.Load(); got != s.fetches {
			t.Errorf("%s: %d fetches, want %d", s.what, got, s.fetches)
		}
	}
	// A new key is found although the set is young.
	p.users.mu.Lock()
	p.users.keys = append(p.users.keys, jose.JSONWebKey{Key: &p.users.private.PublicKey, KeyID: "new", Algorithm: "ES256"})
	p.users.mu.Unlock()
	if !p.ok(t, user("new")) {
		t.Error("a key that was added is not found")
	}
}

func TestUnknownKeysCostFewFetches(t *testing.T) {
	t.Parallel()
	p := start(t, "")
	now := p.clock.now()
	good := p.users.user("user:default/jane", now)
	if !p.ok(t, good) {
		t.Fatal("the good token is not good")
	}
	storm := func(n int) int32 {
		before := p.users.fetches.Load()
		for i := range n {
			if p.ok(t, signWith(t, p.users.private, fmt.Sprintf("invented-%d", i), "vnd.backstage.user", claims{"sub": "user:default/x", "iat": now.Unix(), "exp": now.Unix() + 3000})) {
				t.Fatal("a token with an unknown key is good")
			}
		}
		return p.users.fetches.Load() - before
	}
	if n := storm(300); n != 10 {
		t.Errorf("300 tokens with unknown keys cost %d fetches, want 10", n)
	}
	p.clock.advance(12 * time.Second)
	if n := storm(300); n != 2 {
		t.Errorf("12 seconds later they cost %d fetches, want 2", n)
	}
	if !p.ok(t, good) {
		t.Error("the good token suffers")
	}
}

func TestInventedSendersCostFewFetches(t *testing.T) {
	t.Parallel()
	p := start(t, "")
	now := p.clock.now()
	peer, nobody := newIssuer(t), newIssuer(t)
	nobody.mu.Lock()
	nobody.answer = func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }
	nobody.mu.Unlock()
	p.places.set("*", nobody.url)
	p.places.set("search", peer.url)
	from := func(sub string) string {
		return peer.sign("vnd.backstage.plugin", claims{"sub": sub, "aud": "catalog", "iat": now.Unix(), "exp": now.Unix() + 3000})
	}
	if !p.ok(t, from("search")) {
		t.Fatal("the good token is not good")
	}
	for i := range 500 {
		if p.ok(t, from(fmt.Sprintf("invented-%d", i))) {
			t.Fatal("a token of an unknown plugin is good")
		}
	}
	if n := nobody.fetches.Load(); n > 100 {
		t.Errorf("500 invented senders cost %d fetches", n)
	}
	if before := peer.fetches.Load(); !p.ok(t, from("search")) || peer.fetches.Load() != before {
		t.Error("the keys in use were pushed out")
	}
	// A sender that cannot be reached is not asked for every token.
	before := nobody.fetches.Load()
	p.clock.advance(time.Minute)
	for range 10 {
		p.ok(t, from("invented-1"))
	}
	if n := nobody.fetches.Load() - before; n != 1 {
		t.Errorf("10 tokens of one unreachable sender cost %d fetches", n)
	}
	p.clock.advance(2 * time.Second)
	if p.ok(t, from("invented-1")); nobody.fetches.Load()-before != 2 {
		t.Error("the sender is never asked again")
	}
}

func TestConcurrentTokensShareOneFetch(t *testing.T) {
	t.Parallel()
	p := start(t, "")
	p.users.waiting = make(chan struct{})
	token := p.users.user("user:default/jane", p.clock.now())
	catalog := p.plugin("catalog")
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := catalog.Authenticate(t.Context(), token, false); err != nil {
				t.Error(err)
			}
		})
	}
	close(p.users.waiting)
	all.Wait()
	if n := p.users.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestBadKeySets(t *testing.T) {
	t.Parallel()
	public := func(i *issuer, change func(map[string]any)) string {
		raw, err := jose.JSONWebKey{Key: &i.private.PublicKey, KeyID: i.kid, Algorithm: "ES256"}.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		raw, _ = json.Marshal(m)
		return string(raw)
	}
	same := func(map[string]any) {}
	for name, c := range map[string]struct {
		body   func(i *issuer) string
		status int
		ok     bool
	}{
		"good":                {body: func(i *issuer) string { return `{"keys":[` + public(i, same) + `]}` }, ok: true},
		"good among bad ones": {body: func(i *issuer) string { return `{"keys":[1,null,{},{"kty":"XX"},` + public(i, same) + `]}` }, ok: true},
		"no alg": {body: func(i *issuer) string {
			return `{"keys":[` + public(i, func(m map[string]any) { delete(m, "alg") }) + `]}`
		}, ok: true},
		"use sig, key_ops verify": {body: func(i *issuer) string {
			return `{"keys":[` + public(i, func(m map[string]any) { m["use"], m["key_ops"] = "sig", []string{"verify"} }) + `]}`
		}, ok: true},
		"use enc": {body: func(i *issuer) string {
			return `{"keys":[` + public(i, func(m map[string]any) { m["use"] = "enc" }) + `]}`
		}},
		"key_ops sign": {body: func(i *issuer) string {
			return `{"keys":[` + public(i, func(m map[string]any) { m["key_ops"] = []string{"sign"} }) + `]}`
		}},
		"other alg": {body: func(i *issuer) string {
			return `{"keys":[` + public(i, func(m map[string]any) { m["alg"] = "ES384" }) + `]}`
		}},
		"same id twice": {body: func(i *issuer) string { return `{"keys":[` + public(i, same) + `,` + public(i, same) + `]}` }},
		"point not on the curve": {body: func(i *issuer) string {
			return `{"keys":[` + public(i, func(m map[string]any) { m["y"] = m["x"] }) + `]}`
		}},
		"symmetric key":              {body: func(i *issuer) string { return `{"keys":[{"kty":"oct","kid":"` + i.kid + `","k":"c2VjcmV0"}]}` }},
		"empty":                      {body: func(*issuer) string { return `{"keys":[]}` }},
		"no keys":                    {body: func(*issuer) string { return `{}` }},
		"keys in capitals":           {body: func(i *issuer) string { return `{"KEYS":[` + public(i, same) + `]}` }},
		"not JSON":                   {body: func(*issuer) string { return `<html>` }},
		"status 500 with a good set": {body: func(i *issuer) string { return `{"keys":[` + public(i, same) + `]}` }, status: 500},
		"redirect":                   {body: func(*issuer) string { return "" }, status: 302},
		"too large": {body: func(i *issuer) string {
			return `{"x":"` + strings.Repeat("x", 300_000) + `","keys":[` + public(i, same) + `]}`
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, "")
			body := c.body(p.users)
			p.users.answer = func(w http.ResponseWriter) {
				w.Header().Set("Location", "/good/jwks.json")
				w.WriteHeader(max(c.status, 200))
				fmt.Fprint(w, body)
			}
			if got := p.ok(t, p.users.user("user:default/jane", p.clock.now())); got != c.ok {
				t.Errorf("good is %t; log: %s", got, p.log)
			}
		})
	}
}

// What was verified once is not good for ever.
func TestWithdrawnKey(t *testing.T) {
	t.Parallel()
	p := start(t, "")
	token := p.users.sign("vnd.backstage.user", claims{"sub": "user:default/jane", "iat": 1, "exp": p.clock.now().Unix() + 36000})
	if !p.ok(t, token) || !p.ok(t, token) {
		t.Fatal("the token is not good")
	}
	// Another key takes over the id: the set has changed, the token has not.
	p.users.mu.Lock()
	p.users.keys[0].Key = &mustKey(t).PublicKey
	p.users.mu.Unlock()
	p.clock.advance(10 * time.Minute)
	if p.ok(t, token) {
		t.Error("the token is good although its key was replaced")
	}
	p.users.mu.Lock()
	p.users.keys = nil
	p.users.mu.Unlock()
	p.clock.advance(10 * time.Minute)
	if p.ok(t, token) {
		t.Error("the token is good although its key was withdrawn")
	}
}
