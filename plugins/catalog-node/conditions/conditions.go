// Package conditions has the conditions that permission policies put on
// entities of the catalog.
//
//	return conditions.Entity.When(permissionnode.AnyOf(
//		conditions.IsEntityOwner(user.Info.OwnershipEntityRefs...),
//		conditions.IsEntityKind("Domain", "System"),
//	)), nil
//
// Values compare in any case, except refs.
package conditions

import (
	"github.com/flytower/flytower/core"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

// Entity is the type of resource that entities are.
var Entity = permissionnode.ResourceType{Plugin: "catalog", Type: catalognode.ResourceTypeEntity}

type keyValue struct {
	Annotation string  `json:"annotation,omitempty"`
	Label      string  `json:"label,omitempty"`
	Key        string  `json:"key,omitempty"`
	Value      *string `json:"value,omitempty"`
}

type kinds struct {
	Kinds []string `json:"kinds"`
}

type claims struct {
	Claims []string `json:"claims"`
}

var (
	hasAnnotation = permissionnode.NewRule[keyValue](Entity, "HAS_ANNOTATION")
	hasLabel      = permissionnode.NewRule[keyValue](Entity, "HAS_LABEL")
	hasMetadata   = permissionnode.NewRule[keyValue](Entity, "HAS_METADATA")
	hasSpec       = permissionnode.NewRule[keyValue](Entity, "HAS_SPEC")
	isEntityKind  = permissionnode.NewRule[kinds](Entity, "IS_ENTITY_KIND")
	isEntityOwner = permissionnode.NewRule[claims](Entity, "IS_ENTITY_OWNER")
)

// HasAnnotation holds for entities with the annotation, whatever its value.
func HasAnnotation(name string) core.PermissionCriteria {
	return hasAnnotation.With(keyValue{Annotation: name})
}

// HasAnnotationValue holds for entities whose annotation has the value.
func HasAnnotationValue(name, value string) core.PermissionCriteria {
	return hasAnnotation.With(keyValue{Annotation: name, Value: &value})
}

// HasLabel holds for entities with the label, whatever its value.
func HasLabel(name string) core.PermissionCriteria {
	return hasLabel.With(keyValue{Label: name})
}

// HasLabelValue holds for entities whose label has the value.
func HasLabelValue(name, value string) core.PermissionCriteria {
	return hasLabel.With(keyValue{Label: name, Value: &value})
}

// HasMetadata holds for entities with the key in their metadata, such as
// "tags" or "links.url".
func HasMetadata(key string) core.PermissionCriteria { return hasMetadata.With(keyValue{Key: key}) }

// HasMetadataValue holds for entities with the value at the key of their
// metadata.
func HasMetadataValue(key, value string) core.PermissionCriteria {
	return hasMetadata.With(keyValue{Key: key, Value: &value})
}

// HasSpec holds for entities with the key in their spec, such as "lifecycle".
func HasSpec(key string) core.PermissionCriteria { return hasSpec.With(keyValue{Key: key}) }

// HasSpecValue holds for entities with the value at the key of their spec.
func HasSpecValue(key, value string) core.PermissionCriteria {
	return hasSpec.With(keyValue{Key: key, Value: &value})
}

// IsEntityKind holds for entities of one of the kinds. Without any it holds
// for none.
func IsEntityKind(list ...string) core.PermissionCriteria {
	return isEntityKind.With(kinds{append([]string{}, list...)})
}

// IsEntityOwner holds for entities that one of the refs owns. Without any it
// holds for none.
func IsEntityOwner(refs ...string) core.PermissionCriteria {
	return isEntityOwner.With(claims{append([]string{}, refs...)})
}
