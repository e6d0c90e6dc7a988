package rootconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/conftree"
)

// envPrefix begins the names of the variables that set configuration values.
const envPrefix = "APP_CONFIG_"

// environment is a list of NAME=value.
type environment []string

func (e environment) lookup(name string) (string, bool) {
	if name == "" {
		return "", false
	}
	for _, entry := range slices.Backward(e) { // the last one counts
		if k, v, ok := strings.Cut(entry, "="); ok && k == name {
			return v, true
		}
	}
	return "", false
}

// layer returns what the APP_CONFIG_ variables set, and their number. They
// are applied in the order of their names, so that APP_CONFIG_a=<object>
// comes before APP_CONFIG_a_b.
func (e environment) layer() (root *conftree.Node, count int, err error) {
	values := map[string]string{}
	for _, entry := range e {
		if name, v, ok := strings.Cut(entry, "="); ok && v != "" && strings.HasPrefix(name, envPrefix) {
			values[name] = v
		}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	pos := core.Position{Source: "env"}
	root = conftree.NewObject(pos)
	var problems []error
	for _, name := range names {
		if problem := setEnv(root, strings.Split(name[len(envPrefix):], "_"), values[name]); problem != "" {
			problems = append(problems, &FileError{
				Position: pos, Problem: fmt.Sprintf("the environment variable %s %s", name, problem),
			})
		}
	}
	return root, len(names), errors.Join(problems...)
}

// setEnv sets one value and says what is wrong with it.
func setEnv(root *conftree.Node, parts []string, text string) (problem string) {
	for _, part := range parts {
		if !keyPart.MatchString(part) {
			return fmt.Sprintf("names no valid key: %q is not one; parts are joined by _, so no part can have one itself", strings.Join(parts, "."))
		}
	}
	value, err := conftree.ParseJSON(root.Pos, []byte(text))
	if err != nil {
		value = conftree.NewString(root.Pos, text)
	}
	if value.Kind == conftree.Null {
		return "must not be null; remove the variable instead"
	}
	object := root
	for i, part := range parts[:len(parts)-1] {
		next := object.Get(part)
		if next == nil {
			next = conftree.NewObject(root.Pos)
			object.Set(part, next)
		}
		if next.Kind != conftree.Object {
			return fmt.Sprintf("sets a key below %q, which another variable sets to %s", strings.Join(parts[:i+1], "."), next.Kind)
		}
		object = next
	}
	last := parts[len(parts)-1]
	if object.Get(last) != nil {
		return fmt.Sprintf("sets the key %q, which another variable sets already", strings.Join(parts, "."))
	}
	object.Set(last, value)
	return ""
}
