package command

import (
	"fmt"
	"io"
	"os"

	"github.com/flytower/flytower/defaults/rootconfig"
)

type graphCommand struct {
	pluginFlags
	Format string `enum:"text,json,dot,svg" default:"text" help:"text, json, dot (Graphviz) or svg."`
	Output string `short:"o" placeholder:"FILE" help:"Write to a file instead of the standard output."`
}

// Run implements the command.
func (c *graphCommand) Run(a *App) (err error) {
	b := a.build(rootconfig.Options{}, c.pluginFlags)
	if err := b.Validate(); err != nil {
		a.tell(err) // a wrong wiring can be looked at all the same
	}
	var w io.Writer = a.Stdout
	if c.Output != "" {
		file, err := os.Create(c.Output)
		if err != nil {
			return fmt.Errorf("writing the graph: %w", err)
		}
		defer func() {
			if closeErr := file.Close(); err == nil {
				err = closeErr
			}
		}()
		w = file
	}
	g := b.Graph()
	switch c.Format {
	case "json":
		return g.JSON(w)
	case "dot":
		return g.DOT(w)
	case "svg":
		return g.SVG(w)
	default:
		return g.Text(w)
	}
}
