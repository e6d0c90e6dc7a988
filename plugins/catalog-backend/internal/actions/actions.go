// Package actions lets tools and agents use the catalog: each action is a
// request to the catalog's own routes, made on behalf of the caller, so that
// permissions and audit are those of the routes.
//
//	err := actions.Register(registry, actions.Catalog{Peers: peers, Model: m})
package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entityyaml"
	"github.com/flytower/flytower/plugins/catalog-common/model"
)

// Catalog is what the actions work with.
type Catalog struct {
	// Peers reach the catalog.
	Peers core.PluginClientService
	// Model is what the catalog knows of entities.
	Model *model.Model
	// AskForModel makes the action that queries refer to the one that describes
	// the model, instead of describing it itself.
	AskForModel bool
}

// Register publishes the actions.
func Register(registry core.ActionsRegistryService, c Catalog) error {
	described := describe(c.Model)
	about := "\n\n" + described
	if c.AskForModel {
		about = " The action get-catalog-model-description tells which kinds, fields and relations there are: ask it first."
	}
	read := core.ActionAttributes{ReadOnly: true, Idempotent: true, NonDestructive: true}
	return errors.Join(
		registry.Register(core.Action{
			Name: "get-catalog-model-description", Title: "Describe the catalog model", Attributes: read,
			Description: "Describes, as markdown, the kinds of entities that the catalog knows, with their fields and relations.",
			Input:       json.RawMessage(emptyInput), Output: json.RawMessage(modelOutput),
			Run: func(context.Context, core.ActionCall) (any, error) {
				return map[string]string{"description": described}, nil
			},
		}),
		registry.Register(core.Action{
			Name: "get-catalog-entity", Title: "Get an entity", Attributes: read,
			Description: "Returns the entity with the name. An entity is identified by kind, namespace (\"default\" unless it has another) and name; where the name alone is not unique, give the others as well.",
			Input:       json.RawMessage(entityNameInput), Output: json.RawMessage(anyObject), Run: call(c.get),
		}),
		registry.Register(core.Action{
			Name: "validate-entity", Title: "Validate an entity", Attributes: read,
			Description: "Checks the text of a catalog file: whether it is YAML, and whether the catalog would accept the entity. Nothing is stored.",
			Input:       json.RawMessage(validateInput), Output: json.RawMessage(validateOutput), Run: call(c.validate),
		}),
		registry.Register(core.Action{
			Name: "register-entity", Title: "Register a catalog file", Attributes: core.ActionAttributes{NonDestructive: true},
			Description: "Registers the URL of a catalog file, so that the entities in it become part of the catalog. Returns the id of the location, by which it can be unregistered.",
			Input:       json.RawMessage(registerInput), Output: json.RawMessage(registerOutput), Run: call(c.register),
		}),
		registry.Register(core.Action{
			Name: "unregister-entity", Title: "Unregister a catalog file", Attributes: core.ActionAttributes{Idempotent: true},
			Description: "Takes back the registration of a catalog file, by the id of the location or by its URL, and with it all entities that came from there.",
			Input:       json.RawMessage(unregisterInput), Output: json.RawMessage(emptyInput), Run: call(c.unregister),
		}),
		registry.Register(core.Action{
			Name: "query-catalog-entities", Title: "Query entities", Attributes: read,
			Description: "Returns the entities that a predicate holds for, page by page. A predicate names fields by dotted paths, in lower case or not: " +
				`{"kind": "component", "spec.type": "service"}, {"kind": {"$in": ["api", "component"]}}, {"metadata.tags": {"$contains": "java"}}, ` +
				`{"relations.ownedby": "group:default/team-a"}, {"metadata.name": {"$hasPrefix": "web"}}, {"spec.system": {"$exists": true}}, and $all, $any, $not around them.` + about,
			Input: json.RawMessage(queryInput), Output: json.RawMessage(queryOutput), Run: call(c.query),
		}),
		registry.Register(core.Action{
			Name: "refresh-catalog-entity", Title: "Refresh an entity", Attributes: core.ActionAttributes{Idempotent: true, NonDestructive: true},
			Description: "Has the catalog read the source of an entity again soon, and returns the ref of the entity.",
			Input:       json.RawMessage(refreshInput), Output: json.RawMessage(refreshOutput), Run: call(c.refresh),
		}),
	)
}

// call decodes the input of an action.
func call[In any](run func(ctx context.Context, in In, as core.Credentials) (any, error)) func(context.Context, core.ActionCall) (any, error) {
	return func(ctx context.Context, c core.ActionCall) (any, error) {
		var in In
		if err := json.Unmarshal(c.Input, &in); err != nil {
			return nil, apierr.Input("the input of the action is malformed: %w", err)
		}
		return run(ctx, in, c.As)
	}
}

func (c Catalog) request(ctx context.Context, as core.Credentials, method, path string, body, out any) error {
	return c.Peers.Call(ctx, core.PluginRequest{Plugin: "catalog", Method: method, Path: path, JSON: body, As: as}, out)
}

type entityName struct{ Kind, Namespace, Name string }

type page struct {
	Items      []catalogcommon.Entity
	TotalItems int
	PageInfo   struct{ NextCursor string }
}

