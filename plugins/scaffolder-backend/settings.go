package scaffolderbackend

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/sealed"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
)

//go:embed config.schema.json
var configSchema string

// settings are what the plugin reads from the configuration once.
type settings struct {
	workDir             string
	concurrency         int
	recovery            bool
	lease               time.Duration
	timeout, janitor    time.Duration
	stepTimeout         time.Duration // 0: none
	retention           time.Duration // 0: for ever
	graceful            bool
	maxAudited          int
	limits              tasks.Limits
	userTokens          bool
	parameters, secrets map[string]string
	keys                []string
	workspaces          workspaceSettings
	isolation           *isolationSettings // nil without
}

func readSettings(c core.Config) (s settings, err error) {
	if s.workDir, err = c.StringOr("backend.workingDirectory", os.TempDir()); err != nil {
		return s, err
	}
	if err := writable(s.workDir); err != nil {
		return s, &core.ConfigError{Key: c.Path("backend.workingDirectory"), Position: c.Position("backend.workingDirectory"), Problem: "is no folder that can be written to", Err: err}
	}
	if s.concurrency, err = c.IntOr("scaffolder.concurrentTasksLimit", 10); err != nil {
		return s, err
	}
	if s.concurrency < 0 {
		return s, &core.ConfigError{Key: c.Path("scaffolder.concurrentTasksLimit"), Position: c.Position("scaffolder.concurrentTasksLimit"), Problem: "must not be negative"}
	}
	if s.limits, err = readLimits(c); err != nil {
		return s, err
	}
	if s.recovery, err = c.BoolOr("scaffolder.EXPERIMENTAL_recoverTasks", false); err != nil {
		return s, err
	}
	if s.recovery, err = c.BoolOr("scaffolder.taskRecovery.enabled", s.recovery); err != nil {
		return s, err
	}
	if s.graceful, err = c.BoolOr("scaffolder.EXPERIMENTAL_gracefulShutdown", false); err != nil {
		return s, err
	}
	const maxAudited = "scaffolder.auditor.taskParameterMaxLength"
	if s.maxAudited, err = c.IntOr(maxAudited, 256); err != nil {
		return s, err
	}
	if s.maxAudited < -1 {
		return s, &core.ConfigError{Key: c.Path(maxAudited), Position: c.Position(maxAudited), Problem: "must be -1 or more"}
	}
	stale := "scaffolder.taskRecovery.staleTimeout"
	if old := "scaffolder.EXPERIMENTAL_recoverTasksTimeout"; !c.Has(stale) && c.Has(old) {
		stale = old
	}
	if s.isolation, err = readIsolation(c); err != nil {
		return s, err
	}
	if s.userTokens, err = c.BoolOr("scaffolder.requireScmUserCredentials", false); err != nil {
		return s, err
	}
	for _, d := range []struct {
		to              *time.Duration
		key             string
		absent, atLeast time.Duration
	}{
		{&s.lease, stale, 30 * time.Second, 100 * time.Millisecond},
		{&s.timeout, "scaffolder.taskTimeout", 24 * time.Hour, time.Second},
		{&s.janitor, "scaffolder.taskTimeoutJanitorFrequency", 5 * time.Minute, time.Second},
		{&s.stepTimeout, "scaffolder.stepTimeout", 0, 0},
		{&s.retention, "scaffolder.taskRetention", 0, 0},
	} {
		if *d.to, err = c.DurationOr(d.key, d.absent); err != nil {
			return s, err
		}
		if *d.to < d.atLeast {
			return s, &core.ConfigError{Key: c.Path(d.key), Position: c.Position(d.key), Problem: fmt.Sprintf("must be at least %s", d.atLeast)}
		}
	}
	if s.workspaces, err = readWorkspaceSettings(c); err != nil {
		return s, err
	}
	if s.parameters, err = texts(c, "scaffolder.defaultEnvironment.parameters"); err != nil {
		return s, err
	}
	if s.secrets, err = texts(c, "scaffolder.defaultEnvironment.secrets"); err != nil {
		return s, err
	}
	if c.Has("scaffolder.taskSecrets.keys") {
		s.keys, err = c.Strings("scaffolder.taskSecrets.keys")
	}
	return s, err
}

// readLimits reads how many tasks of a template may run at once.
func readLimits(c core.Config) (limits tasks.Limits, err error) {
	limit := func(c core.Config, key string) (int, error) {
		n, err := c.IntOr(key, 0)
		if err == nil && n < 0 {
			err = &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: "must not be negative"}
		}
		return n, err
	}
	if limits.Each, err = limit(c, "scaffolder.templateLimits.default"); err != nil {
		return limits, err
	}
	const key = "scaffolder.templateLimits.templates"
	if !c.Has(key) {
		return limits, nil
	}
	list, err := c.List(key)
	if err != nil {
		return limits, err
	}
	limits.Template = map[string]int{}
	for _, one := range list {
		text, err := one.String("template")
		if err != nil {
			return limits, err
		}
		ref, err := catalogcommon.ParseRef(text, catalogcommon.RefDefaults{Kind: "template"})
		if err != nil {
			return limits, &core.ConfigError{Key: one.Path("template"), Position: one.Position("template"), Problem: "is no reference of a template", Err: err}
		}
		if limits.Template[strings.ToLower(ref.String())], err = limit(one, "limit"); err != nil {
			return limits, err
		}
	}
	return limits, nil
}

// writable makes and removes a file in a folder.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, "flytower-*")
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Remove(f.Name())
}

// texts reads an object of texts.
func texts(c core.Config, key string) (map[string]string, error) {
	out := map[string]string{}
	if !c.Has(key) {
		return out, nil
	}
	sub := c.Sub(key)
	for _, name := range sub.Keys("") {
		text, err := sub.String(name)
		if err != nil {
			return nil, err
		}
		out[name] = text
	}
	return out, nil
}

// box returns what seals secrets: with the configured keys or, where there are
// none, with one that is kept in the database.
func (s settings) box(ctx context.Context, kept func(ctx context.Context, newKey string) (string, error)) (*sealed.Box, error) {
	if len(s.keys) > 0 {
		return sealed.New(s.keys...)
	}
	key, err := kept(ctx, sealed.NewKey())
	if err != nil {
		return nil, err
	}
	return sealed.New(key)
}
