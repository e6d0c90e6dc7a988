package model

import (
	"embed"
	"slices"
	"strings"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/kinds"
)

//go:embed schemas/*.json
var files embed.FS

// DefaultLayer is the ID of the layer that [Default] returns.
const DefaultLayer = "catalog.backstage.io/default-entity-model"

// ownable restricts owners.
var ownable = []string{"Group", "User"}

// allowedKinds are the kinds that the fields of core kinds may refer to.
func allowedKinds(kind, field string) []string {
	switch {
	case field == "owner":
		return ownable
	case kind == "Group" && field == "members":
		return []string{"User"}
	case kind == "Group" || kind == "User":
		return []string{"Group"}
	default:
		return nil
	}
}

// Default returns the layer of the core kinds, the well-known relations and
// the annotations of the catalog. The kinds and their schemas are those of
// package kinds.
func Default() Layer {
	l := Layer{ID: DefaultLayer}
	for _, k := range kinds.Core() {
		s := MustParseSchema(k.JSONSchema())
		description, _ := s["description"].(string)
		v := Version{Schema: s}
		for _, apiVersion := range k.APIVersions() {
			_, name, _ := strings.Cut(apiVersion, "/")
			v.Names = append(v.Names, name)
		}
		for _, link := range k.Links() {
			v.RelationFields = append(v.RelationFields, RelationField{
				Path: "spec." + link.Field, Relation: link.Relation, DefaultKind: link.DefaultKind, AllowedKinds: allowedKinds(k.Name(), link.Field),
			})
		}
		name := strings.ToLower(k.Name())
		l.Ops = append(l.Ops, AddKind(Kind{
			Group: "backstage.io", Kind: k.Name(), Singular: name, Plural: name + "s", Description: description, Versions: []Version{v},
		})...)
	}
	for _, p := range []RelationPair{
		{
			[]string{"API", "Component", "Domain", "Group", "Location", "Resource", "System", "User"}, ownable, "Who answers for an entity.",
			Direction{catalogcommon.RelationOwnedBy, "owned by"}, Direction{catalogcommon.RelationOwnerOf, "owner of"},
		}, {
			[]string{"Component"}, []string{"API"}, "An API that a component offers.",
			Direction{catalogcommon.RelationProvidesAPI, "provides API"}, Direction{catalogcommon.RelationAPIProvidedBy, "API provided by"},
		}, {
			[]string{"Component"}, []string{"API"}, "An API that a component uses.",
			Direction{catalogcommon.RelationConsumesAPI, "consumes API"}, Direction{catalogcommon.RelationAPIConsumedBy, "API consumed by"},
		}, {
			[]string{"Component", "Resource"}, []string{"Component", "Resource"}, "What an entity needs to work.",
			Direction{catalogcommon.RelationDependsOn, "depends on"}, Direction{catalogcommon.RelationDependencyOf, "dependency of"},
		}, {
			[]string{"Group"}, []string{"Group"}, "The tree of groups, such as the organization.",
			Direction{catalogcommon.RelationParentOf, "parent of"}, Direction{catalogcommon.RelationChildOf, "child of"},
		}, {
			[]string{"User"}, []string{"Group"}, "Who is in a group.",
			Direction{catalogcommon.RelationMemberOf, "member of"}, Direction{catalogcommon.RelationHasMember, "has member"},
		}, {
			[]string{"Component", "API", "Resource"}, []string{"Component", "System"}, "What belongs to a system, or to a component.", partOf, hasPart,
		}, {
			[]string{"System"}, []string{"Domain"}, "What belongs to a domain.", partOf, hasPart,
		}, {
			[]string{"Domain"}, []string{"Domain"}, "What belongs to a larger domain.", partOf, hasPart,
		},
	} {
		l.Ops = append(l.Ops, AddRelationPair(p)...)
	}
	return Layer{l.ID, append(l.Ops,
		DeclareAnnotation{Name: catalogcommon.AnnotationLocation, Description: "The location that the entity was read from."},
		DeclareAnnotation{Name: catalogcommon.AnnotationOriginLocation, Description: "The location at which the ingestion of the entity began."},
		DeclareAnnotation{Name: catalogcommon.AnnotationSourceLocation, Description: "The location of the source code of the entity."},
		DeclareAnnotation{Name: catalogcommon.AnnotationOrphan, Description: `"true" if nothing hands the entity in any more.`},
		DeclareAnnotation{Name: catalogcommon.AnnotationViewURL, Description: "Where a person can look at the file of the entity."},
		DeclareAnnotation{Name: catalogcommon.AnnotationEditURL, Description: "Where a person can edit the file of the entity."},
	)}
}

