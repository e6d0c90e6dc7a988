package scaffold

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// nodePackage is a package with extension points.
type nodePackage struct {
	name, path string
	// backend is the import path of the plugin, "" if it is not known.
	backend string
	// point is an extension point, with the name of its interface; "" if the
	// package has none that a module can use as it is.
	point, pointType string
	// checks says that the extension point is the one that AddPlugin writes.
	checks bool
}

// findNode finds the -node package of a plugin: the one that the path names,
// one of the project, or one of the framework.
func (p *Project) findNode(ctx context.Context, plugin, nodePath string) (nodePackage, error) {
	patterns := []string{"./...", Framework + "/plugins/..."}
	if nodePath != "" {
		patterns = []string{nodePath}
	}
	out, err := output(ctx, p.Root, "go", append([]string{"list", "-e", "-f", "{{.ImportPath}}\t{{.Dir}}\t{{.Name}}"}, patterns...)...)
	if err != nil {
		return nodePackage{}, err
	}
	found := nodePackage{}
	dir := ""
	packages := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 3 || fields[1] == "" {
			continue
		}
		packages[fields[0]] = true
		if found.path == "" && (fields[0] == nodePath || path.Base(fields[0]) == plugin+"-node") {
			found.path, dir, found.name = fields[0], fields[1], fields[2]
		}
	}
	if found.path == "" {
		where := fmt.Sprintf("neither this module nor Flytower has a package %s-node", plugin)
		if nodePath != "" {
			where = "there is no package " + nodePath
		}
		return found, fmt.Errorf("%s; check the id of the plugin, or name the package that has its extension points with --node and go get its module first", where)
	}
	if candidate := path.Join(path.Dir(found.path), plugin+"-backend"); packages[candidate] {
		found.backend = candidate
	}
	return found, found.readPoints(dir)
}

// readPoints looks for an extension point in the files of the package.
func (n *nodePackage) readPoints(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	interfaces := map[string]bool{}
	var points [][2]string // variable and type
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range gen.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if _, ok := s.Type.(*ast.InterfaceType); ok && s.TypeParams == nil && s.Name.IsExported() {
						interfaces[s.Name.Name] = true
					}
				case *ast.ValueSpec:
					for i, v := range s.Values {
						if typ := extensionPointType(v); typ != "" && i < len(s.Names) && s.Names[i].IsExported() {
							points = append(points, [2]string{s.Names[i].Name, typ})
						}
					}
				}
			}
		}
	}
	for _, point := range points {
		if interfaces[point[1]] {
			n.point, n.pointType = point[0], point[1]
			n.checks = point == [2]string{"Checks", "CheckList"}
			return nil
		}
	}
	return nil
}

// extensionPointType returns T of a call backend.NewExtensionPoint[T](…), ""
// for anything else.
func extensionPointType(e ast.Expr) string {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return ""
	}
	index, ok := call.Fun.(*ast.IndexExpr)
	if !ok {
		return ""
	}
	if fn, ok := index.X.(*ast.SelectorExpr); !ok || fn.Sel.Name != "NewExtensionPoint" {
		return ""
	}
	if typ, ok := index.Index.(*ast.Ident); ok {
		return typ.Name
	}
	return ""
}
