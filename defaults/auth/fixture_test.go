package auth_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/auth"
	"github.com/flytower/flytower/defaults/database/migrate"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/testdb"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// clock is a clock that tests move.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// places is a discovery service with fixed addresses.
type places struct {
	mu        sync.Mutex
	urls      map[string]string
	elsewhere []string
}

func (p *places) set(plugin, url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.urls == nil {
		p.urls = map[string]string{}
	}
	p.urls[plugin] = url
}

func (p *places) BaseURL(_ context.Context, plugin string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u, ok := p.urls[plugin]; ok {
		return u, nil
	}
	if u, ok := p.urls["*"]; ok {
		return u + "/" + plugin, nil
	}
	return "", errors.New("no address of " + plugin)
}

func (p *places) ExternalBaseURL(ctx context.Context, plugin string) (string, error) {
	return p.BaseURL(ctx, plugin)
}
func (p *places) Elsewhere() []string { return p.elsewhere }

// issuer signs tokens and publishes its keys, as a peer does.
type issuer struct {
	t       testing.TB
	kid     string
	private *ecdsa.PrivateKey
	url     string // of the server
	fetches atomic.Int32

	mu      sync.Mutex
	answer  func(http.ResponseWriter) // replaces the key set
	keys    []jose.JSONWebKey
	waiting chan struct{} // if set, requests wait for it
}

func newIssuer(t testing.TB) *issuer {
	i := &issuer{t: t, kid: "key-" + rand.Text()}
	i.private = mustKey(t)
	i.keys = []jose.JSONWebKey{{Key: &i.private.PublicKey, KeyID: i.kid, Algorithm: "ES256"}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		i.mu.Lock()
		answer, keys, waiting := i.answer, i.keys, i.waiting
		i.mu.Unlock()
		if waiting != nil {
			<-waiting
		}
		if answer != nil {
			answer(w)
			return
		}
		if !strings.HasSuffix(r.URL.Path, "jwks.json") {
			http.NotFound(w, r)
			return
		}
		apierr.WriteJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: keys})
	}))
	t.Cleanup(srv.Close)
	i.url = srv.URL
	return i
}

