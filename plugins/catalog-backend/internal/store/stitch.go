package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

// maxNeighbours is how many neighbours of a batch are stitched with it. The
// others are marked, so that a group of thousands of members is not built anew
// for each of them.
const maxNeighbours = 200

// Stitched counts what stitching did.
type Stitched struct{ Changed, Unchanged int }

// stitchNow builds the final form of processed entities and of the neighbours
// whose relations changed with them.
func (t *tx) stitchNow(results []Result, neighbours []string) (Stitched, error) {
	ids := resultIDs(results)
	if len(neighbours) > maxNeighbours {
		if err := t.dirtyRefs(neighbours); err != nil {
			return Stitched{}, err
		}
	} else if len(neighbours) > 0 {
		b := t.build()
		b.Write("SELECT id FROM entity WHERE ref IN (", b.List(neighbours), ")")
		more, err := t.ids(b)
		if err != nil {
			return Stitched{}, err
		}
		ids = append(ids, more...)
	}
	slices.Sort(ids)
	return t.stitch(slices.Compact(ids))
}

// Stitch builds the final form of up to limit entities that are marked.
func (s *Store) Stitch(ctx context.Context, limit int) (n int, done Stitched, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return 0, done, err
	}
	b := sqltext.New(s.database.Dialect())
	b.Write("SELECT 1 FROM entity_dirty LIMIT 1")
	any := false
	if err := each(ctx, db, b, func(*sql.Rows) error { any = true; return nil }); err != nil || !any {
		return 0, done, err
	}
	err = s.database.WriteTx(ctx, func(raw *sql.Tx) error {
		t := &tx{Tx: raw, ctx: ctx, store: s, now: s.now()}
		b := t.build()
		b.Write("DELETE FROM entity_dirty WHERE entity_id IN (SELECT entity_id FROM entity_dirty ORDER BY since LIMIT ", sqltext.ID(int64(limit)))
		if t.postgres() {
			b.Write(" FOR UPDATE SKIP LOCKED")
		}
		b.Write(") RETURNING entity_id")
		ids, err := t.ids(b)
		if err != nil {
			return err
		}
		n = len(ids)
		slices.Sort(ids)
		done, err = t.stitch(ids)
		return err
	})
	return n, done, err
}

// row is what an entity's final form is built from.
type row struct {
	id           int64
	uid, ref     string
	processed    string
	errors, hash sql.NullString
}

// stitch builds the final forms of entities and writes those that changed.
func (t *tx) stitch(ids []int64) (done Stitched, err error) {
	for part := range slices.Chunk(ids, chunk) {
		rows, err := t.stitchRows(part)
		if err != nil {
			return done, err
		}
		refs := make([]string, len(rows))
		for i, r := range rows {
			refs[i] = r.ref
		}
		relations, err := t.relationsOf(refs)
		if err != nil {
			return done, err
		}
		orphans, err := t.orphansAmong(part)
		if err != nil {
			return done, err
		}
		var finals []final
		for _, r := range rows {
			f, err := buildFinal(r, relations[r.ref], orphans[r.id])
			if err != nil {
				return done, fmt.Errorf("building the final form of %s: %w", r.ref, err)
			}
			if f.hash == r.hash.String && r.hash.Valid {
				done.Unchanged++
				continue
			}
			done.Changed++
			finals = append(finals, f)
		}
		if err := t.saveFinals(finals); err != nil {
			return done, err
		}
	}
	return done, t.forIDs("DELETE FROM entity_dirty WHERE entity_id IN ", ids, "")
}

func (t *tx) stitchRows(ids []int64) (out []row, err error) {
	b := t.build()
	b.Write("SELECT id, uid, ref, processed, errors, final_hash FROM entity WHERE processed IS NOT NULL AND id IN (", b.IDs(ids), ") ORDER BY ref")
	if t.postgres() {
		b.Write(" FOR UPDATE")
	}
	err = t.each(b, func(rows *sql.Rows) error {
		var r row
		err := rows.Scan(&r.id, &r.uid, &r.ref, &r.processed, &r.errors, &r.hash)
		out = append(out, r)
		return err
	})
	return out, err
}

