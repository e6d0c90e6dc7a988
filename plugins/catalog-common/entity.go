package catalogcommon

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/flytower/flytower/internal/jsonvalue"
)

// Entity is a catalog entity: a JSON object whose well-known fields have
// accessors and whose other fields pass through untouched.
//
// The representation is the JSON object itself, a map of JSON values (nil,
// bool, float64, string, []any, map[string]any). Processors read and change it
// like any map, validators and the canonical encoder take it without a
// conversion, and fields that this version does not know survive. What is kept
// in large numbers (stored entities, responses) is the canonical JSON text of
// an entity, never the map, so its size in memory does not matter there.
//
// An Entity is a reference: copying the variable shares the content. Clone it
// before changing one that somebody else may hold. It is not safe for
// concurrent use while one goroutine changes it.
//
// Accessors tolerate every shape: a field that is absent or of another type
// yields the zero value.
type Entity map[string]any

// ParseEntity reads an entity from JSON text. It only requires an object;
// see [ValidateEnvelope] for what the catalog demands of it.
func ParseEntity(text []byte) (Entity, error) {
	v, err := jsonvalue.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read entity: %w", err)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("read entity: expected a JSON object, got %s", jsonvalue.TypeOf(v))
	}
	return Entity(m), nil
}

// NormalizeEntity returns a deep copy of e that holds JSON values only. Code
// that takes entities from authors calls it once at the boundary, so that they
// may write ints, []string, map[string]string or their own structs.
func NormalizeEntity(e Entity) (Entity, error) {
	v, err := jsonvalue.Normalize(map[string]any(e))
	if err != nil {
		return nil, fmt.Errorf("normalise entity: %w", err)
	}
	m, _ := v.(map[string]any)
	return Entity(m), nil
}

// Clone returns a deep copy.
func (e Entity) Clone() Entity { return Entity(jsonvalue.CloneObject(e)) }

// AppendJSON appends the canonical JSON text: see [jsonvalue.Append].
func (e Entity) AppendJSON(dst []byte) []byte { return jsonvalue.Append(dst, map[string]any(e)) }

// MarshalJSON returns the canonical JSON text.
//
// Note that json.Marshal escapes HTML characters in what a marshaler returns;
// use AppendJSON, or an Encoder with SetEscapeHTML(false), for wire output.
func (e Entity) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil), nil }

// KeyOrder is the order in which the keys of an entity's objects were written,
// which an [Entity] does not know: forms show the fields of a template in it.
// It is a JSON text of the same shape, of which only the keys matter; the text
// of an entity is the order of its keys. Keys that it does not have come behind
// those that it has, sorted.
type KeyOrder string

// Ordered is a JSON value with the order of its keys.
type Ordered struct {
	Value any
	Order KeyOrder
}

// At returns the order in which the value at a path (keys of objects, indices
// of lists) has another one. Where there is no such place nothing changes.
func (o KeyOrder) At(path []string, order KeyOrder) KeyOrder {
	return KeyOrder(jsonvalue.Replace(string(o), path, string(order)))
}

// AppendJSONIn appends the JSON text with the keys in an order.
func (e Entity) AppendJSONIn(dst []byte, order KeyOrder) []byte {
	return jsonvalue.AppendLike(dst, map[string]any(e), string(order))
}

// TextIn returns the JSON text with the keys in an order, and its hash.
func (e Entity) TextIn(order KeyOrder) (text, hash string) {
	encode(func(dst []byte) []byte { return e.AppendJSONIn(dst, order) }, func(raw []byte) { text, hash = string(raw), HashJSON(raw) })
	return text, hash
}

var encodeBuffers = sync.Pool{New: func() any { return new([]byte) }}

// Hash returns the content hash: the SHA-1 of the canonical JSON text, in
// lower-case hex. Entities that differ only in key order or number notation
// have the same hash.
func (e Entity) Hash() (hash string) {
	encode(e.AppendJSON, func(text []byte) { hash = HashJSON(text) })
	return hash
}

// encode lends a text to a function.
func encode(write func(dst []byte) []byte, use func(text []byte)) {
	buf := encodeBuffers.Get().(*[]byte)
	*buf = write((*buf)[:0])
	use(*buf)
	if cap(*buf) <= 1<<20 { // let the collector have the rare huge one
		encodeBuffers.Put(buf)
	}
}

// HashJSON returns the SHA-1 of a text in lower-case hex: Hash for an entity
// that is already in canonical JSON text.
func HashJSON(text []byte) string {
	sum := sha1.Sum(text)
	return hex.EncodeToString(sum[:])
}

