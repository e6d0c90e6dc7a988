package command

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/flytower/flytower/archcheck"
)

type archcheckCommand struct {
	Dir    string `arg:"" optional:"" default:"." help:"Folder of the repository, or one in it. Default: the working directory."`
	Format string `enum:"text,json" default:"text" help:"text or json."`
}

// Run implements the command: it prints every finding.
func (c *archcheckCommand) Run(ctx context.Context, a *App) error {
	findings, err := archcheck.Check(ctx, a.path(c.Dir))
	if err != nil {
		return err
	}
	if c.Format == "json" {
		enc := json.NewEncoder(a.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if findings == nil {
			findings = []archcheck.Finding{} // an empty list, not null
		}
		if err := enc.Encode(findings); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			fmt.Fprintf(a.Stdout, "%s\n", f)
		}
		fmt.Fprintf(a.Stdout, "%s\n", count(len(findings), "finding"))
	}
	if len(findings) > 0 {
		return &reported{code: 1}
	}
	return nil
}

// path makes a path that the user gave relative to the working directory.
func (a *App) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(a.Dir, p)
}
