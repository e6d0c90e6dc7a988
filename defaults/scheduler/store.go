package scheduler

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

//go:embed migrations
var migrations embed.FS

const tasksTable, fencesTable = "backstage_backend_tasks__tasks", "backstage_backend_tasks__fences"

// store has the rows of the global tasks of a plugin.
type store struct {
	db       core.DatabaseService
	clock    func() time.Time // of this process
	zone     *time.Location
	ready    chan struct{} // held while the tables are made
	migrated bool          // guarded by ready
	// offset is by how much the clock of the server is ahead, so that instances
	// agree on the time. Reading the rows measures it.
	offset atomic.Int64
}

func newStore(db core.DatabaseService, clock func() time.Time, zone *time.Location) *store {
	return &store{db: db, clock: clock, zone: zone, ready: make(chan struct{}, 1)}
}

// now returns the time of the database.
func (s *store) now() time.Time {
	return s.clock().Add(time.Duration(s.offset.Load())).UTC().Truncate(time.Millisecond)
}

// open makes the tables at the first call.
func (s *store) open(ctx context.Context) (*sql.DB, error) {
	select {
	case s.ready <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.ready }()
	if !s.migrated {
		steps, err := fs.Sub(migrations, "migrations")
		if err != nil {
			return nil, err
		}
		if err := s.db.Migrate(ctx, core.Migrations{Name: "backstage_backend_tasks_", FS: steps}); err != nil {
			return nil, err
		}
		db, err := s.db.DB(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.measure(ctx, db); err != nil {
			return nil, err
		}
		s.migrated = true
	}
	return s.db.DB(ctx)
}

// measure compares the clocks.
func (s *store) measure(ctx context.Context, db *sql.DB) error {
	if s.db.Dialect() != core.PostgreSQL {
		return nil
	}
	before := s.clock()
	var server time.Time
	if err := db.QueryRowContext(ctx, "SELECT clock_timestamp()").Scan(&server); err != nil {
		return fmt.Errorf("ask the database for the time: %w", err)
	}
	after := s.clock()
	s.offset.Store(int64(server.Sub(before.Add(after.Sub(before) / 2))))
	return nil
}

// q writes the placeholders of the dialect.
func (s *store) q(query string) string {
	if s.db.Dialect() != core.PostgreSQL {
		return query
	}
	var b strings.Builder
	n := 0
	for _, r := range query {
		if r == '?' {
			n++
			fmt.Fprintf(&b, "$%d", n)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

const sqliteTime = "2006-01-02 15:04:05.000"

// at is a time as an argument. The zero time is NULL. Texts of SQLite have a
// fixed width and no zone, so they compare as times do.
func (s *store) at(t time.Time) any {
	switch {
	case t.IsZero():
		return nil
	case s.db.Dialect() == core.PostgreSQL:
		return t
	}
	return t.UTC().Format(sqliteTime)
}

// timeOf scans a time, whoever wrote it.
type timeOf struct{ t *time.Time }

// Scan implements sql.Scanner.
func (s timeOf) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.t = time.Time{}
	case time.Time:
		*s.t = v.UTC()
	case int64:
		*s.t = time.UnixMilli(v).UTC()
	case string:
		for _, layout := range []string{"2006-01-02 15:04:05.999999999", time.RFC3339Nano} {
			if t, err := time.Parse(layout, v); err == nil {
				*s.t = t.UTC()
				return nil
			}
		}
		return fmt.Errorf("%q is not a time", v)
	default:
		return fmt.Errorf("a %T is not a time", v)
	}
	return nil
}

// row is the row of a task; zero times are NULL.
type row struct {
	id, settings         string
	next                 time.Time
	ticket               string
	startedAt, expiresAt time.Time
	lastError            string
	lastEnded            time.Time
}

const columns = "id, settings_json, next_run_start_at, coalesce(current_run_ticket, ''), current_run_started_at, current_run_expires_at, coalesce(last_run_error_json, ''), last_run_ended_at"

func scanRow(scan func(...any) error) (row, error) {
	var r row
	err := scan(&r.id, &r.settings, timeOf{&r.next}, &r.ticket, timeOf{&r.startedAt}, timeOf{&r.expiresAt}, &r.lastError, timeOf{&r.lastEnded})
	return r, err
}

// rows returns all rows by id. A plugin has few.
func (s *store) rows(ctx context.Context) (map[string]row, error) {
	db, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	found, err := db.QueryContext(ctx, "SELECT "+columns+" FROM "+tasksTable)
	if err != nil {
		return nil, fmt.Errorf("read the tasks: %w", err)
	}
	defer found.Close()
	out := map[string]row{}
	for found.Next() {
		r, err := scanRow(found.Scan)
		if err != nil {
			return nil, fmt.Errorf("read the tasks: %w", err)
		}
		out[r.id] = r
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("read the tasks: %w", err)
	}
	return out, nil
}

// one reads a row within a transaction that will change it.
func (s *store) one(ctx context.Context, tx *sql.Tx, id string) (row, error) {
	query := "SELECT " + columns + " FROM " + tasksTable + " WHERE id = ?"
	if s.db.Dialect() == core.PostgreSQL {
		query += " FOR UPDATE"
	}
	return scanRow(tx.QueryRowContext(ctx, s.q(query), id).Scan)
}

// register writes the settings of a task, and plans its next run without
// putting off what is planned.
func (s *store) register(ctx context.Context, id, text string, p plan) error {
	if _, err := s.open(ctx); err != nil {
		return err
	}
	err := s.db.WriteTx(ctx, func(tx *sql.Tx) error {
		now := s.now()
		if _, err := tx.ExecContext(ctx, s.q("INSERT INTO "+tasksTable+" (id, settings_json, next_run_start_at) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING"),
			id, text, s.at(p.atFirst(now))); err != nil {
			return err
		}
		known, err := s.one(ctx, tx, id)
		if err != nil || known.settings == text && (p.manual() || !known.next.IsZero()) {
			return err
		}
		next := p.afterChange(now)
		switch before, err := parseSettings(known.settings, s.zone); {
		case p.manual() && (err != nil || before.manual()):
			next = known.next // perhaps it was triggered
		case p.manual(): // what the former frequency had planned is void
		case !known.next.IsZero() && known.next.Before(next):
			next = known.next
		}
		_, err = tx.ExecContext(ctx, s.q("UPDATE "+tasksTable+" SET settings_json = ?, next_run_start_at = ? WHERE id = ?"), text, s.at(next), id)
		return err
	})
	if err != nil {
		return fmt.Errorf("register task %q: %w", id, err)
	}
	return nil
}

// claim takes the run of a task that is due, for the duration of a lease. It
// returns false if somebody else was faster.
func (s *store) claim(ctx context.Context, id, ticket string, lease time.Duration) (fence int64, won bool, err error) {
	err = s.db.WriteTx(ctx, func(tx *sql.Tx) error {
		now := s.now()
		res, err := tx.ExecContext(ctx, s.q("UPDATE "+tasksTable+` SET current_run_ticket = ?, current_run_started_at = ?, current_run_expires_at = ?
			WHERE id = ? AND current_run_ticket IS NULL AND next_run_start_at <= ?`), ticket, s.at(now), s.at(now.Add(lease)), id, s.at(now))
		if won, err = changed(res, err); err != nil || !won {
			return err
		}
		return tx.QueryRowContext(ctx, s.q("INSERT INTO "+fencesTable+" (task_id, fence) VALUES (?, 1) ON CONFLICT (task_id) DO UPDATE SET fence = "+fencesTable+".fence + 1 RETURNING fence"), id).Scan(&fence)
	})
	if err != nil {
		return 0, false, fmt.Errorf("claim task %q: %w", id, err)
	}
	return fence, won, nil
}

// renew prolongs a lease. It returns false if the run is ours no more.
func (s *store) renew(ctx context.Context, id, ticket string, lease time.Duration) (bool, error) {
	db, err := s.open(ctx)
	if err != nil {
		return false, err
	}
	ours, err := changed(db.ExecContext(ctx, s.q("UPDATE "+tasksTable+" SET current_run_expires_at = ? WHERE id = ? AND current_run_ticket = ?"),
		s.at(s.now().Add(lease)), id, ticket))
	if err != nil {
		return false, fmt.Errorf("renew the lease of task %q: %w", id, err)
	}
	return ours, nil
}

// outcome is how a run ended.
type outcome struct {
	problem error
	// again plans the next run for now, because this one was interrupted.
	again bool
}

// release ends a run and plans the next one by the settings that the row has
// now. It returns false if the run is ours no more.
func (s *store) release(ctx context.Context, id, ticket string, o outcome) (ours bool, err error) {
	err = s.db.WriteTx(ctx, func(tx *sql.Tx) error {
		r, err := s.one(ctx, tx, id)
		if errors.Is(err, sql.ErrNoRows) || err == nil && r.ticket != ticket {
			ours = false
			return nil
		}
		if err != nil {
			return err
		}
		now := s.now()
		next := now
		if p, err := parseSettings(r.settings, s.zone); err == nil && !o.again {
			next = p.afterRun(r.next, now)
		}
		ours, err = changed(tx.ExecContext(ctx, s.q("UPDATE "+tasksTable+` SET next_run_start_at = ?, current_run_ticket = NULL, current_run_started_at = NULL,
			current_run_expires_at = NULL, last_run_ended_at = ?, last_run_error_json = ? WHERE id = ? AND current_run_ticket = ?`),
			s.at(next), s.at(now), errorJSON(o.problem), id, ticket))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("release task %q: %w", id, err)
	}
	return ours, nil
}

// expire frees tasks whose lease has run out, so that they are due at once.
func (s *store) expire(ctx context.Context) ([]string, error) {
	var freed []string
	err := s.db.WriteTx(ctx, func(tx *sql.Tx) error {
		freed = nil
		now := s.now()
		rows, err := tx.QueryContext(ctx, s.q("UPDATE "+tasksTable+` SET current_run_ticket = NULL, current_run_started_at = NULL, current_run_expires_at = NULL,
			last_run_ended_at = ?, last_run_error_json = ? WHERE current_run_ticket IS NOT NULL AND current_run_expires_at < ? RETURNING id`),
			s.at(now), errorJSON(errors.New("the task timed out, or the instance that ran it is gone")), s.at(now))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			freed = append(freed, id)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("free tasks whose lease has run out: %w", err)
	}
	return freed, nil
}

// trigger plans the next run for now.
func (s *store) trigger(ctx context.Context, id string) error {
	if _, err := s.open(ctx); err != nil {
		return err
	}
	return s.db.WriteTx(ctx, func(tx *sql.Tx) error {
		r, err := s.one(ctx, tx, id)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return unknown(id)
		case err != nil:
			return fmt.Errorf("trigger task %q: %w", id, err)
		case r.ticket != "":
			return apierr.Conflict("task %q is running already", id)
		}
		if _, err := tx.ExecContext(ctx, s.q("UPDATE "+tasksTable+" SET next_run_start_at = ? WHERE id = ? AND current_run_ticket IS NULL"), s.at(s.now()), id); err != nil {
			return fmt.Errorf("trigger task %q: %w", id, err)
		}
		return nil
	})
}

// cancel takes the run away from who has it.
func (s *store) cancel(ctx context.Context, id string) error {
	rows, err := s.rows(ctx)
	if err != nil {
		return err
	}
	r, ok := rows[id]
	if !ok {
		return unknown(id)
	}
	ours := false
	if r.ticket != "" {
		if ours, err = s.release(ctx, id, r.ticket, outcome{problem: errCancelled}); err != nil {
			return err
		}
	}
	if !ours {
		return apierr.Conflict("task %q is not running", id)
	}
	return nil
}

func unknown(id string) error { return apierr.NotFound("no task %q is registered", id) }

func changed(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// errorJSON is an error as the table and the routes have it; nil is NULL.
func errorJSON(err error) any {
	if err == nil {
		return nil
	}
	text, jsonErr := json.Marshal(map[string]string{"name": string(apierr.KindOf(err)), "message": err.Error()})
	if jsonErr != nil {
		return `{"name":"Error","message":"the error could not be written"}`
	}
	return string(text)
}
