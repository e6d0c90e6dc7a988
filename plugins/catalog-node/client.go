package catalognode

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Client asks the catalog, wherever it runs, on behalf of somebody.
type Client interface {
	// EntityByRef returns the entity; nil if there is none that the caller may
	// see.
	EntityByRef(ctx context.Context, ref string, as core.Credentials) (catalogcommon.Entity, error)
	// EntitiesByRefs returns the entities in the order of the refs, nil for
	// those that are not there. Any number of refs may be asked for.
	EntitiesByRefs(ctx context.Context, refs []string, q EntitiesQuery, as core.Credentials) ([]catalogcommon.Entity, error)
	// Query returns a page of entities.
	Query(ctx context.Context, q EntitiesQuery, as core.Credentials) (EntitiesPage, error)
	// Facets counts the values of keys over the entities that the query holds
	// for.
	Facets(ctx context.Context, keys []string, query map[string]any, as core.Credentials) (map[string][]FacetValue, error)
	// Refresh processes the entity soon.
	Refresh(ctx context.Context, ref string, as core.Credentials) error
	// AddLocation registers a location.
	AddLocation(ctx context.Context, typ, target string, as core.Credentials) (RegisteredLocation, error)
	// Locations returns all registered locations.
	Locations(ctx context.Context, as core.Credentials) ([]RegisteredLocation, error)
	// RemoveLocation unregisters a location.
	RemoveLocation(ctx context.Context, id string, as core.Credentials) error
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
	// Limit is 200 if zero.
	Limit int
	// Cursor continues an earlier query; only Fields and Limit count beside it.
	Cursor string
}

// EntitiesPage is a page of entities.
type EntitiesPage struct {
	Items      []catalogcommon.Entity
	TotalItems int
	// Next is the cursor of the next page, empty on the last one.
	Next string
}

// FacetValue is a value and how many entities have it.
type FacetValue struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

// RegisteredLocation is a location that somebody registered.
type RegisteredLocation struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Target    string `json:"target"`
	EntityRef string `json:"entityRef"`
}

// Catalog is the client of the catalog. It needs no factory to be added.
var Catalog = backend.NewServiceRef[Client]("catalog-client").WithDefault(
	func(ref backend.ServiceRef[Client]) backend.ServiceFactory {
		return backend.NewServiceFactory(ref, func(env *backend.FactoryEnv) backend.MakeFunc[Client] {
			peers := core.PluginClient.From(env)
			return func(context.Context) (Client, error) { return client{peers()}, nil }
		})
	})

// NewClient returns the client over a service that calls plugins.
func NewClient(peers core.PluginClientService) Client { return client{peers} }

type client struct{ peers core.PluginClientService }

func (c client) call(ctx context.Context, as core.Credentials, method, path string, query url.Values, body, out any) error {
	return c.peers.Call(ctx, core.PluginRequest{Plugin: "catalog", Method: method, Path: path, Query: query, JSON: body, As: as}, out)
}

func (c client) EntityByRef(ctx context.Context, ref string, as core.Credentials) (catalogcommon.Entity, error) {
	found, err := c.EntitiesByRefs(ctx, []string{ref}, EntitiesQuery{}, as)
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// refsPerRequest keeps the body of a request below the limit of backends
// written in Node (100 KiB).
const refsPerRequest = 500

func (c client) EntitiesByRefs(ctx context.Context, refs []string, q EntitiesQuery, as core.Credentials) ([]catalogcommon.Entity, error) {
	out := make([]catalogcommon.Entity, 0, len(refs))
	for chunk := range slices.Chunk(refs, refsPerRequest) {
		body := map[string]any{"entityRefs": chunk}
		if q.Fields != nil {
			body["fields"] = q.Fields
		}
		if q.Query != nil {
			body["query"] = q.Query
		}
		var page struct{ Items []catalogcommon.Entity }
		if err := c.call(ctx, as, http.MethodPost, "/entities/by-refs", nil, body, &page); err != nil {
			return nil, err
		}
		if len(page.Items) != len(chunk) {
			return nil, apierr.New(apierr.KindError, "the catalog answered %d entities for %d refs", len(page.Items), len(chunk))
		}
		out = append(out, page.Items...)
	}
	return out, nil
}

func (c client) Query(ctx context.Context, q EntitiesQuery, as core.Credentials) (EntitiesPage, error) {
	body := map[string]any{}
	if q.Limit > 0 {
		body["limit"] = q.Limit
	}
	if q.Fields != nil {
		body["fields"] = q.Fields
	}
	if q.Cursor != "" {
		body["cursor"] = q.Cursor
	} else {
		if q.Query != nil {
			body["query"] = q.Query
		}
		if q.OrderBy != "" {
			order := "asc"
			if q.Descending {
				order = "desc"
			}
			body["orderBy"] = []map[string]string{{"field": q.OrderBy, "order": order}}
		}
	}
	var page struct {
		Items      []catalogcommon.Entity
		TotalItems int
		PageInfo   struct{ NextCursor string }
	}
	if err := c.call(ctx, as, http.MethodPost, "/entities/by-query", nil, body, &page); err != nil {
		return EntitiesPage{}, err
	}
	return EntitiesPage{Items: page.Items, TotalItems: page.TotalItems, Next: page.PageInfo.NextCursor}, nil
}

func (c client) Facets(ctx context.Context, keys []string, query map[string]any, as core.Credentials) (map[string][]FacetValue, error) {
	body := map[string]any{"facets": keys}
	if query != nil {
		body["query"] = query
	}
	var out struct{ Facets map[string][]FacetValue }
	err := c.call(ctx, as, http.MethodPost, "/entity-facets", nil, body, &out)
	return out.Facets, err
}

func (c client) Refresh(ctx context.Context, ref string, as core.Credentials) error {
	return c.call(ctx, as, http.MethodPost, "/refresh", nil, map[string]any{"entityRef": ref}, nil)
}

func (c client) AddLocation(ctx context.Context, typ, target string, as core.Credentials) (RegisteredLocation, error) {
	var out struct{ Location RegisteredLocation }
	err := c.call(ctx, as, http.MethodPost, "/locations", nil, map[string]any{"type": typ, "target": target}, &out)
	return out.Location, err
}

func (c client) Locations(ctx context.Context, as core.Credentials) ([]RegisteredLocation, error) {
	var rows []struct{ Data RegisteredLocation }
	if err := c.call(ctx, as, http.MethodGet, "/locations", nil, nil, &rows); err != nil {
		return nil, err
	}
	out := make([]RegisteredLocation, len(rows))
	for i, r := range rows {
		out[i] = r.Data
	}
	return out, nil
}

func (c client) RemoveLocation(ctx context.Context, id string, as core.Credentials) error {
	return c.call(ctx, as, http.MethodDelete, "/locations/"+url.PathEscape(id), nil, nil, nil)
}
