// Package actions has the actions that the scaffolder brings along. All paths
// of templates go through the workspace, which refuses those that lead
// outside.
package actions

import (
	"encoding/json"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/templating"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// Parts are what the actions work with.
type Parts struct {
	Reader     core.URLReaderService
	Hosts      *integration.Hosts
	Catalog    catalognode.Client
	Templating *templating.Templating
	// UserTokens demands that fetches from GitHub and GitLab come with the token
	// of the user.
	UserTokens bool
}

// All returns the actions.
func All(p Parts) []scaffoldernode.Action {
	f := fetcher{p}
	return []scaffoldernode.Action{
		f.plain(), f.plainFile(), f.template(), f.templateFile(), f.workspaceTemplate(), f.workspaceTemplateFile(),
		debugLog(), debugWait(),
		p.register(), p.fetchEntities(), writeEntity(),
		fsDelete(), fsRename(), fsReaddir(),
	}
}

const draft = `"$schema":"http://json-schema.org/draft-07/schema#"}`

// withInput replaces the schema of an input that Go types cannot describe.
func withInput(a scaffoldernode.Action, schema string) scaffoldernode.Action {
	a.Input = json.RawMessage(schema)
	return a
}

// nothing is the output of actions that have none.
type nothing struct{}

// withoutOutput leaves out the schema of an output that is not there.
func withoutOutput(a scaffoldernode.Action) scaffoldernode.Action {
	a.Output = nil
	return a
}

func example(description, yaml string) scaffoldernode.ActionExample {
	return scaffoldernode.ActionExample{Description: description, Example: yaml}
}
