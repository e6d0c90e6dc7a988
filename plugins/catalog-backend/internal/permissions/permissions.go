// Package permissions publishes the permissions of the catalog and the rules
// with which policies restrict them to some entities.
package permissions

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/flight"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Reader finds the entities that a policy asks about.
type Reader interface {
	ByRefs(ctx context.Context, refs []string, filter query.Predicate) ([][]byte, error)
}

// All returns the permissions that the catalog asks for.
func All() []core.Permission {
	return []core.Permission{
		catalognode.PermissionEntityRead, catalognode.PermissionEntityCreate, catalognode.PermissionEntityDelete,
		catalognode.PermissionEntityRefresh, catalognode.PermissionEntityValidate,
		catalognode.PermissionLocationRead, catalognode.PermissionLocationCreate, catalognode.PermissionLocationDelete, catalognode.PermissionLocationAnalyze,
		catalognode.PermissionIngestionRead, catalognode.PermissionIngestionManage,
	}
}

// Register publishes permissions and rules.
func Register(registry core.PermissionsRegistryService, reader Reader) error {
	if err := registry.AddPermissions(All()...); err != nil {
		return err
	}
	return registry.AddResourceType(core.ResourceType{
		Type:        catalognode.ResourceTypeEntity,
		Permissions: []core.Permission{catalognode.PermissionEntityRead, catalognode.PermissionEntityDelete, catalognode.PermissionEntityRefresh},
		Rules:       Rules(),
		GetResources: func(ctx context.Context, refs []string) ([]any, error) {
			lower := make([]string, len(refs))
			for i, r := range refs {
				lower[i] = strings.ToLower(r)
			}
			found, err := reader.ByRefs(ctx, lower, nil)
			if err != nil {
				return nil, err
			}
			out := make([]any, len(found))
			for i, raw := range found {
				if raw == nil {
					continue
				}
				if out[i], err = catalogcommon.ParseEntity(raw); err != nil {
					return nil, err
				}
			}
			return out, nil
		},
	})
}

type params struct {
	Annotation string   `json:"annotation"`
	Label      string   `json:"label"`
	Key        string   `json:"key"`
	Value      *string  `json:"value"`
	Kinds      []string `json:"kinds"`
	Claims     []string `json:"claims"`
}

// Rules returns the rules, in the order in which they are published.
func Rules() []core.PermissionRule {
	return []core.PermissionRule{
		rule("HAS_ANNOTATION", "Allow entities with the specified annotation", oneKey("annotation", "Name of the annotation to match on", "Value of the annotation to match on"),
			func(e catalogcommon.Entity, p params) bool { return hasMember(e, "annotations", p.Annotation, p.Value) },
			func(p params) query.Predicate { return field("metadata.annotations."+p.Annotation, p.Value) }),
		rule("HAS_LABEL", "Allow entities with the specified label", oneKey("label", "Name of the label to match on", "Value of the label to match on"),
			func(e catalogcommon.Entity, p params) bool { return hasMember(e, "labels", p.Label, p.Value) },
			func(p params) query.Predicate { return field("metadata.labels."+p.Label, p.Value) }),
		rule("HAS_METADATA", "Allow entities with the specified metadata subfield", oneKey("key", "Property within the entities metadata to match on", "Value of the given property to match on"),
			func(e catalogcommon.Entity, p params) bool { return hasRow(e, "metadata."+p.Key, p.Value) },
			func(p params) query.Predicate { return field("metadata."+p.Key, p.Value) }),
		rule("HAS_SPEC", "Allow entities with the specified spec subfield", oneKey("key", "Property within the entities spec to match on", "Value of the given property to match on"),
			func(e catalogcommon.Entity, p params) bool { return hasRow(e, "spec."+p.Key, p.Value) },
			func(p params) query.Predicate { return field("spec."+p.Key, p.Value) }),
		rule("IS_ENTITY_KIND", "Allow entities matching a specified kind", list("kinds", "List of kinds to match at least one of"),
			func(e catalogcommon.Entity, p params) bool {
				return slices.ContainsFunc(p.Kinds, func(k string) bool { return strings.EqualFold(k, e.Kind()) })
			},
			func(p params) query.Predicate { return in("kind", p.Kinds) }),
		rule("IS_ENTITY_OWNER", "Allow entities owned by a specified claim", list("claims", "List of claims to match at least one on within ownedBy"),
			func(e catalogcommon.Entity, p params) bool {
				return slices.ContainsFunc(e.Relations(), func(r catalogcommon.EntityRelation) bool {
					return r.Type == catalogcommon.RelationOwnedBy && slices.Contains(p.Claims, r.TargetRef)
				})
			},
			func(p params) query.Predicate { return in("relations.ownedby", p.Claims) }),
	}
}

