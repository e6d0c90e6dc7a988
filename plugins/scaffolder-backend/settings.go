package scaffolderbackend

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/sealed"
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
	if s.recovery, err = c.BoolOr("scaffolder.taskRecovery.enabled", false); err != nil {
		return s, err
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
		{&s.lease, "scaffolder.taskRecovery.staleTimeout", 30 * time.Second, 100 * time.Millisecond},
		{&s.timeout, "scaffolder.taskTimeout", 24 * time.Hour, time.Second},
		{&s.janitor, "scaffolder.taskTimeoutJanitorFrequency", 5 * time.Minute, time.Second},
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