func mustKey(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

type claims map[string]any

func (c claims) with(name string, v any) claims {
	out := maps.Clone(c)
	if v == nil {
		delete(out, name)
	} else {
		out[name] = v
	}
	return out
}

// sign returns a token of the issuer.
func (i *issuer) sign(typ string, c any) string { return signWith(i.t, i.private, i.kid, typ, c) }

func signWith(t testing.TB, private crypto.PrivateKey, kid, typ string, c any) string {
	opts := &jose.SignerOptions{}
	if typ != "" {
		opts.WithType(jose.ContentType(typ))
	}
	if kid != "" {
		opts.WithHeader("kid", kid)
	}
	alg := jose.ES256
	if _, symmetric := private.([]byte); symmetric {
		alg = jose.HS256
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: private}, opts)
	if err != nil {
		t.Fatal(err)
	}
	payload, ok := c.([]byte)
	if !ok {
		if payload, err = json.Marshal(c); err != nil {
			t.Fatal(err)
		}
	}
	sig, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := sig.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// user returns a full user token with the proof that makes it limitable.
func (i *issuer) user(sub string, now time.Time) string {
	var payload bytes.Buffer
	enc := json.NewEncoder(&payload)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(struct {
		Sub string `json:"sub"`
		Iat int64  `json:"iat"`
		Exp int64  `json:"exp"`
	}{sub, now.Unix(), now.Add(time.Hour).Unix()})
	head := b64(`{"typ":"vnd.backstage.limited-user","alg":"ES256","kid":"` + i.kid + `"}`)
	// JavaScript does not escape this one, encoding/json always does.
	body := b64(strings.ReplaceAll(strings.TrimSpace(payload.String()), `\u2028`, "\u2028"))
	hash := crypto.SHA256.New()
	hash.Write([]byte(head + "." + body))
	r, s, err := ecdsa.Sign(rand.Reader, i.private, hash.Sum(nil))
	if err != nil {
		i.t.Fatal(err)
	}
	proof := make([]byte, 64)
	r.FillBytes(proof[:32])
	s.FillBytes(proof[32:])
	return i.sign("vnd.backstage.user", claims{
		"sub": sub, "aud": "backstage", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "uip": b64(string(proof)),
	})
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// process is a running backend, as far as authentication goes.
type process struct {
	*auth.Shared
	places *places
	clock  *clock
	users  *issuer
	log    *bytes.Buffer
}

// start starts a process whose users come from an auth plugin elsewhere.
func start(t testing.TB, config string, opts ...func(*process)) *process {
	p := &process{places: &places{}, clock: newClock(), log: &bytes.Buffer{}}
	for _, o := range opts {
		o(p)
	}
	if p.users == nil {
		p.users = newIssuer(t)
	}
	p.places.set("auth", p.users.url+"/api/auth")
	shared, err := auth.New(configtest.FromYAML(t, config), slog.New(slog.NewTextHandler(p.log, nil)), nil, nil, auth.WithClock(p.clock.now))
	if err != nil {
		t.Fatal(err)
	}
	p.use(t, shared)
	return p
}

func (p *process) use(t testing.TB, shared *auth.Shared) {
	p.Shared = shared
	t.Cleanup(func() {
		if err := shared.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// plugin returns the auth service of a plugin without a database.
func (p *process) plugin(id string) core.AuthService { return p.pluginWith(id, nil) }

func (p *process) pluginWith(id string, db core.DatabaseService) core.AuthService {
	return p.Plugin(id, p.places, db, slog.New(slog.DiscardHandler))
}

// serve publishes the keys of a plugin, as the plugin's router does.
func serve(t testing.TB, p *places, id string, service core.AuthService) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys, err := service.PublicKeys(r.Context())
		if err != nil || r.URL.Path != "/api/"+id+"/.backstage/auth/v1/jwks.json" {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		apierr.WriteJSON(w, http.StatusOK, map[string]any{"keys": keys})
	}))
	t.Cleanup(srv.Close)
	p.set(id, srv.URL+"/api/"+id)
}

// database is a plugin's database that counts how often it is opened.
type database struct {
	db    *testdb.Database
	opens atomic.Int32
	fail  atomic.Bool
}

func (d *database) DB(context.Context) (*sql.DB, error) {
	d.opens.Add(1)
	if d.fail.Load() {
		return nil, errors.New("the database is down")
	}
	return d.db.DB, nil
}
func (d *database) Dialect() core.Dialect { return d.db.Dialect }
func (d *database) Migrate(ctx context.Context, m core.Migrations) error {
	d.opens.Add(1)
	if d.fail.Load() {
		return errors.New("the database is down")
	}
	return migrate.Up(ctx, d.db.DB, d.db.Dialect, m, migrate.Options{})
}

func (d *database) WriteTx(ctx context.Context, fn func(*sql.Tx) error) error {
	d.opens.Add(1)
	tx, err := d.db.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// kids returns the ids of the published keys.
func kids(t testing.TB, service core.AuthService) []string {
	t.Helper()
	keys, err := service.PublicKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if keys == nil {
		t.Error("the list of keys is nil, and would not be an array in JSON")
	}
	var ids []string
	for _, raw := range keys {
		var k struct{ Kid, Alg, Kty, Crv, X, Y, D string }
		if err := json.Unmarshal(raw, &k); err != nil {
			t.Fatal(err)
		}
		if k.Kid == "" || k.D != "" || k.Alg == "ES256" && (k.Kty != "EC" || k.Crv != "P-256" || len(k.X) != 43 || len(k.Y) != 43) {
			t.Errorf("published key %s", raw)
		}
		ids = append(ids, k.Kid)
	}
	slices.Sort(ids)
	return ids
}

func kidOf(t testing.TB, token core.Token) string {
	t.Helper()
	head, _, _ := strings.Cut(token.Reveal(), ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Kid string }
	if err := json.Unmarshal(raw, &h); err != nil {
		t.Fatal(err)
	}
	return h.Kid
}

func payloadOf(t testing.TB, token string) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}
