package actions

import (
	"cmp"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

type workspaceTemplateInput struct {
	renderOptions
	SourcePath            string          `json:"sourcePath"`
	TargetPath            string          `json:"targetPath"`
	CopyWithoutTemplating []string        `json:"copyWithoutTemplating,omitempty"`
	TemplateFileExtension json.RawMessage `json:"templateFileExtension,omitempty"`
}

type workspaceTemplateFileInput struct {
	renderOptions
	SourcePath string `json:"sourcePath"`
	TargetPath string `json:"targetPath"`
}

const (
	workspaceTemplateSchema = `{"type":"object","properties":{"sourcePath":{"type":"string","description":"Path within the working directory of the files to render."},"targetPath":{"type":"string","description":"Path within the working directory to write to; it is not within the source."},` + valuesSchema +
		`,"copyWithoutTemplating":{"type":"array","items":{"type":"string"},"description":"Patterns of files whose contents are copied as they are; their paths are rendered."},` + compatSchema +
		`,"templateFileExtension":{"type":["string","boolean"],"description":"The extension of files that are templates; ` + "`true` stands for `.njk`" + `. Others are copied as they are."},"replace":{"type":"boolean","description":"Replaces files that are there instead of leaving them."},` + blocksSchema + `},"required":["sourcePath","targetPath"],"additionalProperties":false,` + draft
	workspaceTemplateFileSchema = `{"type":"object","properties":{"sourcePath":{"type":"string","description":"Path within the working directory of the file to render."},"targetPath":{"type":"string","description":"Path within the working directory to write to."},` + valuesSchema + `,` + compatSchema +
		`,"replace":{"type":"boolean","description":"Replaces a file that is there instead of leaving it."},` + blocksSchema + `},"required":["sourcePath","targetPath"],"additionalProperties":false,` + draft
)

func (f fetcher) workspaceTemplate() scaffoldernode.Action {
	return withoutOutput(withInput(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "workspace:template", Description: "Renders the names and contents of files of the workspace into another folder of it.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("Render a folder that an earlier step made", "steps:\n  - id: render\n    action: workspace:template\n    input:\n      sourcePath: ./skeleton\n      targetPath: ./app\n      values:\n        name: ${{ parameters.name }}\n")},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in workspaceTemplateInput) (out nothing, err error) {
		whole := templateInput{renderOptions: in.renderOptions, CopyWithoutTemplating: in.CopyWithoutTemplating, TemplateFileExtension: in.TemplateFileExtension}
		extension, err := extensionOf(whole)
		if err != nil {
			return out, err
		}
		from, err := inside(c.Workspace, in.SourcePath)
		if err != nil {
			return out, err
		}
		target, err := inside(c.Workspace, cmp.Or(in.TargetPath, "."))
		if err != nil {
			return out, err
		}
		if rel, err := filepath.Rel(from, target); err != nil || rel != ".." && !strings.HasPrefix(rel, "../") {
			return out, apierr.Input("targetPath must not be within template path")
		}
		source, err := c.Workspace.OpenRoot(from)
		if err != nil {
			return out, err
		}
		defer source.Close()
		return out, f.renderFrom(ctx, c, source, target, extension, whole)
	}), workspaceTemplateSchema))
}

func (f fetcher) workspaceTemplateFile() scaffoldernode.Action {
	return withoutOutput(withInput(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "workspace:template:file", Description: "Renders a file of the workspace into another one.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("Render a file that an earlier step made", "steps:\n  - id: render\n    action: workspace:template:file\n    input:\n      sourcePath: README.md.tmpl\n      targetPath: README.md\n      values:\n        name: ${{ parameters.name }}\n")},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in workspaceTemplateFileInput) (out nothing, err error) {
		from, err := inside(c.Workspace, in.SourcePath)
		if err != nil {
			return out, err
		}
		return out, f.renderInto(ctx, c, in.TargetPath, from, in.renderOptions, func() ([]byte, error) { return c.Workspace.ReadFile(from) })
	}), workspaceTemplateFileSchema))
}
