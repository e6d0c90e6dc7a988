package actions

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/flytower/flytower/plugins/catalog-common/model"
)

// describe returns what the model says, as markdown: for people, and for
// programs that read like people.
func describe(m *model.Model) string {
	var b strings.Builder
	b.WriteString("# The catalog model\n\nAn entity has `apiVersion`, `kind`, `metadata` (`name`, `namespace`, `title`, `description`, `labels`, `annotations`, `tags`, `links`), " +
		"`spec`, which depends on the kind, and `relations`, which the catalog derives. A reference to an entity is `kind:namespace/name`, for example `component:default/web-site`.\n\n" +
		"Fields in bold are required. Installed modules may know more kinds, such as `Template`.\n\n" +
		"| Kind | apiVersion | Stands for | Fields of `spec` |\n|---|---|---|---|\n")
	for _, k := range m.Kinds() {
		for _, v := range grouped(k.Versions) {
			compiled := m.Get(k.Kind, v.apiVersions[0], v.specType)
			name := k.Kind
			if v.specType != "" {
				name += " of type `" + v.specType + "`"
			}
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", name, strings.Join(v.apiVersions, "`, `"), cell(compiled.Description), specFields(compiled.JSONSchema()))
		}
	}
	b.WriteString("\nRelations come in pairs. Query them as `relations.<type>`, for example `{\"relations.ownedby\": \"group:default/team-a\"}`.\n\n| Relation | Reverse | From | To | Meaning |\n|---|---|---|---|---|\n")
	for _, r := range m.Relations() {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", r.Forward.Type, r.Reverse.Type, strings.Join(r.FromKinds, ", "), strings.Join(r.ToKinds, ", "), cell(r.Description))
	}
	about := m.Metadata()
	for _, part := range []struct {
		title  string
		fields []model.FieldSummary
	}{{"Annotation", about.Annotations}, {"Label", about.Labels}, {"Tag", about.Tags}} {
		if len(part.fields) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n| %s | Meaning |\n|---|---|\n", part.title)
		for _, f := range part.fields {
			text := f.Description
			if text == "" {
				text = f.Title
			}
			fmt.Fprintf(&b, "| `%s` | %s |\n", f.Name, cell(text))
		}
	}
	return b.String()
}

// group are the versions of a kind for one spec.type. Their fields are nearly
// the same, so the first speaks for all.
type group struct {
	specType    string
	apiVersions []string
}

func grouped(versions []model.VersionSummary) (out []group) {
	for _, v := range versions {
		i := slices.IndexFunc(out, func(g group) bool { return g.specType == v.SpecType })
		if i < 0 {
			out = append(out, group{specType: v.SpecType})
			i = len(out) - 1
		}
		out[i].apiVersions = append(out[i].apiVersions, v.APIVersion)
	}
	return out
}

// specFields lists the fields of spec in a schema, the required ones first.
func specFields(schema []byte) string {
	var s struct {
		Properties struct {
			Spec struct {
				Required   []string
				Properties map[string]any
			}
		}
	}
	if json.Unmarshal(schema, &s) != nil {
		return ""
	}
	spec := s.Properties.Spec
	var out []string
	for _, name := range spec.Required {
		out = append(out, "**`"+name+"`**")
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Properties)) {
		if !slices.Contains(spec.Required, name) {
			out = append(out, "`"+name+"`")
		}
	}
	return strings.Join(out, ", ")
}

// cell makes a text fit into a cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}
