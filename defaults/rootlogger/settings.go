package rootlogger

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/flytower/flytower/core"
)

// Levels that npm has and slog has not.
const (
	LevelHTTP    = slog.Level(-1)
	LevelVerbose = slog.Level(-2)
	LevelSilly   = slog.Level(-8)
)

var levelNames = []string{"error", "warn", "info", "http", "verbose", "debug", "silly"}

// ParseLevel returns the level of a name: error, warn, info, http, verbose,
// debug or silly, in any case.
func ParseLevel(name string) (slog.Level, bool) {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "error":
		return slog.LevelError, true
	case "warn":
		return slog.LevelWarn, true
	case "info":
		return slog.LevelInfo, true
	case "http":
		return LevelHTTP, true
	case "verbose":
		return LevelVerbose, true
	case "debug":
		return slog.LevelDebug, true
	case "silly":
		return LevelSilly, true
	}
	return 0, false
}

// levelName returns the name under which a level is written.
func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warn"
	case l >= slog.LevelInfo:
		return "info"
	case l >= LevelHTTP:
		return "http"
	case l >= LevelVerbose:
		return "verbose"
	case l >= slog.LevelDebug:
		return "debug"
	default:
		return "silly"
	}
}

// settings are what configuration decides. They do not change once in use.
type settings struct {
	level     slog.Level
	meta      []slog.Attr
	overrides []override
}

func (s *settings) setMeta(key string, v any) {
	s.meta = slices.DeleteFunc(slices.Clone(s.meta), func(a slog.Attr) bool { return a.Key == key })
	s.meta = append(s.meta, slog.Any(key, v))
}

// lowest returns the lowest level that anything is written at.
func (s *settings) lowest() slog.Level {
	level := s.level
	for _, o := range s.overrides {
		level = min(level, o.level)
	}
	return level
}

// threshold returns the level from which on a record with these fields is
// written: that of the first override that matches.
func (s *settings) threshold(fields func() map[string]any) slog.Level {
	if len(s.overrides) == 0 {
		return s.level
	}
	values := fields()
	for _, o := range s.overrides {
		if o.matches(values) {
			return o.level
		}
	}
	return s.level
}

// override sets the level of the records that match.
type override struct {
	level    slog.Level
	matchers map[string][]matcher // any of a list, all of the map
}

func (o override) matches(fields map[string]any) bool {
	for name, alternatives := range o.matchers {
		v, ok := fields[name]
		if !ok {
			return false
		}
		text := plainText(v)
		if !slices.ContainsFunc(alternatives, func(m matcher) bool { return m.matches(text) }) {
			return false
		}
	}
	return true
}

type matcher struct {
	text string
	re   *regexp.Regexp
}

func (m matcher) matches(s string) bool {
	if m.re != nil {
		return m.re.MatchString(s)
	}
	return m.text == s
}

// plainText returns the form in which a value is compared with matchers.
func plainText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case error:
		return v.Error()
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return strings.Trim(string(data), `"`)
}

// parseMatcher reads a value, or a regular expression written /…/flags.
func parseMatcher(v any) (matcher, error) {
	text := plainText(v)
	end := strings.LastIndexByte(text, '/')
	if !strings.HasPrefix(text, "/") || end == 0 {
		return matcher{text: text}, nil
	}
	flags := ""
	for _, f := range text[end+1:] {
		switch f {
		case 'i', 'm', 's':
			flags += string(f)
		case 'd', 'g', 'u', 'v', 'y': // they do not change what matches here
		default:
			return matcher{text: text}, nil // a path, for example
		}
	}
	expr := text[1:end]
	if flags != "" {
		expr = "(?" + flags + ")" + expr
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return matcher{}, fmt.Errorf("is not a regular expression: %w", err)
	}
	return matcher{re: re}, nil
}

// Configure applies the keys below backend.logger of config. LOG_LEVEL wins
// over backend.logger.level. On an error nothing changes.
func (l *Logger) Configure(config core.Config) error {
	next, err := l.state.base.with(config.Sub("backend.logger"), l.state.getenv("LOG_LEVEL"))
	if err != nil {
		return err
	}
	l.state.settings.Store(&next)
	return nil
}

// with returns the settings that a configuration makes of s.
func (s settings) with(config core.Config, envLevel string) (settings, error) {
	level, err := readLevel(config, "level")
	switch {
	case err != nil:
		return s, err
	case envLevel != "":
		var ok bool
		if s.level, ok = ParseLevel(envLevel); !ok {
			return s, fmt.Errorf("the environment variable LOG_LEVEL has the unknown level %q; use %s", envLevel, strings.Join(levelNames, ", "))
		}
	case level != nil:
		s.level = *level
	}
	if meta, ok := config.Value("meta"); ok {
		members, ok := meta.(map[string]any)
		if !ok {
			return s, problem(config, "meta", "must be an object", "")
		}
		for _, key := range sortedKeys(members) {
			s.setMeta(key, members[key])
		}
	}
	list, err := config.List("overrides")
	if err != nil {
		return s, err
	}
	s.overrides = nil
	for _, item := range list {
		o, err := readOverride(item)
		if err != nil {
			return s, err
		}
		s.overrides = append(s.overrides, o)
	}
	return s, nil
}

func readLevel(config core.Config, key string) (*slog.Level, error) {
	name, err := config.StringOr(key, "")
	if err != nil || name == "" {
		return nil, err
	}
	level, ok := ParseLevel(name)
	if !ok {
		return nil, problem(config, key, fmt.Sprintf("has the unknown level %q", name), "use "+strings.Join(levelNames, ", "))
	}
	return &level, nil
}

func readOverride(config core.Config) (override, error) {
	o := override{matchers: map[string][]matcher{}}
	level, err := readLevel(config, "level")
	if err != nil {
		return o, err
	}
	if level == nil {
		return o, problem(config, "level", "is missing", "use "+strings.Join(levelNames, ", "))
	}
	o.level = *level
	v, _ := config.Value("matchers")
	members, ok := v.(map[string]any)
	if !ok {
		return o, problem(config, "matchers", "must be an object of fields and the values they must have", "")
	}
	for _, name := range sortedKeys(members) {
		alternatives, ok := members[name].([]any)
		if !ok {
			alternatives = []any{members[name]}
		}
		for _, alternative := range alternatives {
			m, err := parseMatcher(alternative)
			if err != nil {
				e := problem(config, "matchers", fmt.Sprintf("has a matcher for %q that %v", name, err), "Go's syntax has no lookaround and no back references")
				e.Err = err
				return o, e
			}
			o.matchers[name] = append(o.matchers[name], m)
		}
	}
	return o, nil
}

func problem(config core.Config, key, text, remedy string) *core.ConfigError {
	pos := config.Position(key)
	if pos == (core.Position{}) {
		pos = config.Position("")
	}
	return &core.ConfigError{Key: config.Path(key), Position: pos, Problem: text, Remedy: remedy}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
