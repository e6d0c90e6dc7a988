package catalognode

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/plugincall"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// ClientOption changes a part of the client.
type ClientOption func(*client)

// WithSleep sets how the client waits before it tries again, for tests. The
// default sleeps until the context ends.
func WithSleep(sleep func(ctx context.Context, d time.Duration) error) ClientOption {
	return func(c *client) { c.calls.Sleep = sleep }
}

// NewClient returns the client over a service that calls plugins.
func NewClient(peers core.PluginClientService, opts ...ClientOption) Client {
	c := &client{plugincall.New(peers, "catalog")}
	for _, o := range opts {
		o(c)
	}
	return c
}

type client struct{ calls *plugincall.Client }

// segments returns an escaped path.
func segments(parts ...string) string {
	path := ""
	for _, p := range parts {
		path += "/" + url.PathEscape(p)
	}
	return path
}

// refPath returns the path of a route about an entity.
func refPath(before []string, ref string, after ...string) (string, error) {
	r, err := catalogcommon.ParseRef(ref, catalogcommon.RefDefaults{})
	if err != nil {
		return "", apierr.Input("%w", err)
	}
	return segments(slices.Concat(before, []string{r.Kind, r.Namespace, r.Name}, after)...), nil
}

// maybe turns a not-found error into an absent value.
func maybe[T any](v T, err error) (T, bool, error) {
	if apierr.KindOf(err) == apierr.KindNotFound {
		var none T
		return none, false, nil
	}
	return v, err == nil, err
}

func (c *client) EntityByRef(ctx context.Context, ref string, as core.Credentials) (catalogcommon.Entity, error) {
	found, err := c.EntitiesByRefs(ctx, []string{ref}, EntitiesQuery{}, as)
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

const (
	// maxRefs and maxRefBytes bound a request for entities by their refs:
	// backends written in Node read no more than 100 KiB.
	maxRefs     = 1000
	maxRefBytes = 90 << 10
)

// refChunks divides refs into requests.
func refChunks(refs []string) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for start := 0; start < len(refs); {
			end, size := start, 0
			for end < len(refs) && end-start < maxRefs {
				text, _ := json.Marshal(refs[end]) // a string always encodes
				if size += len(text) + 1; size > maxRefBytes && end > start {
					break
				}
				end++
			}
			if !yield(refs[start:end]) {
				return
			}
			start = end
		}
	}
}

func (c *client) EntitiesByRefs(ctx context.Context, refs []string, q EntitiesQuery, as core.Credentials) ([]catalogcommon.Entity, error) {
	type page struct{ Items []catalogcommon.Entity }
	out := make([]catalogcommon.Entity, 0, len(refs))
	for chunk := range refChunks(refs) {
		body := map[string]any{"entityRefs": chunk}
		if q.Fields != nil {
			body["fields"] = q.Fields
		}
		if q.Query != nil {
			body["query"] = q.Query
		}
		got, err := plugincall.JSON[page](ctx, c.calls, plugincall.Request{Method: http.MethodPost, Path: "/entities/by-refs", Body: body, As: as, Repeatable: true})
		if err != nil {
			return nil, err
		}
		if len(got.Items) != len(chunk) {
			return nil, apierr.New(apierr.KindError, "the catalog answered %d entities for %d refs", len(got.Items), len(chunk))
		}
		out = append(out, got.Items...)
	}
	return out, nil
}

// body returns the body of a query.
func (q EntitiesQuery) body() map[string]any {
	body := map[string]any{}
	if q.Limit > 0 {
		body["limit"] = q.Limit
	}
	if q.Fields != nil {
		body["fields"] = q.Fields
	}
	if q.Cursor != "" {
		body["cursor"] = q.Cursor
		return body
	}
	if q.Query != nil {
		body["query"] = q.Query
	}
	if q.Offset > 0 {
		body["offset"] = q.Offset
	}
	if q.WithoutTotal {
		body["totalItems"] = "exclude"
	}
	if q.FullText != nil {
		filter := map[string]any{"term": q.FullText.Term}
		if q.FullText.Fields != nil {
			filter["fields"] = q.FullText.Fields
		}
		body["fullTextFilter"] = filter
	}
	if q.OrderBy != "" {
		order := map[bool]string{false: "asc", true: "desc"}[q.Descending]
		body["orderBy"] = []map[string]string{{"field": q.OrderBy, "order": order}}
	}
	return body
}

