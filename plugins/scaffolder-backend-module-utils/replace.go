package scaffoldermoduleutils

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/ecmaregexp"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

const (
	// replaceSteps bounds the work of all expressions of a step, in characters
	// read and written and ways back tried.
	replaceSteps = 20_000_000
	// maxReplaced bounds the files that the patterns of a step find.
	maxReplaced = 10_000
)

type replaceInput struct {
	Files []replacement `json:"files" description:"What to replace, and where"`
}

type replacement struct {
	File            string  `json:"file,omitempty" description:"The file, or a pattern with * and **, relative to the workspace"`
	Find            string  `json:"find,omitempty" description:"The text to replace"`
	MatchRegex      bool    `json:"matchRegex,omitempty" description:"Whether find is a regular expression"`
	ReplaceWith     *string `json:"replaceWith,omitempty" description:"The text to put in its place; $& is what was found and $1 the first group of it"`
	IncludeDotFiles bool    `json:"includeDotFiles,omitempty" description:"Whether * and ** find names that begin with a dot. Default: false"`
}

func replaceInFiles() scaffoldernode.Action {
	a := scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "roadiehq:utils:fs:replace", Description: "Replaces all occurrences of a text, or of a regular expression, in files.", SupportsDryRun: true,
		Examples: example("Rename a package", "steps:\n  - id: rename\n    action: roadiehq:utils:fs:replace\n    input:\n      files:\n        - file: \"**/*.go\"\n          find: example.com/old\n          replaceWith: example.com/${{ parameters.name }}\n"),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in replaceInput) (nothing, error) {
		return nothing{}, replaceAll(ctx, c, in.Files)
	})
	a.Output = nil
	return a
}

// replaceAll makes all replacements of a file before it writes it, so that a
// file is either as it was or done.
func replaceAll(ctx context.Context, c *scaffoldernode.ActionContext, list []replacement) error {
	work := map[string][]*replacer{}
	var order []string
	for _, r := range list {
		found, err := r.find(c.Workspace)
		if err != nil {
			return err
		}
		re, err := newReplacer(r)
		if err != nil {
			return err
		}
		for _, name := range found {
			if work[name] == nil {
				order = append(order, name)
			}
			work[name] = append(work[name], re)
		}
		if len(order) > maxReplaced {
			return apierr.Input("the patterns find more than %d files", maxReplaced)
		}
	}
	budget := ecmaregexp.NewBudget(replaceSteps)
	for _, name := range order {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		before, err := read(c.Workspace, name)
		if err != nil {
			return err
		}
		after, err := apply(string(before), work[name], budget)
		if err != nil {
			return fmt.Errorf("replace in %s: %w", name, err)
		}
		if after == string(before) {
			continue
		}
		if err := edit(ctx, c, name, before, []byte(after)); err != nil {
			return err
		}
	}
	return nil
}

func apply(text string, all []*replacer, budget *ecmaregexp.Budget) (string, error) {
	for _, r := range all {
		var err error
		if text, err = r.expression.Replace(text, r.with, budget); err != nil {
			return "", err
		}
		if len(text) > maxText {
			return "", apierr.Input("it becomes larger than %d MB", maxText>>20)
		}
	}
	return text, nil
}

// find returns the files that the pattern means.
func (r replacement) find(root *os.Root) ([]string, error) {
	if r.File == "" {
		return nil, apierr.Input("Path to file needs to be defined")
	}
	if r.Find == "" || r.ReplaceWith == nil {
		return nil, apierr.Input("each file must have a find and replaceWith property")
	}
	pattern, err := scaffoldernode.InWorkspace(root, r.File)
	if err != nil {
		return nil, err
	}
	// A name such as [id].ts is a pattern, too.
	if info, err := root.Lstat(pattern); err == nil && info.Mode().IsRegular() {
		return []string{pattern}, nil
	}
	options := []doublestar.GlobOption{doublestar.WithFilesOnly(), doublestar.WithNoFollow()}
	if !r.IncludeDotFiles {
		options = append(options, doublestar.WithNoHidden())
	}
	matches, err := doublestar.Glob(root.FS(), filepath.ToSlash(pattern), options...)
	if err != nil {
		return nil, apierr.Input("the pattern %q cannot be read: %v", r.File, err)
	}
	var found []string
	for _, name := range matches {
		if info, err := root.Lstat(name); err == nil && info.Mode()&fs.ModeType == 0 {
			found = append(found, name)
		}
	}
	return found, nil
}

type replacer struct {
	expression *ecmaregexp.Regexp
	with       string
}

func newReplacer(r replacement) (*replacer, error) {
	pattern := r.Find
	if !r.MatchRegex {
		pattern = quote(pattern)
	}
	re, err := ecmaregexp.Compile(pattern, "g")
	if err != nil {
		return nil, apierr.Input("the expression %q cannot be read: %v", r.Find, err)
	}
	return &replacer{re, *r.ReplaceWith}, nil
}

// quote returns an expression that matches a text.
func quote(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune(`\^$.*+?()[]{}|/`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