func (t *tx) relationsOf(refs []string) (map[string][]catalogcommon.EntityRelation, error) {
	out := map[string][]catalogcommon.EntityRelation{}
	if len(refs) == 0 {
		return out, nil
	}
	b := t.build()
	b.Write("SELECT DISTINCT source_ref, type, target_ref FROM relation WHERE source_ref IN (", b.List(refs), ")")
	err := t.each(b, func(rows *sql.Rows) error {
		var source string
		var r catalogcommon.EntityRelation
		err := rows.Scan(&source, &r.Type, &r.TargetRef)
		out[source] = append(out[source], r)
		return err
	})
	return out, err
}

func (t *tx) orphansAmong(ids []int64) (map[int64]bool, error) {
	b := t.build()
	b.Write("SELECT id FROM entity e WHERE id IN (", b.IDs(ids), ") AND NOT EXISTS (SELECT 1 FROM provider_edge p WHERE p.target_id = e.id)",
		" AND NOT EXISTS (SELECT 1 FROM entity_edge g WHERE g.target_id = e.id)")
	found, err := t.ids(b)
	out := map[int64]bool{}
	for _, id := range found {
		out[id] = true
	}
	return out, err
}

// final is the final form of an entity.
type final struct {
	id     int64
	entity string
	hash   string
	rows   []entitysearch.Row
}

// rejectedURL replaces links that would run script in the browser.
const rejectedURL = "https://backstage.io/annotation-rejected-for-security-reasons"

func buildFinal(r row, relations []catalogcommon.EntityRelation, orphan bool) (final, error) {
	e, err := catalogcommon.ParseEntity([]byte(r.processed))
	if err != nil {
		return final{}, err
	}
	if orphan {
		e.SetAnnotation(catalogcommon.AnnotationOrphan, "true")
	}
	for _, name := range []string{catalogcommon.AnnotationViewURL, catalogcommon.AnnotationEditURL} {
		if v, ok := e.LookupAnnotation(name); ok && catalogcommon.IsScriptURL(v) {
			e.SetAnnotation(name, rejectedURL)
		}
	}
	e.SetRelations(relations)
	e.SetMetadata("uid", r.uid)
	rows, conflicts := entitysearch.Rows(e) // status and etag have no rows
	status, err := statusItems(r.errors.String, conflicts)
	if err != nil {
		return final{}, err
	}
	e.AddStatus(status...)
	f := final{id: r.id, hash: e.Hash(), rows: rows}
	if e.Etag() == "" {
		e.SetMetadata("etag", f.hash)
	}
	f.entity = string(e.AppendJSON(nil))
	return f, nil
}

// statusItems tells what is wrong with an entity: the errors of its last
// processing, and keys that differ in case only, which searches cannot tell
// apart.
func statusItems(errors string, conflicts []string) (out []catalogcommon.StatusItem, err error) {
	if errors != "" {
		var list []map[string]any
		if err := json.Unmarshal([]byte(errors), &list); err != nil {
			return nil, fmt.Errorf("reading the stored errors: %w", err)
		}
		for _, e := range list {
			out = append(out, catalogcommon.ProcessingStatus(e))
		}
	}
	for _, key := range conflicts {
		out = append(out, catalogcommon.ProcessingStatus(map[string]any{
			"name":    "InputError",
			"message": fmt.Sprintf("Entity has duplicate keys that vary only in casing, '%s'; rename one of them", key),
		}))
	}
	return out, nil
}

