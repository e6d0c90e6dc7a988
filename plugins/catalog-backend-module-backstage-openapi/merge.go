package catalogmodulebackstageopenapi

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/flytower/flytower/internal/jsonvalue"
)

// verbs are the members of a path item that are operations.
var verbs = []string{"get", "post", "put", "delete", "patch", "trace", "options", "head"}

// merged is a document that others are added to.
type merged struct {
	doc        map[string]any
	paths      map[string]any
	components map[string]any // sections by name
	tags       []any
	operations map[string]bool // ids
}

func newMerged(baseURL string) *merged {
	m := &merged{paths: map[string]any{}, components: map[string]any{}, operations: map[string]bool{}}
	m.doc = map[string]any{
		"openapi": "3.0.3", "info": map[string]any{"title": "Backstage API", "version": "1"},
		"servers": []any{map[string]any{"url": baseURL}}, "paths": m.paths,
	}
	return m
}

// result returns the document.
func (m *merged) result() map[string]any {
	if len(m.components) > 0 {
		m.doc["components"] = m.components
	}
	if len(m.tags) > 0 {
		m.doc["tags"] = m.tags
	}
	return m.doc
}

// add adds the document of a plugin that is below a path, and returns the paths
// that were there already.
func (m *merged) add(plugin, below string, doc map[string]any) (taken []string) {
	doc = jsonvalue.CloneObject(doc)
	if version, _ := doc["openapi"].(string); version > m.doc["openapi"].(string) {
		m.doc["openapi"] = version
	}
	components, _ := doc["components"].(map[string]any)
	names := m.rename(components)
	rewrite(doc, names)
	for section, content := range components {
		content, _ := content.(map[string]any)
		into, _ := m.components[section].(map[string]any)
		if into == nil {
			into = map[string]any{}
			m.components[section] = into
		}
		for name, component := range content {
			if renamed, ok := names[reference(section, name)]; ok {
				name = renamed[strings.LastIndexByte(renamed, '/')+1:]
			}
			into[name] = component
		}
	}
	tags, _ := doc["tags"].([]any)
	for _, tag := range append(tags, map[string]any{"name": plugin}) {
		if !slices.ContainsFunc(m.tags, func(there any) bool { return tagName(there) == tagName(tag) }) {
			m.tags = append(m.tags, tag)
		}
	}
	paths, _ := doc["paths"].(map[string]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item, ok := paths[path].(map[string]any)
		if !ok {
			continue
		}
		for _, verb := range verbs {
			if operation, ok := item[verb].(map[string]any); ok {
				m.operation(plugin, doc, operation)
			}
		}
		if path != below && !strings.HasPrefix(path, below+"/") {
			path = below + path
		}
		if _, there := m.paths[path]; there {
			taken = append(taken, path)
			continue
		}
		m.paths[path] = item
	}
	return taken
}

// operation completes an operation by what stands elsewhere in its document.
func (m *merged) operation(plugin string, doc, operation map[string]any) {
	tags, _ := operation["tags"].([]any)
	if !slices.Contains(tags, any(plugin)) {
		operation["tags"] = append(tags, plugin)
	}
	if security, ok := doc["security"]; ok && operation["security"] == nil {
		operation["security"] = jsonvalue.Clone(security)
	}
	if id, ok := operation["operationId"].(string); ok {
		free := id
		for n := 1; m.operations[free]; n++ {
			free = id + strconv.Itoa(n)
		}
		m.operations[free] = true
		operation["operationId"] = free
	}
}

func tagName(tag any) any {
	t, _ := tag.(map[string]any)
	return t["name"]
}

func reference(section, name string) string { return "#/components/" + section + "/" + name }

// rename finds the components that have the name of another one, or that refer
// to such, and returns their references with the new ones.
func (m *merged) rename(components map[string]any) map[string]string {
	names, reserved := map[string]string{}, map[string]bool{}
	for again := true; again; {
		again = false
		for _, section := range slices.Sorted(maps.Keys(components)) {
			there, _ := m.components[section].(map[string]any)
			content, _ := components[section].(map[string]any)
			for _, name := range slices.Sorted(maps.Keys(content)) {
				old, taken := there[name]
				if !taken || names[reference(section, name)] != "" || reflect.DeepEqual(old, content[name]) && !mentions(content[name], names) {
					continue
				}
				free := func(candidate string) bool {
					_, isThere := there[candidate]
					_, isHere := content[candidate]
					return !isThere && !isHere && !reserved[reference(section, candidate)]
				}
				next := name
				for n := 1; !free(next); n++ {
					next = name + strconv.Itoa(n)
				}
				names[reference(section, name)] = reference(section, next)
				reserved[reference(section, next)] = true
				again = true
			}
		}
	}
	return names
}

// mentions reports whether a reference in v is one of the names.
func mentions(v any, names map[string]string) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			if mentions(item, names) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(item any) bool { return mentions(item, names) })
	case string:
		return names[v] != ""
	}
	return false
}

// rewrite replaces references, and the names of security schemes.
func rewrite(v any, names map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			if text, ok := item.(string); ok && names[text] != "" {
				v[key] = names[text] // of $ref, or in the mapping of a discriminator
				continue
			}
			if list, ok := item.([]any); ok && key == "security" {
				for _, requirement := range list {
					renameKeys(requirement, names)
				}
				continue
			}
			rewrite(item, names)
		}
	case []any:
		for _, item := range v {
			rewrite(item, names)
		}
	}
}

func renameKeys(requirement any, names map[string]string) {
	schemes, _ := requirement.(map[string]any)
	for _, name := range slices.Collect(maps.Keys(schemes)) {
		if renamed, ok := names[reference("securitySchemes", name)]; ok {
			scopes := schemes[name]
			delete(schemes, name)
			schemes[renamed[strings.LastIndexByte(renamed, '/')+1:]] = scopes
		}
	}
}
