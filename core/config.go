package core

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/flytower/flytower/backend"
)

// Config reads one level of the merged configuration. Keys are dot separated
// paths ("backend.listen.port") relative to that level; the parts follow the
// pattern [a-z][a-z0-9]*([-_:][a-z0-9]+)*, case-insensitive.
//
// Sources are layered: a value of a later source replaces that of an earlier
// one, objects merge, arrays do not, and null hides what lies below it.
//
// Every error is a [*ConfigError] that names the full key and the file and
// line of the offending value.
type Config interface {
	// Has reports whether the key has a value other than null.
	Has(key string) bool
	// Keys returns the member names of the object at key ("" is this level),
	// those of the highest layer first; nil where there is none.
	Keys(key string) []string
	// Value returns the merged value at key: map[string]any, []any, string,
	// float64 or bool. The caller owns it. ok is false where there is none.
	Value(key string) (v any, ok bool)
	// Sub returns the level at key. Where there is none, or no object, it
	// returns an empty level, whose errors still name the full key.
	Sub(key string) Config
	// List returns a level per element of the array of objects at key. An
	// absent key gives nil.
	List(key string) ([]Config, error)

	// String returns the non-empty string at key; an absent one is an error.
	String(key string) (string, error)
	// StringOr is String with a value for an absent key.
	StringOr(key, absent string) (string, error)
	// Strings returns the array of strings at key, nil where it is absent. A
	// single string is an error.
	Strings(key string) ([]string, error)
	// NumberOr returns the number at key; numeric strings are numbers, too.
	NumberOr(key string, absent float64) (float64, error)
	// IntOr returns the whole number at key.
	IntOr(key string, absent int) (int, error)
	// BoolOr returns the boolean at key; y, yes, true, on, 1 and their
	// opposites are booleans, too, in any case.
	BoolOr(key string, absent bool) (bool, error)
	// DurationOr returns the duration at key: an object such as
	// {minutes: 5}, an ISO 8601 duration (PT5M) or a number with a unit (5m,
	// "5 minutes"). A month counts 30 days, a year 365.
	DurationOr(key string, absent time.Duration) (time.Duration, error)

	// Decode stores the merged value at key ("" is this level) in the struct
	// that into points to, matching members by their json tags. A member
	// without a field is an error that names it. An absent key leaves into as
	// it is, so defaults may be set before the call; if *into has a method
	// Validate() error, it is called at the end. Everything that is wrong is
	// reported at once: the error unwraps to one *ConfigError each.
	Decode(key string, into any) error

	// Position returns where the value at key was written; the zero value
	// where there is none.
	Position(key string) Position
	// Path returns the full key of key ("" for this level), for messages.
	Path(key string) string
}

// Position is a place in a configuration source.
type Position struct {
	// Source is the base name of the file, or "env" for the environment.
	Source string
	// Line counts from 1; 0 is unknown.
	Line int
}

// String returns "app-config.yaml:12", or less where less is known.
func (p Position) String() string {
	switch {
	case p.Source == "":
		return ""
	case p.Line == 0:
		return p.Source
	default:
		return fmt.Sprintf("%s:%d", p.Source, p.Line)
	}
}

// ConfigError tells which value of the configuration is wrong.
type ConfigError struct {
	Key      string   // full key
	Position Position // where it stands, or where its parent does
	Problem  string   // "is missing", "must be a number, found a string"
	Remedy   string   // what to do; may be empty
	Err      error    // cause; may be nil
}

// Error returns one line: position, key, problem and remedy.
func (e *ConfigError) Error() string {
	s := fmt.Sprintf("config key %q %s", e.Key, e.Problem)
	if p := e.Position.String(); p != "" {
		s = p + ": " + s
	}
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// ConfigRoot is the whole configuration of a backend.
type ConfigRoot interface {
	Config
	// Subscribe calls changed, one call at a time, after the merged
	// configuration changed. A broken edit changes nothing: it is logged, and
	// the last good configuration stays.
	Subscribe(changed func()) (cancel func())
	// Secrets returns the string values that schemas mark as secret. It grows
	// when the configuration changes, and never shrinks.
	Secrets() []string
	// Sources describes the sources, lowest precedence first.
	Sources() []string
}

// RootConfig is the configuration.
var RootConfig = backend.NewRootServiceRef[ConfigRoot]("core.rootConfig")

// ConfigSchemaAnnotation is the key under which plugins and modules publish
// the JSON Schemas of their configuration; see [ConfigSchema].
const ConfigSchemaAnnotation = "core.configSchema"

// ConfigSchema publishes the schema of the configuration that a plugin or
// module reads: a JSON Schema (draft 7) of the whole configuration document,
// with the keywords visibility and deepVisibility (frontend, backend,
// secret) and deprecated. The start-up check reports every violation with
// its file and line, redaction learns the secrets, and the config command
// prints the descriptions. It panics if schema is not JSON.
func ConfigSchema(schema string) backend.FeatureOption {
	if !json.Valid([]byte(schema)) {
		panic("core.ConfigSchema: the schema is not valid JSON")
	}
	return backend.WithAnnotation(ConfigSchemaAnnotation, json.RawMessage(schema))
}

// ConfigCheckAnnotation is the key under which plugins and modules publish
// what finds mistakes in their configuration; see [ConfigCheck].
const ConfigCheckAnnotation = "core.configCheck"

// ConfigCheck publishes a function that finds mistakes which a schema cannot
// describe, for the command that checks a configuration without starting
// anything. The error unwraps to a *[ConfigError] for each mistake.
func ConfigCheck(check func(Config) error) backend.FeatureOption {
	return backend.WithAnnotation(ConfigCheckAnnotation, check)
}
