package command

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/configschema"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
)

type checkCommand struct {
	configFlags
	pluginFlags
}

// Run implements the command: it prints every problem, and a summary.
func (c *checkCommand) Run(ctx context.Context, a *App) error {
	problems, warnings := 0, 0
	problem := func(text string) {
		problems++
		fmt.Fprintf(a.Stdout, "error    %s\n", text)
	}
	warning := func(text string) {
		warnings++
		fmt.Fprintf(a.Stdout, "warning  %s\n", text)
	}
	b := a.build(c.options(a), c.pluginFlags)
	c.leaveOut(ctx, b, c.options(a))
	var invalid *backend.ValidationError
	switch err := b.Validate(); {
	case errors.As(err, &invalid):
		for _, p := range invalid.Problems {
			problem(wiringProblem(p))
		}
	case err != nil:
		problem(err.Error())
	}
	for _, w := range b.Graph().Warnings {
		warning(w.Text + " (" + w.Site.String() + ")")
	}
	root, schema, err := c.load(ctx, a, b)
	if err != nil {
		for _, e := range flatten(err) {
			problem(e.Error())
		}
	} else {
		report := rootconfig.Check(root, schema)
		for _, e := range withoutDoubles(flatten(report.Err()), flatten(checkInstalled(root, b))) {
			problem(e.Error())
		}
		for _, u := range report.Unknown {
			if u.Section {
				fmt.Fprintf(a.Stdout, "info     %s\n", u)
			}
		}
		for _, u := range report.Unresolved {
			warning(u.String())
		}
		for _, d := range report.Deprecated {
			warning(d.String())
		}
	}
	g := b.Graph()
	fmt.Fprintf(a.Stdout, "%s, %s, %s, %s: %s, %s\n", count(len(g.Plugins), "plugin"), count(len(g.Modules), "module"), count(len(g.Services), "service"),
		count(len(g.ExtensionPoints), "extension point"), count(problems, "error"), count(warnings, "warning"))
	if problems > 0 {
		return &reported{1}
	}
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func wiringProblem(p backend.Problem) string {
	text := p.Error()
	for _, s := range p.Sites() {
		text += "\n           " + s.String()
	}
	if r := p.Remedy(); r != "" {
		text += "\n           remedy: " + r
	}
	return text
}

// checkInstalled finds the mistakes that plugins and modules know of, and
// schemas do not.
func checkInstalled(root core.Config, b *backend.Backend) error {
	var errs []error
	for _, a := range b.Instance().Annotations(core.ConfigCheckAnnotation) {
		if check, ok := a.Value.(func(core.Config) error); ok {
			errs = append(errs, check(root))
		}
	}
	return errors.Join(errs...)
}

// withoutDoubles joins two lists of mistakes: what is wrong with a value by
// its schema is not told again in other words.
func withoutDoubles(bySchema, others []error) []error {
	told := map[core.Position]bool{}
	for _, e := range bySchema {
		if wrong := (*core.ConfigError)(nil); errors.As(e, &wrong) {
			told[wrong.Position] = true
		}
	}
	return append(bySchema, slices.DeleteFunc(others, func(e error) bool {
		wrong := (*core.ConfigError)(nil)
		return errors.As(e, &wrong) && told[wrong.Position]
	})...)
}

// flatten returns the errors that err joins; none for nil.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // it is about this error, not its causes
		var out []error
		for _, e := range many.Unwrap() {
			out = append(out, flatten(e)...)
		}
		return out
	}
	return []error{err}
}

// load returns the configuration and the schema of all that is installed.
func (f configFlags) load(ctx context.Context, a *App, b *backend.Backend) (*rootconfig.Root, *configschema.Schema, error) {
	root, err := rootconfig.Load(ctx, f.options(a))
	if err != nil {
		return nil, nil, err
	}
	schema, err := mergedSchema(b)
	if err != nil {
		return nil, nil, err
	}
	root.SetSchema(schema)
	return root, schema, nil
}
