package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"

	"github.com/flytower/flytower/apierr"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// collector keeps what processors emit in one run. It implements
// [catalognode.Emitter].
type collector struct {
	ref              catalogcommon.Ref
	location, origin catalogcommon.LocationRef

	mu     sync.Mutex
	closed bool
	found  emitted
}

type emitted struct {
	deferred  []Deferred
	relations []catalogcommon.Relation
	errors    []error
	keys      []string
	orders    []keyOrder
}

// keyOrder is the order of keys at a place of the entity.
type keyOrder struct {
	path  []string
	order catalogcommon.KeyOrder
}

// maxEmitted bounds what the processing of one entity may lead to.
const maxEmitted = 200_000

func (c *collector) add(fn func(*emitted)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return // the run is over: nobody would keep it
	}
	if len(c.found.deferred)+len(c.found.relations)+len(c.found.keys)+len(c.found.errors) == maxEmitted {
		c.found.errors = append(c.found.errors, apierr.Input("processing %s led to more than %d entities, relations, keys and errors; split the source", c.ref, maxEmitted))
		c.closed = true
		return
	}
	fn(&c.found)
}

// snapshot returns what was deferred so far.
func (c *collector) snapshot() []Deferred {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.found.deferred)
}

// close ends the run.
func (c *collector) close() emitted {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.found
}

// Entity implements [catalognode.Emitter].
func (c *collector) Entity(location catalogcommon.LocationRef, entity catalogcommon.Entity, opts ...catalognode.EmitOption) {
	var o catalognode.EmitOptions
	for _, opt := range opts {
		opt(&o)
	}
	key := location.String()
	if o.LocationKey != nil {
		key = *o.LocationKey
	}
	at := place(location.String(), o.Document, o.Line)
	if err := catalogcommon.ValidateEnvelope(entity); err != nil {
		bad := apierr.Wrap(apierr.KindInput, err, "Entity envelope failed validation at "+location.String())
		bad.Fields = at
		c.Error(location, bad)
		return
	}
	if entity.Ref().Equal(c.ref) {
		return // an entity does not lead to itself
	}
	if err := storable([]string{entity.Ref().String()}, location.String(), key); err != nil {
		bad := apierr.Input("an entity at %s: %w", location, err)
		bad.Fields = at
		c.Error(location, bad)
		return
	}
	if a, ok := entity.Metadata()["annotations"]; ok {
		if _, isObject := a.(map[string]any); !isObject {
			bad := apierr.Input("%s at %s: metadata.annotations must be an object", entity.Ref(), location)
			bad.Fields = at
			bad.Fields["pointer"] = "/metadata/annotations"
			c.Error(location, bad)
			return
		}
	}
	entity = entity.Clone()
	entity.SetAnnotation(catalogcommon.AnnotationOriginLocation, c.origin.String())
	entity.SetAnnotation(catalogcommon.AnnotationLocation, location.String())
	c.add(func(e *emitted) { e.deferred = append(e.deferred, Deferred{entity, key, o.Document, o.Line, o.Order}) })
}

// Location implements [catalognode.Emitter].
func (c *collector) Location(location catalogcommon.LocationRef, optional bool) {
	if err := storable(nil, location.String()); err != nil {
		c.Error(c.location, apierr.Input("a location: %w", err))
		return
	}
	entity := LocationEntity(location, optional)
	entity.SetAnnotation(catalogcommon.AnnotationLocation, c.location.String())
	entity.SetAnnotation(catalogcommon.AnnotationOriginLocation, c.origin.String())
	c.add(func(e *emitted) {
		e.deferred = append(e.deferred, Deferred{Entity: entity, LocationKey: c.location.String()})
	})
}

// LocationEntity returns the Location entity of a location, handed in at the
// location itself.
func LocationEntity(location catalogcommon.LocationRef, optional bool) catalogcommon.Entity {
	spec := map[string]any{"type": location.Type, "target": location.Target}
	if optional {
		spec["presence"] = "optional"
	}
	return catalogcommon.Entity{
		"apiVersion": "backstage.io/v1alpha1",
		"kind":       "Location",
		"metadata": map[string]any{
			"name": location.EntityName(),
			"annotations": map[string]any{
				catalogcommon.AnnotationLocation:       location.String(),
				catalogcommon.AnnotationOriginLocation: location.String(),
			},
		},
		"spec": spec,
	}
}

// Relation implements [catalognode.Emitter].
func (c *collector) Relation(r catalogcommon.Relation) {
	if err := storableRelation(r); err != nil {
		c.Error(c.location, apierr.Input("a relation %s: %w", r.Type, err))
		return
	}
	c.add(func(e *emitted) {
		if e.relations == nil {
			e.relations = make([]catalogcommon.Relation, 0, 16)
		}
		e.relations = append(e.relations, r)
	})
}

// Error implements [catalognode.Emitter].
func (c *collector) Error(location catalogcommon.LocationRef, err error) {
	c.add(func(e *emitted) { e.errors = append(e.errors, located{err, location.String()}) })
}

// maxRef bounds refs, in bytes. One that passes the policies is far shorter,
// and PostgreSQL has an index of them.
const maxRef = 2000

// storable refuses refs, and texts beside them, that no database can keep.
func storable(refs []string, texts ...string) error {
	for _, ref := range refs {
		if len(ref) > maxRef {
			return apierr.Input("the ref %.100q… has %d bytes, and at most %d are possible", ref, len(ref), maxRef)
		}
	}
	for _, text := range append(texts, refs...) {
		if !catalogcommon.IsStorable(text) {
			return apierr.Input("%.1000q has the character U+0000, or is no UTF-8", text)
		}
	}
	return nil
}

// storableRelation is storable for a relation. It makes no texts of refs that
// are fine for sure: entities have many.
func storableRelation(r catalogcommon.Relation) error {
	const room = 100 // more than what stands between the parts of a ref, and the default namespace
	sure := catalogcommon.IsStorable(r.Type)
	for _, ref := range []catalogcommon.Ref{r.Source, r.Target} {
		sure = sure && len(ref.Kind)+len(ref.Namespace)+len(ref.Name) <= maxRef-room &&
			catalogcommon.IsStorable(ref.Kind) && catalogcommon.IsStorable(ref.Namespace) && catalogcommon.IsStorable(ref.Name)
	}
	if sure {
		return nil
	}
	return storable([]string{r.Source.String(), r.Target.String()}, r.Type)
}

// maxKey bounds a refresh key; longer ones are kept by their digest.
const maxKey = 255

// StoredKey returns the form in which a refresh key is kept.
func StoredKey(key string) string {
	key = catalogcommon.Storable(key)
	if len(key) <= maxKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return strings.ToValidUTF8(key[:180], "") + "#sha256:" + hex.EncodeToString(sum[:])
}

// KeyOrder implements [catalognode.Emitter].
func (c *collector) KeyOrder(path []string, order catalogcommon.KeyOrder) {
	c.add(func(e *emitted) { e.orders = append(e.orders, keyOrder{slices.Clone(path), order}) })
}

// Refresh implements [catalognode.Emitter].
func (c *collector) Refresh(key string) {
	key = StoredKey(key)
	c.add(func(e *emitted) { e.keys = append(e.keys, key) })
}
