package scaffold

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// feature is an exported variable of a package.
type feature struct{ pkg, path, name string }

func (f feature) String() string { return f.pkg + "." + f.name }

// list adds features to the list of the project: the literal that the function
// features, or Features, of the main package or of internal/distribution
// returns. Where there is none, a note says what to add.
func (p *Project) list(features ...feature) (Result, error) {
	var result Result
	name, err := listBelow(filepath.Join(p.Root, filepath.FromSlash(p.Base)))
	if err != nil {
		return result, err
	}
	if name == "" {
		for _, f := range features {
			result.Notes = append(result.Notes, fmt.Sprintf("Add %s (import %q) to the features of your main package.", f, f.path))
		}
		return result, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return result, err
	}
	changed := text
	for _, f := range features {
		if changed, err = addFeature(changed, f); err != nil {
			return result, fmt.Errorf("add %s to %s: %w", f, name, err)
		}
	}
	if bytes.Equal(text, changed) {
		return result, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return result, err
	}
	if err := os.WriteFile(name, changed, info.Mode().Perm()); err != nil {
		return result, err
	}
	if rel, err := filepath.Rel(p.Root, name); err == nil {
		name = rel
	}
	result.Files = append(result.Files, filepath.ToSlash(name))
	return result, nil
}

// listBelow returns the file that has the list of the backend in a folder, ""
// if there is none.
func listBelow(dir string) (string, error) {
	for _, folder := range []string{".", "internal/distribution"} {
		files, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(folder), "*.go"))
		if err != nil {
			return "", err
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				return "", err
			}
			if listIn(f) != nil {
				return name, nil
			}
		}
	}
	return "", nil
}

// listIn returns the literal that a file's function features returns, nil if
// it has none.
func listIn(f *ast.File) *ast.CompositeLit {
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || fn.Body == nil || !strings.EqualFold(fn.Name.Name, "features") || len(fn.Body.List) == 0 {
			continue
		}
		ret, ok := fn.Body.List[len(fn.Body.List)-1].(*ast.ReturnStmt)
		if !ok || len(ret.Results) != 1 {
			continue
		}
		if lit, ok := ret.Results[0].(*ast.CompositeLit); ok {
			if _, ok := lit.Type.(*ast.ArrayType); ok {
				return lit
			}
		}
	}
	return nil
}

// addFeature adds a feature to the list in the text of a file, unless it is
// there already. The rest of the text stays as it is, but for its format.
func addFeature(text []byte, add feature) ([]byte, error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, "", text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	offset := func(p token.Pos) int { return set.Position(p).Offset }
	var edits []edit
	name := add.pkg
	if known, ok := importName(f, add.path); ok {
		if known != "" {
			name = known
		}
	} else if taken(f, add.pkg) {
		return nil, fmt.Errorf("the name %s is taken in the file", add.pkg)
	} else {
		at, line := importPlace(f, add)
		edits = append(edits, edit{offset(at), line})
	}
	lit := listIn(f)
	for _, e := range lit.Elts {
		if sel, ok := e.(*ast.SelectorExpr); ok && sel.Sel.Name == add.name {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == name {
				return text, nil
			}
		}
	}
	end := offset(lit.Rbrace)
	if n := len(lit.Elts); n > 0 {
		last := offset(lit.Elts[n-1].End())
		if !hasComma(string(text[last:end])) {
			edits = append(edits, edit{last, ","})
		}
	}
	entry := name + "." + add.name + ",\n"
	if at := len(bytes.TrimRight(text[:end], " \t")); at > 0 && text[at-1] == '\n' {
		edits = append(edits, edit{at, entry})
	} else {
		edits = append(edits, edit{end, "\n" + entry})
	}
	return format.Source(apply(text, edits))
}

// hasComma reports whether there is a comma outside of comments.
func hasComma(between string) bool {
	for line := range strings.Lines(between) {
		code, _, _ := strings.Cut(line, "//")
		if strings.Contains(code, ",") {
			return true
		}
	}
	return false
}

// importName reports whether a file imports a path, and the name that it
// gives it.
func importName(f *ast.File, path string) (name string, ok bool) {
	for _, spec := range f.Imports {
		if text, err := strconv.Unquote(spec.Path.Value); err == nil && text == path {
			if spec.Name != nil {
				name = spec.Name.Name
			}
			return name, name != "_"
		}
	}
	return "", false
}

// taken reports whether a file imports something else by a name.
func taken(f *ast.File, name string) bool {
	return slices.ContainsFunc(f.Imports, func(s *ast.ImportSpec) bool { return s.Name != nil && s.Name.Name == name })
}

// importPlace returns where to write an import, and what.
func importPlace(f *ast.File, add feature) (token.Pos, string) {
	line := fmt.Sprintf("%s %q\n", add.pkg, add.path)
	for _, d := range slices.Backward(f.Decls) {
		if decl, ok := d.(*ast.GenDecl); ok && decl.Tok == token.IMPORT {
			if decl.Rparen.IsValid() {
				return decl.Rparen, line
			}
			return decl.End(), "\nimport " + line
		}
	}
	return f.Name.End(), "\n\nimport " + line
}

// edit inserts text.
type edit struct {
	at   int
	text string
}

func apply(text []byte, edits []edit) []byte {
	slices.SortStableFunc(edits, func(a, b edit) int { return a.at - b.at })
	var out []byte
	from := 0
	for _, e := range edits {
		out = append(append(out, text[from:e.at]...), e.text...)
		from = e.at
	}
	return append(out, text[from:]...)
}
