package isolation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"time"

	"github.com/google/uuid"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/ownprocess"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/engine"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Task returns what does the errand in the process: it is given the
// *ownprocess.Child, and has the runner execute the task.
func Task(runner *engine.Runner) func(ctx context.Context, with any) (any, error) {
	return func(ctx context.Context, with any) (any, error) {
		child, ok := with.(*ownprocess.Child)
		if !ok {
			return nil, fmt.Errorf("a task is run with an *ownprocess.Child, not with %T", with)
		}
		var in input
		if err := child.Input(&in); err != nil {
			return nil, err
		}
		p := parent{child}
		own := *runner
		if in.Authorize {
			own.Authorize = p.authorize
		}
		own.StepTimeout = in.StepTimeout
		if in.Workspaces {
			own.Workspaces = workspaces{p, runner.WorkDir}
		}
		run := &engine.Run{ID: in.ID, Spec: in.Spec, Secrets: in.Secrets, Resume: in.Resume, DryRun: in.DryRun, Journal: p, Initiator: p.initiator}
		if in.State {
			run.State = p
		}
		if in.AtEnd {
			run.AtEnd = func(*os.Root) error { return child.Call(ctx, methodAtEnd, nil, nil) }
		}
		work, end := context.WithCancelCause(ctx)
		defer end(nil)
		defer context.AfterFunc(child.Context(), func() { end(engine.CauseOf(context.Cause(child.Context()).Error())) })()
		output, err := own.Execute(ctx, work, run)
		if err != nil {
			return nil, err
		}
		text, err := output.MarshalJSON()
		return json.RawMessage(text), err
	}
}

// parent is the backend, as the process sees it. It implements the journal and
// the state of the run.
type parent struct{ child *ownprocess.Child }

// Write implements [engine.Journal].
func (p parent) Write(ctx context.Context, body scaffoldercommon.EventBody) error {
	return p.child.Call(ctx, methodLog, body, nil)
}

// Load implements [engine.State].
func (p parent) Load(ctx context.Context, kind string) (all map[string]json.RawMessage, err error) {
	err = p.child.Call(ctx, methodLoad, kind, &all)
	return all, err
}

// Keep implements [engine.State].
func (p parent) Keep(ctx context.Context, all ...tasks.Kept) error {
	entries := make([]stateEntry, len(all))
	for i, k := range all {
		entries[i] = stateEntry{k.Kind, k.Key, k.Value}
	}
	return p.child.Call(ctx, methodKeep, entries, nil)
}

func (p parent) initiator(ctx context.Context) (core.Credentials, error) {
	var who principal
	if err := p.child.Call(ctx, methodInitiator, nil, &who); err != nil {
		return core.Credentials{}, err
	}
	token := core.NewToken(who.Token)
	switch {
	case who.Principal.Type == core.PrincipalUser:
		return core.UserCredentials(who.Principal.UserEntityRef, who.Principal.Actor, token, time.Time{}, who.Limited), nil
	case who.Principal.Type == core.PrincipalService:
		return core.ServiceCredentials(who.Principal.Subject, token, who.Principal.Restrictions, nil), nil
	}
	return core.NoCredentials(), nil
}

func (p parent) authorize(ctx context.Context, _ core.Credentials) (engine.Decide, error) {
	return func(action string, in template.Value) (allowed bool, err error) {
		err = p.child.Call(ctx, methodDecide, decideInput{action, template.AppendJSON(nil, in)}, &allowed)
		return allowed, err
	}, nil
}

// workspaces is the provider of the backend. Archives go through files in the
// folder of the process.
type workspaces struct {
	parent
	dir string
}

func (w workspaces) passing(fn func(dir *os.Root, name string) error) error {
	dir, err := os.OpenRoot(w.dir)
	if err != nil {
		return err
	}
	name := path.Join("tmp", "archive-"+uuid.NewString())
	err = fn(dir, name)
	if gone := dir.Remove(name); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return errors.Join(err, dir.Close())
}

// Save implements [scaffoldernode.WorkspaceProvider].
func (w workspaces) Save(ctx context.Context, snapshot scaffoldernode.WorkspaceSnapshot, archive io.Reader) error {
	return w.passing(func(dir *os.Root, name string) error {
		if err := copyInto(dir, name, archive); err != nil {
			return err
		}
		return w.child.Call(ctx, methodSave, workspaceRef{snapshot.ID, name}, nil)
	})
}

// Open implements [scaffoldernode.WorkspaceProvider].
func (w workspaces) Open(ctx context.Context, snapshot scaffoldernode.WorkspaceSnapshot) (archive io.ReadCloser, err error) {
	err = w.passing(func(dir *os.Root, name string) error {
		if err := w.child.Call(ctx, methodOpen, workspaceRef{snapshot.ID, name}, nil); err != nil {
			if apierr.KindOf(err) == apierr.KindNotFound {
				return fs.ErrNotExist
			}
			return err
		}
		file, err := dir.Open(name) // its name is removed while it is open
		if err == nil {
			archive = file
		}
		return err
	})
	return archive, err
}

// Remove implements [scaffoldernode.WorkspaceProvider].
func (w workspaces) Remove(ctx context.Context, snapshot scaffoldernode.WorkspaceSnapshot) error {
	return w.child.Call(ctx, methodRemove, workspaceRef{ID: snapshot.ID}, nil)
}

// List implements [scaffoldernode.WorkspaceProvider]. A task has no need of it.
func (workspaces) List(context.Context) iter.Seq2[scaffoldernode.KeptWorkspace, error] {
	return func(func(scaffoldernode.KeptWorkspace, error) bool) {}
}

// copyInto writes a new file.
func copyInto(dir *os.Root, name string, content io.Reader) error {
	file, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}
