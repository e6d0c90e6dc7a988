package catalognode

import (
	"context"
	"iter"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Client asks the catalog, wherever it runs, on behalf of somebody.
//
// What the catalog refuses is an error with the kind that the catalog gave it,
// around an *apierr.ResponseError. Calls that may be repeated are, where the
// catalog does not answer or says that it cannot now (429, 502, 503, 504): up
// to four times in all, with growing pauses, or after the time that the
// catalog asks for if that is up to half a minute, and while the context
// lasts. [Client.AddLocation] is not repeated.
type Client interface {
	// EntityByRef returns the entity; nil if there is none that the caller may
	// see.
	EntityByRef(ctx context.Context, ref string, as core.Credentials) (catalogcommon.Entity, error)
	// EntitiesByRefs returns the entities in the order of the refs, nil for
	// those that are not there, that the caller may not see, or for which
	// q.Query does not hold. Of q, only Query and Fields count. Any number of
	// refs may be asked for.
	EntitiesByRefs(ctx context.Context, refs []string, q EntitiesQuery, as core.Credentials) ([]catalogcommon.Entity, error)
	// Query returns a page of entities.
	Query(ctx context.Context, q EntitiesQuery, as core.Credentials) (EntitiesPage, error)
	// StreamEntities yields all entities of the query, with one page in memory
	// at a time. q.Limit is the size of the pages, 500 if zero. After an error,
	// which comes last, the entities that were yielded are not all.
	StreamEntities(ctx context.Context, q EntitiesQuery, as core.Credentials) iter.Seq2[catalogcommon.Entity, error]
	// Facets counts the values of keys over the entities that the query holds
	// for.
	Facets(ctx context.Context, keys []string, query map[string]any, as core.Credentials) (map[string][]FacetValue, error)
	// Ancestry returns the entity and those that led to it; a not-found error
	// if there is none that the caller may see.
	Ancestry(ctx context.Context, ref string, as core.Credentials) (Ancestry, error)
	// Refresh processes the entity soon.
	Refresh(ctx context.Context, ref string, as core.Credentials) error
	// RemoveEntity removes the entity with the uid. It comes back if its source
	// still has it.
	RemoveEntity(ctx context.Context, uid string, as core.Credentials) error
	// Validate processes the entity as if it had been read at the location
	// ("url:https://…"), stores nothing, and returns what is wrong with it:
	// nothing if it is valid.
	Validate(ctx context.Context, entity catalogcommon.Entity, location string, as core.Credentials) ([]EntityProblem, error)

	// AddLocation registers a location; a conflict if it is registered.
	AddLocation(ctx context.Context, typ, target string, as core.Credentials) (RegisteredLocation, error)
	// EnsureLocation registers a location, or refreshes the registered one.
	EnsureLocation(ctx context.Context, typ, target string, as core.Credentials) (RegisteredLocation, error)
	// CheckLocation processes a location and all that it leads to, and stores
	// nothing. What cannot be processed is an input error.
	CheckLocation(ctx context.Context, typ, target string, as core.Credentials) (LocationCheck, error)
	// Locations returns all registered locations.
	Locations(ctx context.Context, as core.Credentials) ([]RegisteredLocation, error)
	// QueryLocations returns a page of locations in the order of their ids.
	QueryLocations(ctx context.Context, q LocationsQuery, as core.Credentials) (LocationsPage, error)
	// StreamLocations yields all locations of the query like StreamEntities.
	StreamLocations(ctx context.Context, q LocationsQuery, as core.Credentials) iter.Seq2[RegisteredLocation, error]
	// LocationByID, LocationByTarget and LocationByEntity return a registered
	// location; ok is false if there is none. That of an entity is the one that
	// it originates from.
	LocationByID(ctx context.Context, id string, as core.Credentials) (l RegisteredLocation, ok bool, err error)
	LocationByTarget(ctx context.Context, typ, target string, as core.Credentials) (l RegisteredLocation, ok bool, err error)
	LocationByEntity(ctx context.Context, ref string, as core.Credentials) (l RegisteredLocation, ok bool, err error)
	// UpdateLocation changes type and target of a registered location.
	UpdateLocation(ctx context.Context, id, typ, target string, as core.Credentials) (RegisteredLocation, error)
	// RemoveLocation unregisters a location.
	RemoveLocation(ctx context.Context, id string, as core.Credentials) error
	// AnalyzeLocation returns the catalog files at a URL, or a draft of an
	// entity to put there. filename may be empty.
	AnalyzeLocation(ctx context.Context, target, filename string, as core.Credentials) (LocationAnalysis, error)
}

// EntitiesQuery chooses entities, and what of them is returned.
type EntitiesQuery struct {
	// Query is a predicate, for example {"kind": "component"}.
	Query map[string]any
	// Fields are dotted paths; none is the whole entity.
	Fields []string
	// OrderBy is a dotted path; Descending reverses the order.
	OrderBy    string
	Descending bool
	// FullText keeps entities with a text in some fields; nil keeps all.
	FullText *FullText
	// Limit is the size of a page; 20 or so by default, as the catalog decides.
	Limit int
	// Offset skips entities. It does not go with Cursor.
	Offset int
	// WithoutTotal leaves TotalItems 0, which is cheaper.
	WithoutTotal bool
	// Cursor continues an earlier query; only Fields and Limit count beside it.
	Cursor string
}

// FullText finds a text, in any case, in the fields; where there are none, in
// the field that is ordered by.
type FullText struct {
	Term   string
	Fields []string
}

// EntitiesPage is a page of entities.
type EntitiesPage struct {
	Items      []catalogcommon.Entity
	TotalItems int
	// Next and Previous are the cursors of the neighbours, empty where there is
	// none.
	Next, Previous string
}

// FacetValue is a value and how many entities have it.
type FacetValue struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

// Ancestry is how an entity came into the catalog.
type Ancestry struct {
	RootEntityRef string         `json:"rootEntityRef"`
	Items         []AncestryItem `json:"items"`
}

// AncestryItem is an entity and those that emit it.
type AncestryItem struct {
	Entity           catalogcommon.Entity `json:"entity"`
	ParentEntityRefs []string             `json:"parentEntityRefs"`
}

// EntityProblem is something wrong with an entity.
type EntityProblem struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

// RegisteredLocation is a location that somebody registered.
type RegisteredLocation struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Target    string `json:"target"`
	EntityRef string `json:"entityRef"`
}

