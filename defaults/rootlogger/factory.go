package rootlogger

import (
	"context"
	"log/slog"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// ConfigSchema describes the configuration keys of the logger.
const ConfigSchema = `{
  "type": "object",
  "properties": {
    "backend": {
      "type": "object",
      "properties": {
        "logger": {
          "type": "object",
          "description": "What is logged. Changes apply at once.",
          "properties": {
            "level": {
              "type": "string", "enum": ["error", "warn", "info", "http", "verbose", "debug", "silly"], "default": "info",
              "description": "The threshold: messages of this level and above are written. The environment variable LOG_LEVEL wins. Default: info."
            },
            "meta": {
              "type": "object", "additionalProperties": true,
              "description": "Fields that are added to every line. Default: service is backstage."
            },
            "overrides": {
              "type": "array",
              "description": "Thresholds for some messages. The first override whose matchers all match decides. Default: none.",
              "items": {
                "type": "object",
                "required": ["matchers", "level"],
                "properties": {
                  "matchers": {
                    "type": "object", "additionalProperties": true,
                    "description": "Fields of the message (plugin, service, level, message or any other) and the value each must have: a value, a list of values, or a regular expression written /…/flags."
                  },
                  "level": {
                    "type": "string", "enum": ["error", "warn", "info", "http", "verbose", "debug", "silly"],
                    "description": "The threshold for what matches."
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}`

// Factory makes the default root logger.
var Factory = NewFactory(Options{})

// NewFactory returns a factory of loggers with options.
func NewFactory(o Options) backend.ServiceFactory { return factory(func() *Logger { return New(o) }) }

// NewFactoryOf returns a factory that uses a logger that exists already, for
// example because the program logged before the backend started.
func NewFactoryOf(l *Logger) backend.ServiceFactory { return factory(func() *Logger { return l }) }

func factory(make func() *Logger) backend.ServiceFactory {
	return backend.NewRootServiceFactory(core.RootLogger, func(env *backend.RootEnv) backend.MakeFunc[*slog.Logger] {
		config := core.RootConfig.From(env)
		return func(context.Context) (*slog.Logger, error) {
			log := make()
			if err := log.Follow(config()); err != nil {
				return nil, err
			}
			return log.Logger, nil
		}
	})
}

// Follow applies a configuration and all its changes, and learns its
// secrets. It becomes the logger of the configuration if that wants one. A
// later change that is invalid is logged and changes nothing.
func (l *Logger) Follow(config core.ConfigRoot) error {
	if err := l.Configure(config); err != nil {
		return err
	}
	learn := func() {
		if n := l.AddSecrets(config.Secrets()...); n > 0 {
			l.Info("Found secrets in the configuration, which will be redacted", "count", n)
		}
	}
	learn()
	if source, ok := config.(interface{ OnSecrets(func()) }); ok {
		source.OnSecrets(learn)
	}
	config.Subscribe(func() {
		learn()
		if err := l.Configure(config); err != nil {
			l.Error("The settings of the logger stay as they are, because the new ones are not valid", "error", err)
		}
	})
	if source, ok := config.(interface{ SetLogger(*slog.Logger) }); ok {
		source.SetLogger(l.Logger)
	}
	return nil
}
