// Package command is the command line of a backend: run, check, graph,
// config and more, for any set of features.
//
//	func main() {
//		os.Exit(command.Main(command.App{
//			Name:     "portal",
//			Features: []backend.Feature{catalogbackend.Plugin, greeter.Plugin},
//		}))
//	}
//
// The flytower command is this with the features of the standard backend.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/defaults/rootconfig"
	"github.com/flytower/flytower/internal/ownprocess"
)

// App is a backend with a command line.
type App struct {
	// Name is the name of the program; "flytower" if empty.
	Name string
	// Description is what the help says first.
	Description string
	// Version is what the version command prints; empty is that of the module,
	// as the Go tool recorded it.
	Version string
	// Features are what the backend consists of, beside the default services.
	Features []backend.Feature
	// Example, if not nil, is what run starts with where there is no
	// configuration.
	Example *Example

	// Args, Stdout, Stderr and Dir default to those of the process. Dir is the
	// working directory.
	Args           []string
	Stdout, Stderr io.Writer
	Dir            string
}

// Example is a configuration with features to show.
type Example struct {
	// Config is an app-config.yaml.
	Config string
	// Features are added, for example data.
	Features []backend.Feature
	// Notice is printed before the start; it tells what to try.
	Notice string
}

// Main runs the command line and returns the exit code: that of
// [backend.ExitCode] for a backend that ran, 1 for problems that check found,
// 64 for a wrong command line (EX_USAGE).
func Main(app App) int {
	if app.Name == "" {
		app.Name = "flytower"
	}
	if app.Args == nil {
		app.Args = os.Args[1:]
	}
	if app.Stdout == nil {
		app.Stdout = os.Stdout
	}
	if app.Stderr == nil {
		app.Stderr = os.Stderr
	}
	if ownprocess.Requested() {
		return app.errand(context.Background())
	}
	return app.main(context.Background())
}

// errand does what this process was started for, whatever the command line of
// the backend was that started it.
func (a App) errand(ctx context.Context) int {
	if err := flytower.New().Add(a.Features...).Run(ctx); err != nil {
		fmt.Fprintln(a.Stderr, message(err))
		return backend.ExitCode(err)
	}
	return 0
}

// exitUsage is EX_USAGE of sysexits.h.
const exitUsage = 64

// cli is the whole command line.
type cli struct {
	Run        runCommand        `cmd:"" help:"Start the backend, and stop it on SIGINT or SIGTERM."`
	Check      checkCommand      `cmd:"" help:"Check configuration and wiring without starting anything."`
	Graph      graphCommand      `cmd:"" help:"Print the wiring: plugins, modules, services and extension points."`
	Config     configCommand     `cmd:"" help:"Print the configuration, its documentation or its schema."`
	Permission permissionCommand `cmd:"" help:"Tell why a user may do something, or may not."`
	Scaffolder scaffolderCommand `cmd:"" help:"Try templates of the scaffolder."`
	New        newCommand        `cmd:"" help:"Write a project, plugin, module or service to start from."`
	Archcheck  archcheckCommand  `cmd:"" help:"Check the architecture of a repository: names of packages, imports, goroutines."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
	Completion completionCommand `cmd:"" help:"Print a completion script for a shell."`
}

// exit carries an exit code out of kong, which exits by itself.
type exit struct{ code int }

func (a App) main(ctx context.Context) (code int) {
	defer func() {
		if e, ok := recover().(exit); ok {
			code = e.code
		} else if r := recover(); r != nil {
			panic(r)
		}
	}()
	var c cli
	parser, err := kong.New(&c, kong.Name(a.Name), kong.Description(a.describe()),
		kong.Writers(a.Stdout, a.Stderr), kong.Exit(func(code int) { panic(exit{code}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(&a))
	if err != nil {
		fmt.Fprintln(a.Stderr, a.Name+": internal error: "+err.Error())
		return 1
	}
	parsed, err := parser.Parse(a.Args)
	if err != nil {
		command := a.Name
		var wrong *kong.ParseError
		if errors.As(err, &wrong) && wrong.Context.Selected() != nil {
			command = wrong.Context.Selected().FullPath()
		}
		fmt.Fprintf(a.Stderr, "%s: %s; %q tells what there is\n", a.Name, err, command+" --help")
		return exitUsage
	}
	err = parsed.Run(&c)
	var silent *reported
	switch {
	case err == nil:
		return 0
	case errors.As(err, &silent):
		return silent.code
	}
	a.tell(err)
	return backend.ExitCode(err)
}

func (a App) describe() string {
	if a.Description != "" {
		return a.Description
	}
	return "A backend for developer portals: one binary, the app-config.yaml you have."
}

// reported is an error that the user was told about already.
type reported struct{ code int }

func (*reported) Error() string { return "reported" }

// configFlags choose the configuration.
type configFlags struct {
	Config []string `placeholder:"FILE" help:"Configuration file; may be repeated, later files win. Default: app-config.yaml, app-config.$$BACKSTAGE_ENV.yaml and app-config.local.yaml. APP_CONFIG_* variables go on top."`
}

func (f configFlags) options(a *App) rootconfig.Options {
	return rootconfig.Options{Args: []string{}, ConfigFiles: f.Config, Dir: a.Dir}
}

// pluginFlags choose what of the features runs here.
type pluginFlags struct {
	Plugins []string `placeholder:"ID" sep:"," help:"Start only these plugins, comma separated, with their modules. Others are reached where discovery.endpoints says. Default: all."`
}

func (f pluginFlags) apply(b *backend.Backend) *backend.Backend {
	if len(f.Plugins) > 0 {
		b.Only(f.Plugins...)
	}
	return b
}

// leaveOut keeps the plugins from starting that the configuration switches
// off, unless the flag names those to start. A configuration that cannot be
// read switches nothing off: the start tells what is wrong with it.
func (f pluginFlags) leaveOut(ctx context.Context, b *backend.Backend, o rootconfig.Options) {
	if len(f.Plugins) > 0 {
		return
	}
	config, err := rootconfig.Load(ctx, o)
	if err != nil {
		return
	}
	const plugins = "backend.startup.plugins"
	var kept []string
	off := false
	for _, p := range b.Graph().Plugins {
		enabled, err := config.Sub(plugins).Sub(p.ID).BoolOr("enabled", true)
		if enabled || err != nil { // check names a value that is no boolean
			kept = append(kept, p.ID)
		} else {
			off = true
		}
	}
	if off {
		b.Only(kept...)
	}
}

// build assembles the backend.
func (a *App) build(o rootconfig.Options, p pluginFlags, more ...backend.Feature) *backend.Backend {
	b := flytower.New(flytower.WithConfig(o))
	b.Add(a.Features...)
	b.Add(more...)
	return p.apply(b)
}
