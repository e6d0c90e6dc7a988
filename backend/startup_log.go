package backend

import (
	"context"
	"slices"
	"strings"
	"time"
)

// logProgress logs that the plugins start, from time to time which of them are
// still at it, and in the end that they are done. The intervals grow like
// Fibonacci numbers, from one second to a minute.
func (b *Backend) logProgress(ctx context.Context) (stop func()) {
	var ids []string
	for _, p := range b.board.plugins {
		ids = append(ids, p.id)
	}
	b.log().InfoContext(ctx, "Plugin initialization started: "+quotedIDs(ids), "type", "initialization")
	quit, done := make(chan struct{}), make(chan struct{})
	var reported map[string]bool
	report := func(final bool) {
		var now, waiting []string
		b.board.mu.Lock()
		for _, p := range b.board.plugins {
			switch p.state {
			case StateWaiting, StateStarting:
				waiting = append(waiting, p.id)
			case StateStarted:
				if !reported[p.id] {
					now = append(now, p.id)
				}
			}
		}
		b.board.mu.Unlock()
		if reported == nil {
			reported = map[string]bool{}
		}
		for _, id := range now {
			reported[id] = true
		}
		text := "Plugin initialization in progress"
		if final {
			text = "Plugin initialization complete"
		}
		if len(now) > 0 {
			text += ", newly initialized: " + quotedIDs(now)
		}
		if len(waiting) > 0 {
			text += ", still initializing: " + quotedIDs(waiting)
		}
		b.log().InfoContext(ctx, text, "type", "initialization")
	}
	go func() {
		defer close(done)
		last, wait := time.Duration(0), time.Second
		for {
			t := time.NewTimer(wait)
			select {
			case <-quit:
				t.Stop()
				return
			case <-t.C:
				report(false)
			}
			last, wait = wait, min(last+wait, time.Minute)
		}
	}()
	return func() {
		close(quit)
		<-done
		report(true)
	}
}

// logFailure logs that a plugin or module failed.
func (b *Backend) logFailure(ctx context.Context, p *part, err error, allowed bool) {
	waiting := 0
	b.board.mu.Lock()
	for _, o := range b.board.plugins {
		if o.state == StateWaiting || o.state == StateStarting {
			waiting++
		}
	}
	b.board.mu.Unlock()
	log := b.log().With("type", "initialization", "plugin", p.plugin)
	if p.isModule() {
		log = log.With("module", p.module)
	}
	text := upperFirst(p.String()) + " failed to start"
	if allowed {
		log.ErrorContext(ctx, text+", which it may", "error", err)
		return
	}
	log.ErrorContext(ctx, text, "error", err, "waitingFor", waiting)
}

func quotedIDs(ids []string) string {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	for i, id := range ids {
		ids[i] = "'" + id + "'"
	}
	return strings.Join(ids, ", ")
}
