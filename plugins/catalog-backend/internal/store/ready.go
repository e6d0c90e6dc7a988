package store

import (
	"context"
	"database/sql"
	"strings"

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
const relationsPlace = "(the relations of the final form stand here)"

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
	found, conflicts := entitysearch.Rows(e)
	if len(conflicts) > 0 {
		return nil, nil
	}
	ids, err := s.searchKeys(ctx, found)
	if err != nil {
		return nil, err
	}
	out := &Ready{uid: r.Work.UID, hash: r.Hash, cache: r.Cache, relations: make([]link, 0, len(r.Relations))}
	rows := make([]behind.Row, 0, len(found))
	for _, row := range found {
		if strings.HasPrefix(row.Key, entitysearch.RelationPrefix) {
			return nil, nil // a field that looks like a relation
		}
		if !row.Derived {
			rows = append(rows, behindRow(row, ids[row.Key]))
		}
	}
	out.rows = string(behind.Append(nil, rows))
	known := make(map[link]bool, len(r.Relations))
	for _, l := range r.related() {
		if !known[l] {
			known[l] = true
			out.relations = append(out.relations, l)
		}
	}
	e.SetMetadata("etag", etagPlace)
	e["relations"] = relationsPlace
	text := string(e.AppendJSONIn(make([]byte, 0, len(r.Processed)+200), catalogcommon.KeyOrder(r.Processed)))
	var once1, once2 bool
	out.etagAt, once1 = onlyPlace(text, etagPlace)
	out.relationsAt, once2 = onlyPlace(text, `"`+relationsPlace+`"`)
	if !once1 || !once2 || out.etagAt > out.relationsAt {
		return nil, nil // somebody wrote the very same words
	}
	out.text = text[:out.relationsAt] + text[out.relationsAt+len(relationsPlace)+2:]
	return out, nil
}

func onlyPlace(text, part string) (at int, once bool) {
	at = strings.Index(text, part)
	return at, at >= 0 && !strings.Contains(text[at+1:], part)
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

// searchKeys returns the ids of the keys of rows, and makes those that are new.
func (s *Store) searchKeys(ctx context.Context, rows []entitysearch.Row) (map[string]int64, error) {
	ids := make(map[string]int64, len(rows))
	missing := false
	s.mu.Lock()
	for _, r := range rows {
		if id, ok := s.keys[r.Key]; ok || r.Derived {
			ids[r.Key] = id
		} else {
			missing = true
		}
	}
	s.mu.Unlock()
	if !missing {
		return ids, nil
	}
	err := s.transaction(ctx, func(t *tx) (err error) {
		ids, err = t.keyIDs([]final{{rows: rows}})
		return err
	})
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
	relations = catalogcommon.SortRelations(relations)
	found, conflicts := entitysearch.RelationRows(relations)
	out := readyFinal{rows: r.rows, doubtful: len(conflicts) > 0}
	if len(found) > 0 {
		rows := make([]behind.Row, len(found))
		for i, row := range found {
			rows[i] = behindRow(row, keys[row.Key])
		}
		// Every entity has rows, so there is something before the comma.
		out.rows = r.rows[:len(r.rows)-1] + "," + string(behind.Append(nil, rows)[1:])
	}
	text := make([]byte, 0, len(r.text)+80*len(relations)+2)
	text = append(text, r.text[:r.relationsAt]...)
	text = catalogcommon.AppendRelations(text, relations)
	text = append(text, r.text[r.relationsAt:]...)
	out.hash = catalogcommon.HashJSON(text)
	copy(text[r.etagAt:], out.hash)
	out.text = string(text)
	return out
}

func nullable(s string) any { return plain(sql.NullString{String: s, Valid: s != ""}) }
