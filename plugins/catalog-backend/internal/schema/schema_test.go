package schema_test

import (
	"database/sql"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/schema"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
)

// upTo returns the migrations up to that with the number.
func upTo(t *testing.T, number string) core.Migrations {
	t.Helper()
	all := schema.Migrations().FS
	some := fstest.MapFS{}
	err := fs.WalkDir(all, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name()[:len(number)] > number {
			return err
		}
		text, err := fs.ReadFile(all, path)
		some[path] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return core.Migrations{FS: some}
}

// filled is a catalog as the first version kept it: a location that a provider
// hands in, which emits a component that is owned by a group of the provider.
var filled = []string{
	`INSERT INTO entity (uid, ref, location_key, unprocessed, unprocessed_hash, processed, result_hash, final, final_hash, discovered_at, updated_at) VALUES
		('u1', 'location:default/l', 'p', '{"l":1}', 'h1', '{"apiVersion":"v1","kind":"Location","metadata":{"name":"l","uid":"u1"}}', 'r1', '{}', 'f1', 1, 2),
		('u2', 'component:default/c', NULL, '{"c":1}', 'h2', '{"apiVersion":"v1","kind":"Component","metadata":{"name":"c","uid":"u2"}}', 'r2', '{}', 'f2', 1, 2),
		('u3', 'group:default/g', NULL, '{"g":1}', 'h3', '{"apiVersion":"v1","kind":"Group","metadata":{"name":"g","uid":"u3"}}', 'r3', '{}', 'f3', 1, 2)`,
	`INSERT INTO entity_due (entity_id, lane, next_at) SELECT id, 2, 9000000000000 FROM entity`,
	`INSERT INTO entity_dirty (entity_id, since) SELECT id, 5 FROM entity`,
	`INSERT INTO provider_edge (provider, target_id) SELECT 'p', id FROM entity WHERE ref <> 'component:default/c'`,
	`INSERT INTO entity_edge (parent_id, target_id) SELECT l.id, c.id FROM entity l, entity c WHERE l.uid = 'u1' AND c.uid = 'u2'`,
	`INSERT INTO relation (origin_id, source_ref, type, target_ref) SELECT id, 'component:default/c', 'ownedBy', 'group:default/g' FROM entity WHERE uid = 'u2'`,
	`INSERT INTO relation (origin_id, source_ref, type, target_ref) SELECT id, 'group:default/g', 'ownerOf', 'component:default/c' FROM entity WHERE uid = 'u2'`,
	`INSERT INTO search_key (key) VALUES ('kind')`,
	`INSERT INTO entity_search (entity_id, key_id, value, original, item) SELECT e.id, k.id, 'group', 'Group', false FROM entity e, search_key k WHERE e.uid = 'u3'`,
	`INSERT INTO entity_change (entity_id, deleted) SELECT id, false FROM entity ORDER BY id`,
}

// lines returns the rows of a query, as texts.
func lines(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for rows.Next() {
		values, to := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			t.Fatal(err)
		}
		parts := make([]string, len(values))
		for i, v := range values {
			parts[i] = v.String
		}
		out = append(out, strings.Join(parts, " "))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// TestFilledTablesAreMigrated fills the tables of each former version, and
// looks at what the present one has and makes of it.
func TestFilledTablesAreMigrated(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0001", "0002"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *testdb.Database) {
				ctx := t.Context()
				if err := db.Service.Migrate(ctx, upTo(t, "0001")); err != nil {
					t.Fatal(err)
				}
				for _, statement := range filled {
					if _, err := db.DB.ExecContext(ctx, statement); err != nil {
						t.Fatalf("%s: %v", statement, err)
					}
				}
				if err := db.Service.Migrate(ctx, upTo(t, version)); err != nil {
					t.Fatal(err)
				}
				if version == "0002" {
					checkSecond(t, db)
				}
				if err := db.Service.Migrate(ctx, schema.Migrations()); err != nil {
					t.Fatal(err)
				}
				check(t, db, map[string][]string{
					"SELECT e.ref, r.source_ref, r.type, r.target_ref FROM relation r JOIN entity e ON e.id = r.origin_id": {
						"component:default/c  ownedBy group:default/g", "component:default/c group:default/g ownerOf component:default/c",
					},
					"SELECT e.ref, k.key, s.value, s.original, CASE WHEN s.item THEN 1 ELSE 0 END FROM entity_search s JOIN entity e ON e.id = s.entity_id JOIN search_key k ON k.id = s.key_id": {"group:default/g kind group Group 0"},
					"SELECT * FROM search_behind":     {},
					"SELECT * FROM search_behind_row": {},
					"SELECT ref, location_key, unprocessed, unprocessed_hash, result_hash, final_hash FROM entity WHERE uid = 'u1'": {`location:default/l p {"l":1} h1 r1 f1`},
				})
				checkUse(t, db)
			})
		})
	}
}

