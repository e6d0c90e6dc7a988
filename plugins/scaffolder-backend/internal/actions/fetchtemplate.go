package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// renderOptions are those of all actions that render.
type renderOptions struct {
	Values             json.RawMessage `json:"values,omitempty"`
	CookiecutterCompat bool            `json:"cookiecutterCompat,omitempty"`
	Replace            bool            `json:"replace,omitempty"`
	TrimBlocks         bool            `json:"trimBlocks,omitempty"`
	LstripBlocks       bool            `json:"lstripBlocks,omitempty"`
}

type templateInput struct {
	renderOptions
	URL                   string          `json:"url"`
	TargetPath            string          `json:"targetPath,omitempty"`
	CopyWithoutRender     []string        `json:"copyWithoutRender,omitempty"`
	CopyWithoutTemplating []string        `json:"copyWithoutTemplating,omitempty"`
	TemplateFileExtension json.RawMessage `json:"templateFileExtension,omitempty"`
	Token                 string          `json:"token,omitempty"`
}

type templateFileInput struct {
	renderOptions
	URL        string `json:"url"`
	TargetPath string `json:"targetPath"`
	Token      string `json:"token,omitempty"`
}

const (
	valuesSchema   = `"values":{"type":"object","additionalProperties":{},"description":"Values to pass on to the templating engine"}`
	compatSchema   = `"cookiecutterCompat":{"type":"boolean","description":"Enable features to maximise compatibility with templates built for fetch:cookiecutter"}`
	blocksSchema   = `"trimBlocks":{"type":"boolean","description":"If set, the first newline after a block is removed (block, not variable tag)."},"lstripBlocks":{"type":"boolean","description":"If set, leading spaces and tabs are stripped from the start of a line to a block."}`
	tokenSchema    = `"token":{"type":"string","description":"An optional token to use for authentication when reading the resources."}`
	templateSchema = `{"type":"object","properties":{"url":{"type":"string","description":"Relative path or absolute URL pointing to the directory tree to fetch"},"targetPath":{"type":"string","description":"Target path within the working directory to download the contents to. Defaults to the working directory root."},` + valuesSchema +
		`,"copyWithoutRender":{"type":"array","items":{"type":"string"},"description":"Accepted for old templates, and without effect: use copyWithoutTemplating."},"copyWithoutTemplating":{"type":"array","items":{"type":"string"},"description":"An array of glob patterns. Contents of matched files or directories are copied without being processed, but paths are subject to rendering."},` + compatSchema +
		`,"templateFileExtension":{"type":["string","boolean"],"description":"If set, only files with the given extension will be templated. If set to ` + "`true`, the default extension `.njk`" + ` is used."},"replace":{"type":"boolean","description":"If set, replace files in targetPath instead of skipping existing ones."},` + blocksSchema + `,` + tokenSchema + `},"required":["url"],"additionalProperties":false,` + draft
	templateFileSchema = `{"type":"object","properties":{"url":{"type":"string","description":"Relative path or absolute URL pointing to the single file to fetch."},"targetPath":{"type":"string","description":"Target path within the working directory to download the file as."},` + valuesSchema + `,` + compatSchema +
		`,"replace":{"type":"boolean","description":"If set, replace file in targetPath instead of overwriting existing one."},` + blocksSchema + `,` + tokenSchema + `},"required":["url","targetPath"],"additionalProperties":false,` + draft
)

func (f fetcher) template() scaffoldernode.Action {
	return withoutOutput(withInput(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "fetch:template", Description: "Copies a tree of files into the workspace, and renders their names and contents.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("Render a skeleton", "steps:\n  - id: fetch\n    action: fetch:template\n    input:\n      url: ./skeleton\n      values:\n        name: ${{ parameters.name }}\n")},
	}, f.renderTree), templateSchema))
}

func (f fetcher) templateFile() scaffoldernode.Action {
	return withoutOutput(withInput(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "fetch:template:file", Description: "Renders a file into the workspace.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("Render a file", "steps:\n  - id: readme\n    action: fetch:template:file\n    input:\n      url: ./README.md.tmpl\n      targetPath: README.md\n      values:\n        name: ${{ parameters.name }}\n")},
	}, f.renderFile), templateFileSchema))
}

// plainText bounds texts that are not parsed because they have no expressions;
// on larger ones the limits of templates have to be applied.
const plainText = 1 << 20

// renderer renders names and contents.
type renderer struct {
	fetcher
	environment *template.Environment
	variables   *template.Record
	syntax      template.Syntax
}

func (f fetcher) renderer(o renderOptions) (*renderer, error) {
	environment, err := f.Templating.Environment(nil)
	if err != nil {
		return nil, err
	}
	values := template.Value(template.NewRecord())
	if len(o.Values) > 0 {
		if values, err = template.ParseJSON(o.Values); err != nil {
			return nil, fmt.Errorf("read the values: %w", err)
		}
	}
	key := "values"
	if o.CookiecutterCompat {
		key = "cookiecutter"
	}
	return &renderer{f, environment, template.NewRecord(template.Entry{Key: key, Value: values}),
		template.Syntax{Cookiecutter: o.CookiecutterCompat, TrimBlocks: o.TrimBlocks, LstripBlocks: o.LstripBlocks}}, nil
}

