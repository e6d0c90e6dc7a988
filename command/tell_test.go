package command

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
)

func TestMessage(t *testing.T) {
	t.Parallel()
	port := &core.ConfigError{Key: "backend.listen", Position: core.Position{Source: "a.yaml", Line: 3}, Problem: "is wrong", Remedy: "mend it"}
	syntax := &rootconfig.FileError{Position: core.Position{Source: "b.yaml", Line: 1}, Problem: "is not valid YAML"}
	wrap := func(err error) error { return fmt.Errorf("service %q: %w", "core.x", err) }
	failed := func(id string, err error) backend.PluginResult {
		return backend.PluginResult{PluginID: id, Failure: &backend.Failure{Err: err}}
	}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"any error", errors.New("no such key\n"), "no such key"},
		{"a wrong value", &backend.StartupError{Cause: wrap(wrap(port))}, `did not start: a.yaml:3: config key "backend.listen" is wrong; mend it`},
		{"several", &backend.StartupError{Cause: errors.Join(wrap(syntax), wrap(errors.Join(port, port)))}, `did not start:
  a.yaml:3: config key "backend.listen" is wrong; mend it
  b.yaml:1: is not valid YAML`},
		{"a cause of more than the configuration", &backend.StartupError{Cause: wrap(errors.New("out of luck"))}, `did not start: service "core.x": out of luck`},
		{"a mixed cause", &backend.StartupError{Cause: wrap(fmt.Errorf("%w, and %w", port, errors.New("out of luck")))}, `did not start: service "core.x": a.yaml:3: config key "backend.listen" is wrong; mend it, and out of luck`},
		{
			"one cause of two plugins", &backend.StartupError{Result: backend.Result{Plugins: []backend.PluginResult{failed("z", wrap(port)), failed("a", port)}}},
			`did not start: plugin "a", plugin "z": a.yaml:3: config key "backend.listen" is wrong; mend it`,
		},
		{
			"what may fail is left out", &backend.StartupError{Result: backend.Result{Plugins: []backend.PluginResult{
				{PluginID: "b", Failure: &backend.Failure{Err: syntax, Allowed: true}, Modules: []backend.ModuleResult{{ModuleID: "m", Failure: &backend.Failure{Err: port}}}},
			}}},
			`did not start: module "m" of plugin "b": a.yaml:3: config key "backend.listen" is wrong; mend it`,
		},
		{"a typo in --plugins", backend.New().Only("catalgo").Validate(), `--plugins names "catalgo", which is not installed; no plugin is installed`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, message(tt.err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
