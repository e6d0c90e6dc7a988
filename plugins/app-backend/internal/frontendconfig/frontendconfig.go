// Package frontendconfig makes the configuration that a frontend may see, and
// puts it where the frontend looks for it.
//
//	config, err := frontendconfig.New(root, schema)
//	page = config.InjectPage(page)
//
// A frontend sees the values that the schemas of its packages mark with the
// visibility frontend. Everything else stays here.
package frontendconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/flytower/flytower/configschema"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/jsonvalue"
)

// Config is what a frontend sees.
type Config struct {
	sources []source
}

// source is one of the objects that the frontend merges, later ones on top.
type source struct {
	context    string
	deprecated []configschema.DeprecatedKey
	data       map[string]any
	order      core.Config // of the members; may be nil
}

// New returns what a frontend with the schema sees of a configuration. Values
// that the frontend sees and that violate the schema are an error, which
// unwraps to a [*core.ConfigError] each. Without a schema it sees nothing.
func New(root core.ConfigRoot, schema *configschema.Schema) (*Config, error) {
	if schema == nil {
		return &Config{}, nil
	}
	whole, _ := root.Value("")
	data, ok := whole.(map[string]any)
	if !ok {
		return &Config{}, nil
	}
	if err := violations(root, schema.ValidateVisible(data, configschema.Frontend)); err != nil {
		return nil, err
	}
	c := &Config{}
	// The environment is part of the whole, too: frontends tell it apart to
	// show where values come from.
	if layers, ok := root.(interface{ LayerData(string) map[string]any }); ok {
		if env := layers.LayerData("env"); len(env) > 0 {
			c.add("env", env, schema, nil)
		}
	}
	c.add("app", data, schema, root)
	return c, nil
}

func (c *Config) add(context string, data map[string]any, schema *configschema.Schema, order core.Config) {
	visible := schema.Filter(data, configschema.Frontend)
	c.sources = append(c.sources, source{context, visible.Deprecated, visible.Data, order})
}

// violations words what is wrong, without the values.
func violations(root core.ConfigRoot, found []configschema.Violation) error {
	if len(found) == 0 {
		return nil
	}
	all := make([]error, len(found))
	for i, v := range found {
		key := v.Path.String()
		e := &core.ConfigError{Key: key, Problem: v.Problem, Remedy: v.Remedy}
		if addressable.MatchString(key) {
			e.Position = root.Position(key)
		}
		all[i] = e
	}
	return errors.Join(all...)
}

var (
	addressable     = regexp.MustCompile(`^` + keyPart + `(\.` + keyPart + `)*$`)
	addressablePart = regexp.MustCompile(`^` + keyPart + `$`)
)

// keyPart is what the parts of keys are that [core.Config] takes.
const keyPart = `[a-zA-Z][a-zA-Z0-9]*([-_:][a-zA-Z0-9]+)*`

// Empty reports whether there is no configuration at all.
func (c *Config) Empty() bool { return len(c.sources) == 0 }

// Data returns the merged values.
func (c *Config) Data() map[string]any {
	if c.Empty() {
		return nil
	}
	return c.sources[len(c.sources)-1].data
}

// JSON returns the list that frontends read, in which the members stand in the
// order of the configuration files.
func (c *Config) JSON() []byte {
	out := []byte{'['}
	for i, s := range c.sources {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"context":`...)
		out = jsonvalue.AppendString(out, s.context)
		out = append(out, `,"deprecatedKeys":[`...)
		for i, d := range s.deprecated {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, `{"key":`...)
			out = jsonvalue.AppendString(out, d.Key)
			out = append(out, `,"description":`...)
			out = jsonvalue.AppendString(out, d.Description)
			out = append(out, '}')
		}
		out = append(out, `],"data":`...)
		out = appendObject(out, s.data, s.order)
		out = append(out, '}')
	}
	return append(out, ']')
}

// appendObject writes the members in the order that they have in order.
func appendObject(out []byte, m map[string]any, order core.Config) []byte {
	var names []string
	if order != nil {
		names = slices.DeleteFunc(order.Keys(""), func(name string) bool { _, ok := m[name]; return !ok })
	}
	rest := make([]string, 0, len(m)-len(names))
	for name := range m {
		if !slices.Contains(names, name) {
			rest = append(rest, name)
		}
	}
	slices.Sort(rest)
	out = append(out, '{')
	for i, name := range append(names, rest...) {
		if i > 0 {
			out = append(out, ',')
		}
		out = jsonvalue.AppendString(out, name)
		out = append(out, ':')
		member, ok := m[name].(map[string]any)
		if !ok {
			out = jsonvalue.Append(out, m[name])
			continue
		}
		var below core.Config
		if order != nil && addressablePart.MatchString(name) {
			below = order.Sub(name)
		}
		out = appendObject(out, member, below)
	}
	return append(out, '}')
}

// head is where a page takes the configuration.
const head = "</head>"

// InjectPage puts the configuration into the head of a page.
func (c *Config) InjectPage(page string) (string, error) {
	before, after, found := strings.Cut(page, head)
	if !found {
		return "", fmt.Errorf("the page has no %s, before which the configuration goes", head)
	}
	var text bytes.Buffer
	if err := json.Indent(&text, c.JSON(), "", "  "); err != nil {
		return "", fmt.Errorf("write the configuration of the frontend: %w", err)
	}
	// In JSON, a < can only be in a string, where it can be written so that no
	// value ends the script or begins a comment.
	safe := strings.ReplaceAll(text.String(), "<", `\u003c`)
	return before + "\n<script type=\"backstage.io/config\">\n" + safe + "\n</script>\n" + head + after, nil
}

// Scripts of older frontends have the configuration in them: this text, or
// what an earlier start of a backend put in its place.
const placeholder = `"__APP_INJECTED_RUNTIME_CONFIG__"`

var earlier = regexp.MustCompile(`/\*__APP_INJECTED_CONFIG_MARKER__\*/(?s:.*?)/\*__INJECTED_END__\*/`)

// Marks are texts of which a script that takes the configuration has one.
var Marks = []string{placeholder, "/*__APP_INJECTED_CONFIG_MARKER__*/"}

// InjectScript puts the configuration into the script of an older frontend. ok
// is false where the script has no place for it.
func (c *Config) InjectScript(script []byte) (out []byte, ok bool) {
	escaped := strings.NewReplacer(`"`, `\"`, `'`, `\'`, `\`, `\\`).Replace(string(c.JSON()))
	// Neither marker may be in what stands between them.
	escaped = strings.ReplaceAll(escaped, "*/", `*\/`)
	text := []byte(`/*__APP_INJECTED_CONFIG_MARKER__*/"` + escaped + `"/*__INJECTED_END__*/`)
	switch {
	case bytes.Contains(script, []byte(placeholder)):
		return bytes.ReplaceAll(script, []byte(placeholder), text), true
	case earlier.Match(script):
		return earlier.ReplaceAllLiteral(script, text), true
	default:
		return nil, false
	}
}
