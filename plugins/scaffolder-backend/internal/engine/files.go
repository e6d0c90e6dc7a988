package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
)

// filesKey is the key of the state that says where the files of a task are,
// whose workspace is not kept elsewhere.
const filesKey = "files"

// place says where files are; it is empty if there are none.
type place struct {
	Host   string `json:"host,omitempty"`
	Folder string `json:"folder,omitempty"`
}

// here is the place of the task in this process.
func (x *execution) here() (place, error) {
	host, err := os.Hostname()
	if err != nil {
		return place{}, fmt.Errorf("find out where the workspace is: %w", err)
	}
	dir, err := filepath.Abs(filepath.Join(x.WorkDir, x.run.ID))
	return place{host, dir}, err
}

// files is the state that says where the files are now.
func (x *execution) files() (tasks.Kept, error) {
	var at place
	empty, err := isEmpty(x.workspace.Name())
	if err == nil && !empty {
		at, err = x.here()
	}
	if err != nil {
		return tasks.Kept{}, err
	}
	text, err := json.Marshal(at)
	return tasks.Kept{Kind: tasks.WorkspaceState, Key: filesKey, Value: text}, err
}

// isEmpty reports whether a folder has nothing in it, or is not there.
func isEmpty(dir string) (bool, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// decideToResume finds out whether the run goes on after the steps that an earlier one
// finished. Where workspaces are not kept, and the files of these steps are not
// here, or the task is to start over, all steps run again. Checkpoints count in
// any case.
func (x *execution) decideToResume() error {
	if !x.run.Resume || x.run.State == nil {
		return nil
	}
	if x.keepsWorkspace() {
		x.resumes = true
		return nil
	}
	if x.run.Spec.Recoverable() {
		return nil
	}
	kept, err := x.run.State.Load(x.ctx, tasks.WorkspaceState)
	if err != nil {
		return err
	}
	var at place
	if text, ok := kept[filesKey]; ok {
		if err := json.Unmarshal(text, &at); err != nil {
			return fmt.Errorf("read where the files of the task are: %w", err)
		}
	}
	if at == (place{}) {
		x.resumes = true // there were none
		return nil
	}
	here, err := x.here()
	if err != nil {
		return err
	}
	empty, err := isEmpty(here.Folder)
	x.resumes, x.bereft = at == here && !empty, at != here || empty
	return err
}