// LocationCheck is what a location would bring into the catalog.
type LocationCheck struct {
	// Exists says that it is registered. Location.ID is then not its id: the
	// check makes one up.
	Exists   bool                   `json:"exists"`
	Location RegisteredLocation     `json:"location"`
	Entities []catalogcommon.Entity `json:"entities"`
}

// LocationsQuery chooses registered locations.
type LocationsQuery struct {
	// Query is a predicate on id, type, target and entityRef.
	Query map[string]any
	// Limit is 1000 if zero.
	Limit int
	// Cursor continues an earlier query; nothing else counts beside it.
	Cursor string
}

// LocationsPage is a page of locations.
type LocationsPage struct {
	Items      []RegisteredLocation
	TotalItems int
	// Next is the cursor of the next page, empty on the last one.
	Next string
}

// LocationAnalysis tells what is at a URL.
type LocationAnalysis struct {
	// Existing are the entities in catalog files that are there.
	Existing []AnalyzedEntity `json:"existingEntityFiles"`
	// Generated are drafts, where there are none.
	Generated []GeneratedEntity `json:"generateEntities"`
}

// AnalyzedEntity is an entity in a catalog file.
type AnalyzedEntity struct {
	Location struct {
		Type   string `json:"type"`
		Target string `json:"target"`
	} `json:"location"`
	IsRegistered bool                 `json:"isRegistered"`
	Entity       catalogcommon.Entity `json:"entity"`
}

// GeneratedEntity is a draft of an entity.
type GeneratedEntity struct {
	Entity catalogcommon.Entity `json:"entity"`
	Fields []map[string]any     `json:"fields"`
}

// Catalog is the client of the catalog. It needs no factory to be added.
var Catalog = backend.NewServiceRef[Client]("catalog-client").WithDefault(
	func(ref backend.ServiceRef[Client]) backend.ServiceFactory {
		return backend.NewServiceFactory(ref, func(env *backend.FactoryEnv) backend.MakeFunc[Client] {
			peers := core.PluginClient.From(env)
			return func(context.Context) (Client, error) { return NewClient(peers()), nil }
		})
	})
