package scaffoldermodulegitlab

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/integration/hostclient"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/fakegitlab"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

// world is a GitLab and the actions for it.
type world struct {
	*fakegitlab.Server
	t     *testing.T
	g     *gitlab
	slept time.Duration
}

var testNow = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// begin starts a GitLab; config is added to its integration.
func begin(t *testing.T, config string, integration ...string) *world {
	t.Helper()
	w := &world{Server: fakegitlab.New(t), t: t}
	wait := func(ctx context.Context, d time.Duration) error { w.slept += d; return context.Cause(ctx) }
	g, err := open(configtest.FromYAML(t, w.Integration(integration...)+config), options{
		http: hostclient.Options{Sleep: wait, Random: func() float64 { return 0 }}, git: gitrepo.Options{Sleep: wait},
		now: func() time.Time { return testNow }, sleep: wait,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	w.g = g
	return w
}

func (w *world) action(id string) scaffoldernode.Action {
	w.t.Helper()
	all := w.g.actions()
	i := slices.IndexFunc(all, func(a scaffoldernode.Action) bool { return a.ID == id })
	if i < 0 {
		w.t.Fatalf("there is no action %s", id)
	}
	return all[i]
}

// run runs an action. The host of repoUrl is put in for HOST.
func (w *world) run(id string, input map[string]any, options ...actiontest.Option) *actiontest.Result {
	w.t.Helper()
	in := map[string]any{}
	for name, v := range input {
		if text, ok := v.(string); ok {
			v = strings.ReplaceAll(text, "HOST", w.Host)
		}
		in[name] = v
	}
	return actiontest.Run(w.t, w.action(id), in, options...)
}

// succeeds runs an action that has to succeed and returns its outputs.
func (w *world) succeeds(id string, input map[string]any, options ...actiontest.Option) map[string]any {
	w.t.Helper()
	run := w.run(id, input, options...)
	if run.Err != nil {
		w.t.Fatalf("%s: %v", id, run.Err)
	}
	return run.Outputs
}

// fails runs an action that has to fail with a text.
func (w *world) fails(want, id string, input map[string]any, options ...actiontest.Option) {
	w.t.Helper()
	want = strings.ReplaceAll(want, "HOST", w.Host)
	if run := w.run(id, input, options...); run.Err == nil || !strings.Contains(run.Err.Error(), want) {
		w.t.Errorf("%s: the error is %v, want %q", id, run.Err, want)
	}
}

// project looks at a project, which has to be there.
func (w *world) project(full string, look func(p *fakegitlab.Project)) {
	w.t.Helper()
	w.Look(func(projects []*fakegitlab.Project, _ []*fakegitlab.Group, _ []*fakegitlab.Migration) {
		i := slices.IndexFunc(projects, func(p *fakegitlab.Project) bool { return p.FullPath == full })
		if i < 0 {
			w.t.Fatalf("there is no project %s", full)
		}
		look(projects[i])
	})
}
