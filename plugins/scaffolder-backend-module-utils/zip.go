package scaffoldermoduleutils

import (
	"archive/zip"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

const (
	// maxZipped bounds what goes into an archive, in bytes, and maxZippedFiles
	// the number of files.
	maxZipped      = 1 << 30
	maxZippedFiles = 100_000
)

type zipInput struct {
	Path       string `json:"path" description:"The file or folder to pack, relative to the workspace"`
	OutputPath string `json:"outputPath" description:"The archive to write, relative to the workspace"`
}

type zipOutput struct {
	OutputPath string `json:"outputPath" description:"The archive, as the input names it"`
	Path       string `json:"path" description:"The absolute path of the archive"`
}

func zipFiles() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "roadiehq:utils:zip", Description: "Packs a file or a folder into a zip archive. Links are left out.", SupportsDryRun: true,
		Examples: example("Pack a folder", "steps:\n  - id: pack\n    action: roadiehq:utils:zip\n    input:\n      path: app\n      outputPath: app.zip\n"),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in zipInput) (out zipOutput, err error) {
		from, err := scaffoldernode.InWorkspace(c.Workspace, in.Path)
		if err != nil {
			return out, err
		}
		to, err := scaffoldernode.InWorkspace(c.Workspace, in.OutputPath)
		if err != nil {
			return out, err
		}
		if _, err := c.Workspace.Lstat(from); errors.Is(err, fs.ErrNotExist) {
			return out, apierr.Input("File %s does not exist. Can't zip it.", in.Path)
		}
		if err := pack(ctx, c.Workspace, from, to); err != nil {
			return out, err
		}
		return zipOutput{in.OutputPath, filepath.Join(c.Workspace.Name(), to)}, nil
	})
}

// pack writes the archive beside its place, and moves it there at the end.
func pack(ctx context.Context, root *os.Root, from, to string) (err error) {
	if err := root.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	beside := filepath.Join(filepath.Dir(to), ".zip-"+rand.Text())
	f, err := root.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	archive := zip.NewWriter(f)
	err = errors.Join(addTree(ctx, root, from, archive, to, beside), archive.Close(), f.Close())
	if err == nil {
		err = root.Rename(beside, to)
	}
	if err != nil {
		err = errors.Join(err, root.Remove(beside))
	}
	return err
}

func addTree(ctx context.Context, root *os.Root, from string, archive *zip.Writer, skip ...string) error {
	left, files := int64(maxZipped), 0
	return fs.WalkDir(root.FS(), filepath.ToSlash(from), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		for _, s := range skip {
			if name == filepath.ToSlash(s) {
				return nil
			}
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		inside, err := filepath.Rel(from, filepath.FromSlash(name))
		if err != nil {
			return err
		}
		if inside == "." {
			inside = path.Base(name)
		}
		if files++; files > maxZippedFiles {
			return apierr.Input("%s has more than %d files", from, maxZippedFiles)
		}
		n, err := addFile(root, name, filepath.ToSlash(inside), archive, left)
		if left -= n; err == nil && left < 0 {
			err = apierr.Input("%s has more than %d MB", from, maxZipped>>20)
		}
		return err
	})
}

// addFile adds a file; the number of bytes is more than limit if it is larger.
func addFile(root *os.Root, name, inside string, archive *zip.Writer, limit int64) (int64, error) {
	f, err := root.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, nil // something took its place
	}
	// A fixed time makes the archive of the same files the same.
	header := &zip.FileHeader{Name: inside, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	header.SetMode(info.Mode().Perm())
	w, err := archive.CreateHeader(header)
	if err != nil {
		return 0, err
	}
	return io.Copy(w, io.LimitReader(f, limit+1))
}
