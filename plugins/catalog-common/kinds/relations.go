package kinds

import (
	"cmp"
	"fmt"
	"slices"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Link says that a field of spec holds one entity reference or several, and
// what they mean.
type Link struct {
	// Field is the name of the field in spec.
	Field string
	// Relation is the relation type from the entity to the target.
	Relation string
	// Reverse is the relation type from the target to the entity. Well-known
	// types have a reverse one without it; others without it have none.
	Reverse string
	// DefaultKind is the kind of references that state none. If it is empty,
	// references must state their kind.
	DefaultKind string
}

// Relations returns the relations that the fields of the entity express: for
// each reference the relation from the entity to its target, followed by the
// reverse one. References without a namespace are in the entity's own. Refs
// keep the case in which they are written.
//
// It does not validate the entity; a reference that cannot be read, or a field
// of another shape, is a *RelationError.
func (k *Kind) Relations(e catalogcommon.Entity) ([]catalogcommon.Relation, error) {
	if len(k.links) == 0 {
		return nil, nil
	}
	spec, self := e.Spec(), e.Ref()
	var out []catalogcommon.Relation
	for _, l := range k.links {
		refs, err := references(spec[l.Field])
		if err != nil {
			return nil, &RelationError{Field: "spec." + l.Field, Err: err}
		}
		out = slices.Grow(out, 2*len(refs))
		for _, ref := range refs {
			target, err := catalogcommon.RefFromValue(ref, catalogcommon.RefDefaults{Kind: l.DefaultKind, Namespace: self.Namespace})
			if err != nil {
				return nil, &RelationError{Field: "spec." + l.Field, Err: err}
			}
			out = append(out, catalogcommon.Relation{Source: self, Type: l.Relation, Target: target})
			if reverse := cmp.Or(l.Reverse, catalogcommon.ReverseRelation(l.Relation)); reverse != "" {
				out = append(out, catalogcommon.Relation{Source: target, Type: reverse, Target: self})
			}
		}
	}
	return out, nil
}

func references(v any) ([]any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []any:
		return v, nil
	case string:
		if v == "" {
			return nil, nil
		}
		return []any{v}, nil
	case map[string]any:
		return []any{v}, nil
	default:
		return nil, fmt.Errorf("expected an entity reference, found %v", v)
	}
}

// RelationError reports a field that should hold references and does not.
type RelationError struct {
	Field string // for example "spec.dependsOn"
	Err   error
}

func (e *RelationError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *RelationError) Unwrap() error { return e.Err }

// ErrorName returns the name of the error in serialised form.
func (e *RelationError) ErrorName() string {
	if named, ok := e.Err.(interface{ ErrorName() string }); ok {
		return named.ErrorName()
	}
	return "TypeError"
}
