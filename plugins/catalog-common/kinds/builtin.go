package kinds

import (
	"slices"
	"sync"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

var coreVersions = []string{catalogcommon.APIVersionV1alpha1, catalogcommon.APIVersionV1beta1}

// Core returns the core kinds: Component, API, Resource, System, Domain, Group,
// User and Location.
func Core() []*Kind { return slices.Clone(core()) }

// Template returns the scaffolder's kind Template in version v1beta3.
func Template() *Kind { return template() }

var core = sync.OnceValue(func() []*Kind {
	const (
		component, api, system, domain, group, user = "Component", "API", "System", "Domain", "Group", "User"
	)
	owner := Link{Field: "owner", Relation: catalogcommon.RelationOwnedBy, DefaultKind: group}
	inSystem := Link{Field: "system", Relation: catalogcommon.RelationPartOf, DefaultKind: system}
	dependsOn := Link{Field: "dependsOn", Relation: catalogcommon.RelationDependsOn}
	dependencyOf := Link{Field: "dependencyOf", Relation: catalogcommon.RelationDependencyOf}
	return []*Kind{
		builtin(api, coreVersions, owner, inSystem),
		builtin(component, coreVersions, owner,
			Link{Field: "subcomponentOf", Relation: catalogcommon.RelationPartOf, DefaultKind: component},
			Link{Field: "providesApis", Relation: catalogcommon.RelationProvidesAPI, DefaultKind: api},
			Link{Field: "consumesApis", Relation: catalogcommon.RelationConsumesAPI, DefaultKind: api},
			dependsOn, dependencyOf, inSystem),
		builtin("Resource", coreVersions, owner, dependsOn, dependencyOf, inSystem),
		builtin(user, coreVersions, Link{Field: "memberOf", Relation: catalogcommon.RelationMemberOf, DefaultKind: group}),
		builtin(group, coreVersions,
			Link{Field: "parent", Relation: catalogcommon.RelationChildOf, DefaultKind: group},
			Link{Field: "children", Relation: catalogcommon.RelationParentOf, DefaultKind: group},
			Link{Field: "members", Relation: catalogcommon.RelationHasMember, DefaultKind: user}),
		builtin(system, coreVersions, owner, Link{Field: "domain", Relation: catalogcommon.RelationPartOf, DefaultKind: domain}),
		builtin(domain, coreVersions, owner, Link{Field: "subdomainOf", Relation: catalogcommon.RelationPartOf, DefaultKind: domain}),
		builtin("Location", coreVersions),
	}
})

var template = sync.OnceValue(func() *Kind {
	return builtin("Template", []string{catalogcommon.APIVersionTemplate},
		Link{Field: "owner", Relation: catalogcommon.RelationOwnedBy, DefaultKind: "Group"})
})

func builtin(name string, apiVersions []string, links ...Link) *Kind {
	text, err := files.ReadFile("schemas/" + name + ".json")
	if err != nil {
		panic(err) // the file is part of the program
	}
	return New(name, apiVersions, text, links...)
}
