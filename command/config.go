package command

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/configschema"
	"github.com/flytower/flytower/defaults/rootconfig"
)

type configCommand struct {
	Print  configPrintCommand  `cmd:"" default:"withargs" help:"Print the merged configuration with its sources; secrets are masked."`
	Docs   configDocsCommand   `cmd:"" help:"Print every key that is read, with its type, default and meaning."`
	Schema configSchemaCommand `cmd:"" help:"Print the JSON Schemas of the configuration, as frontends read them."`
}

// schemaSources returns the schemas of the framework and of what is installed.
func schemaSources(b *backend.Backend) []configschema.Source {
	var out []configschema.Source
	for _, s := range flytower.ConfigSchemas() {
		out = append(out, configschema.Source{Owner: "the backend system", Value: json.RawMessage(s)})
	}
	return append(out, rootconfig.InstalledSchemas(b.Instance())...)
}

func mergedSchema(b *backend.Backend) (*configschema.Schema, error) {
	return rootconfig.MergeSchemas(schemaSources(b)...)
}

type configPrintCommand struct{ configFlags }

// Run implements the command.
func (c *configPrintCommand) Run(ctx context.Context, a *App) error {
	root, _, err := c.load(ctx, a, a.build(c.options(a), pluginFlags{}))
	if err != nil {
		return err
	}
	return root.Print(a.Stdout)
}

type configDocsCommand struct {
	Prefix string `arg:"" optional:"" help:"Print only keys that begin with this, such as backend.database."`
}

// Run implements the command.
func (c *configDocsCommand) Run(a *App) error {
	schema, err := mergedSchema(a.build(rootconfig.Options{}, pluginFlags{}))
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 8, 2, ' ', 0)
	found := false
	for _, k := range schema.Document() {
		if !strings.HasPrefix(k.Key, c.Prefix) {
			continue
		}
		found = true
		fmt.Fprintf(w, "%s\t%s\t%s\n", k.Key, strings.Join(k.Types, "|"), keyNote(k))
	}
	if !found {
		return fmt.Errorf("no configuration key begins with %q; %s config docs lists all", c.Prefix, a.Name)
	}
	return w.Flush()
}

func keyNote(k configschema.Key) string {
	note := k.Description
	for _, mark := range []struct {
		set  bool
		text string
	}{
		{k.Required, "required"},
		{k.Visibility == configschema.Secret, "secret"},
		{k.Visibility == configschema.Frontend, "visible in the frontend"},
		{k.Deprecated != "", "deprecated: " + k.Deprecated},
	} {
		if mark.set {
			note += " [" + mark.text + "]"
		}
	}
	return strings.TrimSpace(note)
}

type configSchemaCommand struct{}

// Run implements the command.
func (*configSchemaCommand) Run(a *App) error {
	sources := append([]configschema.Source{{Owner: "the backend system", Value: json.RawMessage(rootconfig.ConfigSchema)}},
		schemaSources(a.build(rootconfig.Options{}, pluginFlags{}))...)
	text, err := configschema.Serialize(sources...)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "%s\n", text)
	return err
}
