package ratelimit

import (
	"log/slog"

	"github.com/flytower/flytower/core"
)

// At returns the limiter of a level of the configuration that is on without
// being written: with the defaults where it is absent or true, and with what
// it says over the defaults where it is an object; nil where it is false.
// close, if not nil, ends the connections of the store, which is that of
// backend.rateLimit.
func At(config core.Config, key string, defaults Settings, log *slog.Logger) (l *Limiter, closeStore func(), err error) {
	if v, ok := config.Value(key); ok && v == false {
		return nil, nil, nil
	}
	s := defaults
	if _, object := level(config, key); object {
		if s, err = parseOver(config.Sub(key), defaults); err != nil {
			return nil, nil, err
		}
	} else if v, ok := config.Value(key); ok && v != true {
		return nil, nil, problem(config, key, "is neither a level of settings nor true or false", "for example {incomingRequestLimit: 60, window: {minutes: 1}}")
	}
	return build(config, s, log)
}
