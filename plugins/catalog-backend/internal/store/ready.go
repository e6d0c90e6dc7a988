package store

import (
	"bytes"
	"context"
	"database/sql"
	"slices"
	"strings"
	"sync"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/behind"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

// Ready is what processing made of an entity before it was handed in, brought
// into the form in which it is stored. It counts only if the entity turns out
// to be new.
type Ready struct {
	uid, hash, cache string
	// text is the final form but for the relations, which belong at
	// relationsAt, and the etag, which belongs at etagAt, before them.
	text                string
	etagAt, relationsAt int
	// rows are the search rows, but for those of relations, as in search_behind.
	rows      string
	relations []link
}

// NewUID returns a uid for an entity that is to be new.
func (s *Store) NewUID() string { return s.uid() }

// relationsPlace stands for the relations until they are known.
const (
	relationsPlace       = "(the relations of the final form stand here)"
	quotedRelationsPlace = `"` + relationsPlace + `"`
)

// MakeReady brings a result into the form in which it is stored. The result
// must be one of an entity that is not there yet, and r.Entity what
// r.Processed is the text of; it is changed. MakeReady returns nil where only
// what is in the database tells what the final form is, or where the result is
// not final.
func (s *Store) MakeReady(ctx context.Context, r Result) (*Ready, error) {
	e := r.Entity
	if e == nil || !r.OK || r.Errors != "" || len(r.Deferred) > 0 || len(r.Keys) > 0 || !r.Next.IsZero() || !plainEntity(e, r.Work.UID) || rejectsURL(e) {
		return nil, nil
	}
	room := readyRooms.Get().(*readyRoom)
	defer room.release()
	var conflicts []string
	if room.found, conflicts = entitysearch.AppendRows(room.found, e); len(conflicts) > 0 {
		return nil, nil
	}
	var err error
	if room.keys, err = s.searchKeys(ctx, room.keys, room.found); err != nil {
		return nil, err
	}
	for i, row := range room.found {
		if strings.HasPrefix(row.Key, entitysearch.RelationPrefix) {
			return nil, nil // a field that looks like a relation
		}
		if !row.Derived {
			room.rows = append(room.rows, behindRow(row, room.keys[i]))
		}
	}
	out := &Ready{uid: r.Work.UID, hash: r.Hash, cache: r.Cache, relations: make([]link, 0, len(r.Relations))}
	for _, l := range r.related() {
		if !room.known[l] {
			room.known[l] = true
			out.relations = append(out.relations, l)
		}
	}
	room.text = behind.Append(room.text[:0], room.rows)
	out.rows = string(room.text)
	e.SetMetadata("etag", etagPlace)
	e["relations"] = relationsPlace
	room.text = e.AppendJSONIn(room.text[:0], catalogcommon.KeyOrder(r.Processed))
	text := room.text
	var once1, once2 bool
	out.etagAt, once1 = onlyPlace(text, etagPlace)
	out.relationsAt, once2 = onlyPlace(text, quotedRelationsPlace)
	if !once1 || !once2 || out.etagAt > out.relationsAt {
		return nil, nil // somebody wrote the very same words
	}
	out.text = string(slices.Delete(text, out.relationsAt, out.relationsAt+len(quotedRelationsPlace)))
	return out, nil
}

// readyRoom is room for what MakeReady and complete work with, of one entity
// after the other.
type readyRoom struct {
	found []entitysearch.Row
	keys  []int64
	rows  []behind.Row
	text  []byte
	known map[link]bool // relations
}

var readyRooms = sync.Pool{New: func() any { return &readyRoom{known: map[link]bool{}} }}

func (r *readyRoom) release() {
	if cap(r.text) > 1<<20 || cap(r.found) > 1<<12 || len(r.known) > 1<<12 {
		return // let the collector have the rare huge one
	}
	clear(r.found)
	clear(r.rows)
	clear(r.known)
	r.found, r.keys, r.rows, r.text = r.found[:0], r.keys[:0], r.rows[:0], r.text[:0]
	readyRooms.Put(r)
}

func onlyPlace(text []byte, part string) (at int, once bool) {
	at = bytes.Index(text, []byte(part))
	return at, at >= 0 && !bytes.Contains(text[at+1:], []byte(part))
}

// plainEntity reports whether an entity has nothing of what its final form
// gets: taking that from the final form leaves the entity.
func plainEntity(e catalogcommon.Entity, uid string) bool {
	_, related := e["relations"]
	_, hasStatus := e["status"]
	metadata := e.Metadata()
	_, tagged := metadata["etag"]
	return !related && !hasStatus && !tagged && metadata["uid"] == uid
}

// rejectsURL reports whether the final form has other links than the entity.
func rejectsURL(e catalogcommon.Entity) bool {
	for _, name := range linkAnnotations {
		if v, ok := e.LookupAnnotation(name); ok && catalogcommon.IsScriptURL(v) {
			return true
		}
	}
	return false
}

// searchKeys appends the ids of the keys of rows, and makes those that are new.
func (s *Store) searchKeys(ctx context.Context, ids []int64, rows []entitysearch.Row) ([]int64, error) {
	missing := false
	s.mu.Lock()
	for _, r := range rows {
		id, ok := s.keys[r.Key]
		ids = append(ids, id)
		missing = missing || !ok && !r.Derived
	}
	s.mu.Unlock()
	if !missing {
		return ids, nil
	}
	var known map[string]int64
	err := s.transaction(ctx, func(t *tx) (err error) {
		known, err = t.keyIDs([]final{{rows: rows}})
		return err
	})
	ids = ids[:len(ids)-len(rows)]
	for _, r := range rows {
		ids = append(ids, known[r.Key])
	}
	return ids, err
}

func behindRow(r entitysearch.Row, key int64) behind.Row {
	out := behind.Row{Key: key, Item: r.Item, Null: r.Null}
	if !r.Null {
		out.Value = catalogcommon.Storable(r.Value)
		if r.Original != r.Value {
			out.Original = catalogcommon.Storable(r.Original)
		}
	}
	return out
}

// readyFinal is the final form of an entity that is new.
type readyFinal struct {
	text, hash string
	rows       string // as in search_behind
	// doubtful says that something belongs into it that is not there.
	doubtful bool
}

// complete makes the final form. keys has the ids of the keys of relations.
func (r *Ready) complete(relations []catalogcommon.EntityRelation, keys map[string]int64) readyFinal {
	room := readyRooms.Get().(*readyRoom)
	defer room.release()
	text := room.text
	relations = catalogcommon.SortRelations(relations)
	found, conflicts := entitysearch.RelationRows(relations)
	out := readyFinal{rows: r.rows, doubtful: len(conflicts) > 0}
	if len(found) > 0 {
		for _, row := range found {
			room.rows = append(room.rows, behindRow(row, keys[row.Key]))
		}
		// Every entity has rows, so there is something before the comma.
		text = append(append(text, r.rows[:len(r.rows)-1]...), ',')
		at := len(text)
		text = behind.Append(text, room.rows)
		out.rows = string(slices.Delete(text, at, at+1)) // its bracket
	}
	text = append(text[:0], r.text[:r.relationsAt]...)
	text = catalogcommon.AppendRelations(text, relations)
	text = append(text, r.text[r.relationsAt:]...)
	out.hash = catalogcommon.HashJSON(text)
	copy(text[r.etagAt:], out.hash)
	out.text = string(text)
	room.text = text
	return out
}

func nullable(s string) any { return plain(sql.NullString{String: s, Valid: s != ""}) }
