package scaffoldernode

import (
	"context"
	"strings"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"

	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// TemplateFilters returns the filters of the scaffolder, which all templates
// may use besides the built-in ones:
//
//   - parseRepoUrl makes a record of host, owner, repo, organization, workspace
//     and project of a repository URL; see [ParseRepoURL]
//   - projectSlug gives owner/repo of a repository URL
//   - parseEntityRef makes a record of kind, namespace and name of an entity
//     reference; its argument may have defaultKind and defaultNamespace
//   - pick reads a path, such as 'metadata.name' or 'list[0]', of a value
func TemplateFilters(hosts *integration.Hosts) map[string]template.FilterFunc {
	return map[string]template.FilterFunc{
		"parseRepoUrl": func(_ context.Context, input template.Value, _ ...template.Value) (template.Value, error) {
			repo, err := repoURLOf(hosts, input)
			if err != nil {
				return nil, err
			}
			return repo.record(), nil
		},
		"projectSlug": func(_ context.Context, input template.Value, _ ...template.Value) (template.Value, error) {
			repo, err := repoURLOf(hosts, input)
			if err != nil {
				return nil, err
			}
			return template.String(orUndefined(repo.Owner) + "/" + orUndefined(repo.Repo)), nil
		},
		"parseEntityRef": parseEntityRef,
		"pick":           pick,
	}
}

func repoURLOf(hosts *integration.Hosts, input template.Value) (RepoURL, error) {
	return ParseRepoURL(hosts, template.Text(input))
}

// orUndefined is how JavaScript writes what is not there.
func orUndefined(part string) string {
	if part == "" {
		return "undefined"
	}
	return part
}

// record has the parts in the order of the reference; those that are not there
// are undefined.
func (r RepoURL) record() *template.Record {
	record := template.NewRecord(template.Entry{Key: "host", Value: template.String(r.Host)})
	for _, part := range []struct{ name, value string }{
		{"owner", r.Owner},
		{"repo", r.Repo},
		{"organization", r.Organization},
		{"workspace", r.Workspace},
		{"project", r.Project},
	} {
		if part.value == "" {
			record.Set(part.name, template.Undefined{})
		} else {
			record.Set(part.name, template.String(part.value))
		}
	}
	return record
}

func parseEntityRef(_ context.Context, input template.Value, args ...template.Value) (template.Value, error) {
	var defaults catalogcommon.RefDefaults
	if len(args) > 0 {
		defaults.Kind = optionalText(args[0], "defaultKind")
		defaults.Namespace = optionalText(args[0], "defaultNamespace")
	}
	ref, err := catalogcommon.RefFromValue(template.ToGo(input), defaults)
	if err != nil {
		return nil, err
	}
	return template.NewRecord(
		template.Entry{Key: "kind", Value: template.String(ref.Kind)},
		template.Entry{Key: "namespace", Value: template.String(ref.Namespace)},
		template.Entry{Key: "name", Value: template.String(ref.Name)},
	), nil
}

func optionalText(options template.Value, key string) string {
	text, _ := template.Member(options, key).(template.String)
	return string(text)
}

func pick(_ context.Context, input template.Value, args ...template.Value) (template.Value, error) {
	if len(args) == 0 {
		return template.Undefined{}, nil
	}
	var path []string
	if list, ok := args[0].(*template.Array); ok {
		for _, key := range list.All() {
			path = append(path, template.Text(key))
		}
	} else {
		key := template.Text(args[0])
		if v := template.Member(input, key); v != (template.Undefined{}) {
			return v, nil
		}
		path = SplitPath(key)
	}
	for _, key := range path {
		input = template.Member(input, key)
	}
	return input, nil
}

// SplitPath splits a path into keys, such as a.b[0]["c.d"], as the filter pick
// and rules on the input of actions read them.
func SplitPath(path string) []string {
	var keys []string
	for path != "" {
		if path[0] == '.' {
			keys, path = append(keys, ""), path[1:]
			continue
		}
		if path[0] == '[' {
			end := strings.IndexByte(path, ']')
			if len(path) > 2 && (path[1] == '"' || path[1] == '\'') {
				if i := strings.Index(path[2:], path[1:2]+"]"); i >= 0 {
					keys = append(keys, path[2:2+i])
					path = strings.TrimPrefix(path[2+i+2:], ".")
					continue
				}
			}
			if end > 0 {
				keys = append(keys, path[1:end])
				path = strings.TrimPrefix(path[end+1:], ".")
				continue
			}
		}
		end := strings.IndexAny(path[1:], ".[") + 1
		if end == 0 {
			return append(keys, path)
		}
		keys = append(keys, path[:end])
		path = strings.TrimPrefix(path[end:], ".")
	}
	return keys
}
