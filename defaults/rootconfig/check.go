package rootconfig

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

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
func (u UnknownKey) String() string { return u.problem().Error() }

func (u UnknownKey) problem() *core.ConfigError {
	e := &core.ConfigError{Key: u.Key, Position: u.Position, Problem: "is unknown"}
	if u.Section {
		e.Problem = "is not read by anything that is installed"
	}
	if u.Suggestion != "" {
		e.Remedy = fmt.Sprintf("did you mean %q?", u.Suggestion)
	}
	return e
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
//
// Findings are in the order of files and lines.
func Check(root *Root, schema *configschema.Schema) Report { return check(root.merged(), schema) }

func check(tree *conftree.Node, schema *configschema.Schema) Report {
	data, _ := tree.Value().(map[string]any)
	var report Report
	explained := map[string]bool{} // missing values whose violation says why
	for _, v := range schema.Validate(data) {
		n, pos := locate(tree, v.Path)
		e := &core.ConfigError{Key: v.Path.String(), Position: pos, Problem: v.Problem, Remedy: v.Remedy}
		if v.Missing && n != nil && n.Kind == conftree.Absent {
			e.Problem += ": " + n.Str
			explained[e.Key] = true
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
	report.Unresolved = slices.DeleteFunc(unresolved(nil, tree, ""), func(u Unresolved) bool { return explained[u.Key] })
	slices.SortStableFunc(report.Violations, func(a, b *core.ConfigError) int { return comparePositions(a.Position, b.Position) })
	slices.SortStableFunc(report.Unknown, func(a, b UnknownKey) int { return comparePositions(a.Position, b.Position) })
	slices.SortStableFunc(report.Deprecated, func(a, b Deprecated) int { return comparePositions(a.Position, b.Position) })
	slices.SortStableFunc(report.Unresolved, func(a, b Unresolved) int { return comparePositions(a.Position, b.Position) })
	return report
}

func comparePositions(a, b core.Position) int {
	return cmp.Or(strings.Compare(a.Source, b.Source), cmp.Compare(a.Line, b.Line))
}

// since returns the findings that are not in seen, and all of them as the
// next seen. Places do not count, because they move when a file is edited.
func (r Report) since(seen map[string]bool) (fresh Report, all map[string]bool) {
	all = map[string]bool{}
	isNew := func(id string) bool {
		all[id] = true
		return !seen[id]
	}
	for _, v := range r.Violations {
		if isNew("violation " + v.Key + " " + v.Problem) {
			fresh.Violations = append(fresh.Violations, v)
		}
	}
	for _, u := range r.Unknown {
		if isNew("unknown " + u.Key) {
			fresh.Unknown = append(fresh.Unknown, u)
		}
	}
	for _, d := range r.Deprecated {
		if isNew("deprecated " + d.Key) {
			fresh.Deprecated = append(fresh.Deprecated, d)
		}
	}
	for _, u := range r.Unresolved {
		if isNew("unresolved " + u.Key) {
			fresh.Unresolved = append(fresh.Unresolved, u)
		}
	}
	return fresh, all
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

// Invalid returns the violations, with which a strict start fails. It
// unwraps to one *core.ConfigError each.
func (r Report) Invalid() error {
	var list []error
	for _, v := range r.Violations {
		list = append(list, v)
	}
	return errors.Join(list...)
}

// Err returns everything that a check refuses: the violations, and the
// unknown keys within known sections, which a start only warns of. It unwraps
// to one *core.ConfigError each.
func (r Report) Err() error {
	var list []error
	for _, v := range r.Violations {
		list = append(list, v)
	}
	for _, u := range r.Unknown {
		if !u.Section {
			list = append(list, u.problem())
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
