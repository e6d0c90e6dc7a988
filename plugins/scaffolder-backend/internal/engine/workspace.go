package engine

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
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/workspacearchive"
)

const (
	// saveTimeout is how long saving or restoring a workspace may take.
	saveTimeout = 15 * time.Minute
	// saveAttempts is how often a workspace is read anew that changes meanwhile.
	saveAttempts = 3
)

// snapshotKey is the key of the only workspace state of a task.
const snapshotKey = "snapshot"

// snapshot says which snapshot has the files of a task. It is stored in the
// transaction that says what the task has done: after a crash both are of the
// same moment, whichever run wrote last. What a run saves that has lost its
// task is never looked at.
type snapshot struct {
	ID     string `json:"id,omitempty"` // empty for an empty workspace
	Digest string `json:"digest"`
}

// keptWorkspace is what an execution knows of the snapshots.
type keptWorkspace struct {
	mu   sync.Mutex // actions may call Checkpoint at once
	last snapshot
}

// keepsWorkspace reports whether the files of the task outlive the run.
func (x *execution) keepsWorkspace() bool {
	return x.Workspaces != nil && x.run.Resume && x.run.State != nil && !x.run.DryRun
}

// keep stores what is done, and the files as they are now.
func (x *execution) keep(kind, key string, value json.RawMessage) error {
	all := []tasks.Kept{{Kind: kind, Key: key, Value: value}}
	if !x.run.Resume {
		return x.run.State.Keep(x.ctx, all...)
	}
	if !x.keepsWorkspace() {
		files, err := x.files()
		if err != nil {
			return err
		}
		return x.run.State.Keep(x.ctx, append(all, files)...)
	}
	x.kept.mu.Lock()
	defer x.kept.mu.Unlock()
	before := x.kept.last
	now, err := x.saveWorkspace(before)
	if err != nil {
		return fmt.Errorf("keep the workspace of the task: %w", err)
	}
	if now != before {
		text, err := json.Marshal(now)
		if err != nil {
			return err
		}
		all = append(all, tasks.Kept{Kind: tasks.WorkspaceState, Key: snapshotKey, Value: text})
	}
	if err := x.run.State.Keep(x.ctx, all...); err != nil {
		return err // which of both counts is not known, so both stay
	}
	if x.kept.last = now; now != before && before.ID != "" {
		_ = x.Workspaces.Remove(x.ctx, scaffoldernode.WorkspaceSnapshot{TaskID: x.run.ID, ID: before.ID}) // or else with the task
	}
	return nil
}

// saveWorkspace saves the files, unless they are as they were.
func (x *execution) saveWorkspace(before snapshot) (snapshot, error) {
	ctx, done := context.WithTimeout(x.ctx, saveTimeout)
	defer done()
	for attempt := 1; ; attempt++ {
		now, err := x.trySaveWorkspace(ctx, before)
		if !errors.Is(err, workspacearchive.ErrChanged) || attempt == saveAttempts {
			return now, err
		}
	}
}

func (x *execution) trySaveWorkspace(ctx context.Context, before snapshot) (now snapshot, err error) {
	limits := workspacearchive.Limits{}
	if now.Digest, err = workspacearchive.Digest(ctx, x.workspace, limits); err != nil {
		return now, err
	}
	switch now.Digest {
	case before.Digest:
		return before, nil
	case emptyWorkspace:
		return now, nil
	}
	now.ID = uuid.NewString()
	archive := workspacearchive.Open(ctx, x.workspace, limits)
	defer archive.Close()
	if err := x.Workspaces.Save(ctx, scaffoldernode.WorkspaceSnapshot{TaskID: x.run.ID, ID: now.ID}, archive); err != nil {
		return now, err
	}
	if err := archive.Close(); err != nil {
		return now, err
	}
	now.Digest = archive.Digest()
	return now, nil
}

// emptyWorkspace is the digest of an empty folder: that of the two blocks of
// zeros which end an archive.
var emptyWorkspace = func() string {
	sum := sha256.Sum256(make([]byte, 1024))
	return hex.EncodeToString(sum[:])
}()

