package catalognode

import "github.com/flytower/flytower/core"

// ResourceTypeEntity is the resource type of catalog entities; a resource
// ref is an entity ref.
const ResourceTypeEntity = "catalog-entity"

// Permissions of the catalog.
var (
	PermissionEntityRead     = core.NewResourcePermission("catalog.entity.read", "read", ResourceTypeEntity)
	PermissionEntityCreate   = core.NewPermission("catalog.entity.create", "create")
	PermissionEntityDelete   = core.NewResourcePermission("catalog.entity.delete", "delete", ResourceTypeEntity)
	PermissionEntityRefresh  = core.NewResourcePermission("catalog.entity.refresh", "update", ResourceTypeEntity)
	PermissionEntityValidate = core.NewPermission("catalog.entity.validate", "")
	PermissionLocationRead   = core.NewPermission("catalog.location.read", "read")
	PermissionLocationCreate = core.NewPermission("catalog.location.create", "create")
	PermissionLocationDelete = core.NewPermission("catalog.location.delete", "delete")
	// PermissionLocationAnalyze covers looking at a location before it is
	// registered.
	PermissionLocationAnalyze = core.NewPermission("catalog.location.analyze", "")
	// PermissionIngestionRead and PermissionIngestionManage cover the state of
	// incremental ingestion.
	PermissionIngestionRead   = core.NewPermission("catalog.ingestion.read", "read")
	PermissionIngestionManage = core.NewPermission("catalog.ingestion.manage", "update")
	// PermissionUnprocessedRead and PermissionUnprocessedDelete cover entities
	// that are not in the catalog yet; only a module registers them.
	PermissionUnprocessedRead   = core.NewPermission("catalog.entities.unprocessed.read", "read")
	PermissionUnprocessedDelete = core.NewPermission("catalog.entities.unprocessed.delete", "delete")
)
