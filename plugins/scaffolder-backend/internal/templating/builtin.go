package templating

import (
	"encoding/json"

	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// draft ends each schema.
const draft = `"$schema":"http://json-schema.org/draft-07/schema#"}`

const (
	repoURLText = `{"type":"string","description":"repo URL as collected from repository picker",` + draft
	refParts    = `{"type":"object","properties":{"kind":{"type":"string"},"namespace":{"type":"string"},"name":{"type":"string"}}`
)

// builtin tells about the filters of the scaffolder itself.
func builtin() []scaffoldernode.TemplateFilter {
	return []scaffoldernode.TemplateFilter{
		{
			ID: "parseRepoUrl", Description: "Gives the parts of a repository URL: host, owner, repo and what else its host has.",
			Examples: []scaffoldernode.TemplateExample{{
				Example: "- id: log\n  action: debug:log\n  input:\n    message: ${{ parameters.repoUrl | parseRepoUrl }}",
				Notes:   "Of `github.com?repo=shop&owner=acme`: `{\"host\":\"github.com\",\"owner\":\"acme\",\"repo\":\"shop\"}`",
			}},
			Input:  json.RawMessage(repoURLText),
			Output: json.RawMessage(`{"type":"object","properties":{"repo":{"type":"string"},"host":{"type":"string"},"owner":{"type":"string"},"organization":{"type":"string"},"workspace":{"type":"string"},"project":{"type":"string"}},"required":["repo","host"],"additionalProperties":false,"description":"` + "`RepoSpec`" + `",` + draft),
		},
		{
			ID: "parseEntityRef", Description: "Gives the parts of an entity reference: kind, namespace and name.",
			Examples: []scaffoldernode.TemplateExample{
				{
					Description: "A whole reference", Example: "- id: log\n  action: debug:log\n  input:\n    message: ${{ parameters.owner | parseEntityRef }}",
					Notes: "Of `group:shop`: `{\"kind\":\"group\",\"namespace\":\"default\",\"name\":\"shop\"}`",
				},
				{
					Description: "With defaults", Example: "- id: log\n  action: debug:log\n  input:\n    message: ${{ parameters.owner | parseEntityRef({ defaultKind: 'group', defaultNamespace: 'acme' }) }}",
					Notes: "Of `shop`: `{\"kind\":\"group\",\"namespace\":\"acme\",\"name\":\"shop\"}`",
				},
			},
			Input:     json.RawMessage(`{"anyOf":[{"type":"string","description":"compact entity reference"},` + refParts + `,"required":["name"],"additionalProperties":false,"description":"` + "`CompoundEntityRef`" + `"}],` + draft),
			Arguments: []json.RawMessage{json.RawMessage(`{"anyOf":[{"not":{}},{"type":"object","properties":{"defaultKind":{"type":"string","description":"The default kind, if none is given in the reference"},"defaultNamespace":{"type":"string","description":"The default namespace, if none is given in the reference"}},"additionalProperties":false}],` + draft)},
			Output:    json.RawMessage(refParts + `,"required":["kind","namespace","name"],"additionalProperties":false,"description":"` + "`CompoundEntityRef`" + `",` + draft),
		},
		{
			ID: "pick", Description: "Gives the part of an object that a path leads to, such as metadata.name.",
			Examples: []scaffoldernode.TemplateExample{{
				Example: "- id: log\n  action: debug:log\n  input:\n    message: ${{ parameters.owner | parseEntityRef | pick('name') }}",
				Notes:   "Of `group:default/shop`: `shop`",
			}},
			Input:     json.RawMessage(`{` + draft),
			Arguments: []json.RawMessage{json.RawMessage(`{"type":"string","description":"Property",` + draft)},
			Output:    json.RawMessage(`{"description":"Selected property",` + draft),
		},
		{
			ID: "projectSlug", Description: "Gives owner/repo of a repository URL.",
			Examples: []scaffoldernode.TemplateExample{{
				Example: "- id: log\n  action: debug:log\n  input:\n    message: ${{ parameters.repoUrl | projectSlug }}",
				Notes:   "Of `github.com?repo=shop&owner=acme`: `acme/shop`",
			}},
			Input: json.RawMessage(repoURLText), Output: json.RawMessage(`{"type":"string",` + draft),
		},
	}
}
