package scaffolderbackend_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	scaffoldermoduleworkspacedatabase "github.com/flytower/flytower/plugins/scaffolder-backend-module-workspace-database"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// recovery is a configuration with these members of taskRecovery.
func recovery(members map[string]any) backend.Feature {
	return backendtest.Config(map[string]any{"scaffolder": map[string]any{"taskRecovery": members}})
}

// TestOldWorkspacesAreRemoved saves for tasks in all states, and for one that
// is not there.
func TestOldWorkspacesAreRemoved(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		var provider scaffoldernode.WorkspaceProvider
		tap := tap(&provider)
		fail := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:fail"}, func(_ context.Context, c *scaffoldernode.ActionContext, _ struct{}) (out struct{}, err error) {
			return out, c.Workspace.Mkdir("folder/that/is/nowhere", 0o755)
		})
		write := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:write"}, func(_ context.Context, c *scaffoldernode.ActionContext, _ struct{}) (out struct{}, err error) {
			return out, c.Workspace.WriteFile("file", []byte("text"), 0o644)
		})
		s := open(t, database, `"steps":[{"id":"one","name":"One","action":"test:write"},{"id":"two","name":"Two","if":"${{ parameters.fails }}","action":"test:fail"}]`,
			withActions(write, fail), tap, recovery(map[string]any{"enabled": true, "workspaceProvider": "tap", "workspaceRetention": "1s"}))
		c := s.Client(t)
		fine, failed := create(c, map[string]any{}, nil), create(c, map[string]any{"fails": true}, nil)
		follow(t, c, fine)
		follow(t, c, failed)
		kept := func() string {
			t.Helper()
			var ids []string
			for k, err := range provider.List(t.Context()) {
				must(t, err)
				ids = append(ids, k.TaskID)
			}
			return strings.Join(ids, " ")
		}
		// That of the failed task stays, for a retry.
		if got := kept(); got != strings.TrimPrefix(failed, tasksPath+"/") {
			t.Errorf("after the tasks these are kept: %q", got)
		}
		gone := scaffoldernode.WorkspaceSnapshot{TaskID: tasks.NewID(), ID: "a1"}
		must(t, provider.Save(t.Context(), gone, strings.NewReader("of a task that was deleted")))
		completed := scaffoldernode.WorkspaceSnapshot{TaskID: strings.TrimPrefix(fine, tasksPath+"/"), ID: "a1"}
		must(t, provider.Save(t.Context(), completed, strings.NewReader("left by a crash")))
		must(t, s.RunTask(t, "scaffolder", "remove_old_workspaces"))
		if strings.Contains(kept(), completed.TaskID) {
			t.Error("what is left of a completed task is kept")
		}
		for deadline := time.Now().Add(time.Minute); kept() != "" && time.Now().Before(deadline); {
			must(t, s.RunTask(t, "scaffolder", "remove_old_workspaces"))
		}
		if got := kept(); got != "" {
			t.Errorf("after the retention these are kept: %q", got)
		}
	})
}

// tap is the provider of the module database under another name.
func tap(provider *scaffoldernode.WorkspaceProvider) backend.Feature {
	return backend.NewModule("scaffolder", "tap", func(env *backend.ModuleEnv) backend.InitFunc {
		workspaces, database := scaffoldernode.Workspaces.From(env), core.Database.From(env)
		return func(ctx context.Context) (err error) {
			if *provider, err = scaffoldermoduleworkspacedatabase.NewProvider(ctx, database(), 0); err != nil {
				return err
			}
			return workspaces().AddWorkspaceProvider("tap", *provider)
		}
	})
}
