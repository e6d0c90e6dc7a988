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
	owner := link{"owner", catalogcommon.RelationOwnedBy, group}
	inSystem := link{"system", catalogcommon.RelationPartOf, system}
	dependsOn := link{"dependsOn", catalogcommon.RelationDependsOn, anyKind}
	dependencyOf := link{"dependencyOf", catalogcommon.RelationDependencyOf, anyKind}
	return []*Kind{
		builtin(api, coreVersions, owner, inSystem),
		builtin(component, coreVersions, owner,
			link{"subcomponentOf", catalogcommon.RelationPartOf, component},
			link{"providesApis", catalogcommon.RelationProvidesAPI, api},
			link{"consumesApis", catalogcommon.RelationConsumesAPI, api},
			dependsOn, dependencyOf, inSystem),
		builtin("Resource", coreVersions, owner, dependsOn, dependencyOf, inSystem),
		builtin(user, coreVersions, link{"memberOf", catalogcommon.RelationMemberOf, group}),
		builtin(group, coreVersions,
			link{"parent", catalogcommon.RelationChildOf, group},
			link{"children", catalogcommon.RelationParentOf, group},
			link{"members", catalogcommon.RelationHasMember, user}),
		builtin(system, coreVersions, owner, link{"domain", catalogcommon.RelationPartOf, domain}),
		builtin(domain, coreVersions, owner, link{"subdomainOf", catalogcommon.RelationPartOf, domain}),
		builtin("Location", coreVersions),
	}
})

var template = sync.OnceValue(func() *Kind {
	return builtin("Template", []string{catalogcommon.APIVersionTemplate},
		link{"owner", catalogcommon.RelationOwnedBy, "Group"})
})

func builtin(name string, apiVersions []string, links ...link) *Kind {
	text, err := files.ReadFile("schemas/" + name + ".json")
	if err != nil {
		panic(err) // the file is part of the program
	}
	k := New(name, apiVersions, text)
	k.links = links
	return k
}
