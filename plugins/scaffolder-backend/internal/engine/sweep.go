package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/flytower/flytower/apierr"
)

const (
	// sweepEvery is how often folders are looked for that were left behind.
	sweepEvery = time.Hour
	// sweepAge is how long nothing has changed in what is removed.
	sweepAge = time.Hour
)

// sweep removes the folders of tasks that have ended, which processes left
// behind that were killed, until the context ends.
func (e *Engine) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := e.Sweep(ctx, sweepAge); err != nil && ctx.Err() == nil {
			e.Logger.WarnContext(ctx, "folders of tasks that have ended could not be removed", "folder", e.Runner.WorkDir, "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Sweep removes the folders of tasks that have ended, where nothing has
// changed for an age. Folders of tasks that are not in the database may be
// somebody else's: they stay.
func (e *Engine) Sweep(ctx context.Context, age time.Duration) error {
	e.init()
	entries, err := os.ReadDir(e.Runner.WorkDir)
	if err != nil {
		return fmt.Errorf("look for folders of tasks: %w", err)
	}
	for _, entry := range entries {
		id, _, _ := strings.Cut(strings.TrimPrefix(entry.Name(), "task-process-"), temporaryMark)
		if _, err := uuid.Parse(id); err != nil || len(id) != 36 || !entry.IsDir() {
			continue
		}
		info, err := entry.Info()
		if err != nil || time.Since(info.ModTime()) < age {
			continue // or it has gone
		}
		if err := e.sweepTask(ctx, id, filepath.Join(e.Runner.WorkDir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) sweepTask(ctx context.Context, id, dir string) error {
	leave, err := e.enter(ctx, id) // it does not begin to run here meanwhile
	if err != nil {
		return err
	}
	defer leave()
	task, err := e.Store.Get(ctx, id)
	if apierr.KindOf(err) == apierr.KindNotFound || err == nil && !task.Status.Ended() {
		return nil
	}
	if err == nil {
		err = os.RemoveAll(dir)
	}
	return err
}
