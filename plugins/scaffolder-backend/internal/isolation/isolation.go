// Package isolation executes each task in a process of its own, which has the
// limits and the part of the configuration that it is given, and no keys, no
// database and no environment of the backend.
//
// The [Runner] is the side of the backend: it starts the process, and answers
// what the task asks for. [Task] is the side of the process: it has an
// engine.Runner execute the task there, whose log, state, checkpoints,
// permissions and credentials are those that the backend gives.
package isolation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/ownprocess"
	"github.com/flytower/flytower/internal/redact"
	"github.com/flytower/flytower/internal/spread"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/engine"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Errand is the name of what the process does.
const Errand = "task"

// The methods that a task calls, beside those of package ownprocess.
const (
	methodLog       = "log"
	methodLoad      = "load"
	methodKeep      = "keep"
	methodInitiator = "initiator"
	methodDecide    = "decide"
	methodAtEnd     = "at-end"
	methodSave      = "save-workspace"
	methodOpen      = "open-workspace"
	methodRemove    = "remove-workspace"
)

// input is what the process is given.
type input struct {
	ID         string                    `json:"id"`
	Spec       scaffoldercommon.TaskSpec `json:"spec"`
	Secrets    map[string]string         `json:"secrets"`
	Resume     bool                      `json:"resume"`
	DryRun     bool                      `json:"dryRun"`
	State      bool                      `json:"state"`
	AtEnd      bool                      `json:"atEnd"`
	Authorize  bool                      `json:"authorize"`
	Workspaces bool                      `json:"workspaces"`
	// StepTimeout is in nanoseconds.
	StepTimeout time.Duration `json:"stepTimeout"`
}

// principal is who created the task. The token is only good for what the task
// may do anyway: templates see it as secrets.backstageToken.
type principal struct {
	Principal core.Principal `json:"principal"`
	Token     string         `json:"token"`
	Limited   bool           `json:"limited"`
}

type (
	stateEntry struct {
		Kind, Key string
		Value     json.RawMessage
	}
	decideInput struct {
		Action string
		Input  json.RawMessage
	}
	workspaceRef struct{ ID, File string }
)

// Settings say what a process may have.
type Settings struct {
	Limits ownprocess.Limits
	User   *ownprocess.User
	// Confine keeps it out of the files of the machine.
	Confine bool
	// Readable are folders and files that it may read nonetheless, Environment
	// the variables that it gets.
	Readable, Environment []string
	// Config are the keys of the configuration that it gets beside its own.
	Config []string
}

// Runner executes tasks in processes. It is an engine.Executor.
type Runner struct {
	Settings
	// WorkDir is where the folders of processes are made.
	WorkDir   string
	Config    core.Config
	Auth      core.AuthService
	Discovery core.DiscoveryService
	Authorize func(ctx context.Context, who core.Credentials) (engine.Decide, error)
	// Workspaces may be nil.
	Workspaces scaffoldernode.WorkspaceProvider
	// StepTimeout is how long a step may run; 0 is as long as its task.
	StepTimeout time.Duration
	// Secrets are those of all tasks.
	Secrets map[string]string
	Logger  *slog.Logger
}

// Execute implements [engine.Executor].
func (r *Runner) Execute(ctx, work context.Context, run *engine.Run) (output *template.Record, err error) {
	s := &supervision{Runner: r, run: run}
	s.secrets.Add(slices.Collect(maps.Values(run.Secrets))...)
	s.secrets.Add(slices.Collect(maps.Values(r.Secrets))...)
	if s.dir, err = r.folder(run); err != nil {
		return nil, err
	}
	defer func() {
		// The folder of a task that goes on elsewhere may be that of its next run.
		if ctx.Err() == nil && !(run.Resume && errors.Is(context.Cause(work), engine.ErrStopped)) {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	// Opened now: the process may put something else in its place.
	if s.root, err = os.OpenRoot(s.dir); err != nil {
		return nil, err
	}
	defer s.root.Close()
	readable, err := r.beside(run)
	if err != nil {
		return nil, err
	}
	result, err := ownprocess.Work{
		Plugin: "scaffolder", Errand: Errand, Config: r.config(s.dir), Dir: s.dir,
		Input: input{
			ID: run.ID, Spec: run.Spec, Secrets: run.Secrets, Resume: run.Resume, DryRun: run.DryRun, State: run.State != nil,
			AtEnd: run.AtEnd != nil, Authorize: r.Authorize != nil, Workspaces: r.Workspaces != nil,
			StepTimeout: r.StepTimeout,
		},
		Confine: r.Confine, Readable: append(readable, r.Readable...), Environment: r.Environment, Limits: r.Limits, User: r.User,
		Serve: s.serve,
		Said: func(line string) {
			r.Logger.WarnContext(ctx, "the process of a task says: "+s.redact(line), "task", run.ID)
		},
	}.Do(ctx, work)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var ended *ownprocess.Ended
	if errors.As(err, &ended) {
		return nil, s.brokeDown(ctx, work, ended)
	}
	if err != nil {
		return nil, apierr.New(apierr.KindOf(err), "%s", s.redact(err.Error()))
	}
	v, err := template.ParseJSON(result)
	if err != nil {
		return nil, fmt.Errorf("read the output of the task: %w", err)
	}
	if output, _ = v.(*template.Record); output == nil {
		output = template.NewRecord()
	}
	return output, nil
}

// folder makes the folder of a process. What an earlier run left is kept if
// this one goes on with it.
func (r *Runner) folder(run *engine.Run) (string, error) {
	dir := filepath.Join(r.WorkDir, "task-process-"+run.ID)
	if !run.Resume {
		if err := os.RemoveAll(dir); err != nil {
			return "", fmt.Errorf("empty the folder of the task: %w", err)
		}
	}
	err := spread.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "tmp"), 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("make the folder of the task: %w", err)
	}
	return dir, r.give(dir)
}

