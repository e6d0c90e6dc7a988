package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

// Stitched counts what stitching did. Waited is how long ago the first of the
// entities was marked; 0 for those that were not.
type Stitched struct {
	Changed, Unchanged int
	Waited             time.Duration
}

// Stitch builds the final form of up to limit entities that were marked at
// least a while ago.
func (s *Store) Stitch(ctx context.Context, limit int, age time.Duration) (n int, done Stitched, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return 0, done, err
	}
	b := sqltext.New(s.database.Dialect())
	now := s.now()
	b.Write("SELECT entity_id, min(since) FROM entity_dirty WHERE since <= ", sqltext.ID(now-age.Milliseconds()),
		" GROUP BY entity_id ORDER BY entity_id LIMIT ", sqltext.ID(int64(limit)))
	var marked []int64
	first := now
	if err := each(ctx, db, b, func(rows *sql.Rows) error {
		var id, since int64
		err := rows.Scan(&id, &since)
		marked, first = append(marked, id), min(first, since)
		return err
	}); err != nil || len(marked) == 0 {
		return 0, done, err
	}
	err = s.write(ctx, func(t *tx) error {
		ids, err := t.takeMarks(marked)
		if err != nil {
			return err
		}
		n = len(ids)
		done, err = t.stitch(ids)
		done.Waited = time.Duration(now-first) * time.Millisecond
		t.quiet = done.Changed == 0
		return err
	})
	return n, done, err
}

// takeMarks removes the marks of entities that are there now, and returns the
// entities. What another stitcher is about to take stays; a mark that comes
// later stays, too.
func (t *tx) takeMarks(marked []int64) ([]int64, error) {
	b := t.build()
	b.Write("DELETE FROM entity_dirty WHERE mark IN (SELECT mark FROM entity_dirty WHERE entity_id ", b.AnyID(marked))
	if t.postgres() {
		b.Write(" FOR UPDATE SKIP LOCKED")
	}
	b.Write(")")
	if t.postgres() {
		b.Write(" AND entity_id ", b.AnyID(marked)) // by the index
	}
	b.Write(" RETURNING entity_id")
	ids, err := t.ids(b)
	slices.Sort(ids)
	return slices.Compact(ids), err
}

// base is what an entity's final form is built from.
type base struct {
	id        int64
	uid, ref  string
	processed string
	derived   bool                 // processed is the final form, from which the entity follows
	entity    catalogcommon.Entity // what processed is the text of, or nil
	errors    string
	hash      sql.NullString // of the final form that is there
}

// fromFinal stands in the place of a processed entity that is the final form
// without what that has in addition.
const fromFinal = "="

// stitch builds the final forms of entities and writes those that changed.
func (t *tx) stitch(ids []int64) (done Stitched, err error) {
	for part := range slices.Chunk(ids, chunk) {
		bases, err := t.bases(part)
		if err != nil {
			return done, err
		}
		finals, did, err := t.finals(bases)
		done.Changed, done.Unchanged = done.Changed+did.Changed, done.Unchanged+did.Unchanged
		if err != nil {
			return done, err
		}
		if err := t.saveFinals(finals); err != nil {
			return done, err
		}
	}
	return done, nil
}

// bases reads what was made of processed entities so far, and locks them.
func (t *tx) bases(ids []int64) (out []base, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	b := t.build()
	b.Write("SELECT id, uid, ref, CASE WHEN processed = '"+fromFinal+"' THEN final ELSE processed END, processed = '"+fromFinal+"', COALESCE(errors, ''), final_hash FROM entity WHERE processed IS NOT NULL AND id ", b.AnyID(ids), " ORDER BY ref")
	if t.postgres() {
		b.Write(" FOR UPDATE")
	}
	err = t.each(b, func(rows *sql.Rows) error {
		var r base
		err := rows.Scan(&r.id, &r.uid, &r.ref, &r.processed, &r.derived, &r.errors, &r.hash)
		out = append(out, r)
		return err
	})
	return out, err
}

// finals builds final forms, and returns those that differ from what is there.
func (t *tx) finals(bases []base) (finals []final, done Stitched, err error) {
	if len(bases) == 0 {
		return nil, done, nil
	}
	ids := make([]int64, len(bases))
	for i, b := range bases {
		ids[i] = b.id
	}
	relations, err := t.relationsOf(bases)
	if err != nil {
		return nil, done, err
	}
	orphans, err := t.orphansAmong(ids)
	if err != nil {
		return nil, done, err
	}
	for _, b := range bases {
		f, err := buildFinal(b, relations[b.id], orphans[b.id])
		if err != nil {
			return nil, done, fmt.Errorf("building the final form of %s: %w", b.ref, err)
		}
		if f.hash == b.hash.String && b.hash.Valid {
			done.Unchanged++
			continue
		}
		done.Changed++
		finals = append(finals, f)
	}
	return finals, done, nil
}