func (r *renderer) render(ctx context.Context, name, text string) (string, error) {
	if len(text) < plainText && !strings.Contains(text, "{") {
		return text, nil // no expression begins without one
	}
	t, err := r.Templating.Cache.Parse(name, text, r.syntax)
	if err != nil {
		return "", err
	}
	return r.environment.Render(ctx, t, r.variables)
}

func (f fetcher) renderFile(ctx context.Context, c *scaffoldernode.ActionContext, in templateFileInput) (out nothing, err error) {
	target, err := inside(c.Workspace, in.TargetPath)
	if err != nil {
		return out, err
	}
	if _, err := c.Workspace.Lstat(target); err == nil && !in.Replace {
		c.Logger.Info("File " + in.TargetPath + " already exists in workspace, not replacing.")
		return out, nil
	}
	c.Logger.Info("Fetching template file content from remote URL")
	text, err := f.file(ctx, c, in.URL, in.Token)
	if err != nil {
		return out, err
	}
	r, err := f.renderer(in.renderOptions)
	if err != nil {
		return out, err
	}
	rendered, err := r.render(ctx, in.URL, string(text))
	if err != nil {
		return out, err
	}
	return out, writeFile(c.Workspace, target, strings.NewReader(rendered), 0o644)
}

func (f fetcher) renderTree(ctx context.Context, c *scaffoldernode.ActionContext, in templateInput) (out nothing, err error) {
	c.Logger.Info("Fetching template content from remote URL")
	extension, err := extensionOf(in)
	if err != nil {
		return out, err
	}
	target, err := inside(c.Workspace, path.Join(".", in.TargetPath))
	if err != nil {
		return out, err
	}
	source, done, err := f.source(ctx, c, in.URL, in.Token)
	if err != nil {
		return out, err
	}
	defer done()
	c.Logger.Info("Listing files and directories in template")
	names, err := entries(source)
	if err != nil {
		return out, err
	}
	verbatim, err := matching(source, in.CopyWithoutTemplating)
	if err != nil {
		return out, err
	}
	r, err := f.renderer(in.renderOptions)
	if err != nil {
		return out, err
	}
	values := in.Values
	if values == nil {
		values = json.RawMessage("{}")
	}
	c.Logger.Info(fmt.Sprintf("Processing %d template files/directories with input values %s", len(names), values))
	tree := &treeWriter{
		renderer: r, source: source, workspace: c.Workspace, logger: c.Logger,
		target: filepath.ToSlash(target), verbatim: verbatim, extension: extension, replace: in.Replace,
	}
	if err := tree.write(ctx, names); err != nil {
		return out, err
	}
	c.Logger.Info("Template result written to " + filepath.Join(c.Workspace.Name(), target))
	return out, nil
}

// extensionOf returns the extension of the files that are templates; empty if
// all are.
func extensionOf(in templateInput) (string, error) {
	var name string
	switch text := string(in.TemplateFileExtension); {
	case text == "true":
		name = ".njk"
	case json.Unmarshal(in.TemplateFileExtension, &name) != nil || name == "":
		return "", nil
	}
	if in.CopyWithoutTemplating != nil || in.CookiecutterCompat {
		return "", apierr.Input("Fetch action input extension incompatible with copyWithoutTemplating and cookiecutterCompat")
	}
	if !strings.HasPrefix(name, ".") {
		name = "." + name
	}
	return name, nil
}

// found is something below a folder.
type found struct {
	name string // with slashes
	kind fs.FileMode
}

// entries lists what is below a folder, each folder before what it contains.
func entries(root *os.Root) (all []found, err error) {
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && name != "." {
			all = append(all, found{name, entry.Type()})
		}
		return err
	})
	return all, err
}

// matching returns the files that the patterns mean. A folder means all that
// is in it; a pattern that begins with ! takes files away.
func matching(root *os.Root, patterns []string) (map[string]bool, error) {
	found := map[string]bool{}
	for _, pattern := range patterns {
		plain, without := strings.CutPrefix(pattern, "!")
		if strings.HasPrefix(plain, "./") || strings.HasPrefix(plain, "/") {
			continue
		}
		plain = strings.TrimSuffix(plain, "/")
		for _, p := range []string{plain, plain + "/**"} {
			names, err := doublestar.Glob(root.FS(), p, doublestar.WithFilesOnly(), doublestar.WithNoFollow())
			if err != nil {
				return nil, apierr.Input("the pattern %q cannot be read: %v", pattern, err)
			}
			for _, name := range names {
				if without {
					delete(found, name)
				} else {
					found[name] = true
				}
			}
		}
	}
	return found, nil
}
