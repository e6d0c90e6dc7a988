// Package api answers the HTTP requests of the catalog: it reads what clients
// ask, decides what they may see, and writes what the other packages return.
// It keeps no state.
package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Reader answers questions about final entities; see package read.
type Reader interface {
	List(ctx context.Context, q read.Request) ([]read.Item, error)
	Page(ctx context.Context, q read.Request) (items []read.Item, total int, err error)
	ByRefs(ctx context.Context, refs []string, filter query.Predicate) ([][]byte, error)
	ByUID(ctx context.Context, uid string, filter query.Predicate) ([]byte, error)
	Facets(ctx context.Context, keys []string, filter query.Predicate) (map[string][]read.Facet, error)
	Ancestry(ctx context.Context, ref string) ([]read.Node, error)
}

// Engine changes entities.
type Engine interface {
	// Refresh processes the entity, and the locations that it comes from, as
	// soon as possible; not found if nobody hands it in.
	Refresh(ctx context.Context, ref string) error
	// Delete removes the entity with the uid, if there is one. It comes back
	// if its source still has it.
	Delete(ctx context.Context, uid string) error
	// Validate processes the entity as if it had been read at the location,
	// stores nothing, and returns what is wrong with it.
	Validate(ctx context.Context, entity catalogcommon.Entity, location catalogcommon.LocationRef) []error
}

// Location is a registered location.
type Location struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Target    string `json:"target"`
	EntityRef string `json:"entityRef"`
}

// LocationQuery asks for locations in the order of their ids.
type LocationQuery struct {
	// Filter names the keys id, type, target and entityref only.
	Filter query.Predicate
	// AfterID begins behind that location.
	AfterID string
	Limit   int
}

// Locations keeps the locations that users registered.
type Locations interface {
	List(ctx context.Context) ([]Location, error)
	// Query returns a page and the number of all that the filter holds for.
	Query(ctx context.Context, q LocationQuery) ([]Location, int, error)
	// ByID and ByTarget return not-found errors.
	ByID(ctx context.Context, id string) (Location, error)
	ByTarget(ctx context.Context, typ, target string) (Location, error)
	// Create registers a location. If there is one with the type and target,
	// it is a conflict, or, with refresh set, that one is refreshed and
	// returned.
	Create(ctx context.Context, typ, target string, refresh bool) (Location, error)
	// Update changes type and target, not the entity ref.
	Update(ctx context.Context, id, typ, target string) (Location, error)
	Delete(ctx context.Context, id string) error
	// DryRun processes the location and all that it leads to, and stores
	// nothing.
	DryRun(ctx context.Context, typ, target string) (l Location, exists bool, entities []json.RawMessage, err error)
}

// Analyzer looks at a location that a user may want to register.
type Analyzer interface {
	Analyze(ctx context.Context, target, catalogFilename string) (any, error)
}

// Handler has what the routes need.
type Handler struct {
	Read        Reader
	Engine      Engine
	Locations   Locations
	Analyzer    Analyzer
	HTTPAuth    core.HTTPAuthService
	Auth        core.AuthService
	Permissions core.PermissionsService
	Rules       core.PermissionsRegistryService
	Auditor     core.AuditorService
	// Document describes the routes.
	Document *Document
	// LocationTypes may be registered.
	LocationTypes []string
	// Readonly refuses changes of locations.
	Readonly bool
	// RefreshOnConflict is what registering a known location does unless the
	// request says otherwise.
	RefreshOnConflict bool
}

// Register adds the routes to the router.
func (h *Handler) Register(router core.Router) {
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /entities":                                            h.entities,
		"GET /entities/by-query":                                   h.byQueryGet,
		"POST /entities/by-query":                                  h.byQueryPost,
		"POST /entities/by-refs":                                   h.byRefs,
		"GET /entities/by-uid/{uid}":                               h.byUID,
		"DELETE /entities/by-uid/{uid}":                            h.deleteByUID,
		"GET /entities/by-name/{kind}/{namespace}/{name}":          h.byName,
		"GET /entities/by-name/{kind}/{namespace}/{name}/ancestry": h.ancestry,
		"GET /entity-facets":                                       h.facetsGet,
		"POST /entity-facets":                                      h.facetsPost,
		"POST /refresh":                                            h.refresh,
		"POST /validate-entity":                                    h.validate,
		"GET /locations":                                           h.locations,
		"POST /locations":                                          h.createLocation,
		"POST /locations/by-query":                                 h.locationsByQuery,
		"GET /locations/{id}":                                      h.location,
		"PUT /locations/{id}":                                      h.updateLocation,
		"DELETE /locations/{id}":                                   h.deleteLocation,
		"GET /locations/by-entity/{kind}/{namespace}/{name}":       h.locationByEntity,
		"POST /analyze-location":                                   h.analyze,
		"GET /openapi.json":                                        h.document,
	} {
		router.HandleErr(pattern, handle)
	}
}

// audited runs fn as an audit event.
func (h *Handler) audited(r *http.Request, id string, severity core.Severity, meta map[string]any, fn func() error) error {
	record := h.Auditor.Begin(r.Context(), core.AuditEvent{ID: id, Severity: severity, Request: r, Meta: meta})
	if err := fn(); err != nil {
		record.Fail(r.Context(), err, nil)
		return err
	}
	record.Success(r.Context(), nil)
	return nil
}
