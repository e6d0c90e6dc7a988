// Package catalogmodulebackstageopenapi puts the API of the backend itself
// into the catalog: one entity of the kind API with the OpenAPI documents of
// all installed plugins.
//
//	b.Add(catalogbackend.Plugin, catalogmodulebackstageopenapi.Module)
//
// Every minute it asks each plugin for /openapi.json. A plugin that does not
// answer keeps what it said last.
package catalogmodulebackstageopenapi

import (
	"context"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// ConfigSchema describes the configuration keys of the module.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {
    "catalog": {
      "type": "object",
      "properties": {
        "providers": {
          "type": "object",
          "description": "Entity providers, by type.",
          "properties": {
            "backstageOpenapi": {
              "type": "object",
              "description": "The entity that documents the API of the backend.",
              "properties": {
                "plugins": { "type": "array", "items": { "type": "string" }, "description": "Ids of the plugins whose API is documented. Default: all installed ones." },
                "definitionFormat": { "type": "string", "enum": ["json", "yaml"], "description": "Format of spec.definition. Default: json." },
                "entityOverrides": { "type": "object", "description": "Fields of the entity, merged over metadata.name internal_backstage_openapi_doc, metadata.title Backstage API, spec.lifecycle production and spec.owner backstage. Kind, type and definition stay. Default: none.", "additionalProperties": true }
              }
            }
          }
        }
      }
    }
  }
}`

const (
	providerName = "InternalOpenApiDocumentationProvider"
	locationKey  = "internal-api-doc"
	location     = "internal-package:@backstage/plugin-catalog-backend-module-backstage-openapi"
	configKey    = "catalog.providers.backstageOpenapi"
)

// Module adds the provider of the entity.
var Module = backend.NewModule("catalog", "meta-api-docs", func(env *backend.ModuleEnv) backend.InitFunc {
	var (
		processing = catalognode.Processing.From(env)
		config     = core.RootConfig.From(env)
		discovery  = core.Discovery.From(env)
		scheduler  = core.Scheduler.From(env)
		log        = core.Logger.From(env)
		auth       = core.Auth.From(env)
		peers      = core.PluginClient.From(env)
		installed  = core.RootSystemMetadata.From(env)
	)
	return func(context.Context) error {
		p := &provider{
			discovery: discovery(), scheduler: scheduler(), log: log(), auth: auth(), peers: peers(), installed: installed(),
			last: map[string]map[string]any{},
		}
		if err := config().Decode(configKey, &p.settings); err != nil {
			return err
		}
		baseURL, err := config().String("backend.baseUrl")
		if err != nil {
			return err
		}
		p.baseURL = baseURL
		return processing().AddProvider(p)
	}
}, backend.WithDescription("Documents the API of the backend in the catalog"), core.ConfigSchema(ConfigSchema))
