package archcheck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// pkg is what go list says about a package.
type pkg struct {
	ImportPath     string
	Dir            string
	Name           string
	Standard       bool
	GoFiles        []string
	CgoFiles       []string
	IgnoredGoFiles []string
	Imports        []string
	Module         *struct {
		Path string
		Main bool
		Dir  string
	}
	Error *struct{ Err string }
}

func (p *pkg) ours() bool { return p.Module != nil && p.Module.Main }

// repository is a module with everything that it imports.
type repository struct {
	packages map[string]*pkg
	own      []*pkg // of the module, sorted
}

// load runs go list in a folder.
func load(ctx context.Context, dir string) (*repository, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-e", "-deps",
		"-json=ImportPath,Dir,Name,Standard,GoFiles,CgoFiles,IgnoredGoFiles,Imports,Module,Error", "./...")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list ./... in %s: %w\n%s", dir, err, bytes.TrimSpace(stderr.Bytes()))
	}
	r := &repository{packages: map[string]*pkg{}}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &pkg{}
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read the output of go list: %w", err)
		}
		r.packages[p.ImportPath] = p
		if p.ours() {
			r.own = append(r.own, p)
		}
	}
	if len(r.own) == 0 {
		return nil, fmt.Errorf("%s has no Go packages of a module; run it in a folder with a go.mod, or below one", dir)
	}
	slices.SortFunc(r.own, func(a, b *pkg) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	return r, nil
}

// file returns the path of a file of a package, relative to its module.
func (p *pkg) file(name string) string {
	path := filepath.Join(p.Dir, name)
	if rel, err := filepath.Rel(p.Module.Dir, path); err == nil {
		path = rel
	}
	return filepath.ToSlash(path)
}

// position is a place in the module.
type position struct {
	file string
	line int
}

// clause returns where the package says its name, for findings that concern
// the package as a whole.
func (p *pkg) clause() (position, error) {
	files := slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles)
	if len(files) == 0 {
		return position{file: p.file("")}, nil
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, filepath.Join(p.Dir, files[0]), nil, parser.PackageClauseOnly)
	if err != nil {
		return position{}, err
	}
	return position{p.file(files[0]), set.Position(f.Package).Line}, nil
}

// importing returns where the package imports a path.
func (p *pkg) importing(path string) (position, error) {
	for _, name := range slices.Concat(p.GoFiles, p.CgoFiles) {
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.ImportsOnly)
		if err != nil {
			return position{}, err
		}
		for _, spec := range f.Imports {
			if text, err := strconv.Unquote(spec.Path.Value); err == nil && text == path {
				return position{p.file(name), set.Position(spec.Pos()).Line}, nil
			}
		}
	}
	return position{file: p.file("")}, nil
}

// goStatements returns where the package has go statements, on any platform.
func (p *pkg) goStatements() ([]position, error) {
	var found []position
	for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if stmt, ok := n.(*ast.GoStmt); ok {
				found = append(found, position{p.file(name), set.Position(stmt.Pos()).Line})
			}
			return true
		})
	}
	return found, nil
}

// path returns a shortest chain of imports from a package to one that ends
// it, without the first; nil if there is none.
func (r *repository) path(from *pkg, ends func(*pkg) bool) []string {
	before := map[string]string{from.ImportPath: ""}
	for queue := []string{from.ImportPath}; len(queue) > 0; queue = queue[1:] {
		p := r.packages[queue[0]]
		if p == nil {
			continue
		}
		for _, next := range p.Imports {
			if _, seen := before[next]; seen {
				continue
			}
			before[next] = p.ImportPath
			if q := r.packages[next]; q != nil && ends(q) {
				var chain []string
				for at := next; at != from.ImportPath; at = before[at] {
					chain = append(chain, at)
				}
				slices.Reverse(chain)
				return chain
			}
			queue = append(queue, next)
		}
	}
	return nil
}
