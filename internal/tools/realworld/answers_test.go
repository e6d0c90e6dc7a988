package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// maxAttempts is how often a form is answered.
const maxAttempts = 80

// problem is what the scaffolder says about a value.
type problem struct {
	Path     []any
	Name     string
	Argument json.RawMessage
	Schema   json.RawMessage
}

// answers fill in a form as a person might, and try something else where the
// scaffolder does not accept it.
type answers struct {
	values map[string]any
	pages  []template.Value
	tried  map[string]int
}

func newAnswers() *answers { return &answers{values: map[string]any{}, tried: map[string]int{}} }

func (a *answers) page(schema template.Value) {
	a.pages = append(a.pages, schema)
	for name, v := range a.object(schema, "") {
		a.values[name] = v
	}
}

func (a *answers) object(schema template.Value, at string) map[string]any {
	out := map[string]any{}
	properties, ok := template.Member(schema, "properties").(*template.Record)
	if !ok {
		return out
	}
	for name, property := range properties.All() {
		out[name] = a.answer(name, property, at+"/"+name)
	}
	return out
}

func (a *answers) answer(name string, schema template.Value, at string) any {
	all := a.candidates(name, schema, at)
	return all[min(a.tried[at], len(all)-1)]
}

// texts are of the shapes that patterns ask for.
var texts = []any{
	"my-app", "app", "myapp", "a1", "my_app", "App", "1.0.0", "1", "com.example.app", "user@example.com", "https://example.com/x", "10.0.0.0/16", "us-east-1",
	"123456789012", "group:default/team", "v1", "A", "a", strings.Repeat("a", 20), "2026-01-01", "default",
}

func (a *answers) candidates(name string, schema template.Value, at string) (all []any) {
	for _, key := range []string{"const", "default"} {
		if v := template.Member(schema, key); v != (template.Undefined{}) && v != (template.Null{}) {
			all = append(all, template.ToGo(v))
		}
	}
	if list, ok := template.Member(schema, "enum").(*template.Array); ok && list.Len() > 0 {
		for _, v := range list.All() {
			all = append(all, template.ToGo(v))
		}
		return all
	}
	options := template.Member(schema, "ui:options")
	switch field := template.Text(template.Member(schema, "ui:field")); {
	case strings.HasPrefix(field, "RepoUrl"):
		hosts, ok := template.Member(options, "allowedHosts").(*template.Array)
		host := "github.com"
		if ok && hosts.Len() > 0 {
			host = template.Text(hosts.At(0))
		}
		all = append(all, host+"?owner=acme&repo=app", "github.com?owner=acme&repo=app")
	case strings.Contains(field, "Owner"), strings.Contains(field, "Entity") && !strings.Contains(field, "Name"), strings.Contains(field, "Group"):
		all = append(all, "group:default/team")
	}
	switch template.Text(template.Member(schema, "type")) {
	case "number", "integer":
		all = append(all, template.ToGo(template.Member(schema, "minimum")), 1, 10, 100)
		return slices.DeleteFunc(all, func(v any) bool { return v == nil })
	case "boolean":
		return append(all, true, false)
	case "array":
		items := template.Member(schema, "items")
		return append(all, []any{a.answer(name, items, at+"/0")}, []any{})
	case "object":
		return append(all, a.object(schema, at), map[string]any{})
	}
	return append(all, texts...)
}

// mend changes the answers that were refused; it reports whether it could.
func (a *answers) mend(problems []problem) bool {
	changed := false
	for _, p := range problems {
		var path []string
		for _, part := range p.Path {
			path = append(path, fmt.Sprint(part))
		}
		switch p.Name {
		case "required":
			var name string
			if json.Unmarshal(p.Argument, &name) == nil && a.add(path, name) {
				changed = true
			}
		case "oneOf", "anyOf":
			changed = a.choose(path, p.Schema) || changed
		default:
			at := "/" + strings.Join(path, "/")
			a.tried[at]++
			changed = a.tried[at] < len(texts)+5
			a.refill()
		}
	}
	return changed
}

// refill answers all again that pages ask for on their first level.
func (a *answers) refill() {
	for _, page := range a.pages {
		for name, v := range a.object(page, "") {
			if _, there := a.values[name]; there {
				a.values[name] = v
			}
		}
	}
}

// add answers a property that some part of the pages describes.
func (a *answers) add(path []string, name string) bool {
	for _, page := range a.pages {
		if schema := find(page, name); schema != nil {
			into := a.at(path)
			if into == nil {
				return false
			}
			into[name] = a.answer(name, schema, "/"+strings.Join(append(path, name), "/"))
			return true
		}
	}
	return false
}

// at returns the object at a path. Problems of a dependency have the path of
// the property that others depend on, and are about the object that has it.
func (a *answers) at(path []string) map[string]any {
	into := a.values
	for i, part := range path {
		next, ok := into[part].(map[string]any)
		if !ok {
			if _, there := into[part]; there && i == len(path)-1 {
				return into
			}
			return nil
		}
		into = next
	}
	return into
}

// choose answers what one of several alternatives asks for, another one each
// time.
func (a *answers) choose(path []string, raw json.RawMessage) bool {
	schema, err := template.ParseJSON(raw)
	if err != nil {
		return false
	}
	list, ok := template.Member(schema, "oneOf").(*template.Array)
	if !ok {
		list, ok = template.Member(schema, "anyOf").(*template.Array)
	}
	into, key := a.at(path), "oneOf:"+strings.Join(path, "/")
	if !ok || into == nil || a.tried[key] >= list.Len()*2 {
		return false
	}
	branch := list.At(a.tried[key] % list.Len())
	a.tried[key]++
	for name, v := range a.object(branch, "/"+strings.Join(path, "/")) {
		into[name] = v
	}
	return true
}

// find returns what describes a property, wherever in a schema.
func find(schema template.Value, name string) template.Value {
	switch s := schema.(type) {
	case *template.Record:
		if v, ok := template.Member(s, "properties").(*template.Record); ok {
			if found, ok := v.Get(name); ok {
				return found
			}
		}
		for _, v := range s.All() {
			if found := find(v, name); found != nil {
				return found
			}
		}
	case *template.Array:
		for _, v := range s.All() {
			if found := find(v, name); found != nil {
				return found
			}
		}
	}
	return nil
}
