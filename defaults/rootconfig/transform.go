package rootconfig

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/conftree"
)

// maxIncludes bounds how deep files may include files.
const maxIncludes = 20

// transformer replaces references to the environment and to other files by
// what they refer to, and collects what is wrong with them.
type transformer struct {
	ctx      context.Context
	files    *files
	env      environment
	problems []error
}

// place is where a node stands: below which key, and in which file.
type place struct {
	key   string
	file  string   // path, to which the paths in the node are relative
	chain []string // the includes that lead to file: "path#fragment" each
	via   []core.Position
}

func (p place) member(name string) place {
	p.key = join(p.key, name)
	return p
}

func (p place) element(i int) place {
	p.key += "[" + strconv.Itoa(i) + "]"
	return p
}

func (t *transformer) fail(p place, pos core.Position, err error, problem, remedy string) {
	for _, from := range slices.Backward(p.via) {
		problem += ", included from " + from.String()
	}
	t.problems = append(t.problems, &core.ConfigError{Key: p.key, Position: pos, Problem: problem, Remedy: remedy, Err: err})
}

// transform returns what n stands for. Where there is nothing, because of an
// unset variable or a problem, it returns an absent node.
func (t *transformer) transform(n *conftree.Node, p place) *conftree.Node {
	switch n.Kind {
	case conftree.String:
		return t.substitute(n)
	case conftree.Array:
		list := &conftree.Node{Kind: conftree.Array, Pos: n.Pos}
		for i, item := range n.Items {
			if item = t.transform(item, p.element(i)); item.Kind != conftree.Absent {
				list.Items = append(list.Items, item)
			}
		}
		return list
	case conftree.Object:
		if verb := includeVerb(n); verb != "" {
			return t.include(verb, n, p)
		}
		object := conftree.NewObject(n.Pos)
		for _, name := range n.Names() {
			object.Set(name, t.transform(n.Get(name), p.member(name)))
		}
		return object
	default:
		return n
	}
}

var reference = regexp.MustCompile(`\$?\$\{[^{}]*\}`)

// substitute replaces ${NAME} and ${NAME:-fallback}; $${…} stands for a
// literal ${…}.
func (t *transformer) substitute(n *conftree.Node) *conftree.Node {
	if !strings.Contains(n.Str, "${") {
		return n
	}
	why := ""
	text := reference.ReplaceAllStringFunc(n.Str, func(ref string) string {
		if strings.HasPrefix(ref, "$$") {
			return ref[1:]
		}
		v, problem := t.env.expand(ref[2 : len(ref)-1])
		if problem != "" && why == "" {
			why = problem
		}
		return v
	})
	if why != "" {
		return conftree.NewAbsent(n.Pos, why)
	}
	return conftree.NewString(n.Pos, text)
}

// expand returns the value of the inside of a reference, or why there is
// none.
func (e environment) expand(inside string) (value, problem string) {
	name, fallback, hasFallback := strings.Cut(inside, ":-")
	name = strings.TrimSpace(name)
	value, set := e.lookup(name)
	value = strings.TrimSpace(value)
	switch fallback = strings.TrimSpace(fallback); {
	case hasFallback && value == "" && fallback == "":
		return "", fmt.Sprintf("the environment variable %s is not set, and its fallback is empty", name)
	case hasFallback && value == "":
		return fallback, ""
	case !set:
		return "", fmt.Sprintf("the environment variable %s is not set", name)
	}
	return value, ""
}

// includeVerb returns which kind of include object n is, "" if none.
func includeVerb(n *conftree.Node) string {
	for _, verb := range []string{"$env", "$file", "$include"} {
		if n.Get(verb) != nil {
			return verb
		}
	}
	return ""
}

