// Package templatefile reads templates and their parameters from files, with
// the order of their keys, and knows on which line each value stands.
//
//	f, err := templatefile.Read("template.yaml")
//	f.Value                     // a record
//	f.Line("spec", "steps", 0)  // 12
package templatefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/internal/yaml12"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// maxBytes bounds a file.
const maxBytes = 10 << 20

// File is a YAML or JSON file that was read.
type File struct {
	// Name is the path as it was given.
	Name  string
	Value template.Value
	root  *yaml.Node
}

// Error is what is wrong with a file, and where.
type Error struct {
	File    string
	Line    int // 0 is unknown
	Problem string
}

func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
	}
	return e.File + ": " + e.Problem
}

// Read reads a file with one document.
func Read(name string) (*File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	if info.Size() > maxBytes {
		return nil, &Error{File: name, Problem: fmt.Sprintf("is larger than %d MB", maxBytes>>20)}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	return parse(name, text)
}

func unreadable(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return &Error{File: name, Problem: "cannot be read: " + err.Error()}
}

func parse(name string, text []byte) (*File, error) {
	f := &File{Name: name, Value: template.Undefined{}}
	root, err := yaml12.Parse(text, yaml12.Options{})
	if err == nil && root != nil {
		_, err = yaml12.Value(root, yaml12.Options{}) // so that limits and double keys count
	}
	if err != nil {
		wrong := &Error{File: name, Problem: err.Error()}
		var at *yaml12.Error
		if errors.As(err, &at) {
			wrong.Line, wrong.Problem = at.Line, at.Message
		}
		return nil, wrong
	}
	if f.root = root; root != nil {
		f.Value, err = value(root)
	}
	return f, err
}

// value makes a value of a node that yaml12 accepts.
func value(n *yaml.Node) (template.Value, error) {
	switch n.Kind {
	case yaml.AliasNode:
		return value(n.Alias)
	case yaml.SequenceNode:
		items := make([]template.Value, len(n.Content))
		for i, item := range n.Content {
			var err error
			if items[i], err = value(item); err != nil {
				return nil, err
			}
		}
		return template.NewArray(items...), nil
	case yaml.MappingNode:
		out := template.NewRecord()
		for i := 0; i+1 < len(n.Content); i += 2 {
			v, err := value(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			key, err := keyText(n.Content[i])
			if err != nil {
				return nil, err
			}
			out.Set(key, v)
		}
		return out, nil
	}
	plain, err := yaml12.Value(n, yaml12.Options{})
	if err != nil {
		return nil, err
	}
	return template.From(plain)
}

// keyText returns the text that a key becomes.
func keyText(key *yaml.Node) (string, error) {
	of, err := yaml12.Value(&yaml.Node{Kind: yaml.MappingNode, Line: key.Line, Content: []*yaml.Node{key, {Kind: yaml.ScalarNode, Tag: "!!null"}}}, yaml12.Options{})
	if err != nil {
		return "", err
	}
	for text := range of.(map[string]any) { //nolint:forcetypeassert // a mapping is a map
		return text, nil
	}
	return "", nil
}

// Line returns the line of the value at a path of keys and indexes, or of the
// closest that is there around it.
func (f *File) Line(path ...any) int {
	n := f.root
	if n == nil {
		return 0
	}
	line := n.Line
	for _, step := range path {
		for n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		var next *yaml.Node
		switch s := step.(type) {
		case int:
			if n.Kind == yaml.SequenceNode && s >= 0 && s < len(n.Content) {
				next = n.Content[s]
				line = next.Line
			}
		case string:
			for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == s {
					next, line = n.Content[i+1], n.Content[i].Line
				}
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	return line
}

// maxPlaceholders bounds the files that a template includes.
const maxPlaceholders = 1000

// Resolve replaces what the catalog would: objects whose only key is $text,
// $json or $yaml stand for a file in the folder of the template, or below it.
func (f *File) Resolve() (err error) {
	dir, err := os.OpenRoot(filepath.Dir(f.Name))
	if err != nil {
		return unreadable(filepath.Dir(f.Name), err)
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	left := maxPlaceholders
	f.Value, err = f.resolve(f.Value, nil, dir, &left)
	return err
}

func (f *File) resolve(v template.Value, path []any, dir *os.Root, left *int) (template.Value, error) {
	switch v := v.(type) {
	case *template.Array:
		items := make([]template.Value, v.Len())
		for i, item := range v.All() {
			var err error
			if items[i], err = f.resolve(item, append(path[:len(path):len(path)], i), dir, left); err != nil {
				return nil, err
			}
		}
		return template.NewArray(items...), nil
	case *template.Record:
		if v.Len() == 1 {
			if key, target := v.At(0); key == "$text" || key == "$json" || key == "$yaml" {
				return f.include(key, target, path, dir, left)
			}
		}
		out := template.NewRecord()
		for key, item := range v.All() {
			resolved, err := f.resolve(item, append(path[:len(path):len(path)], key), dir, left)
			if err != nil {
				return nil, err
			}
			out.Set(key, resolved)
		}
		return out, nil
	}
	return v, nil
}

func (f *File) include(key string, target template.Value, path []any, dir *os.Root, left *int) (template.Value, error) {
	fail := func(format string, args ...any) error {
		return &Error{File: f.Name, Line: f.Line(append(path, key)...), Problem: fmt.Sprintf(format, args...)}
	}
	name, ok := target.(template.String)
	if !ok {
		return nil, fail("%s has to be the path of a file", key)
	}
	if strings.Contains(string(name), "://") {
		return nil, fail("%s: %s is not read; a dry run includes only files beside the template", key, name)
	}
	if *left--; *left < 0 {
		return nil, fail("more than %d files are included", maxPlaceholders)
	}
	clean := filepath.Clean(filepath.FromSlash(string(name)))
	text, err := dir.ReadFile(clean)
	if err != nil {
		return nil, fail("%s: %s cannot be read: %v; included files have to be in the folder of the template", key, name, reason(err))
	}
	if len(text) > maxBytes {
		return nil, fail("%s: %s is larger than %d MB", key, name, maxBytes>>20)
	}
	if key == "$text" {
		return template.String(strings.ToValidUTF8(string(text), "\uFFFD")), nil
	}
	included, err := parse(filepath.Join(filepath.Dir(f.Name), clean), text)
	if err != nil {
		return nil, err
	}
	return included.Value, nil
}

func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
