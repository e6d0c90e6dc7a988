// Package entitysearch turns a final entity into its search rows: the pairs of
// key and value by which filters, facets, ordering and permission rules see it.
// The search table and the in-memory index are both built from these rows.
//
//	rows, conflicts := entitysearch.Rows(entity)
//	// {kind component Component}, {metadata.name website Website},
//	// {spec.type service service}, {relations.ownedby group:default/team-a ...}, ...
package entitysearch

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/flytower/flytower/internal/jsonvalue"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// MaxLength is the greatest length of keys and values, in UTF-16 code units. A
// longer key has no row; a longer value has a row without value.
const MaxLength = 200

// Row is one fact to search for.
type Row struct {
	// Key is the path of the value in the entity, in lower case.
	Key string
	// Value is the text of the value in lower case; "" if Null.
	Value string
	// Original is the text of the value as it is written; "" if Null.
	Original string
	// Null says that there is no value to compare: it is null, or too long. The
	// key still exists.
	Null bool
	// Item says that the value is a string in an array: there is also a row
	// Key.Value = true.
	Item bool
	// Derived marks such a row. A store that keeps Item need not keep it.
	Derived bool
}

// Fold is how keys and values are made comparable, on both sides of a search.
func Fold(s string) string { return strings.ToLower(s) }

// Rows returns the search rows of an entity, without duplicates and always in
// the same order.
//
// Every scalar has a row under its path, with dots between the names. The items
// of an array stand under the path of the array, and each string s in it also
// has a row path.s = true. Relations stand under relations.<type>, status and
// etag are left out. A missing namespace counts as the default one. Characters
// that databases do not keep are left out, see [catalogcommon.Storable].
//
// conflicts names the keys that occur in several cases, such as spec.foo and
// spec.Foo, once each. Their rows are merged; a caller may want to tell the
// entity's owner.
func Rows(e catalogcommon.Entity) (rows []Row, conflicts []string) {
	return AppendRows(make([]Row, 0, 48), e)
}

// AppendRows is [Rows], and appends the rows to others, which do not count as
// duplicates of them.
func AppendRows(to []Row, e catalogcommon.Entity) (rows []Row, conflicts []string) {
	f := newFlattener(to)
	defer f.release()
	f.object(e)

	f.path = f.path[:0]
	f.emitAt("metadata.name", e.Metadata()["name"])
	f.emitAt("metadata.namespace", e.Namespace())
	f.emitAt("metadata.uid", e.Metadata()["uid"])
	relations, _ := e["relations"].([]any)
	for _, relation := range relations {
		relation, _ := relation.(map[string]any)
		if relationType, ok := relation["type"].(string); ok {
			f.emitAt(RelationPrefix+relationType, relation["targetRef"])
		}
	}
	return f.rows, f.conflicts
}

// RelationRows returns the rows that the relations of an entity have among
// [Rows], and the conflicts among them.
func RelationRows(relations []catalogcommon.EntityRelation) (rows []Row, conflicts []string) {
	f := newFlattener(make([]Row, 0, len(relations)))
	defer f.release()
	for _, r := range relations {
		f.emitAt(RelationPrefix+r.Type, r.TargetRef)
	}
	return f.rows, f.conflicts
}

// RelationPrefix begins the keys of relations.
const RelationPrefix = "relations."

type identity struct {
	key, value string
	null       bool
}

type flattener struct {
	path      []byte // of the value being visited, in original case
	rows      []Row
	known     map[identity]struct{}
	raw       map[string]string // lower-case key to the first original one
	conflicts []string
	// names has the paths that were met, also in entities before, so that those
	// that all entities have are made once.
	names map[string]name
	// what is being emitted is an item of an array, or derived from one
	item, derived bool
}

// name is a path as it is kept, and its lower-case form.
type name struct{ raw, key string }

// flatteners are those that rest: their maps take longer to make than to clear.
var flatteners = sync.Pool{New: func() any {
	return &flattener{known: make(map[identity]struct{}, 48), raw: make(map[string]string, 48), names: map[string]name{}}
}}

