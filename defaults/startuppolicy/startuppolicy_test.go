package startuppolicy_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/startuppolicy"
	"github.com/flytower/flytower/internal/configtest"
)

func TestFromConfig(t *testing.T) {
	t.Parallel()
	const strict = `{backend: {startup: {plugins: {
		a: {onPluginBootFailure: continue, modules: {m: {onPluginModuleBootFailure: continue}, n: {onPluginModuleBootFailure: sometimes}}}}}}}`
	const tolerant = `{backend: {startup: {default: {onPluginBootFailure: continue, onPluginModuleBootFailure: continue}, plugins: {
		a: {onPluginBootFailure: abort, modules: {m: {onPluginModuleBootFailure: abort}}}, b: {modules: {}}, c_d: {onPluginBootFailure: other}}}}}`
	for _, tt := range []struct {
		config, plugin, module   string
		pluginMayFail, moduleMay bool
	}{
		{"{}", "a", "m", false, false},
		{strict, "a", "m", true, true},
		{strict, "a", "n", true, false},
		{strict, "a", "o", true, false},
		{strict, "b", "m", false, false},
		{tolerant, "a", "m", false, false},
		{tolerant, "a", "n", false, true},
		{tolerant, "b", "m", true, true},
		{tolerant, "c_d", "m", false, true},
		{tolerant, "z", "m", true, true},
	} {
		policy, err := startuppolicy.FromConfig(configtest.FromYAML(t, tt.config))
		if err != nil {
			t.Fatal(err)
		}
		if got := policy.PluginMayFail(tt.plugin); got != tt.pluginMayFail {
			t.Errorf("%s: plugin %s may fail: %v", tt.config, tt.plugin, got)
		}
		if got := policy.ModuleMayFail(tt.plugin, tt.module); got != tt.moduleMay {
			t.Errorf("%s: module %s of %s may fail: %v", tt.config, tt.module, tt.plugin, got)
		}
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	policy, err := startuppolicy.FromConfig(configtest.FromYAML(t, "backend: {startup: {initTimeout: 1m, hookTimeout: {seconds: 2}, stopTimeout: PT3S}}"))
	if err != nil || policy.InitTimeout != time.Minute || policy.HookTimeout != 2*time.Second || policy.StopTimeout != 3*time.Second {
		t.Errorf("policy = %+v, %v", policy, err)
	}
	_, err = startuppolicy.FromConfig(configtest.FromYAML(t, "backend: {startup: {initTimeout: 5}}"))
	if e := new(core.ConfigError); !errors.As(err, &e) || e.Key != "backend.startup.initTimeout" {
		t.Errorf("error = %v", err)
	}
}

func TestFactory(t *testing.T) {
	t.Parallel()
	config, update := configtest.Live(t, "backend: {startup: {plugins: {weak: {onPluginBootFailure: continue}}}}")
	b := backend.New(backend.WithDefaults(
		backend.NewRootServiceFactory(core.RootConfig, func(*backend.RootEnv) backend.MakeFunc[core.ConfigRoot] {
			return func(context.Context) (core.ConfigRoot, error) { return config, nil }
		}),
		startuppolicy.Factory,
	))
	b.Add(backend.NewPlugin("weak", func(*backend.PluginEnv) backend.InitFunc {
		return func(context.Context) error {
			update("{}") // it is read once, so this changes nothing
			return errors.New("failed")
		}
	}))
	if err := b.Start(t.Context()); err != nil {
		t.Errorf("the backend does not start without a plugin that may fail: %v", err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
