package scaffold

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Backend says what a new backend is like.
type Backend struct {
	// Name is the id of the backend: the name of its program.
	Name string
	// Dir is the folder to write, which is made if it is not there.
	Dir string
	// Module is the path of the Go module; "" is example.com/<name>.
	Module string
	// Version returns the version of the framework to require.
	Version func() (string, error)
	// Replace, if set, is the folder of a checkout of the framework, which is
	// used instead of a version.
	Replace string
	// Plugin is the id of a plugin to begin with; "" is none.
	Plugin string
}

var modulePath = regexp.MustCompile(`^[a-zA-Z0-9._~-]+(/[a-zA-Z0-9._~-]+)*$`)

// New writes a backend.
func New(ctx context.Context, b Backend) (Result, error) {
	if err := checkID("backend", b.Name); err != nil {
		return Result{}, err
	}
	if b.Plugin != "" {
		if err := checkID("plugin", b.Plugin); err != nil {
			return Result{}, err
		}
	}
	if b.Module == "" {
		b.Module = "example.com/" + b.Name
	}
	if !modulePath.MatchString(b.Module) {
		return Result{}, fmt.Errorf("%q cannot be the path of a Go module; write it like github.com/acme/%s", b.Module, b.Name)
	}
	goMod, goSum, err := goModule(ctx, b)
	if err != nil {
		return Result{}, err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := absent(filepath.Join(b.Dir, name)); err != nil {
			return Result{}, err
		}
	}
	v := values{Framework: Framework, Name: b.Name, Token: strings.ToLower(rand.Text()), Replace: b.Replace, Plugin: &values{ID: b.Plugin}}
	files := []file{
		{path: "main.go", template: "backend/main.go.tmpl", data: v},
		{path: "features.go", template: "backend/features.go.tmpl", data: v},
		{path: "main_test.go", template: "backend/main_test.go.tmpl", data: v},
		{path: "app-config.yaml", template: "backend/app-config.yaml.tmpl", data: v},
		{path: "app-config.local.yaml", template: "backend/app-config.local.yaml.tmpl", data: v, private: true},
		{path: ".gitignore", template: "backend/gitignore.tmpl", data: v},
		{path: "README.md", template: "backend/README.md.tmpl", data: v},
	}
	result, err := write(b.Dir, files)
	if err != nil {
		return result, err
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{"go.mod", goMod}, {"go.sum", goSum}} {
		if f.text == nil {
			continue
		}
		if err := create(filepath.Join(b.Dir, f.name), f.text, 0o644); err != nil {
			return result, err
		}
		result.Files = append(result.Files, f.name)
	}
	if b.Plugin != "" {
		p, err := Open(ctx, b.Dir)
		if err != nil {
			return result, err
		}
		added, err := p.AddPlugin(b.Plugin)
		result.add(added)
		if err != nil {
			return result, err
		}
	}
	if b.Replace == "" {
		if err := run(ctx, b.Dir, "go", "mod", "tidy"); err != nil {
			return result, fmt.Errorf("the files are written, but the modules could not be fetched: run go mod tidy in %s again when that is possible: %w", b.Dir, err)
		}
	}
	return result, nil
}

func absent(path string) error {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return fmt.Errorf("nothing was written, because there is a module already: %s; choose another folder with --dir", path)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return err
	}
}

// modFile is the output of go mod edit -json.
type modFile struct {
	Module  struct{ Path string }
	Go      string
	Require []struct{ Path, Version string }
}

// goModule returns the go.mod of a backend. One that replaces the framework by
// a checkout requires what the checkout does, with the same sums, so that it
// builds without asking anybody.
func goModule(ctx context.Context, b Backend) (goMod, goSum []byte, err error) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "module %s\n\n", b.Module)
	if b.Replace == "" {
		version, err := b.Version()
		if err != nil {
			return nil, nil, err
		}
		fmt.Fprintf(&out, "go 1.26.0\n\nrequire %s %s\n", Framework, version)
		return out.Bytes(), nil, nil
	}
	m, err := readModFile(ctx, b.Replace)
	if err != nil {
		return nil, nil, fmt.Errorf("%s is no checkout of Flytower: %w", b.Replace, err)
	}
	if m.Module.Path != Framework {
		return nil, nil, fmt.Errorf("%s is no checkout of Flytower: its module is %s", b.Replace, m.Module.Path)
	}
	const placeholder = "v0.0.0-00010101000000-000000000000"
	fmt.Fprintf(&out, "go %s\n\nrequire %s %s\n\nrequire (\n", m.Go, Framework, placeholder)
	for _, r := range m.Require {
		fmt.Fprintf(&out, "\t%s %s // indirect\n", r.Path, r.Version)
	}
	fmt.Fprintf(&out, ")\n\nreplace %s => %s\n", Framework, quoteModPath(b.Replace))
	goSum, err = os.ReadFile(filepath.Join(b.Replace, "go.sum"))
	return out.Bytes(), goSum, err
}

// quoteModPath quotes a path in go.mod if that is needed.
func quoteModPath(path string) string {
	if strings.ContainsAny(path, " \t\"'`()[]{},") {
		text, _ := json.Marshal(path) // strings encode
		return string(text)
	}
	return path
}

func readModFile(ctx context.Context, dir string) (modFile, error) {
	var m modFile
	out, err := output(ctx, dir, "go", "mod", "edit", "-json")
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(out, &m)
}

func run(ctx context.Context, dir, name string, args ...string) error {
	_, err := output(ctx, dir, name, args...)
	return err
}

// output runs a command; what it says on the standard error becomes part of
// the error.
func output(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
