package scaffoldermoduleutils

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
	"github.com/flytower/flytower/plugins/scaffolder-node/yamlvalue"
)

// maxText bounds the files that actions read as a whole, in bytes.
const maxText = 16 << 20

// read reads a file of the workspace. There being none is fs.ErrNotExist.
func read(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, apierr.Input("%s is no file", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(text) > maxText {
		return nil, apierr.Input("%s is larger than %d MB", name, maxText>>20)
	}
	return text, err
}

// changed is what a step remembers of a file that it changes.
type changed struct {
	Before string `json:"before"`
	After  string `json:"after"`
	Size   int    `json:"size"` // after it
}

func fingerprint(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// edit changes a file so that a run of the step after a crash does not change
// it again.
func edit(ctx context.Context, c *scaffoldernode.ActionContext, name string, before, after []byte) error {
	key := "edit." + c.Iteration + "." + name
	kept, err := scaffoldernode.Checkpoint(ctx, c, key, func(context.Context) (changed, error) {
		return changed{fingerprint(before), fingerprint(after), len(after)}, nil
	})
	if err != nil {
		return err
	}
	// Later items of each may have added something behind.
	if kept.After != kept.Before && kept.Size <= len(before) && fingerprint(before[:kept.Size]) == kept.After {
		return nil
	}
	return scaffoldernode.WriteFile(c.Workspace, name, after)
}

type writeInput struct {
	Path               string `json:"path" description:"The file to write, relative to the workspace"`
	Content            string `json:"content" description:"What the file is to contain"`
	PreserveFormatting bool   `json:"preserveFormatting,omitempty" description:"Writes content that is JSON with an indentation of two spaces"`
}

func writeFile() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "roadiehq:utils:fs:write", Description: "Writes a file, in place of one that is there.", SupportsDryRun: true,
		Examples: example("Write a file", "steps:\n  - id: write\n    action: roadiehq:utils:fs:write\n    input:\n      path: docs/owner.md\n      content: |\n        Owned by ${{ parameters.owner }}\n"),
	}, func(_ context.Context, c *scaffoldernode.ActionContext, in writeInput) (written, error) {
		name, err := scaffoldernode.InWorkspace(c.Workspace, in.Path)
		if err != nil {
			return written{}, err
		}
		content := []byte(in.Content)
		if in.PreserveFormatting {
			if v, err := template.ParseJSON(content); err == nil {
				content = indentJSON(v, "  ")
			}
		}
		return at(c, name), scaffoldernode.WriteFile(c.Workspace, name, content)
	})
}

func at(c *scaffoldernode.ActionContext, name string) written {
	return written{filepath.Join(c.Workspace.Name(), name)}
}

type appendInput struct {
	Path    string `json:"path" description:"The file to extend, relative to the workspace"`
	Content string `json:"content" description:"What is added at the end of the file"`
}

func appendFile() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "roadiehq:utils:fs:append", Description: "Adds text at the end of a file, which is made if it is not there.", SupportsDryRun: true,
		Examples: example("Ignore a folder", "steps:\n  - id: ignore\n    action: roadiehq:utils:fs:append\n    input:\n      path: .gitignore\n      content: |\n        /dist/\n"),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in appendInput) (written, error) {
		name, err := scaffoldernode.InWorkspace(c.Workspace, in.Path)
		if err != nil {
			return written{}, err
		}
		before, err := read(c.Workspace, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return written{}, err
		}
		return at(c, name), edit(ctx, c, name, before, append(before[:len(before):len(before)], in.Content...))
	})
}

type parseInput struct {
	Path   string `json:"path" description:"The file to read, relative to the workspace"`
	Parser string `json:"parser,omitempty" enum:"yaml,json,multiyaml" description:"What the file is read as; without it the content is the text. With multiyaml it is a list of documents"`
}

type parseOutput struct {
	Content json.RawMessage `json:"content" description:"What the file contains"`
}

func parseFile() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "roadiehq:utils:fs:parse", Description: "Reads a file of the workspace, as text, JSON or YAML.", SupportsDryRun: true,
		Examples: example("Read the version of a package", "steps:\n  - id: package\n    action: roadiehq:utils:fs:parse\n    input:\n      path: package.json\n      parser: json\n  - id: log\n    action: debug:log\n    input:\n      message: ${{ steps.package.output.content.version }}\n"),
	}, func(_ context.Context, c *scaffoldernode.ActionContext, in parseInput) (out parseOutput, err error) {
		name, err := scaffoldernode.InWorkspace(c.Workspace, in.Path)
		if err != nil {
			return out, err
		}
		text, err := read(c.Workspace, name)
		if err != nil {
			return out, err
		}
		v, err := parse(in.Parser, text)
		if err != nil {
			return out, apierr.Input("%s cannot be read as %s: %v", in.Path, in.Parser, err)
		}
		out.Content = template.AppendJSON(nil, v)
		return out, nil
	})
}

func parse(parser string, text []byte) (template.Value, error) {
	switch parser {
	case "json":
		return template.ParseJSON(text)
	case "yaml", "multiyaml":
		documents, err := yamlvalue.Parse(text)
		switch {
		case err != nil:
			return nil, err
		case parser == "multiyaml":
			return template.NewArray(documents...), nil
		case len(documents) == 0:
			return template.Null{}, nil
		case len(documents) > 1:
			return nil, fmt.Errorf("it has %d documents; use the parser multiyaml", len(documents))
		}
		return documents[0], nil
	}
	return template.String(strings.ToValidUTF8(string(text), "\uFFFD")), nil
}