// give makes the user of the process the owner of a folder.
func (r *Runner) give(dir string) error {
	if r.User == nil {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = root.Lchown(name, int(r.User.UID), int(r.User.GID))
		}
		if err != nil {
			return fmt.Errorf("give the folder of a task to its user (scaffolder.taskIsolation.uid): %w", err)
		}
		return nil
	})
}

// beside returns the folder of a template that was read from a file, which the
// task fetches from.
func (r *Runner) beside(run *engine.Run) ([]string, error) {
	if run.Spec.Template == nil {
		return nil, nil
	}
	path, ok := strings.CutPrefix(run.Spec.Template.BaseURL, "file://")
	if !ok {
		return nil, nil
	}
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	dir := filepath.Dir(filepath.FromSlash(path))
	if rel, err := filepath.Rel(r.WorkDir, dir); err == nil && rel != "." && filepath.IsLocal(rel) {
		if err := r.give(dir); err != nil { // the files of a dry run
			return nil, err
		}
	}
	return []string{dir}, nil
}

// ownKeys of the configuration are what the scaffolder and its modules need of
// all of it, beside the section scaffolder.
var ownKeys = []string{"app.baseUrl", "app.title", "backend.baseUrl", "backend.reading", "organization"}

// hidden members of the section scaffolder are for the backend only.
func hidden(member string) bool {
	return member == "taskSecrets" || member == "taskRecovery" || member == "taskIsolation" || strings.HasPrefix(member, "EXPERIMENTAL_")
}

// config is the whole configuration of the process.
func (r *Runner) config(dir string) map[string]any {
	out := map[string]any{}
	put := func(key string, v any) {
		level := out
		parts := strings.Split(key, ".")
		for _, part := range parts[:len(parts)-1] {
			next, ok := level[part].(map[string]any)
			if !ok {
				next = map[string]any{}
				level[part] = next
			}
			level = next
		}
		level[parts[len(parts)-1]] = v
	}
	for _, key := range append(slices.Clone(ownKeys), r.Settings.Config...) {
		if v, ok := r.Config.Value(key); ok {
			put(key, v)
		}
	}
	for _, member := range r.Config.Keys("scaffolder") {
		if v, ok := r.Config.Value("scaffolder." + member); ok && !hidden(member) {
			put("scaffolder."+member, v)
		}
	}
	put("backend.workingDirectory", dir)
	return out
}

// supervision is one process, as the backend sees it.
type supervision struct {
	*Runner
	run     *engine.Run
	dir     string
	root    *os.Root // of dir
	secrets redact.Redactor

	mu     sync.Mutex
	step   string // that is under way
	decide engine.Decide
}

func (s *supervision) redact(text string) string { return string(s.secrets.Redact([]byte(text))) }

// brokeDown tells, in the log of the task, that its process ended.
func (s *supervision) brokeDown(ctx, work context.Context, ended *ownprocess.Ended) error {
	s.mu.Lock()
	step := s.step
	s.mu.Unlock()
	text := "the task was stopped: " + s.redact(ended.Reason) + " (scaffolder.taskIsolation)"
	if work.Err() != nil {
		return context.Cause(work)
	}
	err := errors.New(text)
	if step != "" {
		body := scaffoldercommon.EventBody{Message: "Error: " + text, StepID: step, Status: scaffoldercommon.StepFailed}
		return errors.Join(err, s.run.Journal.Write(ctx, body))
	}
	return err
}