// relationsOf returns the relations that the entities are the source of, by
// the ids of the entities. Several origins may say the same.
func (t *tx) relationsOf(bases []base) (map[int64][]catalogcommon.EntityRelation, error) {
	ids, refs, byRef := make([]int64, len(bases)), make([]string, len(bases)), make(map[string]int64, len(bases))
	for i, b := range bases {
		ids[i], refs[i], byRef[b.ref] = b.id, b.ref, b.id
	}
	out := make(map[int64][]catalogcommon.EntityRelation, len(bases))
	b := t.build()
	b.Write("SELECT origin_id, source_ref, type, target_ref FROM relation WHERE ", foreign, " AND source_ref ", b.AnyText(refs),
		" UNION ALL SELECT origin_id, source_ref, type, target_ref FROM relation WHERE NOT ", foreign, " AND origin_id ", b.AnyID(ids))
	err := t.each(b, func(rows *sql.Rows) error {
		var id int64
		var source string
		var r catalogcommon.EntityRelation
		err := rows.Scan(&id, &source, &r.Type, &r.TargetRef)
		if source != "" {
			id = byRef[source]
		}
		out[id] = append(out[id], r)
		return err
	})
	return out, err
}

func (t *tx) orphansAmong(ids []int64) (map[int64]bool, error) {
	b := t.build()
	b.Write("SELECT id FROM entity e WHERE id ", b.AnyID(ids), " AND ", vacant)
	found, err := t.ids(b)
	out := map[int64]bool{}
	for _, id := range found {
		out[id] = true
	}
	return out, err
}

// final is the final form of an entity.
type final struct {
	id        int64
	entity    string
	hash      string
	processed string // what it was built from, or fromFinal
	rows      []entitysearch.Row
	fresh     bool // there was no final form before
}

// rejectedURL replaces links that would run script in the browser.
const rejectedURL = "https://backstage.io/annotation-rejected-for-security-reasons"

// linkAnnotations hold links that clients follow.
var linkAnnotations = [...]string{catalogcommon.AnnotationViewURL, catalogcommon.AnnotationEditURL}

func buildFinal(b base, relations []catalogcommon.EntityRelation, orphan bool) (final, error) {
	e := b.entity
	if e == nil {
		var err error
		if e, err = catalogcommon.ParseEntity([]byte(b.processed)); err != nil {
			return final{}, err
		}
		if b.derived {
			delete(e, "relations")
			delete(e, "status")
			delete(e.Metadata(), "etag")
		}
	}
	f := final{id: b.id, fresh: !b.hash.Valid}
	order := catalogcommon.KeyOrder(b.processed)
	switch {
	case !orphan && !rejectsURL(e) && plainEntity(e, b.uid):
		f.processed = fromFinal
	case b.derived:
		f.processed = string(e.AppendJSONIn(nil, order))
	default:
		f.processed = b.processed
	}
	if orphan {
		e.SetAnnotation(catalogcommon.AnnotationOrphan, "true")
	}
	for _, name := range linkAnnotations {
		if v, ok := e.LookupAnnotation(name); ok && catalogcommon.IsScriptURL(v) {
			e.SetAnnotation(name, rejectedURL)
		}
	}
	e.SetRelations(relations)
	e.SetMetadata("uid", b.uid)
	rows, conflicts := entitysearch.Rows(e) // status and etag have no rows
	status, err := statusItems(b.errors, conflicts)
	if err != nil {
		return final{}, err
	}
	e.AddStatus(status...)
	f.rows = rows
	own := e.Etag() != ""
	if !own {
		e.SetMetadata("etag", etagPlace)
	}
	text := e.AppendJSONIn(make([]byte, 0, len(b.processed)+80*len(relations)+512), order)
	f.hash = catalogcommon.HashJSON(text)
	if !own {
		if at := bytes.Index(text, []byte(etagPlace)); !bytes.Contains(text[at+1:], []byte(etagPlace)) {
			copy(text[at:], f.hash)
		} else { // somebody wrote the very same words
			e.SetMetadata("etag", f.hash)
			text = e.AppendJSONIn(text[:0], order)
		}
	}
	f.entity = string(text)
	return f, nil
}

// etagPlace stands for the etag until the text is complete of which it is the
// hash; it has the length of one.
const etagPlace = "(the etag of the final form stands here)"

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
