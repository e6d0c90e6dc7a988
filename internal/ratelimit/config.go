package ratelimit

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/flytower/flytower/core"
)

// Root returns the limiter of all requests, nil if there is none. close, if
// not nil, ends its connections.
func Root(config core.Config, log *slog.Logger) (l *Limiter, closeStore func(), err error) {
	const key = "backend.rateLimit"
	on, object := level(config, key)
	if !on {
		return nil, nil, nil
	}
	if !object {
		return New(Defaults("rl:"), NewMemory(0), log), nil, nil
	}
	c := config.Sub(key)
	global, err := c.BoolOr("global", true)
	if err != nil || !global {
		return nil, nil, err
	}
	s, err := Parse(c, "rl:")
	if err != nil {
		return nil, nil, err
	}
	return build(config, s, log)
}

// Plugin returns the limiter of the plugin, nil if there is none.
func Plugin(config core.Config, plugin string, log *slog.Logger) (l *Limiter, closeStore func(), err error) {
	if _, object := level(config, "backend.rateLimit"); !object {
		return nil, nil, nil
	}
	key := "backend.rateLimit.plugin." + plugin
	on, object := level(config, key)
	if !on {
		return nil, nil, nil
	}
	s := Defaults(plugin)
	if object {
		if s, err = Parse(config.Sub(key), plugin); err != nil {
			return nil, nil, err
		}
	}
	return build(config, s, log)
}

// level tells whether a key that is true, false or an object turns the limit
// on.
func level(config core.Config, key string) (on, object bool) {
	switch v, _ := config.Value(key); v := v.(type) {
	case map[string]any:
		return true, true
	case bool:
		return v, false
	default:
		return false, false
	}
}

// build makes a limiter with the store that backend.rateLimit.store names.
func build(config core.Config, s Settings, log *slog.Logger) (*Limiter, func(), error) {
	storeConfig := config.Sub("backend.rateLimit.store")
	switch kind, err := storeConfig.StringOr("type", "memory"); {
	case err != nil:
		return nil, nil, err
	case kind == "memory":
		return New(s, NewMemory(0), log), nil, nil
	case kind == "redis":
		connection, err := storeConfig.String("connection")
		if err != nil {
			return nil, nil, err
		}
		store, err := DialRedis(context.Background(), connection)
		if err != nil {
			return nil, nil, &core.ConfigError{
				Key: storeConfig.Path("connection"), Position: storeConfig.Position("connection"),
				Problem: "names a Redis server that cannot be used", Err: err,
				Remedy: "check that it runs and that the URL (redis://user:password@host:6379) is right",
			}
		}
		return New(s, store, log), store.Close, nil
	default:
		return nil, nil, problem(storeConfig, "type", fmt.Sprintf("is %q", kind), "use memory or redis")
	}
}
