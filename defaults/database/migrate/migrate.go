// Package migrate brings the schema of a database forward.
//
// The steps are SQL files, embedded per dialect and applied in the order of
// their names:
//
//	//go:embed migrations
//	var files embed.FS // migrations/postgres/0001_things.sql, migrations/sqlite/0001_things.sql
//
//	steps, _ := fs.Sub(files, "migrations")
//	err := migrate.Up(ctx, db, core.PostgreSQL, core.Migrations{FS: steps}, migrate.Options{})
//
// There are forward steps only. Each runs in one transaction together with the
// row that records it, so a process that dies in the middle leaves nothing
// behind, and the next start proceeds. Replicas that start together take
// turns under a lock that belongs to the transaction (an advisory lock on
// PostgreSQL), so it cannot outlive its holder.
//
// A step must work for the version of the program that runs beside it during a
// rolling update: add first, remove in a later release. A program that finds
// steps of a newer version applied logs that and starts.
package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
)

// Options change how [Up] works. The zero value is good.
type Options struct {
	// Logger tells which steps were applied; nil is silent.
	Logger *slog.Logger
}

// State says how a step of the program and the database relate.
type State string

const (
	// Applied steps are in the database.
	Applied State = "applied"
	// Pending steps are applied by the next [Up].
	Pending State = "pending"
	// Unknown steps are in the database, but not in this program, which is
	// older than the one that applied them.
	Unknown State = "unknown"
	// Changed steps have other text than what was applied.
	Changed State = "changed"
)

// Step is a line of the report of [Status].
type Step struct {
	// Name is the file name without ".sql".
	Name  string `json:"name"`
	State State  `json:"state"`
	// AppliedAt is zero for pending steps.
	AppliedAt time.Time `json:"appliedAt,omitzero"`
}

// ChangedError says that the text of an applied step was edited.
type ChangedError struct {
	File  string // such as "postgres/0001_things.sql"
	Table string // the table that records the steps
}

// Error names the file and the ways out.
func (e *ChangedError) Error() string {
	return fmt.Sprintf("migration %s was changed after it had been applied: restore the file, and put the change into a new one (table %s has the checksum of what was applied)", e.File, e.Table)
}

// StatementError says which statement of a step failed.
type StatementError struct {
	File string
	Line int // of the offending token where the database tells it, else of the statement's first line
	Err  error
}

// Error names file and line.
func (e *StatementError) Error() string {
	return fmt.Sprintf("migration %s, line %d: %v", e.File, e.Line, e.Err)
}

// Unwrap returns what the database said.
func (e *StatementError) Unwrap() error { return e.Err }

// attempts bounds how often a step is run anew that the database chose as the
// victim of a deadlock with the traffic of other replicas.
const attempts = 5

// Up applies the pending steps.
func Up(ctx context.Context, db *sql.DB, dialect core.Dialect, m core.Migrations, o Options) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	table, err := tableOf(m.Name)
	if err != nil {
		return err
	}
	steps, err := load(m.FS, dialect)
	if err != nil {
		return err
	}
	// One look without the lock: it is all that an ordinary start needs.
	applied, err := readApplied(ctx, db, dialect, table)
	if err != nil {
		return err
	}
	pending, unknown, err := compare(steps, applied, table)
	if err != nil {
		return err
	}
	if len(unknown) > 0 {
		o.Logger.WarnContext(ctx, "the database has migrations of a newer version; continuing with what is there",
			"table", table, "migrations", unknown)
	}
	for _, s := range pending {
		began := time.Now()
		done, err := applyRetrying(ctx, db, dialect, table, steps, s)
		if err != nil {
			return err
		}
		if done {
			o.Logger.InfoContext(ctx, "applied a migration", "migration", s.file, "table", table, "duration", time.Since(began))
		}
	}
	return nil
}