// serve answers a call. What comes from the process is not trusted: it can ask
// only for what belongs to its task.
func (s *supervision) serve(ctx context.Context, method string, params json.RawMessage) (any, error) {
	switch method {
	case methodLog:
		return with(params, func(body scaffoldercommon.EventBody) (any, error) { return nil, s.log(ctx, body) })
	case methodLoad:
		if s.run.State == nil {
			return nil, refused(method)
		}
		return with(params, func(kind string) (any, error) { return s.run.State.Load(ctx, kind) })
	case methodKeep:
		if s.run.State == nil {
			return nil, refused(method)
		}
		return with(params, func(all []stateEntry) (any, error) {
			kept := make([]tasks.Kept, len(all))
			for i, e := range all {
				kept[i] = tasks.Kept{Kind: e.Kind, Key: e.Key, Value: e.Value}
			}
			return nil, s.run.State.Keep(ctx, kept...)
		})
	case methodInitiator:
		who, err := s.run.Initiator(ctx)
		return principal{who.Principal, who.Token().Reveal(), who.Limited()}, err
	case ownprocess.MethodToken:
		return with(params, func(r ownprocess.TokenRequest) (any, error) { return s.token(ctx, r) })
	case ownprocess.MethodBaseURL:
		return with(params, func(plugin string) (any, error) { return s.Discovery.BaseURL(ctx, plugin) })
	case ownprocess.MethodExternalBaseURL:
		return with(params, func(plugin string) (any, error) { return s.Discovery.ExternalBaseURL(ctx, plugin) })
	case methodDecide:
		return with(params, func(d decideInput) (any, error) { return s.allowed(ctx, d) })
	case methodAtEnd:
		return nil, s.atEnd()
	case methodSave, methodOpen, methodRemove:
		if s.Workspaces == nil {
			return nil, refused(method)
		}
		return with(params, func(ref workspaceRef) (any, error) { return nil, s.workspace(ctx, method, ref) })
	}
	return nil, refused(method)
}

func refused(method string) error {
	return apierr.NotAllowed("a task in a process of its own cannot ask for %q", method)
}

// with decodes parameters.
func with[T any](params json.RawMessage, fn func(T) (any, error)) (any, error) {
	var v T
	if err := json.Unmarshal(params, &v); err != nil {
		return nil, apierr.Input("the parameters of a call cannot be read")
	}
	return fn(v)
}

func (s *supervision) log(ctx context.Context, body scaffoldercommon.EventBody) error {
	s.mu.Lock()
	switch body.Status {
	case scaffoldercommon.StepProcessing:
		s.step = body.StepID
	case "":
	default:
		s.step = ""
	}
	s.mu.Unlock()
	body.Message = s.redact(body.Message)
	return s.run.Journal.Write(ctx, body)
}

// token signs a call on behalf of who created the task, and of nobody else.
func (s *supervision) token(ctx context.Context, r ownprocess.TokenRequest) (string, error) {
	who, err := s.run.Initiator(ctx)
	if err != nil {
		return "", err
	}
	if p := who.Principal; string(p.Type) != r.Type || p.UserEntityRef != r.User || p.Subject != r.Subject {
		return "", apierr.NotAllowed("a task in a process of its own calls plugins only on behalf of who created it, with the credentials of ActionContext.InitiatorCredentials")
	}
	token, err := s.Auth.PluginRequestToken(ctx, who, r.Plugin)
	return token.Reveal(), err
}

func (s *supervision) allowed(ctx context.Context, d decideInput) (bool, error) {
	if s.decide == nil {
		who, err := s.run.Initiator(ctx)
		if err != nil {
			return false, err
		}
		if s.decide, err = s.Authorize(ctx, who); err != nil {
			return false, err
		}
	}
	in, err := template.ParseJSON(d.Input)
	if err != nil {
		return false, err
	}
	if s.decide == nil {
		return true, nil
	}
	return s.decide(d.Action, in)
}

// atEnd gives the workspace to who wants to see it.
func (s *supervision) atEnd() (err error) {
	if s.run.AtEnd == nil {
		return nil
	}
	workspace, err := s.root.OpenRoot(s.run.ID) // not through a link that leads outside
	if err != nil {
		return err
	}
	defer workspace.Close()
	return s.run.AtEnd(workspace)
}

// workspace moves archives between the provider and files in the folder of the
// process.
func (s *supervision) workspace(ctx context.Context, method string, ref workspaceRef) error {
	snapshot := scaffoldernode.WorkspaceSnapshot{TaskID: s.run.ID, ID: ref.ID}
	if method == methodRemove {
		if ref.ID == "" {
			return refused(method)
		}
		return s.Workspaces.Remove(ctx, snapshot)
	}
	if method == methodSave {
		file, err := s.root.OpenFile(ref.File, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may be a pipe that nobody writes to
		if err != nil {
			return err
		}
		if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
			return errors.Join(refused(method), err, file.Close())
		}
		return errors.Join(s.Workspaces.Save(ctx, snapshot, file), file.Close())
	}
	archive, err := s.Workspaces.Open(ctx, snapshot)
	if errors.Is(err, fs.ErrNotExist) {
		return apierr.NotFound("the snapshot is not kept")
	}
	if err != nil {
		return err
	}
	err = errors.Join(copyInto(s.root, ref.File, archive), archive.Close())
	if err == nil && s.User != nil {
		err = s.root.Lchown(ref.File, int(s.User.UID), int(s.User.GID))
	}
	return err
}