// saveFinals writes final forms, their search rows and the changes.
func (t *tx) saveFinals(finals []final) error {
	if len(finals) == 0 {
		return nil
	}
	keys, err := t.keyIDs(finals)
	if err != nil {
		return err
	}
	ids := make([]int64, len(finals))
	type searchRow struct {
		entity, key     int64
		value, original any
		item            bool
	}
	var rows []searchRow
	for i, f := range finals {
		ids[i] = f.id
		for _, r := range f.rows {
			if r.Derived {
				continue // it follows from the row of the item
			}
			s := searchRow{entity: f.id, key: keys[r.Key], item: r.Item}
			if !r.Null {
				s.value = storable(r.Value)
				if r.Original != r.Value {
					s.original = storable(r.Original)
				}
			}
			rows = append(rows, s)
		}
	}
	if err := updateRows(t, "final = n.column2, final_hash = n.column3, updated_at = "+sqltext.ID(t.now), finals,
		func(f final) (int64, []any) { return f.id, []any{f.entity, f.hash} }); err != nil {
		return err
	}
	if err := t.forIDs("DELETE FROM entity_search WHERE entity_id IN ", ids, ""); err != nil {
		return err
	}
	if err := insertRows(t, "INSERT INTO entity_search (entity_id, key_id, value, original, item) VALUES ", "", rows,
		func(r searchRow) []any { return []any{r.entity, r.key, r.value, r.original, r.item} }); err != nil {
		return err
	}
	return insertRows(t, "INSERT INTO entity_change (entity_id, deleted) VALUES ", "", ids,
		func(id int64) []any { return []any{id, false} })
}

// storable drops what PostgreSQL cannot keep in a text.
func storable(s string) string { return strings.ReplaceAll(s, "\x00", "") }

// keyIDs returns the ids of all search keys of the final forms, and makes
// those that are new.
func (t *tx) keyIDs(finals []final) (map[string]int64, error) {
	ids := map[string]int64{}
	for _, f := range finals {
		for _, r := range f.rows {
			if !r.Derived {
				ids[r.Key] = 0
			}
		}
	}
	names := slices.Sorted(maps.Keys(ids))
	if err := t.findKeys(ids, names); err != nil {
		return nil, err
	}
	missing := slices.DeleteFunc(names, func(n string) bool { return ids[n] != 0 })
	if len(missing) == 0 {
		return ids, nil
	}
	if err := insertRows(t, "INSERT INTO search_key (key) VALUES ", " ON CONFLICT (key) DO NOTHING", missing,
		func(name string) []any { return []any{name} }); err != nil {
		return nil, err
	}
	if err := t.findKeys(ids, missing); err != nil {
		return nil, err
	}
	for _, n := range missing {
		if ids[n] == 0 {
			return nil, errors.New("the search key " + n + " was neither found nor made")
		}
	}
	return ids, nil
}

func (t *tx) findKeys(ids map[string]int64, names []string) error {
	for part := range slices.Chunk(names, chunk) {
		b := t.build()
		b.Write("SELECT key, id FROM search_key WHERE key IN (", b.List(part), ")")
		err := t.each(b, func(rows *sql.Rows) error {
			var key string
			var id int64
			err := rows.Scan(&key, &id)
			ids[key] = id
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// TrimChanges forgets changes that are older than a number of versions.
func (s *Store) TrimChanges(ctx context.Context, keep int64) error {
	return s.database.WriteTx(ctx, func(t *sql.Tx) error {
		_, err := t.ExecContext(ctx, "DELETE FROM entity_change WHERE version <= (SELECT MAX(version) FROM entity_change) - "+sqltext.ID(keep))
		return err
	})
}

// Backlog tells how much work waits.
type Backlog struct {
	Due, Dirty int
	// Oldest is how long the oldest due entity has waited.
	Oldest time.Duration
}

// Backlog returns how much work waits.
func (s *Store) Backlog(ctx context.Context) (out Backlog, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return out, err
	}
	now := s.now()
	var oldest sql.NullInt64
	err = db.QueryRowContext(ctx, "SELECT count(*), min(next_at), (SELECT count(*) FROM entity_dirty) FROM entity_due WHERE next_at <= "+sqltext.ID(now)).
		Scan(&out.Due, &oldest, &out.Dirty)
	if oldest.Valid {
		out.Oldest = time.Duration(now-oldest.Int64) * time.Millisecond
	}
	return out, err
}
