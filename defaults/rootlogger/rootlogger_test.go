package rootlogger_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootlogger"
	"github.com/flytower/flytower/internal/configtest"
)

// env returns a Getenv.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// buffer is a writer that counts its writes.
type buffer struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	writes int
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes++
	return b.buf.Write(p)
}

func (b *buffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.buf.String()
	b.buf.Reset()
	return s
}

func jsonLogger(t *testing.T, config string, vars ...string) (*rootlogger.Logger, *buffer) {
	t.Helper()
	out := &buffer{}
	log := rootlogger.New(rootlogger.Options{Writer: out, Format: rootlogger.JSON, OmitTimestamp: true, Getenv: env(vars...)})
	if err := log.Configure(configtest.FromYAML(t, config)); err != nil {
		t.Fatal(err)
	}
	return log, out
}

type numbers struct{ A, B int }

type broken struct{}

func (broken) MarshalJSON() ([]byte, error) { panic("broken") }

type lazy struct{}

func (lazy) LogValue() slog.Value { return slog.GroupValue(slog.Int("x", 1)) }

func TestJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		log  func(*slog.Logger)
		want string
	}{
		{"plain", func(l *slog.Logger) { l.Info("hello") }, `{"level":"info","message":"hello","service":"backstage"}`},
		{"plugin and sorted keys", func(l *slog.Logger) { l.With("plugin", "demo").Warn("x", "z", 1, "a", true) }, `{"a":true,"level":"warn","message":"x","plugin":"demo","service":"backstage","z":1}`},
		{"groups", func(l *slog.Logger) { l.WithGroup("g").With("a", 1).Info("x", slog.Group("h", "b", 2), "c", 3) }, `{"g":{"a":1,"c":3,"h":{"b":2}},"level":"info","message":"x","service":"backstage"}`},
		{"values", func(l *slog.Logger) {
			l.Info("x", "d", 90*time.Second, "t", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "s", numbers{1, 2}, "n", nil, "f", math.Inf(1), "l", lazy{}, "h", "<&>")
		}, `{"d":"1m30s","f":"+Inf","h":"<&>","l":{"x":1},"level":"info","message":"x","n":null,"s":{"A":1,"B":2},"service":"backstage","t":"2026-01-02T03:04:05Z"}`},
		{"message attribute", func(l *slog.Logger) { l.Info("x", "message", "more") }, `{"level":"info","message":"x more","service":"backstage"}`},
		{"reserved attributes", func(l *slog.Logger) { l.Info("x", "level", 3, "timestamp", "now") }, `{"level":"info","level_":3,"message":"x","service":"backstage","timestamp_":"now"}`},
		{"later wins", func(l *slog.Logger) { l.With("a", 1).Info("x", "a", 2, "service", "router") }, `{"a":2,"level":"info","message":"x","service":"router"}`},
		{"unencodable", func(l *slog.Logger) { l.Info("x", "b", broken{}, "c", make(chan int) == nil) }, `{"b":"{}","c":false,"level":"info","message":"x","service":"backstage"}`},
		{"error", func(l *slog.Logger) { l.Error("failed", "error", fmt.Errorf("open: %w", fs.ErrNotExist)) }, `{"error":"open: file does not exist","level":"error","message":"failed","service":"backstage"}`},
		{"hidden causes", func(l *slog.Logger) {
			l.Error("failed", "error", &core.ConfigError{Key: "k", Problem: "is wrong", Err: errors.Join(io.EOF, io.ErrClosedPipe)})
		}, `{"error":"config key \"k\" is wrong","errorCauses":["EOF\nio: read/write on closed pipe"],"level":"error","message":"failed","service":"backstage"}`},
		{"below the threshold", func(l *slog.Logger) { l.Debug("x") }, ``},
		{"npm levels", func(l *slog.Logger) { l.Log(t.Context(), rootlogger.LevelHTTP, "x") }, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log, out := jsonLogger(t, "{}")
			tt.log(log.Logger)
			if diff := cmp.Diff(tt.want, strings.TrimSuffix(out.take(), "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What clients send must not steer the terminal on which a log is read, nor
// begin a line.
func TestControlCharacters(t *testing.T) {
	t.Parallel()
	const hostile = "a\u009b31m\x7f\x1b[2J\nb\x9bc"
	for name, format := range map[string]rootlogger.Format{"text": rootlogger.Text, "json": rootlogger.JSON} {
		out := &buffer{}
		log := rootlogger.New(rootlogger.Options{Writer: out, Format: format, Getenv: env()})
		log.Info(hostile, "url", hostile, "one", strings.ReplaceAll(hostile, "\n", ""), "group", map[string]any{"k": hostile}, "bytes", []string{hostile})
		line := out.take()
		for _, r := range line {
			if r != '\n' && unicode.IsControl(r) {
				t.Errorf("%s: %q in %q", name, r, line)
			}
		}
		if !utf8.ValidString(line) || !strings.Contains(line, `\u009b`) {
			t.Errorf("%s: %q", name, line)
		}
		for i, l := range strings.Split(strings.TrimSuffix(line, "\n"), "\n") {
			if i > 0 && !strings.HasPrefix(l, "  ") {
				t.Errorf("%s: a value begins a line: %q", name, l)
			}
		}
	}
}

func TestTimestamp(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	rootlogger.New(rootlogger.Options{Writer: &out, Getenv: env()}).Info("x")
	var line struct{ Timestamp time.Time }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Timestamp.IsZero() {
		t.Errorf("%s: %v", out.String(), err)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := rootlogger.New(rootlogger.Options{Writer: &out, Format: rootlogger.Text, Getenv: env("LOG_LEVEL", "debug")})
	record := slog.NewRecord(time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), slog.LevelWarn, "slow", 0)
	record.Add("ms", 12, "q", "a b", "error", fmt.Errorf("read: %w", io.EOF))
	if err := log.With("plugin", "catalog").Handler().Handle(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	want := `2026-01-02T03:04:05.006Z catalog warn slow ms=12 q="a b" error="read: EOF"
  stack:
    *fmt.wrapError: read: EOF
      *errors.errorString: EOF
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestColor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		vars []string
		want string
	}{
		{[]string{"FORCE_COLOR", "1"}, "\x1b[34mbackstage\x1b[0m \x1b[31merror\x1b[0m a\\x1b[2Jb\n  c \x1b[36mk\x1b[0m=\"\\u001b\"\n"},
		{[]string{"FORCE_COLOR", "1", "NO_COLOR", "1"}, "backstage error a\\x1b[2Jb\n  c k=\"\\u001b\"\n"},
		{nil, "backstage error a\\x1b[2Jb\n  c k=\"\\u001b\"\n"},
	} {
		var out bytes.Buffer
		log := rootlogger.New(rootlogger.Options{Writer: &out, Format: rootlogger.Text, Getenv: env(tt.vars...)})
		record := slog.NewRecord(time.Time{}, slog.LevelError, "a\x1b[2Jb\nc", 0)
		record.Add("k", "\x1b")
		if err := log.Handler().Handle(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.vars, got, tt.want)
		}
	}
}

func TestFormatOf(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	rootlogger.New(rootlogger.Options{Writer: &out, Getenv: env("NODE_ENV", "production")}).Info("x")
	if !json.Valid(out.Bytes()) {
		t.Errorf("production: %s", out.String())
	}
}

func TestPanicStack(t *testing.T) {
	t.Parallel()
	log, out := jsonLogger(t, "backend: {logger: {level: debug}}")
	panicked := &backend.PanicError{Where: "init", Value: "boom", Stack: []byte("goroutine 1\n")}
	log.Error("x", "error", fmt.Errorf("run: %w", panicked))
	var line struct{ Error, Stack string }
	if err := json.Unmarshal([]byte(out.take()), &line); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("*fmt.wrapError: run: %[1]v\n  *backend.PanicError: %[1]v\ngoroutine 1", panicked)
	if line.Stack != want {
		t.Errorf("stack:\n%s\nwant:\n%s", line.Stack, want)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	const config = `
backend:
  logger:
    level: warn
    meta: {env: prod, service: portal, nested: {a: 1}}
    overrides:
      - matchers: {plugin: catalog}
        level: debug
      - matchers: {plugin: [auth, proxy], message: "/^Token .* ISSUED/i"}
        level: error
      - matchers: {code: 7}
        level: silly
`
	for _, tt := range []struct {
		name string
		log  func(*slog.Logger)
		vars []string
		want string
	}{
		{"level and meta", func(l *slog.Logger) { l.Info("a"); l.Warn("b") }, nil, `{"env":"prod","level":"warn","message":"b","nested":{"a":1},"service":"portal"}`},
		{"LOG_LEVEL wins", func(l *slog.Logger) { l.Info("a") }, []string{"LOG_LEVEL", "INFO"}, `{"env":"prod","level":"info","message":"a","nested":{"a":1},"service":"portal"}`},
		{"override by plugin", func(l *slog.Logger) { l.With("plugin", "catalog").Debug("a"); l.With("plugin", "x").Debug("b") }, nil, `{"env":"prod","level":"debug","message":"a","nested":{"a":1},"plugin":"catalog","service":"portal"}`},
		{"all matchers, one of a list, a regular expression", func(l *slog.Logger) {
			l.With("plugin", "auth").Warn("token abc issued")
			l.With("plugin", "proxy").Warn("other")
		}, nil, `{"env":"prod","level":"warn","message":"other","nested":{"a":1},"plugin":"proxy","service":"portal"}`},
		{"a number", func(l *slog.Logger) { l.Log(t.Context(), rootlogger.LevelSilly, "x", "code", 7) }, nil, `{"code":7,"env":"prod","level":"silly","message":"x","nested":{"a":1},"service":"portal"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log, out := jsonLogger(t, config, tt.vars...)
			tt.log(log.Logger)
			if diff := cmp.Diff(tt.want, strings.TrimSuffix(out.take(), "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSettingErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ config, logLevel, want string }{
		{"level: loud", "", `app-config.yaml:1: config key "backend.logger.level" has the unknown level "loud"; use error, warn, info, http, verbose, debug, silly`},
		{"level: 3", "", `app-config.yaml:1: config key "backend.logger.level" must be a non-empty string, found a number; put it in quotes`},
		{"meta: x", "", `app-config.yaml:1: config key "backend.logger.meta" must be an object`},
		{"overrides: [{level: info}]", "", `app-config.yaml:1: config key "backend.logger.overrides[0].matchers" must be an object of fields and the values they must have`},
		{"overrides: [{matchers: {}}]", "", `app-config.yaml:1: config key "backend.logger.overrides[0].level" is missing; use error, warn, info, http, verbose, debug, silly`},
		{"overrides: [{matchers: {a: b}, level: x}]", "", `app-config.yaml:1: config key "backend.logger.overrides[0].level" has the unknown level "x"; use error, warn, info, http, verbose, debug, silly`},
		{`overrides: [{matchers: {a: "/(/"}, level: info}]`, "", "app-config.yaml:1: config key \"backend.logger.overrides[0].matchers\" has a matcher for \"a\" that is not a regular expression: error parsing regexp: missing closing ): `(`; Go's syntax has no lookaround and no back references"},
		{"level: info", "loud", `the environment variable LOG_LEVEL has the unknown level "loud"; use error, warn, info, http, verbose, debug, silly`},
	} {
		log := rootlogger.New(rootlogger.Options{Writer: io.Discard, Getenv: env("LOG_LEVEL", tt.logLevel)})
		err := log.Configure(configtest.FromYAML(t, "backend: {logger: {"+tt.config+"}}"))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s:\n%v\nwant:\n%s", tt.config, err, tt.want)
		}
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	config, update := configtest.Live(t, "backend: {logger: {level: warn}}")
	out := &buffer{}
	log := rootlogger.New(rootlogger.Options{Writer: out, Format: rootlogger.JSON, OmitTimestamp: true, Getenv: env()})
	if err := log.Follow(config); err != nil {
		t.Fatal(err)
	}
	child := log.With("plugin", "p")
	child.Info("one")
	update("backend: {logger: {level: info}}")
	child.Info("two")
	update("backend: {logger: {level: loud}}")
	child.Info("three")
	want := []string{"two", "The settings of the logger stay as they are, because the new ones are not valid", "three"}
	var got []string
	for line := range strings.SplitSeq(strings.TrimSpace(out.take()), "\n") {
		var l struct{ Message string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		got = append(got, l.Message)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if log.Level() != slog.LevelInfo {
		t.Errorf("level = %v", log.Level())
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	log, out := jsonLogger(t, "{}")
	log.AddSecrets(`quo"ted`, "päss/word+1")
	log.Info(`it is quo"ted`, "url", "http://h/?p=p%C3%A4ss%2Fword%2B1", "error", errors.New("bad päss/word+1"), "nested", map[string]any{"a": []string{"päss/word+1"}})
	want := `{"error":"bad ***","level":"info","message":"it is ***","nested":{"a":["***"]},"service":"backstage","url":"http://h/?p=***"}`
	if diff := cmp.Diff(want, strings.TrimSpace(out.take())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	log, out := jsonLogger(t, "{}")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			l := log.With("i", i)
			for j := range 50 {
				log.AddSecrets(fmt.Sprintf("secret-%d-%d", i, j))
				l.Info("x", "j", j)
			}
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSpace(out.take()), "\n")
	if len(lines) != 400 || out.writes != 400 {
		t.Fatalf("%d lines in %d writes", len(lines), out.writes)
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

func TestFactory(t *testing.T) {
	t.Parallel()
	out := &buffer{}
	config := configtest.FromYAML(t, "backend: {logger: {meta: {env: test}}}")
	b := backend.New(backend.WithDefaults(
		backend.NewRootServiceFactory(core.RootConfig, func(*backend.RootEnv) backend.MakeFunc[core.ConfigRoot] {
			return func(context.Context) (core.ConfigRoot, error) { return config, nil }
		}),
		rootlogger.NewFactory(rootlogger.Options{Writer: out, OmitTimestamp: true, Getenv: env()}),
	))
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	log, err := backend.Get(b, core.RootLogger)
	if err != nil {
		t.Fatal(err)
	}
	out.take()
	log.Info("ready")
	if want := `{"env":"test","level":"info","message":"ready","service":"backstage"}` + "\n"; out.take() != want {
		t.Errorf("want %s", want)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
