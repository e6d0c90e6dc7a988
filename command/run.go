package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing/fstest"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/defaults/rootconfig"
)

type runCommand struct {
	configFlags
	pluginFlags
	Lenient bool `help:"Start even if the configuration violates a schema; what reads a wrong value still fails."`
}

// Run implements the command.
func (c *runCommand) Run(ctx context.Context, a *App) error {
	limitMemory()
	o, more, err := c.source(a)
	if err != nil {
		return err
	}
	o.Strict = !c.Lenient
	b := a.build(o, c.pluginFlags, more...)
	c.leaveOut(ctx, b, o)
	b.Instance().Subscribe(memoryReleaser())
	err = b.Run(ctx)
	var failed *backend.StartupError
	if errors.As(err, &failed) {
		a.tell(err)
		c.hints(ctx, a, o, b, message(err))
		return &reported{backend.ExitCode(err)}
	}
	return err
}

// source returns the configuration to use: that of the user, or the example
// where there is none.
func (c *runCommand) source(a *App) (rootconfig.Options, []backend.Feature, error) {
	o := c.options(a)
	if a.Example == nil || len(c.Config) > 0 {
		return o, nil, nil
	}
	_, err := os.Stat(filepath.Join(a.Dir, "app-config.yaml"))
	if !errors.Is(err, fs.ErrNotExist) {
		return o, nil, err
	}
	fmt.Fprintln(a.Stderr, strings.TrimSpace(a.Example.Notice))
	o.FS = fstest.MapFS{"app-config.yaml": &fstest.MapFile{Data: []byte(a.Example.Config)}}
	o.Dir = ""
	return o, a.Example.Features, nil
}

// memoryReleaser returns a subscriber that gives the memory back that only the
// start needed, once that is over.
func memoryReleaser() func(backend.Status) {
	released := false
	return func(s backend.Status) {
		if s.Phase == backend.PhaseStarted && !released {
			released = true
			debug.FreeOSMemory()
		}
	}
}

// limitMemory lets the collector keep the process below the limit of its
// control group, so that it is not killed for garbage. GOMEMLIMIT goes first.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var limit int64
		if _, err := fmt.Sscan(string(text), &limit); err == nil && limit > 0 && limit < 1<<50 {
			debug.SetMemoryLimit(limit / 10 * 9)
		}
		return
	}
}