// find returns the one entity with the name.
func (c Catalog) find(ctx context.Context, in entityName, as core.Credentials) (catalogcommon.Entity, error) {
	query := map[string]any{"metadata.name": in.Name}
	if in.Kind != "" {
		query["kind"] = in.Kind
	}
	if in.Namespace != "" {
		query["metadata.namespace"] = in.Namespace
	}
	var found page
	if err := c.request(ctx, as, http.MethodPost, "/entities/by-query", map[string]any{"query": query, "limit": 10}, &found); err != nil {
		return nil, err
	}
	switch len(found.Items) {
	case 0:
		return nil, apierr.Input("No entity found with name %q", in.Name)
	case 1:
		return found.Items[0], nil
	}
	refs := make([]string, len(found.Items))
	for i, e := range found.Items {
		refs[i] = e.Ref().String()
	}
	return nil, apierr.Conflict("Several entities are named %q; give the kind and the namespace. Found: %s", in.Name, strings.Join(refs, ", "))
}

func (c Catalog) get(ctx context.Context, in entityName, as core.Credentials) (any, error) {
	return c.find(ctx, in, as)
}

func (c Catalog) refresh(ctx context.Context, in entityName, as core.Credentials) (any, error) {
	entity, err := c.find(ctx, in, as)
	if err != nil {
		return nil, err
	}
	ref := entity.Ref().String()
	return map[string]string{"entityRef": ref}, c.request(ctx, as, http.MethodPost, "/refresh", map[string]any{"entityRef": ref}, nil)
}

type validation struct {
	IsValid     bool                 `json:"isValid"`
	IsValidYAML bool                 `json:"isValidYaml"`
	Errors      []string             `json:"errors"`
	Entity      catalogcommon.Entity `json:"entity,omitempty"`
}

// nowhere is the location of an entity that is validated before it has one.
const nowhere = "https://localhost/catalog-info.yaml"

func (c Catalog) validate(ctx context.Context, in struct{ Entity, Location string }, as core.Credentials) (any, error) {
	entity, err := parseOne(in.Entity)
	if err != nil {
		return validation{Errors: []string{err.Error()}}, nil
	}
	location := in.Location
	if location == "" {
		location = nowhere
	}
	out := validation{IsValidYAML: true, Errors: []string{}}
	answer, err := c.Peers.Do(ctx, core.PluginRequest{
		Plugin: "catalog", Method: http.MethodPost, Path: "/validate-entity", As: as,
		JSON: map[string]any{"entity": entity, "location": "url:" + strings.TrimPrefix(location, "url:")},
	})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		out.IsValid, out.Entity = true, entity
		return out, nil
	case http.StatusBadRequest:
	default:
		return nil, apierr.FromResponse(answer)
	}
	var body struct{ Errors []struct{ Message string } }
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&body); err != nil {
		return nil, fmt.Errorf("reading why the entity is not valid: %w", err)
	}
	for _, e := range body.Errors {
		out.Errors = append(out.Errors, e.Message)
	}
	return out, nil
}

// maxAnswer bounds an answer that lists errors, in bytes.
const maxAnswer = 4 << 20

func parseOne(text string) (catalogcommon.Entity, error) {
	var found []catalogcommon.Entity
	for doc := range entityyaml.Documents([]byte(text), entityyaml.Options{}) {
		entity, err := doc.Entity()
		if err != nil {
			return nil, err
		}
		if entity != nil {
			found = append(found, entity)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("expected the YAML of one entity, found %d", len(found))
	}
	return found[0], nil
}

type location struct{ ID, Target string }

func (c Catalog) register(ctx context.Context, in struct{ LocationURL string }, as core.Credentials) (any, error) {
	if u, err := url.Parse(in.LocationURL); err != nil || u.Scheme == "" || u.Host == "" {
		return nil, apierr.Input("%q is not a URL", in.LocationURL)
	}
	var out struct{ Location location }
	err := c.request(ctx, as, http.MethodPost, "/locations", map[string]any{"type": "url", "target": in.LocationURL}, &out)
	return map[string]string{"locationId": out.Location.ID}, err
}

type unregistration struct {
	Type struct{ LocationID, LocationURL string }
}

func (c Catalog) unregister(ctx context.Context, in unregistration, as core.Credentials) (any, error) {
	id := in.Type.LocationID
	if id == "" {
		var all []struct{ Data location }
		if err := c.request(ctx, as, http.MethodGet, "/locations", nil, &all); err != nil {
			return nil, err
		}
		for _, l := range all {
			if strings.EqualFold(l.Data.Target, in.Type.LocationURL) {
				id = l.Data.ID
			}
		}
		if id == "" {
			return nil, apierr.NotFound("There is no location with the URL %s", in.Type.LocationURL)
		}
	}
	return struct{}{}, c.request(ctx, as, http.MethodDelete, "/locations/"+url.PathEscape(id), nil, nil)
}

type queryAnswer struct {
	Items      []catalogcommon.Entity `json:"items"`
	TotalItems int                    `json:"totalItems"`
	More       bool                   `json:"hasMoreEntities"`
	Next       string                 `json:"nextPageCursor,omitempty"`
}

func (c Catalog) query(ctx context.Context, in map[string]any, as core.Credentials) (any, error) {
	body := map[string]any{}
	for _, name := range []string{"query", "fields", "limit", "offset", "fullTextFilter", "cursor"} {
		if v, ok := in[name]; ok {
			body[name] = v
		}
	}
	switch order := in["orderFields"].(type) {
	case map[string]any:
		body["orderBy"] = []any{order}
	case []any:
		body["orderBy"] = order
	}
	var found page
	if err := c.request(ctx, as, http.MethodPost, "/entities/by-query", body, &found); err != nil {
		return nil, err
	}
	if found.Items == nil {
		found.Items = []catalogcommon.Entity{}
	}
	return queryAnswer{found.Items, found.TotalItems, found.PageInfo.NextCursor != "", found.PageInfo.NextCursor}, nil
}