func newFlattener(rows []Row) *flattener {
	f := flatteners.Get().(*flattener)
	f.rows, f.conflicts = rows, nil
	return f
}

// maxResting bounds the maps of flatteners that rest, and maxName the paths in
// them, in bytes.
const maxResting, maxName = 512, 100

func (f *flattener) release() {
	if len(f.known) > maxResting {
		return // let the collector have the rare huge one
	}
	clear(f.known)
	clear(f.raw)
	f.rows, f.conflicts, f.path = nil, nil, f.path[:0]
	flatteners.Put(f)
}

// special are the paths that the walk leaves out.
func special(path []byte) bool {
	switch string(path) {
	case "attachments", "relations", "status", "metadata.name", "metadata.namespace", "metadata.uid", "metadata.etag":
		return true
	}
	return false
}

func (f *flattener) visit(v any) {
	if special(f.path) {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		f.object(v)
	case []any:
		for _, item := range v {
			s, isString := item.(string)
			f.item = isString
			f.visit(item)
			f.item = false
			if isString {
				f.member(s)
			}
		}
	default:
		f.emit(v)
	}
}

func (f *flattener) object(m map[string]any) {
	var room [24]string
	keys := room[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, jsonvalue.CompareKeys)
	length := len(f.path)
	for _, k := range keys {
		if length > 0 {
			f.path = append(f.path, '.')
		}
		f.path = append(f.path, k...)
		f.visit(m[k])
		f.path = f.path[:length]
	}
}

// member emits path.s = true, unless there is such a key already in any case.
func (f *flattener) member(s string) {
	length := len(f.path)
	f.path = append(append(f.path, '.'), s...)
	if n := f.name(); f.raw[n.key] == "" {
		f.derived = true
		f.emitAs(n, true)
		f.derived = false
	}
	f.path = f.path[:length]
}

// name returns the name of the current path.
func (f *flattener) name() name {
	if n, ok := f.names[string(f.path)]; ok {
		return n
	}
	path := string(f.path)
	n := name{raw: catalogcommon.Storable(path)}
	n.key = Fold(n.raw)
	if len(path) <= maxName && len(f.names) < maxResting {
		f.names[path] = n
	}
	return n
}

func (f *flattener) emitAt(path string, v any) {
	f.path = append(f.path[:0], path...)
	f.emit(v)
}

// emit adds the row of a scalar at the current path.
func (f *flattener) emit(v any) { f.emitAs(f.name(), v) }

func (f *flattener) emitAs(n name, v any) {
	key := n.key
	if first, there := f.raw[key]; !there {
		f.raw[key] = n.raw
	} else if first != n.raw && !slices.Contains(f.conflicts, key) {
		f.conflicts = append(f.conflicts, key)
	}
	if TooLong(key) {
		return
	}
	row := Row{Key: key, Item: f.item, Derived: f.derived}
	switch v := v.(type) {
	case nil:
		row.Null = true
	case string:
		row.Original = catalogcommon.Storable(v)
	case bool:
		row.Original = strconv.FormatBool(v)
	case float64:
		row.Original = jsonvalue.FormatNumber(v)
	default:
		return
	}
	row.Value = Fold(row.Original)
	if TooLong(row.Value) {
		row.Value, row.Original, row.Null = "", "", true
	}
	id := identity{row.Key, row.Value, row.Null}
	if _, there := f.known[id]; there {
		return
	}
	f.known[id] = struct{}{}
	f.rows = append(f.rows, row)
}

// TooLong reports whether a key or value is longer than [MaxLength].
func TooLong(s string) bool {
	// There are never more UTF-16 code units than bytes.
	if len(s) <= MaxLength {
		return false
	}
	units := utf8.RuneCountInString(s)
	for _, r := range s {
		if r > 0xFFFF {
			units++
		}
	}
	return units > MaxLength
}
