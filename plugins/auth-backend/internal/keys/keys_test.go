package keys_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/signingkey"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/auth-backend/internal/keys"
	"github.com/flytower/flytower/plugins/auth-backend/internal/schema"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// clock is a clock that tests move.
type clock struct{ seconds atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.seconds.Store(time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC).Unix())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(c.seconds.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.seconds.Add(int64(d / time.Second)) }

// published returns the ids of the published keys.
func published(t *testing.T, ring keys.Ring) []string {
	t.Helper()
	all, err := ring.Public(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, text := range all {
		var k jose.JSONWebKey
		if err := k.UnmarshalJSON(text); err != nil || !k.IsPublic() {
			t.Fatalf("published key %s: %v", text, err)
		}
		ids = append(ids, k.KeyID)
	}
	return ids
}

func signing(t *testing.T, ring keys.Ring) string {
	t.Helper()
	k, err := ring.Signing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return k.ID
}

func check(t *testing.T, what string, ring keys.Ring, want ...string) {
	t.Helper()
	if got := published(t, ring); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s: published %q, want %q", what, got, want)
	}
}

// eachStore runs fn with a store of every kind.
func eachStore(t *testing.T, fn func(t *testing.T, store keys.Store)) {
	t.Run("memory", func(t *testing.T) { t.Parallel(); fn(t, keys.Memory()) })
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
			t.Fatal(err)
		}
		fn(t, keys.Database(db.Service))
	})
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store keys.Store) {
		c := newClock()
		ring := keys.NewRotating(store, jose.ES256, time.Hour, c.now)
		check(t, "before the first use", ring)
		first := signing(t, ring)
		check(t, "after it", ring, first)
		c.advance(59 * time.Minute)
		if signing(t, ring) != first {
			t.Error("another key within the hour")
		}
		c.advance(time.Minute)
		second := signing(t, ring)
		if second == first {
			t.Error("the same key after an hour")
		}
		check(t, "after an hour", ring, first, second)

		// A replica, or this process after a restart, publishes them too.
		replica := keys.NewRotating(store, jose.ES256, time.Hour, c.now)
		check(t, "of a replica", replica, first, second)
		c.advance(2 * time.Hour)
		check(t, "three hours after the first", ring, first, second)
		c.advance(time.Second)
		check(t, "later", ring, second)
		if err := ring.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.advance(-time.Second)
		check(t, "after the removal", ring, second)
	})
}

func TestConcurrentUseMakesOneKey(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store keys.Store) {
		ring := keys.NewRotating(store, jose.ES256, time.Hour, newClock().now)
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				if _, err := ring.Signing(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if got := published(t, ring); len(got) != 1 {
			t.Errorf("%d keys", len(got))
		}
	})
}

// A database that the same plugin in Node has made and filled.
func TestDatabaseIsTakenOver(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		create := "CREATE TABLE signing_keys (kid varchar(255) NOT NULL PRIMARY KEY, created_at timestamptz(0) NOT NULL DEFAULT CURRENT_TIMESTAMP, key text NOT NULL)"
		if db.Dialect == core.SQLite {
			create = "CREATE TABLE `signing_keys` (`kid` varchar(255) not null, `created_at` datetime not null default CURRENT_TIMESTAMP, `key` text not null, primary key (`kid`))"
		}
		const jwk = `{"kty":"EC","x":"2aPiLUYCK3r7m8A4wBuLPCNCeFjwb1HEiGrfMdsFWT8","y":"G74FiRD57AAaSOaL8uNfPPbJLafzi3j7MD7Pgq_78jE","crv":"P-256","kid":"node","alg":"ES256"}`
		for _, statement := range []string{
			create,
			"INSERT INTO signing_keys (kid, key) VALUES ('node', '" + jwk + "')",
			"INSERT INTO signing_keys (kid, key) VALUES ('torn', '{')",
			"INSERT INTO signing_keys (kid, key, created_at) VALUES ('old', '" + jwk + "', '2020-01-01 00:00:00')",
		} {
			if _, err := db.DB.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
			t.Fatal(err)
		}
		ring := keys.NewRotating(keys.Database(db.Service), jose.ES256, time.Hour, time.Now)
		check(t, "taken over", ring, "node")
		if err := ring.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := db.DB.QueryRowContext(t.Context(), "SELECT count(*) FROM signing_keys").Scan(&n); err != nil || n != 2 {
			t.Errorf("%d rows after the removal, %v; want 2", n, err)
		}
	})
}

// failing is a store that is down until it is mended.
type failing struct {
	keys.Store
	mended bool
}

func (f *failing) Add(ctx context.Context, id string, jwk json.RawMessage, created time.Time) error {
	if !f.mended {
		return errors.New("down")
	}
	return f.Store.Add(ctx, id, jwk, created)
}

func TestKeyThatIsNotPublishedDoesNotSign(t *testing.T) {
	t.Parallel()
	store := &failing{Store: keys.Memory()}
	ring := keys.NewRotating(store, jose.EdDSA, time.Hour, newClock().now)
	if _, err := ring.Signing(t.Context()); err == nil {
		t.Fatal("a key signs that nobody knows")
	}
	store.mended = true
	check(t, "after the repair", ring)
	if id := signing(t, ring); published(t, ring)[0] != id {
		t.Errorf("key %s is not published", id)
	}
}

func TestStaticKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	private, err := signingkey.Generate(jose.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte, err error) string {
		path := filepath.Join(dir, name)
		if err == nil {
			err = os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	public := write("public.pem", "PUBLIC KEY", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(private)
	config := configtest.FromYAML(t, "keys:\n- {keyId: one, algorithm: EdDSA, publicKeyFile: "+public+", privateKeyFile: "+write("private.pem", "PRIVATE KEY", der, err)+"}\n"+
		"- {keyId: two, algorithm: EdDSA, publicKeyFile: "+public+"}")
	ring, err := keys.NewStatic(config, "keys")
	if err != nil {
		t.Fatal(err)
	}
	check(t, "static", ring, "one", "two")
	if id := signing(t, ring); id != "one" {
		t.Errorf("%s signs", id)
	}
	if all, _ := ring.Public(t.Context()); !strings.Contains(string(all[1]), `"use":"sig"`) {
		t.Errorf("published %s", all[1])
	}
	if err := ring.Prune(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := keys.NewStatic(configtest.FromYAML(t, "keys: []"), "keys"); err == nil {
		t.Error("no key is enough")
	}
}
