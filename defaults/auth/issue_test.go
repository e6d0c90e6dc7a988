package auth_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/testdb"
)

func TestIssue(t *testing.T) {
	t.Parallel()
	p := start(t, externalConfig)
	catalog, search := p.plugin("catalog"), p.plugin("search")
	now := p.clock.now()
	user, err := catalog.Authenticate(t.Context(), p.users.user("user:default/<jane>&\u2028\u00e9", now), false)
	if err != nil {
		t.Fatal(err)
	}
	short, err := catalog.Authenticate(t.Context(), p.users.sign("vnd.backstage.user", claims{"sub": "user:default/joe", "iat": 1, "exp": now.Unix() + 10, "uip": "xx"}), false)
	if err != nil {
		t.Fatal(err)
	}
	unlimitable, err := catalog.Authenticate(t.Context(), p.users.sign("vnd.backstage.user", claims{"sub": "user:default/joe", "iat": 1, "exp": now.Unix() + 10}), false)
	if err != nil {
		t.Fatal(err)
	}
	restricted, err := catalog.Authenticate(t.Context(), "restricted-token-1", false)
	if err != nil {
		t.Fatal(err)
	}
	static, err := catalog.Authenticate(t.Context(), "static-token-1", false)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		who    core.Credentials
		target string
		want   claims
		fails  apierr.Kind
	}{
		"itself":                     {who: catalog.Own(), target: "search", want: claims{"sub": "catalog", "aud": "search", "iat": float64(now.Unix()), "exp": float64(now.Unix() + 3600)}},
		"external system":            {who: static, target: "search", want: claims{"sub": "catalog", "aud": "search", "iat": float64(now.Unix()), "exp": float64(now.Unix() + 3600)}},
		"short-lived user":           {who: short, target: "search", want: claims{"sub": "catalog", "aud": "search", "iat": float64(now.Unix()), "exp": float64(now.Unix() + 10)}},
		"restricted, delegable":      {who: restricted, target: "search", want: claims{"sub": "catalog", "aud": "search", "iat": float64(now.Unix()), "exp": float64(now.Unix() + 3600)}},
		"restricted by permission":   {who: restricted, target: "catalog", fails: apierr.KindNotAllowed},
		"restricted to others":       {who: restricted, target: "scaffolder", fails: apierr.KindNotAllowed},
		"nobody":                     {who: core.NoCredentials(), target: "search", fails: apierr.KindAuthentication},
		"zero credentials":           {target: "search", fails: apierr.KindAuthentication},
		"user without proof":         {who: unlimitable, target: "search", fails: apierr.KindAuthentication},
		"user of credentials alone":  {who: core.UserCredentials("user:default/x", "", core.Token{}, time.Time{}, false), target: "search", fails: apierr.KindAuthentication},
		"user with a token of stone": {who: core.UserCredentials("user:default/x", "", core.NewToken("stone"), time.Time{}, false), target: "search", fails: apierr.KindAuthentication},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := catalog.PluginRequestToken(t.Context(), c.who, c.target)
			if c.fails != "" {
				if apierr.KindOf(err) != c.fails || !token.IsZero() {
					t.Errorf("got %v, want %s", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := payloadOf(t, token.Reveal())
			delete(got, "obo")
			if d := cmp.Diff(map[string]any(c.want), got); d != "" {
				t.Errorf("claims (-want +got):\n%s", d)
			}
		})
	}

	t.Run("a chain keeps the user", func(t *testing.T) {
		t.Parallel()
		token, err := catalog.PluginRequestToken(t.Context(), user, "search")
		if err != nil {
			t.Fatal(err)
		}
		at, err := search.Authenticate(t.Context(), token.Reveal(), false)
		if err != nil {
			t.Fatal(err)
		}
		if token, err = search.PluginRequestToken(t.Context(), at, "catalog"); err != nil {
			t.Fatal(err)
		}
		if at, err = catalog.Authenticate(t.Context(), token.Reveal(), false); err != nil {
			t.Fatal(err)
		}
		if at.Principal.UserEntityRef != "user:default/<jane>&\u2028\u00e9" || at.Principal.Actor != "plugin:search" || !at.Limited() {
			t.Errorf("arrived as %+v", at.Principal)
		}
	})
	t.Run("an expired user", func(t *testing.T) {
		t.Parallel()
		p := start(t, "")
		catalog := p.plugin("catalog")
		user, err := catalog.Authenticate(t.Context(), p.users.user("user:default/jane", now), false)
		if err != nil {
			t.Fatal(err)
		}
		p.clock.advance(time.Hour)
		if _, err := catalog.PluginRequestToken(t.Context(), user, "search"); apierr.KindOf(err) != apierr.KindAuthentication {
			t.Errorf("got %v", err)
		}
	})
	t.Run("nobody, with the default policy disabled", func(t *testing.T) {
		t.Parallel()
		p := start(t, "backend: {auth: {dangerouslyDisableDefaultAuthPolicy: true}}")
		token, err := p.plugin("catalog").PluginRequestToken(t.Context(), core.NoCredentials(), "search")
		if err != nil || !token.IsZero() {
			t.Errorf("got %q, %v", token.Reveal(), err)
		}
	})
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	p := start(t, "")
	catalog, search := p.plugin("catalog"), p.plugin("search")
	issue := func() core.Token {
		token, err := catalog.PluginRequestToken(t.Context(), catalog.Own(), "search")
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	if ids := kids(t, catalog); len(ids) != 0 {
		t.Errorf("keys before the first token: %v", ids)
	}
	first := issue()
	p.clock.advance(59 * time.Minute)
	if kidOf(t, issue()) != kidOf(t, first) {
		t.Error("the key changed within the hour")
	}
	p.clock.advance(time.Minute)
	second := issue()
	if kidOf(t, second) == kidOf(t, first) {
		t.Error("the key did not change after an hour")
	}
	both := []string{kidOf(t, first), kidOf(t, second)}
	slices.Sort(both)
	if d := cmp.Diff(both, kids(t, search)); d != "" {
		t.Errorf("published by another plugin of the process:\n%s", d)
	}
	p.clock.advance(2 * time.Hour)
	if d := cmp.Diff([]string{kidOf(t, second)}, kids(t, catalog)); d != "" {
		t.Errorf("published after three hours:\n%s", d)
	}
}

func TestReplicasPublishEachOthersKeys(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		peer := start(t, "")
		search := peer.plugin("search")
		one, two := start(t, ""), start(t, "")
		dbOne, dbTwo := &database{db: db}, &database{db: db}
		catalog, replica := one.pluginWith("catalog", dbOne), two.pluginWith("catalog", dbTwo)
		if dbOne.opens.Load() != 0 {
			t.Error("an idle plugin opened its database")
		}
		local := catalog.(interface {
			LocalRequestToken(ctx ctx, who core.Credentials, target string) (core.Token, error)
		})
		if _, err := local.LocalRequestToken(t.Context(), catalog.Own(), "search"); err != nil || dbOne.opens.Load() != 0 {
			t.Errorf("a token for this process: error %v, opened the database %d times", err, dbOne.opens.Load())
		}

		// The address of the plugin leads to a replica that has not signed.
		serve(t, peer.places, "catalog", replica)
		token, err := catalog.PluginRequestToken(t.Context(), catalog.Own(), "search")
		if err != nil {
			t.Fatal(err)
		}
		if c, err := search.Authenticate(t.Context(), token.Reveal(), false); err != nil || c.Principal.Subject != "plugin:catalog" {
			t.Errorf("authenticated as %+v, %v", c.Principal, err)
		}
		// The replica accepts it, too, without asking itself over the network.
		other, err := catalog.PluginRequestToken(t.Context(), catalog.Own(), "catalog")
		if err != nil {
			t.Fatal(err)
		}
		if c, err := replica.Authenticate(t.Context(), other.Reveal(), false); err != nil || c.Principal.Subject != "plugin:catalog" {
			t.Errorf("at the replica: %+v, %v", c.Principal, err)
		}

		// What another kind of backend wrote is published, what is expired is
		// removed, what nobody understands is left alone.
		if _, err := db.DB.ExecContext(t.Context(), `INSERT INTO backstage_backend_public_keys__keys (id, key, expires_at) VALUES
			('node', '{"kty":"EC","kid":"node","alg":"none"}', '2030-01-01T14:00:00.000Z'),
			('old', '{"kid":"old"}', '2030-01-01T12:00:00.000Z'),
			('odd', '{"kid":"odd"}', 'soon'),
			('broken', '{', '2030-01-01T14:00:00.000Z')`); err != nil {
			t.Fatal(err)
		}
		want := []string{kidOf(t, token), "node"}
		slices.Sort(want)
		if d := cmp.Diff(want, kids(t, replica)); d != "" {
			t.Errorf("published (-want +got):\n%s", d)
		}
		var left int
		if err := db.DB.QueryRowContext(t.Context(), "SELECT count(*) FROM backstage_backend_public_keys__keys WHERE id IN ('old', 'odd', 'broken')").Scan(&left); err != nil || left != 2 {
			t.Errorf("%d of the odd rows are left, %v", left, err)
		}

		// A restart keeps the key published, until it has expired.
		restarted := start(t, "").pluginWith("catalog", &database{db: db})
		if !slices.Contains(kids(t, restarted), kidOf(t, token)) {
			t.Error("the key is not published after a restart")
		}
		one.clock.advance(3 * time.Hour)
		if ids := kids(t, catalog); len(ids) != 0 {
			t.Errorf("published after three hours: %v", ids)
		}

		// Without the database no token leaves that nobody could verify, and
		// no incomplete list either.
		dbTwo.fail.Store(true)
		if _, err := replica.PluginRequestToken(t.Context(), replica.Own(), "search"); err == nil {
			t.Error("a token was issued although its key was not published")
		}
		if _, err := replica.PublicKeys(t.Context()); err == nil {
			t.Error("keys were listed without the database")
		}
		dbTwo.fail.Store(false)
		if _, err := replica.PluginRequestToken(t.Context(), replica.Own(), "search"); err != nil {
			t.Errorf("after the database is back: %v", err)
		}
	})
}