func (t *transformer) include(verb string, n *conftree.Node, p place) *conftree.Node {
	absent := conftree.NewAbsent(n.Pos, "it could not be included")
	arg := n.Get(verb)
	if names := n.Names(); len(names) > 1 {
		others := slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s == verb })
		t.fail(p, n.Pos, nil, fmt.Sprintf("has %s beside %q", verb, others),
			fmt.Sprintf("an object with %s has no other keys, because what it refers to replaces the object", verb))
		return absent
	}
	if arg.Kind == conftree.String {
		arg = t.substitute(arg)
	}
	switch {
	case arg.Kind == conftree.Absent:
		t.fail(p, n.Pos, nil, fmt.Sprintf("has a %s whose argument has no value: %s", verb, arg.Str), "")
		return absent
	case arg.Kind != conftree.String || arg.Str == "":
		t.fail(p, n.Pos, nil, fmt.Sprintf("must have a non-empty string at %s, found %s", verb, arg.Kind), "")
		return absent
	}
	switch verb {
	case "$env":
		if v, ok := t.env.lookup(arg.Str); ok {
			return conftree.NewString(arg.Pos, v)
		}
		return conftree.NewAbsent(arg.Pos, fmt.Sprintf("the environment variable %s is not set", arg.Str))
	case "$file":
		text, err := t.files.read(t.ctx, t.files.resolve(p.file, arg.Str))
		if err != nil {
			t.fail(p, arg.Pos, err, fmt.Sprintf("refers to the file %s, which %s", arg.Str, why(err)), remedyOf(err))
			return absent
		}
		return conftree.NewString(arg.Pos, strings.TrimRight(string(text), " \t\r\n\v\f"))
	default:
		if v := t.includeFile(arg, p); v != nil {
			return v
		}
		return absent
	}
}

// includeFile returns the value at the fragment of a file, nil if there was
// a problem.
func (t *transformer) includeFile(arg *conftree.Node, p place) *conftree.Node {
	target, fragment, _ := strings.Cut(arg.Str, "#")
	path := t.files.resolve(p.file, target)
	id := path + "#" + fragment
	switch {
	case slices.Contains(p.chain, id):
		t.fail(p, arg.Pos, nil, fmt.Sprintf("includes %s, which includes itself", arg.Str), "remove one of the includes")
		return nil
	case len(p.chain) >= maxIncludes:
		t.fail(p, arg.Pos, nil, fmt.Sprintf("includes files that include files deeper than %d levels", maxIncludes), "")
		return nil
	}
	switch strings.ToLower(filepath.Ext(target)) {
	case ".json", ".yaml", ".yml":
	default:
		t.fail(p, arg.Pos, nil, fmt.Sprintf("includes %s, which is no .yaml, .yml or .json file", target), "use $file to include text")
		return nil
	}
	data, err := t.files.read(t.ctx, path)
	if err != nil {
		t.fail(p, arg.Pos, err, fmt.Sprintf("includes the file %s, which %s", target, why(err)), remedyOf(err))
		return nil
	}
	n, err := conftree.ParseYAML(filepath.Base(path), data)
	if err != nil && strings.EqualFold(filepath.Ext(target), ".json") {
		// JSON may be indented with tabs, which YAML refuses.
		if n2, err2 := conftree.ParseJSON(core.Position{Source: filepath.Base(path)}, data); err2 == nil {
			n, err = n2, nil
		}
	}
	if err != nil {
		t.fail(p, arg.Pos, err, fmt.Sprintf("includes a broken file: %v", err), "")
		return nil
	}
	inner := p
	inner.file = path
	inner.chain = append(slices.Clip(p.chain), id)
	inner.via = append(slices.Clip(p.via), arg.Pos)
	if fragment != "" {
		parts := strings.Split(fragment, ".")
		for i, part := range parts {
			if n != nil && n.Kind == conftree.Object && includeVerb(n) != "" {
				n = t.transform(n, inner)
			}
			if n == nil || n.Kind != conftree.Object {
				at := strings.Join(parts[:i], ".")
				if at == "" {
					at = "the root"
				}
				t.fail(p, arg.Pos, nil, fmt.Sprintf("includes %s, but there is no object at %s of that file", arg.Str, at), "")
				return nil
			}
			n = n.Get(part)
		}
	}
	if n == nil {
		return conftree.NewAbsent(arg.Pos, fmt.Sprintf("%s has no value", arg.Str))
	}
	return t.transform(n, inner)
}

// remedyOf says what to do about a file that cannot be read.
func remedyOf(err error) string {
	if missingFile(err) {
		return "create it or correct the path, which is relative to the file that names it"
	}
	return ""
}

// why says in few words why a file cannot be read.
func why(err error) string {
	if missingFile(err) {
		return "does not exist"
	}
	return "cannot be read: " + err.Error()
}
