package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/engine"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/permissions"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

const (
	// maxResult bounds the files that a dry run answers with, in bytes, and
	// maxResultFiles their number.
	maxResult      = 50 << 20
	maxResultFiles = 10_000
)

// dryRun runs a template that need not be in the catalog, and answers with
// what it would make.
func (h *Handler) dryRun(w http.ResponseWriter, r *http.Request) error {
	in, err := body(r, member{name: "template", kind: "object"}, member{name: "values", kind: "object"},
		member{name: "secrets", kind: "strings", optional: true}, member{name: "directoryContents", kind: "array"})
	if err != nil {
		return err
	}
	return answered(w, h.audited(r, "task", core.SeverityLow, map[string]any{"actionType": "dry-run"}, func() (map[string]any, error) {
		who, err := h.credentials(r)
		if err != nil {
			return nil, err
		}
		if err := h.Ask.Allowed(r.Context(), who, permissions.CreateTask, permissions.DryRun); err != nil {
			return nil, err
		}
		t, err := dryTemplate(in)
		if err != nil {
			return nil, err
		}
		if err := t.check(template.Member(in, "values"), template.Member(in, "secrets")); err != nil {
			return nil, err
		}
		user, err := h.user(r.Context(), who)
		if err != nil {
			return nil, err
		}
		answer, err := h.rehearse(r.Context(), who, t, in, user)
		if err != nil {
			return nil, err
		}
		apierr.WriteJSON(w, http.StatusOK, answer)
		return map[string]any{"templateRef": t.ref}, nil
	}))
}

// dryTemplate reads the template of a request. Its author may see all of it.
func dryTemplate(in *template.Record) (*source, error) {
	entity, _ := template.Member(in, "template").(*template.Record)
	if text(entity, "apiVersion") != scaffoldercommon.APIVersion || text(entity, "kind") != "Template" {
		return nil, apierr.Input("Input template is not a template")
	}
	t := &source{ref: "template:default/dry-run", entity: entity}
	if name, _ := t.metadata("name").(template.String); name == "" {
		return nil, apierr.Input("/metadata must have required property 'name'")
	}
	if kind, _ := t.spec("type").(template.String); kind == "" {
		return nil, apierr.Input("/spec must have required property 'type'")
	}
	steps, ok := t.spec("steps").(*template.Array)
	if !ok {
		return nil, apierr.Input("/spec must have required property 'steps'")
	}
	for i, step := range steps.All() {
		if action, _ := template.Member(step, "action").(template.String); action == "" {
			return nil, apierr.Input("/spec/steps/%d must have required property 'action'", i)
		}
	}
	all := func(template.Value) (bool, error) { return true, nil }
	var err error
	if t.parameters, _, err = keep(t.spec("parameters"), all); err != nil {
		return nil, err
	}
	t.steps, _, err = keep(steps, all)
	return t, err
}

// lines keeps the log of a dry run.
type lines []template.Value

// Write implements [engine.Journal].
func (l *lines) Write(_ context.Context, body scaffoldercommon.EventBody) error {
	line := template.NewRecord()
	if body.StepID != "" {
		line.Set("stepId", template.String(body.StepID))
	}
	if body.Status != "" {
		line.Set("status", template.String(body.Status))
	}
	line.Set("message", template.String(body.Message))
	*l = append(*l, template.NewRecord(template.Entry{Key: "body", Value: line}))
	return nil
}

func (h *Handler) rehearse(ctx context.Context, who core.Credentials, t *source, in *template.Record, user template.Value) (answer *template.Record, err error) {
	id := tasks.NewID()
	contents := filepath.Join(h.Runner.WorkDir, "dry-run-content-"+id)
	defer func() { err = errors.Join(err, os.RemoveAll(contents)) }()
	if err := writeContents(contents, template.Member(in, "directoryContents")); err != nil {
		return nil, err
	}
	base := (&url.URL{Scheme: "file", Path: filepath.ToSlash(contents) + "/template.yaml"}).String()
	info := t.info().With(template.String(base), "baseUrl")
	whole := t.task(template.Member(in, "values"), user, info)
	raw, err := whole.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var spec scaffoldercommon.TaskSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, apierr.Input("the template cannot be read: %v", err)
	}
	secrets := texts(template.Member(in, "secrets"))
	if secrets["backstageToken"] == "" {
		secrets["backstageToken"] = who.Token().Reveal()
	}
	log := lines{}
	var files []template.Value
	var executor engine.Executor = h.Runner
	if h.Isolated != nil {
		executor = h.Isolated
	}
	output, err := executor.Execute(ctx, ctx, &engine.Run{
		ID: "dry-run-" + id, Spec: spec, Secrets: secrets, Journal: &log, DryRun: true,
		Initiator: func(context.Context) (core.Credentials, error) { return who, nil },
		AtEnd: func(workspace *os.Root) (err error) {
			files, err = collect(workspace)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	return template.NewRecord(
		template.Entry{Key: "log", Value: template.NewArray(log...)},
		template.Entry{Key: "directoryContents", Value: template.NewArray(files...)},
		template.Entry{Key: "output", Value: output},
		template.Entry{Key: "steps", Value: template.Member(whole, "steps")},
	), nil
}

// writeContents writes the files that belong to the template.
func writeContents(dir string, files template.Value) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a folder for the files of the template: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the folder for the files of the template: %w", err)
	}
	defer root.Close()
	list, _ := files.(*template.Array)
	for i, item := range list.All() {
		file, ok := item.(*template.Record)
		name := filepath.Clean(filepath.FromSlash(text(file, "path")))
		if !ok || text(file, "path") == "" {
			return apierr.Input("request/body/directoryContents/%d must have required property 'path'", i)
		}
		if !filepath.IsLocal(name) {
			return apierr.NotAllowed("Relative path is not allowed to refer to a directory outside its parent")
		}
		content, err := base64.StdEncoding.DecodeString(text(file, "base64Content"))
		if err != nil {
			return apierr.Input("request/body/directoryContents/%d/base64Content is not base64", i)
		}
		if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := root.WriteFile(name, content, 0o600); err != nil {
			return err
		}
		if err := root.Chmod(name, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// collect reads the files of a workspace.
func collect(workspace *os.Root) (files []template.Value, err error) {
	left := maxResult
	err = fs.WalkDir(workspace.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		var content []byte
		executable := false
		if entry.Type()&fs.ModeSymlink != 0 {
			if _, err := workspace.Stat(name); err == nil {
				return nil // what it leads to is there itself
			}
			link, err := workspace.Readlink(name)
			if err != nil {
				return err
			}
			content = []byte(link)
		} else {
			info, err := entry.Info()
			if err != nil {
				return err
			}
			if info.Size() > int64(left) || len(files) >= maxResultFiles {
				return apierr.Input("the template makes more than %d MB or %d files, too much for a dry run", maxResult>>20, maxResultFiles)
			}
			executable = info.Mode()&0o111 != 0
			if content, err = workspace.ReadFile(name); err != nil {
				return err
			}
		}
		left -= len(content)
		files = append(files, template.NewRecord(
			template.Entry{Key: "path", Value: template.String(strings.TrimPrefix(name, "./"))},
			template.Entry{Key: "executable", Value: template.Bool(executable)},
			template.Entry{Key: "base64Content", Value: template.String(base64.StdEncoding.EncodeToString(content))},
		))
		return nil
	})
	return files, err
}