func TestKeysOfFiles(t *testing.T) {
	t.Parallel()
	config := "backend: {auth: {pluginKeyStore: {type: static, static: {keys: [" + pemKey(t, "one", true) + ", " + pemKey(t, "two", false) + "]}}}}"
	p, peer := start(t, config), start(t, "")
	catalog := p.pluginWith("catalog", &database{}) // which would panic if it were used
	token, err := catalog.PluginRequestToken(t.Context(), catalog.Own(), "search")
	if err != nil {
		t.Fatal(err)
	}
	if kidOf(t, token) != "one" {
		t.Errorf("signed with %q", kidOf(t, token))
	}
	p.clock.advance(1000 * time.Hour)
	if d := cmp.Diff([]string{"one", "two"}, kids(t, catalog)); d != "" {
		t.Errorf("published:\n%s", d)
	}
	serve(t, peer.places, "catalog", catalog)
	if c, err := peer.plugin("search").Authenticate(t.Context(), token.Reveal(), false); err != nil || c.Principal.Subject != "plugin:catalog" {
		t.Errorf("authenticated as %+v, %v", c.Principal, err)
	}
}

// Who holds a key of a plugin must not pass for another plugin.
func TestSharedRingDoesNotSpeakForPluginsElsewhere(t *testing.T) {
	t.Parallel()
	p := start(t, "")
	catalog := p.plugin("catalog")
	forger := start(t, "")
	fake := forger.plugin("search") // a backend that claims to have the plugin
	real := newIssuer(t)
	p.places.set("search", real.url+"/api/search")
	token, err := fake.PluginRequestToken(t.Context(), fake.Own(), "catalog")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := catalog.Authenticate(t.Context(), token.Reveal(), false); apierr.KindOf(err) != apierr.KindAuthentication {
		t.Errorf("authenticated as %+v, %v", c.Principal, err)
	}
}