// rule returns a rule that tells of an entity whether it holds, and as what
// predicate it restricts lists: both must mean the same.
func rule(name, description string, schema json.RawMessage, holds func(catalogcommon.Entity, params) bool, restricts func(params) query.Predicate) core.PermissionRule {
	// Users have the same conditions all day.
	known := flight.NewCache[string, query.Predicate](knownKept, knownFor, time.Now)
	return core.PermissionRule{
		Name: name, Description: description, ResourceType: catalognode.ResourceTypeEntity, ParamsSchema: schema,
		Apply: func(resource any, raw json.RawMessage) (bool, error) {
			var p params
			if err := json.Unmarshal(raw, &p); err != nil {
				return false, err
			}
			e, ok := resource.(catalogcommon.Entity)
			return ok && holds(e, p), nil
		},
		Query: func(raw json.RawMessage) (any, error) {
			if q, ok := known.Peek(string(raw)); ok {
				return q, nil
			}
			var p params
			if err := json.Unmarshal(raw, &p); err != nil {
				return nil, err
			}
			q := restricts(p)
			if len(raw) <= maxKnown {
				known.Put(string(raw), q, time.Now().Add(knownFor))
			}
			return q, nil
		},
	}
}

const (
	// knownKept parameters of maxKnown bytes each are remembered for a rule.
	knownKept = 1000
	maxKnown  = 2 << 10
	knownFor  = time.Hour
)

// field holds where the key is there, with the value if there is one.
func field(key string, value *string) query.Predicate {
	if value == nil {
		return query.Exists{Key: strings.ToLower(key)}
	}
	return query.In{Key: strings.ToLower(key), Values: []string{strings.ToLower(*value)}}
}

// in holds where the key has one of the values.
func in(key string, values []string) query.Predicate {
	if len(values) == 0 {
		return query.Any{}
	}
	lower := make([]string, len(values))
	for i, v := range values {
		lower[i] = strings.ToLower(v)
	}
	return query.In{Key: key, Values: lower}
}

const schemaHead = `{"type":"object","properties":`

const schemaTail = `,"additionalProperties":false,"$schema":"http://json-schema.org/draft-07/schema#"}`

// oneKey is the schema of a required key and an optional value.
func oneKey(name, about, aboutValue string) json.RawMessage {
	return json.RawMessage(schemaHead + `{"` + name + `":{"type":"string","description":"` + about + `"},"value":{"type":"string","description":"` + aboutValue +
		`"}},"required":["` + name + `"]` + schemaTail)
}

func list(name, about string) json.RawMessage {
	return json.RawMessage(schemaHead + `{"` + name + `":{"type":"array","items":{"type":"string"},"description":"` + about + `"}},"required":["` + name + `"]` + schemaTail)
}

func hasMember(e catalogcommon.Entity, object, name string, value *string) bool {
	members, _ := e.Metadata()[object].(map[string]any)
	for k, v := range members {
		if strings.EqualFold(k, name) && matches(v, value) {
			return true
		}
	}
	return false
}

func matches(v any, value *string) bool {
	s, ok := v.(string)
	return value == nil || ok && strings.EqualFold(s, *value)
}

func hasRow(e catalogcommon.Entity, key string, value *string) bool {
	key = entitysearch.Fold(key)
	rows, _ := entitysearch.Rows(e)
	return slices.ContainsFunc(rows, func(r entitysearch.Row) bool {
		return r.Key == key && (value == nil || !r.Null && r.Value == entitysearch.Fold(*value))
	})
}
