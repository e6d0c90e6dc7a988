package main

import (
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
	"github.com/flytower/flytower/plugins/scaffolder-node/yamlvalue"
)

// distilled are templates of the shapes that real ones have.
func distilled() (list []real) {
	for _, text := range []string{`
apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata:
  name: service
  title: A service
  tags: [recommended]
spec:
  owner: team
  type: service
  parameters:
    - title: Who
      required: [name, owner, repoUrl]
      properties:
        name: {title: Name, type: string, pattern: '^([a-zA-Z][a-zA-Z0-9]*)(-[a-zA-Z0-9]+)*$', ui:autofocus: true, ui:help: 'kebab-case'}
        owner: {type: string, ui:field: OwnerPicker, ui:options: {allowedKinds: [Group]}}
        repoUrl: {type: string, ui:field: RepoUrlPicker, ui:options: {allowedHosts: [github.com]}}
        port: {type: number, default: 8080}
    - title: Where
      required: [kind]
      properties:
        kind: {type: string, enum: [container, function], enumNames: [Container, Function]}
      dependencies:
        kind:
          oneOf:
            - properties: {kind: {enum: [function]}}
            - required: [memory]
              properties:
                kind: {enum: [container]}
                memory: {type: string, pattern: '^\d+$'}
  steps:
    - id: fetch
      name: Fetch
      action: fetch:template
      input:
        url: ./skeleton
        copyWithoutTemplating: [.github/workflows/*]
        values:
          name: ${{ parameters.name }}
          owner: ${{ parameters.owner | parseEntityRef | pick('name') }}
          host: ${{ (parameters.repoUrl | parseRepoUrl).host }}
          memory: ${{ parameters.memory if parameters.kind == 'container' else '0' }}
    - id: docs
      action: fetch:plain
      input: {url: 'https://github.com/acme/docs/tree/main/${{ parameters.kind }}', targetPath: docs}
    - id: clean
      if: ${{ parameters.kind === 'function' }}
      action: fs:delete
      input: {files: ['docs/**/*.tmp']}
    - id: move
      action: fs:rename
      input: {files: [{from: docs/old.md, to: docs/new.md}]}
    - id: write
      action: roadiehq:utils:fs:write
      input: {path: ./.config/app.json, content: '{"name": "${{ parameters.name }}"}'}
    - id: annotate
      action: roadiehq:utils:merge
      input: {path: catalog-info.yaml, content: {metadata: {annotations: {acme/repo: "${{ parameters.repoUrl | projectSlug }}"}}}}
    - id: register
      action: catalog:register
      input: {repoContentsUrl: "https://github.com/acme/app/tree/main", catalogInfoPath: /catalog-info.yaml}
  output:
    links:
      - {title: Catalog, icon: catalog, entityRef: "${{ steps.register.output.entityRef }}"}
`, `
apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata: {name: single-page}
spec:
  type: tool
  parameters:
    required: [entity, tags]
    properties:
      entity: {type: string, ui:field: EntityPicker, ui:options: {catalogFilter: {kind: [Component]}}}
      tags: {type: array, minItems: 1, items: {type: string, minLength: 3}}
      size: {type: object, properties: {w: {type: integer, minimum: 3}}}
  steps:
    - id: get
      action: catalog:fetch
      input: {entityRef: "${{ parameters.entity }}"}
    - id: log
      each: ${{ parameters.tags }}
      action: debug:log
      input: {message: "${{ each.key }} of ${{ steps.get.output.entity.metadata.name }}", listWorkspace: true}
    - {id: wait, name: Wait, action: 'debug:wait', input: {seconds: 5}}
    - {id: sleep, action: 'roadiehq:utils:sleep', input: {amount: 10}}
`, `
apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata: {name: nothing-to-ask}
spec: {type: x, steps: [{action: 'acme:unknown', input: {}}]}
`} {
		documents, err := yamlvalue.Parse([]byte(text))
		if err != nil {
			panic(err)
		}
		entity := documents[0].(*template.Record)
		name := template.Text(template.Member(template.Member(entity, "metadata"), "name"))
		list = append(list, real{name + ".yaml", "acme/templates", name + "/template.yaml", name, entity})
	}
	return list
}
