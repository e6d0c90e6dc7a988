// Package startuppolicy reads from the configuration which plugins and
// modules a backend can start without, and how long things may take.
//
//	backend:
//	  startup:
//	    default:
//	      onPluginBootFailure: continue
//	    plugins:
//	      catalog:
//	        onPluginBootFailure: abort
package startuppolicy

import (
	"context"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// ConfigSchema describes the configuration keys of the startup policy.
const ConfigSchema = `{
  "type": "object",
  "properties": {
    "backend": {
      "type": "object",
      "properties": {
        "startup": {
          "type": "object",
          "description": "What happens when plugins or modules fail to start, and how long things may take. Read once, at the start.",
          "properties": {
            "default": {
              "type": "object",
              "description": "What applies to plugins and modules that are not mentioned below plugins.",
              "properties": {
                "onPluginBootFailure": {"type": "string", "enum": ["abort", "continue"], "default": "abort", "description": "Whether the backend starts without a plugin that failed. Default: abort."},
                "onPluginModuleBootFailure": {"type": "string", "enum": ["abort", "continue"], "default": "abort", "description": "Whether a plugin starts without a module that failed. Default: abort."}
              }
            },
            "plugins": {
              "type": "object",
              "description": "What applies to single plugins, by plugin id.",
              "additionalProperties": {
                "type": "object",
                "properties": {
                  "enabled": {"type": "boolean", "description": "Whether the command starts this plugin, with its modules; one that runs elsewhere is reached where discovery.endpoints says. --plugins goes first. An addition of Flytower. Default: true."},
                  "onPluginBootFailure": {"type": "string", "enum": ["abort", "continue"], "description": "Whether the backend starts without this plugin if it failed. Default: backend.startup.default.onPluginBootFailure."},
                  "modules": {
                    "type": "object",
                    "description": "What applies to single modules of this plugin, by module id.",
                    "additionalProperties": {
                      "type": "object",
                      "properties": {
                        "onPluginModuleBootFailure": {"type": "string", "enum": ["abort", "continue"], "description": "Whether the plugin starts without this module if it failed. Default: backend.startup.default.onPluginModuleBootFailure."}
                      }
                    }
                  }
                }
              }
            },
            "initTimeout": {"type": ["string", "object"], "description": "How long one plugin or module may take to initialize, with the services that it is the first to need. An addition of Flytower. Duration, default: 5 minutes."},
            "hookTimeout": {"type": ["string", "object"], "description": "How long one start or stop hook may take. An addition of Flytower. Duration, default: 30 seconds."},
            "stopTimeout": {"type": ["string", "object"], "description": "How long the whole backend may take to stop. An addition of Flytower. Duration, default: 1 minute."}
          }
        }
      }
    }
  }
}`

// Factory makes the policy that the configuration describes.
var Factory = backend.NewRootServiceFactory(core.StartupPolicy, func(env *backend.RootEnv) backend.MakeFunc[backend.StartupPolicy] {
	config := core.RootConfig.From(env)
	return func(context.Context) (backend.StartupPolicy, error) { return FromConfig(config()) }
})

// FromConfig reads the keys below backend.startup once. A failure may be
// survived where the most specific key that is set says continue; any other
// value, and none, means that it may not.
func FromConfig(root core.Config) (backend.StartupPolicy, error) {
	config := root.Sub("backend.startup")
	policy := backend.StartupPolicy{
		PluginMayFail: decider(config),
		ModuleMayFail: moduleDecider(config),
	}
	for _, timeout := range []struct {
		key  string
		into *time.Duration
	}{
		{"initTimeout", &policy.InitTimeout}, {"hookTimeout", &policy.HookTimeout}, {"stopTimeout", &policy.StopTimeout},
	} {
		d, err := config.DurationOr(timeout.key, 0)
		if err != nil {
			return backend.StartupPolicy{}, err
		}
		*timeout.into = d
	}
	return policy, nil
}

const goOn = "continue"

// tree reads what is set at the start, so that later changes of the
// configuration do not make a decision differ from the one that was logged.
func tree(config core.Config, key string) map[string]any {
	v, _ := config.Value(key)
	m, _ := v.(map[string]any)
	return m
}

func member(m map[string]any, key string) map[string]any {
	child, _ := m[key].(map[string]any)
	return child
}

func decider(config core.Config) func(plugin string) bool {
	byDefault := tree(config, "default")["onPluginBootFailure"]
	plugins := tree(config, "plugins")
	return func(plugin string) bool {
		if v, ok := member(plugins, plugin)["onPluginBootFailure"]; ok {
			return v == goOn
		}
		return byDefault == goOn
	}
}

func moduleDecider(config core.Config) func(plugin, module string) bool {
	byDefault := tree(config, "default")["onPluginModuleBootFailure"]
	plugins := tree(config, "plugins")
	return func(plugin, module string) bool {
		modules := member(member(plugins, plugin), "modules")
		if v, ok := member(modules, module)["onPluginModuleBootFailure"]; ok {
			return v == goOn
		}
		return byDefault == goOn
	}
}