func check(t *testing.T, db *testdb.Database, want map[string][]string) {
	t.Helper()
	for query, rows := range want {
		if diff := cmp.Diff(rows, lines(t, db.DB, query)); diff != "" {
			t.Errorf("%s (-want +have):\n%s", query, diff)
		}
	}
}

// checkSecond looks at what the second version has.
func checkSecond(t *testing.T, db *testdb.Database) {
	t.Helper()
	check(t, db, map[string][]string{
		"SELECT p.provider, e.uid, p.ref, p.hash, p.location_key FROM provider_edge p JOIN entity e ON e.id = p.target_id": {
			"p u1 location:default/l h1 p", "p u3 group:default/g h3 ",
		},
		"SELECT e.uid, d.since FROM entity_dirty d JOIN entity e ON e.id = d.entity_id": {"u1 5", "u2 5", "u3 5"},
		"SELECT source_ref, type, target_ref FROM relation": {
			"component:default/c ownedBy group:default/g", "group:default/g ownerOf component:default/c",
		},
	})
	// Several marks may name an entity, and get other numbers.
	if _, err := db.DB.ExecContext(t.Context(), "INSERT INTO entity_dirty (entity_id, since) SELECT id, 6 FROM entity WHERE uid = 'u1'"); err != nil {
		t.Error(err)
	}
	if n := lines(t, db.DB, "SELECT count(DISTINCT mark) FROM entity_dirty"); n[0] != "4" {
		t.Errorf("%s different marks, want 4", n[0])
	}
}

// checkUse goes on with the tables: what is marked is built, with its
// relations, and a mutation without a change is one.
func checkUse(t *testing.T, db *testdb.Database) {
	t.Helper()
	ctx := t.Context()
	s := store.New(db.Service, store.Options{})
	if n, done, err := s.Stitch(ctx, 10, 0); err != nil || n != 3 || done.Changed != 3 {
		t.Fatalf("stitching: %d, %+v, %v", n, done, err)
	}
	for ref, part := range map[string]string{
		"component:default/c": `"relations":[{"targetRef":"group:default/g","type":"ownedBy"}]`,
		"group:default/g":     `"relations":[{"targetRef":"component:default/c","type":"ownerOf"}]`,
		"location:default/l":  `"relations":[]`,
	} {
		if final := lines(t, db.DB, "SELECT final FROM entity WHERE ref = '"+ref+"'"); !strings.Contains(final[0], part) {
			t.Errorf("the final form of %s lacks %s: %s", ref, part, final[0])
		}
	}
	if rows := lines(t, db.DB, fmt.Sprintf("SELECT s.value FROM entity_search s JOIN search_key k ON k.id = s.key_id JOIN entity e ON e.id = s.entity_id WHERE k.key = 'metadata.name' AND e.uid = '%s'", "u3")); len(rows) != 1 || rows[0] != "g" {
		t.Errorf("names of the group: %q", rows)
	}
	r, err := s.ApplyFull(ctx, "p", func(yield func(store.Deferred, error) bool) {
		_ = yield(store.Deferred{Ref: "location:default/l", Body: `{"l":1}`, Hash: "h1", LocationKey: "p"}, nil) &&
			yield(store.Deferred{Ref: "group:default/g", Body: `{"g":1}`, Hash: "h3"}, nil)
	})
	if diff := cmp.Diff(store.Report{Seen: 2}, r); diff != "" || err != nil {
		t.Errorf("the same again (-want +have): %v\n%s", err, diff)
	}
	if work, err := s.Claim(ctx, 10, time.Minute); err != nil || len(work) > 0 {
		t.Errorf("due: %v, %v", work, err)
	}
	if left := lines(t, db.DB, "SELECT * FROM entity_dirty"); len(left) > 0 {
		t.Errorf("marks are left: %q", left)
	}
}
