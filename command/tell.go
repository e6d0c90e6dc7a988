package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
)

// tell prints an error: the first line after the name of the program, each
// further one below it. The log has the same for machines, with more detail.
func (a App) tell(err error) {
	fmt.Fprintf(a.Stderr, "%s: %s\n", a.Name, message(err))
}

// message is what an operator has to know of an error.
func message(err error) string {
	var failed *backend.StartupError
	var invalid *backend.ValidationError
	switch {
	case errors.As(err, &failed):
		return failedStart(failed)
	case errors.As(err, &invalid):
		var lines []string
		for _, p := range invalid.Problems {
			var unknown *backend.UnknownPluginError
			if !errors.As(p, &unknown) { // a matter of the code
				return strings.TrimRight(err.Error(), "\n")
			}
			lines = append(lines, fmt.Sprintf("--plugins names %q, which is not installed; %s", unknown.Plugin, unknown.Remedy()))
		}
		return list("", lines)
	}
	return strings.TrimRight(err.Error(), "\n")
}

// failedStart lists why a backend did not start: every cause once, with the
// plugins that it keeps from starting. How a cause came up, through services
// that need each other, does not help where the configuration is at fault.
func failedStart(err *backend.StartupError) string {
	var texts []string
	who := map[string][]string{}
	add := func(err error, name string) {
		for _, cause := range causes(err) {
			text := strings.TrimRight(cause.Error(), "\n")
			if !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
			if name != "" {
				who[text] = append(who[text], name)
			}
		}
	}
	if err.Cause != nil {
		add(err.Cause, "")
	}
	for _, p := range err.Result.Plugins {
		if p.Failure != nil && !p.Failure.Allowed {
			add(p.Failure.Err, fmt.Sprintf("plugin %q", p.PluginID))
		}
		for _, m := range p.Modules {
			if m.Failure != nil && !m.Failure.Allowed {
				add(m.Failure.Err, fmt.Sprintf("module %q of plugin %q", m.ModuleID, p.PluginID))
			}
		}
	}
	if err.Stop != nil {
		add(err.Stop, "while stopping again")
	}
	lines := make([]string, len(texts))
	for i, text := range texts {
		names := who[text]
		slices.Sort(names)
		lines[i] = text
		if len(names) > 0 {
			lines[i] = strings.Join(names, ", ") + ": " + text
		}
	}
	slices.Sort(lines)
	return list("did not start: ", lines)
}

// list joins lines: one stays on the line of its title, more go below it.
func list(title string, lines []string) string {
	if len(lines) == 1 {
		return title + lines[0]
	}
	for i, line := range lines {
		lines[i] = "\n  " + strings.ReplaceAll(line, "\n", "\n    ")
	}
	return strings.TrimSuffix(title, " ") + strings.Join(lines, "")
}

// causes returns the errors behind err that tell where the configuration is
// wrong, without what is wrapped around them, and all others as they are.
func causes(err error) []error {
	switch e := err.(type) { //nolint:errorlint // it walks the tree itself
	case *core.ConfigError, *rootconfig.FileError:
		return []error{err}
	case interface{ Unwrap() []error }:
		var all []error
		for _, inner := range e.Unwrap() {
			all = append(all, causes(inner)...)
		}
		return all
	case interface{ Unwrap() error }:
		inner := e.Unwrap()
		if inner == nil {
			return []error{err}
		}
		found := causes(inner)
		for _, cause := range found {
			if !ofConfig(cause) {
				return []error{err}
			}
		}
		return found
	}
	return []error{err}
}

func ofConfig(err error) bool {
	switch err.(type) { //nolint:errorlint // causes has unwrapped it
	case *core.ConfigError, *rootconfig.FileError:
		return true
	}
	return false
}

// hints prints which keys have no value, because a variable is not set or a
// file is missing: often the reason behind a start that failed.
func (c *runCommand) hints(ctx context.Context, a *App, o rootconfig.Options, b *backend.Backend, told string) {
	root, err := rootconfig.Load(ctx, o)
	if err != nil {
		return // that was told
	}
	schema, err := mergedSchema(b)
	if err != nil {
		return
	}
	for _, u := range rootconfig.Check(root, schema).Unresolved {
		if !strings.Contains(told, fmt.Sprintf("%q", u.Key)) {
			fmt.Fprintf(a.Stderr, "  note: %s\n", u)
		}
	}
}
