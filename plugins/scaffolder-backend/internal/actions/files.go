package actions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

func inside(root *os.Root, name string) (string, error) {
	return scaffoldernode.InWorkspace(root, name)
}

type deleteInput struct {
	Files []string `json:"files" description:"A list of files and directories that will be deleted"`
}

func fsDelete() scaffoldernode.Action {
	return withoutOutput(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "fs:delete", Description: "Deletes files of the workspace. Names may be patterns; of a folder all files are deleted.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("Delete some files", "steps:\n  - id: clean\n    action: fs:delete\n    input:\n      files: [draft.md, \"**/*.tmp\"]\n")},
	}, func(_ context.Context, c *scaffoldernode.ActionContext, in deleteInput) (nothing, error) {
		for _, pattern := range in.Files {
			name, err := inside(c.Workspace, pattern)
			if err != nil {
				return nothing{}, err
			}
			if info, err := c.Workspace.Lstat(name); err == nil && info.IsDir() {
				name = path.Join(escapePattern(filepath.ToSlash(name)), "**")
			}
			found, err := doublestar.Glob(c.Workspace.FS(), filepath.ToSlash(name), doublestar.WithFilesOnly(), doublestar.WithNoFollow())
			if err != nil {
				return nothing{}, apierr.Input("the pattern %q cannot be read: %v", pattern, err)
			}
			for _, file := range found {
				full := filepath.Join(c.Workspace.Name(), file)
				if err := c.Workspace.Remove(file); err != nil {
					c.Logger.Error("Failed to delete file " + full)
					return nothing{}, fmt.Errorf("delete %s: %w", file, err)
				}
				c.Logger.Info("File " + full + " deleted successfully")
			}
		}
		return nothing{}, nil
	}))
}

func escapePattern(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "{", `\{`).Replace(name)
}

type renameInput struct {
	Files []struct {
		From      string `json:"from" description:"The source location of the file to be renamed"`
		To        string `json:"to" description:"The destination of the new file"`
		Overwrite bool   `json:"overwrite,omitempty" description:"Overwrite existing file or directory, default is false"`
	} `json:"files" description:"A list of file and directory names that will be renamed"`
}

func fsRename() scaffoldernode.Action {
	return withoutOutput(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "fs:rename", Description: "Renames files and folders of the workspace.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("Rename a file", "steps:\n  - id: rename\n    action: fs:rename\n    input:\n      files: [{from: readme.tmpl, to: docs/readme.md}]\n")},
	}, func(_ context.Context, c *scaffoldernode.ActionContext, in renameInput) (nothing, error) {
		for _, file := range in.Files {
			if file.From == "" || file.To == "" {
				return nothing{}, apierr.Input("each file must have a from and to property")
			}
			from, err := inside(c.Workspace, file.From)
			if err != nil {
				return nothing{}, err
			}
			to, err := inside(c.Workspace, file.To)
			if err != nil {
				return nothing{}, err
			}
			fullFrom, fullTo := filepath.Join(c.Workspace.Name(), from), filepath.Join(c.Workspace.Name(), to)
			if err := rename(c.Workspace, from, to, file.Overwrite); err != nil {
				c.Logger.Error("Failed to rename file " + fullFrom + " to " + fullTo + ": " + err.Error())
				return nothing{}, err
			}
			c.Logger.Info("File " + fullFrom + " renamed to " + fullTo + " successfully")
		}
		return nothing{}, nil
	}))
}

func rename(root *os.Root, from, to string, overwrite bool) error {
	if _, err := root.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rename %s: there is no such file or folder in the workspace", from)
	} else if err != nil {
		return fmt.Errorf("rename %s: %w", from, err)
	}
	if _, err := root.Lstat(to); err == nil && from != to {
		if !overwrite {
			return apierr.New(apierr.KindError, "dest already exists.")
		}
		if strings.HasPrefix(from+"/", to+"/") {
			return apierr.Input("%s cannot take the place of %s, which contains it", from, to)
		}
		if err := root.RemoveAll(to); err != nil {
			return fmt.Errorf("replace %s: %w", to, err)
		}
	}
	if err := root.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", to, err)
	}
	return root.Rename(from, to)
}