var (
	partOf  = Direction{catalogcommon.RelationPartOf, "part of"}
	hasPart = Direction{catalogcommon.RelationHasPart, "has part"}
)

// Common fields of the kinds below.
var (
	ownerField  = RelationField{Path: "spec.owner", Relation: catalogcommon.RelationOwnedBy, DefaultKind: "Group", AllowedKinds: ownable}
	systemField = RelationField{Path: "spec.system", Relation: catalogcommon.RelationPartOf, DefaultKind: "System"}
)

// AIResources returns the layer of the kind AiResource: skills, rules, plugins
// and marketplaces of coding tools. It goes with [Default].
func AIResources() Layer {
	const kind = "AiResource"
	parts := func(path, relation string) RelationField {
		return RelationField{Path: path, Relation: relation, DefaultKind: kind, AllowedKinds: []string{kind}}
	}
	version := func(specType string, more ...RelationField) Version {
		v := Version{Names: []string{"v1alpha1"}, RelationFields: append([]RelationField{ownerField, systemField}, more...)}
		name := kind
		if specType != "" {
			v.SpecTypes, name = []string{specType}, kind+"-"+specType
		}
		v.Schema = fileSchema(name)
		return v
	}
	own := []string{kind}
	return Layer{"catalog.backstage.io/kind-ai-resource", slices.Concat(
		AddKind(Kind{
			Group: "backstage.io", Kind: kind, Singular: "airesource", Plural: "airesources",
			Description: "Something that coding tools with a language model read, such as a skill or a rule.",
			Versions: []Version{
				version(""), version("skill", parts("spec.dependsOn", catalogcommon.RelationDependsOn)), version("rule"),
				version("plugin", parts("spec.skills", catalogcommon.RelationHasPart)), version("marketplace", parts("spec.plugins", catalogcommon.RelationHasPart)),
			},
		}),
		UpdateRelationPair(RelationPairUpdate{FromKinds: own, ToKinds: ownable, Forward: catalogcommon.RelationOwnedBy, Reverse: new(catalogcommon.RelationOwnerOf)}),
		UpdateRelationPair(RelationPairUpdate{FromKinds: own, ToKinds: []string{"System"}, Forward: catalogcommon.RelationPartOf, Reverse: new(catalogcommon.RelationHasPart)}),
		UpdateRelationPair(RelationPairUpdate{FromKinds: own, ToKinds: own, Forward: catalogcommon.RelationDependsOn, Reverse: new(catalogcommon.RelationDependencyOf)}),
		UpdateRelationPair(RelationPairUpdate{FromKinds: own, ToKinds: own, Forward: catalogcommon.RelationHasPart, Reverse: new(catalogcommon.RelationPartOf)}),
	)}
}

// MCPServers returns the layer of APIs of the type mcp-server. It goes with
// [Default].
func MCPServers() Layer {
	return Layer{"catalog.backstage.io/kind-api-mcp-server", AddKindVersions("API", Version{
		Names: []string{"v1alpha1", "v1beta1"}, SpecTypes: []string{"mcp-server"}, Description: "A server of the Model Context Protocol.",
		RelationFields: []RelationField{ownerField, systemField}, Schema: fileSchema("API-mcp-server"),
	})}
}

func fileSchema(name string) Schema {
	text, err := files.ReadFile("schemas/" + name + ".json")
	if err != nil {
		panic(err) // the file is part of the program
	}
	return MustParseSchema(text)
}