// APIVersion returns the apiVersion field.
func (e Entity) APIVersion() string { return stringAt(e, "apiVersion") }

// Kind returns the kind field in its original case.
func (e Entity) Kind() string { return stringAt(e, "kind") }

// Metadata returns the metadata object, or nil. Changes to it change the entity.
func (e Entity) Metadata() map[string]any { return objectAt(e, "metadata") }

// Spec returns the spec object, or nil. Changes to it change the entity.
func (e Entity) Spec() map[string]any { return objectAt(e, "spec") }

// Name returns metadata.name in its original case.
func (e Entity) Name() string { return stringAt(e.Metadata(), "name") }

// Namespace returns metadata.namespace, or DefaultNamespace if there is none.
func (e Entity) Namespace() string {
	if ns := stringAt(e.Metadata(), "namespace"); ns != "" {
		return ns
	}
	return DefaultNamespace
}

// Title returns metadata.title.
func (e Entity) Title() string { return stringAt(e.Metadata(), "title") }

// Description returns metadata.description.
func (e Entity) Description() string { return stringAt(e.Metadata(), "description") }

// UID returns metadata.uid, which the catalog assigns when it stores the entity.
func (e Entity) UID() string { return stringAt(e.Metadata(), "uid") }

// Etag returns metadata.etag, which changes whenever the content changes.
func (e Entity) Etag() string { return stringAt(e.Metadata(), "etag") }

// Type returns spec.type.
func (e Entity) Type() string { return stringAt(e.Spec(), "type") }

// Ref returns the reference of the entity, with the parts in original case.
func (e Entity) Ref() Ref { return Ref{Kind: e.Kind(), Namespace: e.Namespace(), Name: e.Name()} }

// Annotation returns the value of one annotation, or "".
func (e Entity) Annotation(key string) string {
	return stringAt(objectAt(e.Metadata(), "annotations"), key)
}

// LookupAnnotation returns the value of one annotation and whether it is
// present with a string value.
func (e Entity) LookupAnnotation(key string) (string, bool) {
	s, ok := objectAt(e.Metadata(), "annotations")[key].(string)
	return s, ok
}

// SetAnnotation sets an annotation, and creates the objects above it if needed.
func (e Entity) SetAnnotation(key, value string) {
	ensureObject(ensureObject(e, "metadata"), "annotations")[key] = value
}

// DeleteAnnotation removes an annotation. The annotations object stays, even if empty.
func (e Entity) DeleteAnnotation(key string) {
	delete(objectAt(e.Metadata(), "annotations"), key)
}

// Label returns the value of one label, or "".
func (e Entity) Label(key string) string { return stringAt(objectAt(e.Metadata(), "labels"), key) }

// Tags returns the strings of metadata.tags.
func (e Entity) Tags() []string { return Strings(e.Metadata()["tags"]) }

// SpecString returns a string field of spec, or "".
func (e Entity) SpecString(key string) string { return stringAt(e.Spec(), key) }

// SpecStrings returns the strings of an array field of spec.
func (e Entity) SpecStrings(key string) []string { return Strings(e.Spec()[key]) }

// SetMetadata sets a field of metadata.
func (e Entity) SetMetadata(key string, value any) { ensureObject(e, "metadata")[key] = value }

// SetSpec sets a field of spec.
func (e Entity) SetSpec(key string, value any) { ensureObject(e, "spec")[key] = value }

// Strings returns the string items of a JSON array (or of a []string), in
// order. A single string counts as an array of one.
func Strings(v any) []string {
	switch v := v.(type) {
	case []any:
		out := make([]string, 0, len(v))
		for _, item := range v {
			if s, ok := item.(string); ok {
				out = append(out, s)
			}
		}
		return out
	case []string:
		return v
	case string:
		return []string{v}
	}
	return nil
}

func stringAt(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

func objectAt(m map[string]any, key string) map[string]any {
	switch o := m[key].(type) {
	case map[string]any:
		return o
	case Entity:
		return o
	}
	return nil
}

func ensureObject(m map[string]any, key string) map[string]any {
	if o, ok := m[key].(map[string]any); ok && o != nil {
		return o
	}
	o := map[string]any{}
	if strs, ok := m[key].(map[string]string); ok { // written by an author, not yet normalised
		for k, v := range strs {
			o[k] = v
		}
	}
	m[key] = o
	return o
}
