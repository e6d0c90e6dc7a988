// Package appnode is what modules of the app plugin, which serves the
// frontend, extend it through.
//
//	var Module = backend.NewModule("app", "old-bundles", func(env *backend.ModuleEnv) backend.InitFunc {
//		fallback := appnode.StaticFallbackHandler.From(env)
//		return func(context.Context) error { return fallback().Set(bucket) }
//	})
package appnode

import (
	"net/http"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/configschema"
)

// StaticFallbackHandler takes the handler of static files that are neither in
// the bundle of the frontend nor in the cache of earlier bundles.
var StaticFallbackHandler = backend.NewExtensionPoint[StaticFallback]("app", "staticFallbackHandler")

// StaticFallback takes a handler.
type StaticFallback interface {
	// Set sets the handler. The paths that it sees are relative to /static. A
	// browser takes what it answers for a script of the frontend, so it must
	// answer 404 for what it does not have. It may be called once.
	Set(h http.Handler) error
}

// ConfigSchema takes the schema that decides which configuration the frontend
// sees, instead of dist/.config-schema.json.
var ConfigSchema = backend.NewExtensionPoint[SchemaSetter]("app", "configSchema")

// SchemaSetter takes a schema.
type SchemaSetter interface {
	// Set sets the schema. It may be called once.
	Set(s *configschema.Schema) error
}
