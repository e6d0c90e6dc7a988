package assets

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/flytower/flytower/core"
)

const (
	// renewEvery is how often the time of the files is renewed.
	renewEvery = 6 * time.Hour
	// The pauses after a failure, which double.
	minPause, maxPause = 5 * time.Second, 10 * time.Minute
)

// Run keeps the bundles, by namespace, until ctx ends. A failure is logged and
// tried again: a frontend works without what is kept. A database in memory
// ends with the bundles that would be in it, so nothing is kept there.
func (s *Store) Run(ctx context.Context, bundles map[string]Bundle) {
	pause, full := minPause, false
	for ctx.Err() == nil {
		forgets, err := s.inMemory(ctx)
		if forgets {
			return
		}
		if err == nil {
			err = s.round(ctx, bundles, full)
		}
		wait := renewEvery
		switch {
		case err == nil:
			full, pause = true, minPause
		case ctx.Err() != nil:
			return
		default:
			s.log.WarnContext(ctx, "The static files of the frontend were not kept; pages that are open during an update may miss some. It will be tried again",
				"in", pause.String(), "error", err)
			wait, pause = pause, min(2*pause, maxPause)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// inMemory reports whether the database is gone when the process ends.
func (s *Store) inMemory(ctx context.Context) (bool, error) {
	if s.database.Dialect() != core.SQLite {
		return false, nil
	}
	db, err := s.database.DB(ctx)
	if err != nil {
		return false, err
	}
	var file sql.NullString
	err = db.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&file)
	return err == nil && file.String == "", err
}

// round keeps or, when all were kept, renews the files.
func (s *Store) round(ctx context.Context, bundles map[string]Bundle, full bool) error {
	if err := s.Prepare(ctx); err != nil {
		return err
	}
	for namespace, bundle := range bundles {
		if full {
			if err := s.Renew(ctx, namespace, bundle); err != nil {
				return err
			}
			continue
		}
		added, err := s.Keep(ctx, namespace, bundle)
		if err != nil {
			return err
		}
		s.log.LogAttrs(ctx, slog.LevelInfo, "Keeping the static files of the frontend for pages that are open during an update",
			slog.String("namespace", namespace), slog.Int("added", added))
	}
	return s.Prune(ctx)
}