// restoreWorkspace makes the files what they were when the newest state was
// kept. What a run left here that was interrupted later does not count.
func (x *execution) restoreWorkspace() error {
	if !x.keepsWorkspace() {
		return nil
	}
	kept, err := x.run.State.Load(x.ctx, tasks.WorkspaceState)
	if err != nil {
		return err
	}
	text, ok := kept[snapshotKey]
	if !ok {
		done, err := x.run.State.Load(x.ctx, stepState)
		if err != nil || len(done) > 0 {
			return err // its files were not kept: those that are here have to do
		}
		return emptyFolder(x.workspace)
	}
	if err := json.Unmarshal(text, &x.kept.last); err != nil {
		return fmt.Errorf("read where the workspace of the task is: %w", err)
	}
	if err := emptyFolder(x.workspace); err != nil || x.kept.last.ID == "" {
		return err
	}
	if err := x.extractWorkspace(); err != nil {
		return fmt.Errorf("restore the workspace of the task: %w", err)
	}
	return nil
}

func (x *execution) extractWorkspace() (err error) {
	ctx, done := context.WithTimeout(x.ctx, saveTimeout)
	defer done()
	archive, err := x.Workspaces.Open(ctx, scaffoldernode.WorkspaceSnapshot{TaskID: x.run.ID, ID: x.kept.last.ID})
	if err == nil {
		defer func() { err = errors.Join(err, archive.Close()) }()
		sum := sha256.New()
		read := io.TeeReader(archive, sum)
		if err = workspacearchive.Extract(ctx, read, x.workspace, workspacearchive.Limits{}); err == nil {
			_, err = io.Copy(io.Discard, read) // the end belongs to the digest
		}
		if err == nil && hex.EncodeToString(sum.Sum(nil)) != x.kept.last.Digest {
			return errors.New("what was kept of it is not what was saved")
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it is not kept any more; start a new task")
	}
	return err
}

// forgetWorkspace says that the files are not needed any more, before they are
// removed: a run after that, of a task that is retried, must not look for them.
func (x *execution) forgetWorkspace() error {
	if !x.keepsWorkspace() || x.kept.last.ID == "" {
		return nil
	}
	text, err := json.Marshal(snapshot{Digest: emptyWorkspace})
	if err != nil {
		return err
	}
	return x.run.State.Keep(x.ctx, tasks.Kept{Kind: tasks.WorkspaceState, Key: snapshotKey, Value: text})
}

func emptyFolder(root *os.Root) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return fmt.Errorf("empty the workspace: %w", err)
	}
	for _, entry := range entries {
		if err := root.RemoveAll(entry.Name()); err != nil {
			return fmt.Errorf("empty the workspace: %w", err)
		}
	}
	return nil
}

// removeWorkspace forgets the files of a task that needs them no more.
func (e *Engine) removeWorkspace(ctx context.Context, id string) {
	if e.Runner.Workspaces == nil {
		return
	}
	if err := e.Runner.Workspaces.Remove(ctx, scaffoldernode.WorkspaceSnapshot{TaskID: id}); err != nil {
		e.Logger.WarnContext(ctx, "what is kept of a workspace could not be removed; that is tried again later", "task", id, "error", err)
	}
}

// RemoveOldWorkspaces forgets the files of tasks that are completed, and those
// of tasks that failed, or are gone, for some time.
func (e *Engine) RemoveOldWorkspaces(ctx context.Context, retention time.Duration) error {
	looked := map[string]bool{}
	for kept, err := range e.Runner.Workspaces.List(ctx) {
		if err != nil {
			return fmt.Errorf("list the workspaces that are kept: %w", err)
		}
		if looked[kept.TaskID] {
			continue
		}
		looked[kept.TaskID] = true
		last := kept.Saved
		task, err := e.Store.Get(ctx, kept.TaskID)
		switch {
		case apierr.KindOf(err) == apierr.KindNotFound:
		case err != nil:
			return err
		case !task.Status.Ended():
			continue
		case task.Status == scaffoldercommon.TaskCompleted:
			last = time.Time{}
		default:
			last = task.LastHeartbeat
		}
		if time.Since(last) > retention {
			e.removeWorkspace(ctx, kept.TaskID)
		}
	}
	return nil
}
