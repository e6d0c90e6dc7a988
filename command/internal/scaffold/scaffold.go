// Package scaffold writes projects, plugins, modules and services to start
// from. What it writes builds, passes its own tests and the architecture
// check as it is.
//
//	project, err := scaffold.Open(dir)
//	result, err := project.AddPlugin("todo")
//
// It never overwrites a file: all files are looked for before the first is
// written.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// Framework is the module of the framework.
const Framework = "github.com/flytower/flytower"

//go:embed all:templates
var templateFiles embed.FS

// Result says what was done.
type Result struct {
	// Files are those that were written or changed, relative to the folder of
	// the project, with slashes.
	Files []string
	// Notes tell what is left to do.
	Notes []string
}

func (r *Result) add(other Result) {
	r.Files = append(r.Files, other.Files...)
	r.Notes = append(r.Notes, other.Notes...)
}

// values are what templates know.
type values struct {
	Framework string
	// ID, Package and Path are of what is written: its id, the name of its Go
	// package and its import path.
	ID, Package, Path string
	// NodePackage and NodePath are of the package that modules and other
	// plugins import.
	NodePackage, NodePath string

	// Of modules: the plugin, one of its extension points with the name of its
	// interface, and whether it is the one that AddPlugin writes.
	PluginID, Point, PointType string
	Checks                     bool

	// Of services.
	ServiceID, ConfigKey string

	// Of backends.
	Name, Token, Replace string
	Plugin               *values
}

// file is a file to write, made from a template.
type file struct {
	path     string // relative to the project, with slashes
	template string
	data     values
	private  bool // for its owner only
}

// write makes all files, checks that none is there, and writes them.
func write(root string, files []file) (Result, error) {
	var result Result
	texts := make([][]byte, len(files))
	var there []string
	for i, f := range files {
		var err error
		if texts[i], err = render(f); err != nil {
			return result, err
		}
		if _, err := os.Lstat(filepath.Join(root, filepath.FromSlash(f.path))); err == nil {
			there = append(there, f.path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return result, err
		}
	}
	if len(there) > 0 {
		return result, fmt.Errorf("nothing was written, because %s would be overwritten in %s; choose another name, or remove what is there", strings.Join(there, ", "), root)
	}
	for i, f := range files {
		path := filepath.Join(root, filepath.FromSlash(f.path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // source code is for everybody
			return result, err
		}
		mode := fs.FileMode(0o644)
		if f.private {
			mode = 0o600
		}
		if err := create(path, texts[i], mode); err != nil {
			return result, err
		}
		result.Files = append(result.Files, f.path)
	}
	return result, nil
}

// create writes a new file.
func create(path string, text []byte, mode fs.FileMode) (err error) {
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := w.Close(); err == nil {
			err = closeErr
		}
	}()
	_, err = w.Write(text)
	return err
}

func render(f file) ([]byte, error) {
	t, err := template.New(filepath.Base(f.template)).Option("missingkey=error").ParseFS(templateFiles, "templates/"+f.template)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, f.data); err != nil {
		return nil, err
	}
	if !strings.HasSuffix(f.path, ".go") {
		return out.Bytes(), nil
	}
	text, err := format.Source(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("format %s: %w", f.path, err)
	}
	return text, nil
}
