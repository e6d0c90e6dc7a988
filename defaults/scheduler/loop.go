package scheduler

import (
	"context"
	"crypto/rand"
	"time"
)

// loop looks for tasks that are due, and runs them, until the plugin stops and
// all runs have ended. There is one per plugin.
func (s *scheduler) loop(ctx context.Context) error {
	defer s.runs.Wait()
	failures := 0
	measured := s.clock()
	for ctx.Err() == nil {
		pause, err := s.look(ctx)
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() != nil:
			return nil
		default:
			if failures++; failures == 1 {
				s.Logger.WarnContext(ctx, "cannot look for tasks that are due; trying again until it works", "error", err)
			}
			pause = min(time.Second<<min(failures-1, 4), 3*s.poll)
		}
		if s.clock().Sub(measured) > time.Minute {
			measured = s.clock()
			if db, err := s.store.open(ctx); err == nil {
				_ = s.store.measure(ctx, db) // the former measurement is good enough
			}
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-wait.C:
		}
		wait.Stop()
	}
	return nil
}

// waiting returns the workers that wait for their next run, and when the first
// initial wait ends.
func (s *scheduler) waiting() (out []*worker, soonest time.Duration) {
	soonest = s.poll
	now := s.clock()
	for _, w := range s.list() {
		if w.task.Schedule.Local {
			continue
		}
		w.mu.Lock()
		switch {
		case w.gone || w.state == running:
		case w.from.After(now):
			soonest = min(soonest, w.from.Sub(now))
		default:
			w.state = idle
			out = append(out, w)
		}
		w.mu.Unlock()
	}
	return out, soonest
}

// look starts what is due, and returns when to look again.
func (s *scheduler) look(ctx context.Context) (time.Duration, error) {
	waiting, pause := s.waiting()
	if len(waiting) == 0 {
		return max(pause, minPoll), nil
	}
	rows, err := s.store.rows(ctx)
	if err != nil {
		return 0, err
	}
	now := s.store.now()
	for _, r := range rows {
		if r.ticket == "" || r.expiresAt.IsZero() || !r.expiresAt.Before(now) {
			continue
		}
		freed, err := s.store.expire(ctx)
		if err != nil {
			return 0, err
		}
		if len(freed) > 0 {
			s.Logger.WarnContext(ctx, "freed tasks whose runs took too long, or whose instance is gone", "tasks", freed)
			if rows, err = s.store.rows(ctx); err != nil {
				return 0, err
			}
		}
		break
	}
	for _, w := range waiting {
		r, ok := rows[w.task.ID]
		if !ok {
			s.abandon(ctx, w, "its row is gone")
			continue
		}
		// The newest settings count, whoever wrote them.
		p, err := parseSettings(r.settings, s.zone)
		if err != nil {
			s.abandon(ctx, w, err.Error())
			continue
		}
		now := s.store.now()
		switch {
		case r.ticket != "": // it runs elsewhere
			pause = min(pause, p.interval(now))
			if !r.expiresAt.IsZero() {
				pause = min(pause, r.expiresAt.Sub(now)+time.Millisecond)
			}
		case r.next.IsZero():
		case r.next.After(now):
			pause = min(pause, r.next.Sub(now))
		default:
			if err := s.take(ctx, w, p); err != nil {
				return 0, err
			}
			pause = min(pause, p.interval(now))
		}
	}
	return max(pause, minPoll), nil
}

// abandon leaves the task to a newer version of the program.
func (s *scheduler) abandon(ctx context.Context, w *worker, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = true
	s.Logger.WarnContext(ctx, "this instance runs a task no more: another version of the program has taken it over", "task", w.task.ID, "reason", why)
}

// take claims a run and begins it in a goroutine.
func (s *scheduler) take(ctx context.Context, w *worker, p plan) error {
	ticket := rand.Text()
	renewed := time.Now()
	fence, won, err := s.store.claim(ctx, w.task.ID, ticket, s.lease)
	if err != nil || !won {
		return err
	}
	w.mu.Lock()
	w.state = running
	w.mu.Unlock()
	s.runs.Go(func() {
		defer poke(s.wake)
		defer func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.state = idle
		}()
		s.run(w, p, lease{ticket: ticket, fence: fence, renewed: renewed})
	})
	return nil
}