func (c *client) Query(ctx context.Context, q EntitiesQuery, as core.Credentials) (EntitiesPage, error) {
	type page struct {
		Items      []catalogcommon.Entity
		TotalItems int
		PageInfo   struct{ NextCursor, PrevCursor string }
	}
	got, err := plugincall.JSON[page](ctx, c.calls, plugincall.Request{Method: http.MethodPost, Path: "/entities/by-query", Body: q.body(), As: as, Repeatable: true})
	if err != nil {
		return EntitiesPage{}, err
	}
	return EntitiesPage{Items: got.Items, TotalItems: got.TotalItems, Next: got.PageInfo.NextCursor, Previous: got.PageInfo.PrevCursor}, nil
}

// streamPage is the size of the pages of streams.
const streamPage = 500

func (c *client) StreamEntities(ctx context.Context, q EntitiesQuery, as core.Credentials) iter.Seq2[catalogcommon.Entity, error] {
	if q.Limit <= 0 {
		q.Limit = streamPage
	}
	if q.Cursor == "" {
		q.WithoutTotal = true
	}
	return stream(q.Cursor, func(cursor string) ([]catalogcommon.Entity, string, error) {
		next := q
		next.Cursor = cursor
		page, err := c.Query(ctx, next, as)
		return page.Items, page.Next, err
	})
}

