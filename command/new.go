package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/flytower/flytower/command/internal/scaffold"
)

type newCommand struct {
	Backend newBackendCommand `cmd:"" help:"Write a backend: a Go module with a first plugin, tests and configuration."`
	Plugin  newPluginCommand  `cmd:"" help:"Write a plugin with a database, routes, an extension point, a client and tests."`
	Module  newModuleCommand  `cmd:"" help:"Write a module that extends a plugin."`
	Service newServiceCommand `cmd:"" help:"Write a service with a default implementation."`
}

type newBackendCommand struct {
	Name    string `arg:"" help:"Name of the program, such as portal."`
	Dir     string `placeholder:"DIR" help:"Folder to write. Default: one with the name, here."`
	Module  string `placeholder:"PATH" help:"Path of the Go module. Default: example.com/<name>."`
	Plugin  string `placeholder:"ID" default:"example" help:"Plugin to begin with; none is none. Default: example."`
	Replace string `placeholder:"DIR" help:"Use the checkout of Flytower in this folder, not a released version."`
}

// Run implements the command.
func (c *newBackendCommand) Run(ctx context.Context, a *App) error {
	b := scaffold.Backend{
		Name: c.Name, Dir: a.path(c.Dir), Module: c.Module, Plugin: c.Plugin,
		Version: func() (string, error) { return frameworkVersion(debug.ReadBuildInfo()) },
	}
	if c.Dir == "" {
		b.Dir = a.path(c.Name)
	}
	if b.Plugin == "none" {
		b.Plugin = ""
	}
	if c.Replace != "" {
		replace, err := filepath.Abs(a.path(c.Replace))
		if err != nil {
			return err
		}
		b.Replace = replace
	}
	result, err := scaffold.New(ctx, b)
	a.wrote(b.Dir, result)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "\nNext: cd %s && go test ./... && go run . run\n", b.Dir)
	return nil
}

// frameworkVersion returns the version of the framework that this program was
// built with.
func frameworkVersion(info *debug.BuildInfo, ok bool) (string, error) {
	const remedy = "pass the folder of a checkout of Flytower with --replace, or use a released flytower"
	if !ok {
		return "", errors.New("this program does not know its version; " + remedy)
	}
	module := info.Main
	if module.Path != scaffold.Framework {
		for _, m := range info.Deps {
			if m.Path == scaffold.Framework {
				module = *m
			}
		}
	}
	switch {
	case module.Path != scaffold.Framework:
		return "", errors.New("this program does not know its version of Flytower; " + remedy)
	case module.Replace != nil:
		return "", fmt.Errorf("this program was built with the checkout of Flytower in %s, which has no version that go could download; pass it with --replace", module.Replace.Path)
	case module.Version == "" || module.Version == "(devel)" || strings.Contains(module.Version, "+dirty"):
		return "", errors.New("this program was built from a checkout of Flytower, which has no version that go could download; " + remedy)
	}
	return module.Version, nil
}

// projectFlags choose the project.
type projectFlags struct {
	Dir string `placeholder:"DIR" default:"." help:"Folder of the backend, or one in it. Default: the working directory."`
}

// add opens the project and adds to it.
func (f projectFlags) add(ctx context.Context, a *App, add func(*scaffold.Project) (scaffold.Result, error)) error {
	p, err := scaffold.Open(ctx, a.path(f.Dir))
	if err != nil {
		return err
	}
	result, err := add(p)
	a.wrote(p.Root, result)
	return err
}

// wrote tells what was written.
func (a *App) wrote(root string, r scaffold.Result) {
	if len(r.Files) > 0 {
		fmt.Fprintf(a.Stdout, "Wrote in %s:\n", root)
	}
	for _, f := range r.Files {
		fmt.Fprintf(a.Stdout, "  %s\n", f)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(a.Stdout, n)
	}
}

type newPluginCommand struct {
	ID string `arg:"" help:"Id of the plugin, such as todo: it answers below /api/todo."`
	projectFlags
}

// Run implements the command.
func (c *newPluginCommand) Run(ctx context.Context, a *App) error {
	return c.add(ctx, a, func(p *scaffold.Project) (scaffold.Result, error) { return p.AddPlugin(c.ID) })
}

type newModuleCommand struct {
	Plugin string `arg:"" help:"Id of the plugin that the module extends."`
	ID     string `arg:"" help:"Id of the module, such as spellcheck."`
	projectFlags
	Node string `placeholder:"PATH" help:"Import path of the package with the extension points of the plugin. Default: <plugin>-node of this module or of Flytower."`
}

// Run implements the command.
func (c *newModuleCommand) Run(ctx context.Context, a *App) error {
	return c.add(ctx, a, func(p *scaffold.Project) (scaffold.Result, error) {
		return p.AddModule(ctx, c.Plugin, c.ID, c.Node)
	})
}

type newServiceCommand struct {
	ID string `arg:"" help:"Id of the service, such as clock."`
	projectFlags
}

// Run implements the command.
func (c *newServiceCommand) Run(ctx context.Context, a *App) error {
	return c.add(ctx, a, func(p *scaffold.Project) (scaffold.Result, error) { return p.AddService(c.ID) })
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
