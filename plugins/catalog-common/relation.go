package catalogcommon

import (
	"slices"
	"strings"

	"github.com/flytower/flytower/internal/jsonvalue"
)

// Relation is a directed link between two entities, as a processor emits it.
// The reverse direction is a second Relation. The target need not exist.
type Relation struct {
	Source Ref
	Type   string
	Target Ref
}

// EntityRelation is a relation as an entity carries it: seen from its source.
type EntityRelation struct {
	Type      string `json:"type"`
	TargetRef string `json:"targetRef"`
}

// Relations returns the relations that the entity carries. Items without a
// type or a target are left out.
func (e Entity) Relations() []EntityRelation {
	items, _ := e["relations"].([]any)
	out := make([]EntityRelation, 0, len(items))
	for _, item := range items {
		m, _ := item.(map[string]any)
		r := EntityRelation{Type: stringAt(m, "type"), TargetRef: stringAt(m, "targetRef")}
		if r.Type != "" && r.TargetRef != "" {
			out = append(out, r)
		}
	}
	return out
}

// SortRelations returns the distinct relations, sorted by type and then by
// target: the order in which an entity carries them.
func SortRelations(relations []EntityRelation) []EntityRelation {
	sorted := slices.Clone(relations)
	slices.SortFunc(sorted, func(a, b EntityRelation) int {
		if c := jsonvalue.CompareKeys(a.Type, b.Type); c != 0 {
			return c
		}
		return jsonvalue.CompareKeys(a.TargetRef, b.TargetRef)
	})
	return slices.Compact(sorted)
}

// SetRelations replaces the relations that the entity carries by the distinct
// ones of relations, in their order.
func (e Entity) SetRelations(relations []EntityRelation) {
	sorted := SortRelations(relations)
	items := make([]any, len(sorted))
	for i, r := range sorted {
		items[i] = map[string]any{"type": r.Type, "targetRef": r.TargetRef}
	}
	e["relations"] = items
}

// AppendRelations appends the canonical JSON text of the array of relations of
// an entity, which are sorted.
func AppendRelations(dst []byte, sorted []EntityRelation) []byte {
	dst = append(dst, '[')
	for i, r := range sorted {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = jsonvalue.AppendString(append(dst, `{"targetRef":`...), r.TargetRef)
		dst = jsonvalue.AppendString(append(dst, `,"type":`...), r.Type)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// RelatedTo returns the targets of the relations of one type, optionally only
// those of one kind ("" for all). Type and kind are compared without case.
func (e Entity) RelatedTo(relationType, kind string) []Ref {
	var out []Ref
	for _, r := range e.Relations() {
		if !strings.EqualFold(r.Type, relationType) {
			continue
		}
		ref, err := ParseRef(r.TargetRef, RefDefaults{})
		if err == nil && (kind == "" || strings.EqualFold(ref.Kind, kind)) {
			out = append(out, ref)
		}
	}
	return out
}