// stream yields the items of page after page.
func stream[T any](cursor string, read func(cursor string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for at := cursor; ; {
			items, next, err := read(at)
			if err == nil && next != "" && next == at {
				err = apierr.New(apierr.KindError, "the catalog gave the same page twice")
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if at = next; at == "" {
				return
			}
		}
	}
}

func (c *client) Facets(ctx context.Context, keys []string, query map[string]any, as core.Credentials) (map[string][]FacetValue, error) {
	body := map[string]any{"facets": keys}
	if query != nil {
		body["query"] = query
	}
	type answer struct{ Facets map[string][]FacetValue }
	got, err := plugincall.JSON[answer](ctx, c.calls, plugincall.Request{Method: http.MethodPost, Path: "/entity-facets", Body: body, As: as, Repeatable: true})
	return got.Facets, err
}

func (c *client) Ancestry(ctx context.Context, ref string, as core.Credentials) (Ancestry, error) {
	path, err := refPath([]string{"entities", "by-name"}, ref, "ancestry")
	if err != nil {
		return Ancestry{}, err
	}
	return plugincall.JSON[Ancestry](ctx, c.calls, plugincall.Request{Path: path, As: as, Repeatable: true})
}

func (c *client) Refresh(ctx context.Context, ref string, as core.Credentials) error {
	return c.calls.Do(ctx, plugincall.Request{Method: http.MethodPost, Path: "/refresh", Body: map[string]any{"entityRef": ref}, As: as, Repeatable: true, Want: http.StatusOK})
}

func (c *client) RemoveEntity(ctx context.Context, uid string, as core.Credentials) error {
	return c.calls.Do(ctx, plugincall.Request{Method: http.MethodDelete, Path: segments("entities", "by-uid", uid), As: as, Repeatable: true})
}

func (c *client) Validate(ctx context.Context, entity catalogcommon.Entity, location string, as core.Credentials) ([]EntityProblem, error) {
	var problems []EntityProblem
	err := c.calls.Do(ctx, plugincall.Request{
		Method: http.MethodPost, Path: "/validate-entity", Body: map[string]any{"entity": entity, "location": location}, As: as, Repeatable: true,
		Answer: func(status int, body []byte) bool {
			var list struct{ Errors []EntityProblem }
			if status != http.StatusBadRequest || json.Unmarshal(body, &list) != nil {
				return false
			}
			problems = list.Errors
			return len(problems) > 0
		},
	})
	return problems, err
}

func locationBody(typ, target string) map[string]any {
	return map[string]any{"type": typ, "target": target}
}

func (c *client) AddLocation(ctx context.Context, typ, target string, as core.Credentials) (RegisteredLocation, error) {
	return c.addLocation(ctx, plugincall.Request{Body: locationBody(typ, target), As: as})
}

func (c *client) EnsureLocation(ctx context.Context, typ, target string, as core.Credentials) (RegisteredLocation, error) {
	return c.addLocation(ctx, plugincall.Request{Query: url.Values{"onConflict": {"refresh"}}, Body: locationBody(typ, target), As: as, Repeatable: true})
}

func (c *client) addLocation(ctx context.Context, r plugincall.Request) (RegisteredLocation, error) {
	type answer struct{ Location RegisteredLocation }
	r.Method, r.Path, r.Want = http.MethodPost, "/locations", http.StatusCreated
	got, err := plugincall.JSON[answer](ctx, c.calls, r)
	if err == nil && got.Location.ID == "" {
		err = apierr.New(apierr.KindError, "the catalog registered a location and did not say which")
	}
	return got.Location, err
}

func (c *client) CheckLocation(ctx context.Context, typ, target string, as core.Credentials) (LocationCheck, error) {
	return plugincall.JSON[LocationCheck](ctx, c.calls, plugincall.Request{
		Method: http.MethodPost, Path: "/locations", Query: url.Values{"dryRun": {"true"}}, Body: locationBody(typ, target), As: as,
		Repeatable: true, Want: http.StatusCreated,
	})
}

func (c *client) Locations(ctx context.Context, as core.Credentials) ([]RegisteredLocation, error) {
	rows, err := plugincall.JSON[[]struct{ Data RegisteredLocation }](ctx, c.calls, plugincall.Request{Path: "/locations", As: as, Repeatable: true})
	if err != nil {
		return nil, err
	}
	out := make([]RegisteredLocation, len(rows))
	for i, r := range rows {
		out[i] = r.Data
	}
	return out, nil
}

func (c *client) QueryLocations(ctx context.Context, q LocationsQuery, as core.Credentials) (LocationsPage, error) {
	body := map[string]any{}
	switch {
	case q.Cursor != "":
		body["cursor"] = q.Cursor
	default:
		if q.Limit > 0 {
			body["limit"] = q.Limit
		}
		if q.Query != nil {
			body["query"] = q.Query
		}
	}
	type page struct {
		Items      []RegisteredLocation
		TotalItems int
		PageInfo   struct{ NextCursor string }
	}
	got, err := plugincall.JSON[page](ctx, c.calls, plugincall.Request{Method: http.MethodPost, Path: "/locations/by-query", Body: body, As: as, Repeatable: true})
	return LocationsPage{Items: got.Items, TotalItems: got.TotalItems, Next: got.PageInfo.NextCursor}, err
}

func (c *client) StreamLocations(ctx context.Context, q LocationsQuery, as core.Credentials) iter.Seq2[RegisteredLocation, error] {
	if q.Limit <= 0 {
		q.Limit = streamPage
	}
	return stream(q.Cursor, func(cursor string) ([]RegisteredLocation, string, error) {
		next := q
		next.Cursor = cursor
		page, err := c.QueryLocations(ctx, next, as)
		return page.Items, page.Next, err
	})
}

func (c *client) LocationByID(ctx context.Context, id string, as core.Credentials) (RegisteredLocation, bool, error) {
	return maybe(plugincall.JSON[RegisteredLocation](ctx, c.calls, plugincall.Request{Path: segments("locations", id), As: as, Repeatable: true}))
}

func (c *client) LocationByTarget(ctx context.Context, typ, target string, as core.Credentials) (RegisteredLocation, bool, error) {
	all, err := c.Locations(ctx, as)
	for _, l := range all {
		if l.Type == typ && l.Target == target {
			return l, true, nil
		}
	}
	return RegisteredLocation{}, false, err
}

func (c *client) LocationByEntity(ctx context.Context, ref string, as core.Credentials) (RegisteredLocation, bool, error) {
	path, err := refPath([]string{"locations", "by-entity"}, ref)
	if err != nil {
		return RegisteredLocation{}, false, err
	}
	return maybe(plugincall.JSON[RegisteredLocation](ctx, c.calls, plugincall.Request{Path: path, As: as, Repeatable: true}))
}

func (c *client) UpdateLocation(ctx context.Context, id, typ, target string, as core.Credentials) (RegisteredLocation, error) {
	return plugincall.JSON[RegisteredLocation](ctx, c.calls, plugincall.Request{
		Method: http.MethodPut, Path: segments("locations", id), Body: locationBody(typ, target), As: as, Repeatable: true, Want: http.StatusOK,
	})
}

func (c *client) RemoveLocation(ctx context.Context, id string, as core.Credentials) error {
	return c.calls.Do(ctx, plugincall.Request{Method: http.MethodDelete, Path: segments("locations", id), As: as, Repeatable: true})
}

func (c *client) AnalyzeLocation(ctx context.Context, target, filename string, as core.Credentials) (LocationAnalysis, error) {
	body := map[string]any{"location": locationBody("url", target)}
	if filename != "" {
		body["catalogFilename"] = filename
	}
	return plugincall.JSON[LocationAnalysis](ctx, c.calls, plugincall.Request{Method: http.MethodPost, Path: "/analyze-location", Body: body, As: as, Repeatable: true, Want: http.StatusOK})
}
