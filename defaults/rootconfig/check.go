package rootconfig

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/flytower/flytower/configschema"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/conftree"
)

// Report is what a check of a configuration found.
type Report struct {
	Violations []*core.ConfigError // values that schemas do not allow, and missing ones
	Unknown    []UnknownKey
	Deprecated []Deprecated
	Unresolved []Unresolved
}

// UnknownKey is a key that no schema declares.
type UnknownKey struct {
	Key      string
	Position core.Position
	// Section is set for a key at the top: what it configures is not
	// installed. Otherwise something is installed that does not know the key.
	Section    bool
	Suggestion string // a known name that it probably means; may be empty
}

// String returns one line: position, key and what to do.
func (u UnknownKey) String() string {
	what := "is unknown"
	if u.Section {
		what = "is not read by anything that is installed"
	}
	e := core.ConfigError{Key: u.Key, Position: u.Position, Problem: what}
	if u.Suggestion != "" {
		e.Remedy = fmt.Sprintf("did you mean %q?", u.Suggestion)
	}
	return e.Error()
}

// Deprecated is a key that should not be used any more.
type Deprecated struct {
	Key         string
	Position    core.Position
	Description string // what to use instead
}

// String returns one line: position, key and what to use instead.
func (d Deprecated) String() string {
	return (&core.ConfigError{Key: d.Key, Position: d.Position, Problem: "is deprecated", Remedy: d.Description}).Error()
}

// Unresolved is a key without a value because what it refers to does not
// exist.
type Unresolved struct {
	Key      string
	Position core.Position
	Why      string
}

// String returns one line: position, key and reason.
func (u Unresolved) String() string {
	return (&core.ConfigError{Key: u.Key, Position: u.Position, Problem: "has no value: " + u.Why}).Error()
}

// Check compares the configuration with the schema of everything that is
// installed; see [MergeSchemas].
func Check(root *Root, schema *configschema.Schema) Report {
	tree := root.merged()
	data, _ := tree.Value().(map[string]any)
	var report Report
	for _, v := range schema.Validate(data) {
		n, pos := locate(tree, v.Path)
		e := &core.ConfigError{Key: v.Path.String(), Position: pos, Problem: v.Problem, Remedy: v.Remedy}
		if v.Missing && n != nil && n.Kind == conftree.Absent {
			e.Problem += ": " + n.Str
		}
		report.Violations = append(report.Violations, e)
	}
	for _, u := range schema.Unknown(data) {
		_, pos := locate(tree, u.Path)
		report.Unknown = append(report.Unknown, UnknownKey{u.Path.String(), pos, u.Section, u.Suggestion})
	}
	for _, d := range schema.Deprecated(data) {
		_, pos := locate(tree, d.Path)
		report.Deprecated = append(report.Deprecated, Deprecated{d.Key, pos, d.Description})
	}
	report.Unresolved = unresolved(nil, tree, "")
	return report
}

// locate returns the node at a path, or nil, and the position of the node or
// of its nearest parent.
func locate(n *conftree.Node, path configschema.Path) (*conftree.Node, core.Position) {
	pos := n.Pos
	for _, part := range path {
		switch part := part.(type) {
		case string:
			n = n.Get(part)
		case int:
			if n.Kind != conftree.Array || part >= len(n.Items) {
				return nil, pos
			}
			n = n.Items[part]
		}
		if n == nil {
			return nil, pos
		}
		pos = n.Pos
	}
	return n, pos
}

func unresolved(list []Unresolved, n *conftree.Node, key string) []Unresolved {
	if n.Kind == conftree.Absent {
		return append(list, Unresolved{key, n.Pos, n.Str})
	}
	for i, item := range n.Items {
		list = unresolved(list, item, fmt.Sprintf("%s[%d]", key, i))
	}
	for _, name := range n.Names() {
		list = unresolved(list, n.Get(name), join(key, name))
	}
	return list
}

// Err returns everything that a strict check refuses: the violations, and
// the unknown keys within known sections. It unwraps to one
// *core.ConfigError each.
func (r Report) Err() error {
	var list []error
	for _, v := range r.Violations {
		list = append(list, v)
	}
	for _, u := range r.Unknown {
		if !u.Section {
			e := &core.ConfigError{Key: u.Key, Position: u.Position, Problem: "is unknown"}
			if u.Suggestion != "" {
				e.Remedy = fmt.Sprintf("did you mean %q?", u.Suggestion)
			}
			list = append(list, e)
		}
	}
	return errors.Join(list...)
}

// Log writes the report, one line per finding: violations as errors, unknown
// keys of known sections and deprecated ones as warnings, the rest as
// information.
func (r Report) Log(log *slog.Logger) {
	for _, v := range r.Violations {
		log.Error("Invalid configuration: " + v.Error())
	}
	for _, u := range r.Unknown {
		if u.Section && u.Suggestion == "" {
			log.Info(u.String())
		} else {
			log.Warn(u.String())
		}
	}
	for _, d := range r.Deprecated {
		log.Warn(d.String())
	}
	for _, u := range r.Unresolved {
		log.Info(u.String())
	}
}