type readdirInput struct {
	Paths     []string `json:"paths"`
	Recursive bool     `json:"recursive,omitempty"`
}

type listed struct {
	Name     string `json:"name" description:"Name of the file or directory"`
	Path     string `json:"path" description:"path to the file or directory relative to the workspace"`
	FullPath string `json:"fullPath" description:"full path to the file or directory"`
}

type readdirOutput struct {
	Files   []listed `json:"files"`
	Folders []listed `json:"folders"`
}

func fsReaddir() scaffoldernode.Action {
	return withInput(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "fs:readdir", Description: "Lists files and folders of the workspace, sorted by their paths.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("List all files", "steps:\n  - id: list\n    action: fs:readdir\n    input:\n      paths: [.]\n      recursive: true\n")},
	}, func(_ context.Context, c *scaffoldernode.ActionContext, in readdirInput) (readdirOutput, error) {
		out := readdirOutput{Files: []listed{}, Folders: []listed{}}
		for _, name := range in.Paths {
			dir, err := inside(c.Workspace, name)
			if err != nil {
				return out, err
			}
			if err := list(c.Workspace, filepath.ToSlash(dir), in.Recursive, &out); err != nil {
				return out, err
			}
		}
		return out, nil
	}), `{"type":"object","properties":{"paths":{"type":"array","items":{"type":"string","minLength":1}},"recursive":{"type":"boolean","default":false}},"required":["paths"],"additionalProperties":false,`+draft)
}

func list(root *os.Root, dir string, recursive bool, out *readdirOutput) error {
	return fs.WalkDir(root.FS(), dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("list %s: %w", dir, err)
		}
		if name == dir && entry.IsDir() {
			return nil
		}
		item := listed{Name: entry.Name(), Path: name, FullPath: filepath.Join(root.Name(), name)}
		if !entry.IsDir() {
			out.Files = append(out.Files, item)
			return nil
		}
		out.Folders = append(out.Folders, item)
		if !recursive {
			return fs.SkipDir
		}
		return nil
	})
}

// copyTree copies what is below a folder of one root into a folder of
// another. Links are kept if they stay inside, and left out otherwise.
func copyTree(ctx context.Context, from *os.Root, dir string, to *os.Root, target string) error {
	return fs.WalkDir(from.FS(), filepath.ToSlash(dir), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		return copyEntry(from, name, entry, to, filepath.Join(target, rel))
	})
}

func copyEntry(from *os.Root, name string, entry fs.DirEntry, to *os.Root, target string) error {
	switch {
	case entry.IsDir():
		return to.MkdirAll(target, 0o755)
	case entry.Type()&fs.ModeSymlink != 0:
		if _, err := from.Stat(name); err != nil {
			return nil //nolint:nilerr // it leads outside, or nowhere
		}
		link, err := from.Readlink(name)
		if err != nil || filepath.IsAbs(link) {
			return err
		}
		return errors.Join(removeFile(to, target), to.Symlink(link, target))
	case entry.Type().IsRegular():
		return copyFile(from, name, to, target)
	}
	return nil
}

func removeFile(root *os.Root, name string) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func copyFile(from *os.Root, name string, to *os.Root, target string) (err error) {
	in, err := from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	return writeFile(to, target, in, info.Mode().Perm())
}

// writeFile writes a file, and the folders that it is in. A link that is there
// is replaced, not followed.
func writeFile(root *os.Root, name string, content io.Reader, mode fs.FileMode) (err error) {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if info, err := root.Lstat(name); err == nil && !info.Mode().IsRegular() {
		if err := root.Remove(name); err != nil {
			return err
		}
	}
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, content); err != nil {
		return err
	}
	return out.Chmod(mode)
}
