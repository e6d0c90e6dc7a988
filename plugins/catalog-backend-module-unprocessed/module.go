// Package catalogmoduleunprocessed serves the entities that were handed in and
// are not in the catalog: those that wait, those that failed with their
// errors, and those that were refused since somebody else holds them.
//
//	b.Add(catalogbackend.Plugin, catalogmoduleunprocessed.Module)
//
// It answers what the page of unprocessed entities of Backstage's frontend
// asks, below /api/catalog:
//
//	GET    /entities/unprocessed/failed?owner=…
//	GET    /entities/unprocessed/pending?owner=…
//	DELETE /entities/unprocessed/delete/{entity_id}
//
// and, which Backstage has not:
//
//	GET    /entities/unprocessed/conflicts
//
// Reading needs the permission catalog.entities.unprocessed.read, deleting
// catalog.entities.unprocessed.delete.
package catalogmoduleunprocessed

import (
	"context"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Module adds the routes to the catalog.
var Module = backend.NewModule("catalog", "catalog-module-unprocessed-entities", func(env *backend.ModuleEnv) backend.InitFunc {
	var (
		router      = core.HTTPRouter.From(env)
		httpAuth    = core.HTTPAuth.From(env)
		permissions = core.Permissions.From(env)
		registry    = core.PermissionsRegistry.From(env)
		auditor     = core.Auditor.From(env)
		unprocessed = catalognode.Unprocessed.From(env)
	)
	return func(context.Context) error {
		if err := registry().AddPermissions(catalognode.PermissionUnprocessedRead, catalognode.PermissionUnprocessedDelete); err != nil {
			return err
		}
		r := routes{state: unprocessed(), httpAuth: httpAuth(), permissions: permissions(), auditor: auditor()}
		router().HandleErr("GET /entities/unprocessed/failed", r.failed)
		router().HandleErr("GET /entities/unprocessed/pending", r.pending)
		router().HandleErr("GET /entities/unprocessed/conflicts", r.conflicts)
		router().HandleErr("DELETE /entities/unprocessed/delete/{entity_id}", r.delete)
		return nil
	}
}, backend.WithDescription("Serves what is not in the catalog yet, and why"))
