package api

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/flytower/flytower/internal/jsonvalue"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/model"
)

// openAPI describes the routes, with paths below the mount of the plugin. What
// it says about entities comes from elsewhere: see [NewDocument].
//
//go:embed openapi.json
var openAPI []byte

// mount is where the plugin is if a request does not tell.
const mount = "/api/catalog"

// Document is the OpenAPI document.
type Document struct {
	paths map[string]any // below the mount
	rest  map[string]any
}

// NewDocument returns the document of a catalog with the model. The schemas of
// entities are those by which the catalog validates: those that all entities
// share, as Entity and EntityMeta, and those of the kinds of the model, as
// ComponentEntity and so on.
func NewDocument(m *model.Model) (*Document, error) {
	v, err := jsonvalue.Parse(openAPI)
	if err != nil {
		return nil, fmt.Errorf("the OpenAPI document: %w", err)
	}
	doc, _ := v.(map[string]any)
	paths, _ := doc["paths"].(map[string]any)
	components, _ := doc["components"].(map[string]any)
	schemas, _ := components["schemas"].(map[string]any)
	if paths == nil || schemas == nil {
		return nil, fmt.Errorf("the OpenAPI document has no paths or no schemas")
	}
	if err := addSharedSchemas(schemas); err != nil {
		return nil, err
	}
	if err := addKindSchemas(schemas, m); err != nil {
		return nil, err
	}
	delete(doc, "paths")
	return &Document{paths: paths, rest: doc}, nil
}

// addSharedSchemas adds what entities of all kinds have in common.
func addSharedSchemas(to map[string]any) error {
	for _, r := range catalogcommon.BaseSchemas() {
		s, err := model.ParseSchema(r.Text)
		if err != nil {
			return fmt.Errorf("schema %s: %w", r.ID, err)
		}
		parts, _ := s["definitions"].(map[string]any)
		if parts == nil {
			parts = map[string]any{r.ID: map[string]any(s)}
		} else {
			parts = renamed(parts)
		}
		for name, part := range parts {
			if object, ok := part.(map[string]any); ok {
				delete(object, "$schema")
				delete(object, "$id")
				refer(object)
				to[name] = object
			}
		}
	}
	return nil
}

// renamed gives the definitions of a schema their names among the components.
func renamed(definitions map[string]any) map[string]any {
	out := make(map[string]any, len(definitions))
	for name, part := range definitions {
		out[partName(name)] = part
	}
	return out
}

func partName(definition string) string {
	return "Entity" + strings.ToUpper(definition[:1]) + definition[1:]
}

// refer makes references between schemas references to components.
func refer(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			refer(item)
		}
	case map[string]any:
		for key, item := range v {
			text, isText := item.(string)
			if key != "$ref" || !isText {
				refer(item)
				continue
			}
			if _, definition, ok := strings.Cut(text, "#/definitions/"); ok {
				text = partName(definition)
			}
			v[key] = "#/components/schemas/" + text
		}
	}
}

// addKindSchemas adds the kinds of the model, and SourceEntity, which is one of
// them, or one that only a module knows.
func addKindSchemas(to map[string]any, m *model.Model) error {
	kinds := []any{}
	for _, kind := range m.Kinds() {
		bySpecType := map[string][]string{}
		for _, v := range kind.Versions {
			bySpecType[v.SpecType] = append(bySpecType[v.SpecType], v.APIVersion)
		}
		for _, specType := range slices.Sorted(maps.Keys(bySpecType)) {
			schemas, err := schemasOf(m, kind.Kind, specType, bySpecType[specType])
			if err != nil {
				return fmt.Errorf("schema of kind %s: %w", kind.Kind, err)
			}
			for _, name := range slices.Sorted(maps.Keys(schemas)) {
				to[name] = schemas[name]
				kinds = append(kinds, map[string]any{"$ref": "#/components/schemas/" + name})
			}
		}
	}
	to["SourceEntity"] = map[string]any{
		"description": "An entity as it stands in a file. Kinds that only modules know are allowed, too.",
		"anyOf":       append(kinds, map[string]any{"$ref": "#/components/schemas/EntityEnvelope"}),
	}
	return nil
}

// schemasOf returns the schemas of a kind by the names of their components:
// versions that differ in nothing but their own name are one.
func schemasOf(m *model.Model, kind, specType string, apiVersions []string) (map[string]any, error) {
	var different []map[string]any
	versions := map[string][]any{} // by the text of the schema without the version
	for _, apiVersion := range apiVersions {
		s, err := model.ParseSchema(m.Get(kind, apiVersion, specType).JSONSchema())
		if err != nil {
			return nil, err
		}
		delete(s, "$schema")
		delete(s, "$id")
		properties, _ := s["properties"].(map[string]any)
		delete(properties, "apiVersion")
		text := string(jsonvalue.Append(nil, map[string]any(s)))
		if versions[text] = append(versions[text], apiVersion); len(versions[text]) == 1 {
			different = append(different, s)
		}
	}
	out := make(map[string]any, len(different))
	for _, s := range different {
		same := versions[string(jsonvalue.Append(nil, s))]
		name := kindName(kind, specType)
		if len(different) > 1 {
			_, version, _ := strings.Cut(fmt.Sprint(same[0]), "/")
			name += "." + version
		}
		properties, _ := s["properties"].(map[string]any)
		properties["apiVersion"] = map[string]any{"enum": same}
		out[name] = s
	}
	return out, nil
}

// kindName is a name that components may have.
func kindName(kind, specType string) string {
	name := kind + "Entity"
	if specType != "" {
		name += "." + strings.Map(func(r rune) rune {
			if r < 0x80 && (r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z') {
				return r
			}
			return '-'
		}, specType)
	}
	return name
}

// document answers the OpenAPI document, with paths as clients outside see
// them.
func (h *Handler) document(w http.ResponseWriter, r *http.Request) error {
	if _, err := parseParams(r); err != nil {
		return err
	}
	base := mountOf(r)
	below := make(map[string]any, len(h.Document.paths))
	for path, item := range h.Document.paths {
		below[base+path] = item
	}
	doc := maps.Clone(h.Document.rest)
	doc["paths"] = below
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

// mountOf returns the part of the requested path before the document's.
func mountOf(r *http.Request) string {
	const name = "/openapi.json"
	u, err := url.ParseRequestURI(r.RequestURI)
	if err != nil || len(u.Path) <= len(name) {
		return mount
	}
	path := strings.TrimSuffix(u.Path, "/")
	if cut := len(path) - len(name); cut > 0 && strings.EqualFold(path[cut:], name) {
		return path[:cut]
	}
	return mount
}