// Status compares the steps with the database and changes nothing. The steps
// come in the order of their names.
func Status(ctx context.Context, db *sql.DB, dialect core.Dialect, m core.Migrations) ([]Step, error) {
	table, err := tableOf(m.Name)
	if err != nil {
		return nil, err
	}
	steps, err := load(m.FS, dialect)
	if err != nil {
		return nil, err
	}
	applied, err := readApplied(ctx, db, dialect, table)
	if err != nil {
		return nil, err
	}
	return report(steps, applied), nil
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,40}$`)

// tableOf returns the name of the table that records the steps.
func tableOf(name string) (string, error) {
	if name == "" {
		name = "flytower"
	}
	if !nameForm.MatchString(name) {
		return "", fmt.Errorf("the migrations' name %q must be at most 41 lower case letters, digits and underscores, and begin with a letter", name)
	}
	return name + "_migrations", nil
}

func applyRetrying(ctx context.Context, db *sql.DB, dialect core.Dialect, table string, all []step, s step) (done bool, err error) {
	for attempt := 1; ; attempt++ {
		done, err = apply(ctx, db, dialect, table, all, s)
		if err == nil || attempt == attempts || !core.IsRetryable(err) {
			return done, err
		}
		select {
		case <-ctx.Done():
			return false, errors.Join(err, ctx.Err())
		case <-time.After(time.Duration(attempt) * 100 * time.Millisecond):
		}
	}
}

// apply runs one step in a transaction. It returns false if another replica
// was faster.
func apply(ctx context.Context, db *sql.DB, dialect core.Dialect, table string, all []step, s step) (done bool, err error) {
	tx, err := db.BeginTx(ctx, nil) // takes the lock of the file on SQLite
	if err != nil {
		return false, fmt.Errorf("migration %s: begin: %w", s.file, err)
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the first error counts
		}
	}()
	if err := prepare(ctx, tx, dialect, table); err != nil {
		return false, fmt.Errorf("migration %s: %w", s.file, err)
	}
	applied, err := readApplied(ctx, tx, dialect, table)
	if err != nil {
		return false, err
	}
	if _, _, err := compare(all, applied, table); err != nil {
		return false, err
	}
	for _, a := range applied {
		if a.name == s.name {
			return false, tx.Rollback()
		}
	}
	for _, st := range s.statements {
		if _, err := tx.ExecContext(ctx, st.text); err != nil {
			return false, &StatementError{File: s.file, Line: st.line + lineOffset(err, st.text), Err: err}
		}
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO "+table+" (name, checksum, applied_at) VALUES ("+placeholders(dialect)+")",
		s.name, s.checksum, time.Now().UTC().Format(time.RFC3339Nano)); err != nil {
		return false, fmt.Errorf("migration %s: record it in table %s: %w", s.file, table, err)
	}
	if err := tx.Commit(); err != nil {
		return false, fmt.Errorf("migration %s: commit: %w", s.file, err)
	}
	return true, nil
}

func placeholders(dialect core.Dialect) string {
	if dialect == core.PostgreSQL {
		return "$1, $2, $3"
	}
	return "?, ?, ?"
}

// prepare takes the lock, and makes the table of steps.
func prepare(ctx context.Context, tx *sql.Tx, dialect core.Dialect, table string) error {
	if dialect == core.PostgreSQL {
		// A limit that suits the requests of a plugin must not end a long step,
		// nor the wait for another replica.
		if _, err := tx.ExecContext(ctx, "SELECT set_config('lock_timeout', '0', true), set_config('statement_timeout', '0', true)"); err != nil {
			return fmt.Errorf("lift the time limits: %w", err)
		}
		// The server notices within seconds, even during a long statement, that
		// the client is gone; it can since version 14.
		if _, err := tx.ExecContext(ctx, `SELECT set_config(name, '1000', true) FROM pg_settings
			WHERE name = 'client_connection_check_interval' AND current_setting('server_version_num')::int >= 140000`); err != nil {
			return fmt.Errorf("let the server watch the connection: %w", err)
		}
		var schema string
		if err := tx.QueryRowContext(ctx, "SELECT coalesce(current_schema(), '')").Scan(&schema); err != nil {
			return fmt.Errorf("ask for the schema: %w", err)
		}
		if schema == "" {
			return errors.New("the search path of the connection names no schema that exists: create the schema, or set backend.database.ensureSchemaExists")
		}
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", lockKey(schema, table)); err != nil {
			return fmt.Errorf("take the lock of the migrations: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+table+
		" (name varchar(200) PRIMARY KEY, checksum varchar(64) NOT NULL, applied_at varchar(40) NOT NULL)"); err != nil {
		return fmt.Errorf("create table %s: %w", table, err)
	}
	return nil
}

// lockKey is the same in every replica. Advisory locks are per database, so
// the schema is part of it.
func lockKey(schema, table string) int64 {
	h := fnv.New64a()
	h.Write([]byte("flytower migrations\x00" + schema + "\x00" + table))
	return int64(h.Sum64())
}

type appliedStep struct {
	name, checksum string
	at             time.Time
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// readApplied returns what the table records in order of names; nothing where
// there is no table.
func readApplied(ctx context.Context, q queryer, dialect core.Dialect, table string) (_ []appliedStep, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("read table %s: %w", table, err)
		}
	}()
	there := "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
	if dialect == core.PostgreSQL {
		there = "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = current_schema() AND tablename = $1"
	}
	var n int
	if err := q.QueryRowContext(ctx, there, table).Scan(&n); err != nil || n == 0 {
		return nil, err
	}
	rows, err := q.QueryContext(ctx, "SELECT name, checksum, applied_at FROM "+table+" ORDER BY name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var applied []appliedStep
	for rows.Next() {
		var a appliedStep
		var at string
		if err := rows.Scan(&a.name, &a.checksum, &at); err != nil {
			return nil, err
		}
		a.at, _ = time.Parse(time.RFC3339Nano, at) // only shown
		applied = append(applied, a)
	}
	return applied, rows.Err()
}

// compare returns the steps to apply, and the names of applied ones that the
// program does not know because they are newer than all it knows.
func compare(steps []step, applied []appliedStep, table string) (pending []step, unknown []string, err error) {
	for _, s := range report(steps, applied) {
		switch s.State {
		case Changed:
			return nil, nil, &ChangedError{File: fileOf(steps, s.Name), Table: table}
		case Unknown:
			unknown = append(unknown, s.Name)
			if len(steps) > 0 && s.Name < steps[len(steps)-1].name {
				return nil, nil, fmt.Errorf("table %s says that migration %s was applied, which is not among the files although a later one is: the file was renamed or removed, restore it", table, s.Name)
			}
		case Applied:
			if len(pending) > 0 {
				return nil, nil, fmt.Errorf("migration %s is not applied although the later %s is: give a new step the highest number (table %s)", pending[0].file, s.Name, table)
			}
		case Pending:
			for _, st := range steps {
				if st.name == s.Name {
					pending = append(pending, st)
				}
			}
		}
	}
	if len(pending) > 0 && len(unknown) > 0 {
		return nil, nil, fmt.Errorf("migration %s is not applied although %s of another version is: run the newer version of the program, or give the new step a higher number (table %s)", pending[0].file, strings.Join(unknown, ", "), table)
	}
	return pending, unknown, nil
}

func report(steps []step, applied []appliedStep) []Step {
	var out []Step
	i, j := 0, 0
	for i < len(steps) || j < len(applied) {
		switch {
		case j == len(applied) || i < len(steps) && steps[i].name < applied[j].name:
			out = append(out, Step{Name: steps[i].name, State: Pending})
			i++
		case i == len(steps) || applied[j].name < steps[i].name:
			out = append(out, Step{Name: applied[j].name, State: Unknown, AppliedAt: applied[j].at})
			j++
		default:
			state := Applied
			if steps[i].checksum != applied[j].checksum {
				state = Changed
			}
			out = append(out, Step{Name: steps[i].name, State: state, AppliedAt: applied[j].at})
			i++
			j++
		}
	}
	return out
}

func fileOf(steps []step, name string) string {
	for _, s := range steps {
		if s.name == name {
			return s.file
		}
	}
	return name
}
