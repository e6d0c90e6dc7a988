// Package state remembers how far incremental ingestions are, in the database
// of the catalog.
//
// An ingestion is one pass through the source of a provider. It is open until
// it, and the rest after it, are over; a provider has one open ingestion at
// most. Each page that is in the catalog leaves a mark with the cursor of the
// next one, and binds its refs to the ingestion. Refs that are bound to
// another ingestion when the last page was read are no longer in the source.
package state

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/flytower/flytower/core"
)

//go:embed migrations
var migrations embed.FS

// What the clients of the reference's routes know an ingestion to be.
const (
	StatusBursting     = "bursting"
	StatusInterstitial = "interstitial"
	StatusBackingOff   = "backing off"
	StatusResting      = "resting"
	StatusCanceling    = "canceling"
	StatusComplete     = "complete"

	ActionIngest   = "ingest"
	ActionRest     = "rest"
	ActionBackoff  = "backoff"
	ActionCancel   = "cancel"
	ActionDone     = "nothing (done)"
	ActionCanceled = "nothing (canceled)"
)

// open is the ticket of ingestions that are not complete.
const open = "open"

// ErrSuperseded says that an ingestion was changed by somebody else, such as
// an operator who cancelled it, since it was claimed.
var ErrSuperseded = errors.New("the ingestion was taken over or changed meanwhile")

// Ingestion is a pass through a source.
type Ingestion struct {
	ID, Provider       string
	Status, NextAction string
	NextActionAt       time.Time
	LastError          string
	Attempts           int

	fence int64
}

// Mark is a page that is in the catalog.
type Mark struct {
	ID, IngestionID string
	Sequence        int
	// Cursor is where the next page begins; nil for the last page.
	Cursor  json.RawMessage
	Created time.Time
}

// Store keeps the state. Use [New].
type Store struct {
	database core.DatabaseService
	now      func() time.Time
}

// New returns the store in a database whose schema it brings up to date.
func New(ctx context.Context, database core.DatabaseService) (*Store, error) {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := database.Migrate(ctx, core.Migrations{Name: "incremental_ingestion", FS: steps}); err != nil {
		return nil, fmt.Errorf("preparing the tables of incremental ingestion: %w", err)
	}
	return &Store{database: database, now: time.Now}, nil
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// failed says what could not be done.
func failed(what, provider string, err error) error {
	if err == nil || errors.Is(err, ErrSuperseded) {
		return err
	}
	return fmt.Errorf("%s of the incremental provider %s: %w", what, provider, err)
}

const columns = "id, provider, status, next_action, next_action_at, COALESCE(last_error, ''), attempts, fence"

func scan(row interface{ Scan(...any) error }) (i Ingestion, err error) {
	var at int64
	err = row.Scan(&i.ID, &i.Provider, &i.Status, &i.NextAction, &at, &i.LastError, &i.Attempts, &i.fence)
	i.NextActionAt = time.UnixMilli(at).UTC()
	return i, err
}

// Current returns the open ingestion of a provider; ok is false between two.
func (s *Store) Current(ctx context.Context, provider string) (i Ingestion, ok bool, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return i, false, err
	}
	i, err = scan(db.QueryRowContext(ctx, "SELECT "+columns+" FROM incremental_ingestion WHERE provider = $1 AND completion_ticket = $2", provider, open))
	if errors.Is(err, sql.ErrNoRows) {
		return i, false, nil
	}
	return i, err == nil, failed("reading the state", provider, err)
}

// Claim returns the open ingestion of a provider, a new one if there is none.
// Whoever claimed it before can no longer change it.
func (s *Store) Claim(ctx context.Context, provider string) (i Ingestion, created bool, err error) {
	err = s.database.WriteTx(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "INSERT INTO incremental_ingestion (id, provider, status, next_action, next_action_at, created_at, completion_ticket)"+
			" VALUES ($1, $2, $3, $4, $5, $5, $6) ON CONFLICT (provider, completion_ticket) DO NOTHING",
			uuid.NewString(), provider, StatusBursting, ActionIngest, s.now().UnixMilli(), open)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return err
		}
		created = n > 0
		i, err = scan(tx.QueryRowContext(ctx, "UPDATE incremental_ingestion SET fence = fence + 1 WHERE provider = $1 AND completion_ticket = $2 RETURNING "+columns, provider, open))
		return err
	})
	return i, created, failed("claiming the ingestion", provider, err)
}

// change is a part of an UPDATE statement with its arguments.
type change struct {
	set  string // with ? for the arguments
	args []any
}

// update changes a claimed ingestion in which the action is still to be done.
func (s *Store) update(ctx context.Context, i Ingestion, c change) error {
	return failed("storing the state", i.Provider, s.database.WriteTx(ctx, func(tx *sql.Tx) error {
		args := append([]any{i.ID, i.fence, i.NextAction}, c.args...)
		set := c.set
		for n := range c.args {
			set = strings.Replace(set, "?", "$"+strconv.Itoa(n+4), 1)
		}
		result, err := tx.ExecContext(ctx, "UPDATE incremental_ingestion SET "+set+" WHERE id = $1 AND fence = $2 AND next_action = $3", args...)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return ErrSuperseded
		}
		return nil
	}))
}

// Bursting notes that pages are being read.
func (s *Store) Bursting(ctx context.Context, i Ingestion) error {
	return s.update(ctx, i, change{"status = ?", []any{StatusBursting}})
}

// Interstitial notes that a burst ended before the last page.
func (s *Store) Interstitial(ctx context.Context, i Ingestion) error {
	return s.update(ctx, i, change{"status = ?, attempts = 0", []any{StatusInterstitial}})
}

// Resting notes that all pages were read. A problem is kept if there is one.
func (s *Store) Resting(ctx context.Context, i Ingestion, until time.Time, problem string) error {
	return s.update(ctx, i, change{"status = ?, next_action = ?, next_action_at = ?, ingestion_completed_at = ?, last_error = COALESCE(NULLIF(CAST(? AS text), ''), last_error)",
		[]any{StatusResting, ActionRest, until.UnixMilli(), s.now().UnixMilli(), problem}})
}

// BackingOff notes that a burst failed.
func (s *Store) BackingOff(ctx context.Context, i Ingestion, until time.Time, attempts int, problem string) error {
	return s.update(ctx, i, change{"status = ?, next_action = ?, next_action_at = ?, attempts = ?, last_error = ?",
		[]any{StatusBackingOff, ActionBackoff, until.UnixMilli(), attempts, problem}})
}

// Ingesting ends the wait after a failure.
func (s *Store) Ingesting(ctx context.Context, i Ingestion) error {
	return s.update(ctx, i, change{"next_action = ?", []any{ActionIngest}})
}

// Canceling gives the ingestion up.
func (s *Store) Canceling(ctx context.Context, i Ingestion, problem string) error {
	return s.update(ctx, i, change{"status = ?, next_action = ?, next_action_at = ?, last_error = ?",
		[]any{StatusCanceling, ActionCancel, s.now().UnixMilli(), problem}})
}

// Complete closes the ingestion, so that the next claim begins a new one. What
// is kept of those before it is deleted.
func (s *Store) Complete(ctx context.Context, i Ingestion) error {
	action := ActionDone
	if i.NextAction == ActionCancel {
		action = ActionCanceled
	}
	if _, err := s.ClearFinished(ctx, i.Provider); err != nil {
		return err
	}
	return s.update(ctx, i, change{"status = ?, next_action = ?, rest_completed_at = ?, completion_ticket = id",
		[]any{StatusComplete, action, s.now().UnixMilli()}})
}

// LastMark returns the mark of the last page; ok is false before the first.
func (s *Store) LastMark(ctx context.Context, i Ingestion) (m Mark, ok bool, err error) {
	marks, err := s.marks(ctx, i.ID, " LIMIT 1")
	if err != nil || len(marks) == 0 {
		return m, false, failed("reading the marks", i.Provider, err)
	}
	return marks[0], true, nil
}

// Marks returns all marks of an ingestion, the last one first.
func (s *Store) Marks(ctx context.Context, i Ingestion) ([]Mark, error) {
	marks, err := s.marks(ctx, i.ID, "")
	return marks, failed("reading the marks", i.Provider, err)
}

func (s *Store) marks(ctx context.Context, ingestion, limit string) (marks []Mark, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, "SELECT id, ingestion_id, sequence, cursor, created_at FROM incremental_mark WHERE ingestion_id = $1 ORDER BY sequence DESC"+limit, ingestion)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var m Mark
		var cursor sql.NullString
		var at int64
		if err := rows.Scan(&m.ID, &m.IngestionID, &m.Sequence, &cursor, &at); err != nil {
			return nil, err
		}
		if cursor.Valid {
			m.Cursor = json.RawMessage(cursor.String)
		}
		m.Created = time.UnixMilli(at).UTC()
		marks = append(marks, m)
	}
	return marks, rows.Err()
}

// guard is ErrSuperseded unless the transaction may change the claimed
// ingestion, which stays as it is until the transaction ends.
func (s *Store) guard(ctx context.Context, tx *sql.Tx, i Ingestion) error {
	query := "SELECT fence, next_action FROM incremental_ingestion WHERE id = $1"
	if s.database.Dialect() == core.PostgreSQL {
		query += " FOR UPDATE"
	}
	var fence int64
	var action string
	err := tx.QueryRowContext(ctx, query, i.ID).Scan(&fence, &action)
	if errors.Is(err, sql.ErrNoRows) || err == nil && (fence != i.fence || action != i.NextAction) {
		return ErrSuperseded
	}
	return err
}

// chunk is how many refs a statement takes.
const chunk = 500

// bind writes refs, bound to an ingestion. Those that are there are bound
// anew, or stay as they are.
func bind(ctx context.Context, db querier, provider, ingestion string, refs []string, anew bool) error {
	refs = slices.Compact(slices.Sorted(slices.Values(refs))) // the order prevents deadlocks
	for part := range slices.Chunk(refs, chunk) {
		var b strings.Builder
		b.WriteString("INSERT INTO incremental_entity (provider, ingestion_id, ref) VALUES ")
		args := []any{provider, ingestion}
		for n, ref := range part {
			if n > 0 {
				b.WriteByte(',')
			}
			args = append(args, ref)
			b.WriteString("($1, $2, $" + strconv.Itoa(len(args)) + ")")
		}
		b.WriteString(" ON CONFLICT (provider, ref) DO ")
		if anew {
			b.WriteString("UPDATE SET ingestion_id = excluded.ingestion_id")
		} else {
			b.WriteString("NOTHING")
		}
		if _, err := db.ExecContext(ctx, b.String(), args...); err != nil {
			return err
		}
	}
	return nil
}

// Expect notes refs that are about to be handed in, so that they are known to
// be in the catalog whatever happens next.
func (s *Store) Expect(ctx context.Context, i Ingestion, refs []string) error {
	return failed("storing the refs of a page", i.Provider, s.database.WriteTx(ctx, func(tx *sql.Tx) error {
		if err := s.guard(ctx, tx, i); err != nil {
			return err
		}
		return bind(ctx, tx, i.Provider, "", refs, false)
	}))
}

// Page notes a page that is in the catalog: its refs, and where the next one
// begins, which is nil behind the last page.
func (s *Store) Page(ctx context.Context, i Ingestion, refs []string, sequence int, cursor json.RawMessage) error {
	return failed("storing the mark of a page", i.Provider, s.database.WriteTx(ctx, func(tx *sql.Tx) error {
		if err := s.guard(ctx, tx, i); err != nil {
			return err
		}
		if err := bind(ctx, tx, i.Provider, i.ID, refs, true); err != nil {
			return err
		}
		var text any
		if cursor != nil {
			text = string(cursor)
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO incremental_mark (id, ingestion_id, sequence, cursor, created_at) VALUES ($1, $2, $3, $4, $5)",
			uuid.NewString(), i.ID, sequence, text, s.now().UnixMilli())
		return err
	}))
}

// Count returns how many refs the ingestion found, and how many others the
// provider has in the catalog.
func (s *Store) Count(ctx context.Context, i Ingestion) (found, stale int, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return 0, 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT COALESCE(SUM(CASE WHEN ingestion_id = $2 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN ingestion_id = $2 THEN 0 ELSE 1 END), 0)"+
		" FROM incremental_entity WHERE provider = $1", i.Provider, i.ID).Scan(&found, &stale)
	return found, stale, failed("counting the refs", i.Provider, err)
}

// Stale returns some refs, at most limit, that the ingestion did not find. It
// fails with ErrSuperseded if the ingestion was changed.
func (s *Store) Stale(ctx context.Context, i Ingestion, limit int) (refs []string, err error) {
	err = s.database.WriteTx(ctx, func(tx *sql.Tx) error {
		refs = nil
		if err := s.guard(ctx, tx, i); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, "SELECT ref FROM incremental_entity WHERE provider = $1 AND ingestion_id <> $2 LIMIT $3", i.Provider, i.ID, limit)
		if err != nil {
			return err
		}
		for rows.Next() {
			var ref string
			if err := rows.Scan(&ref); err != nil {
				return errors.Join(err, rows.Close())
			}
			refs = append(refs, ref)
		}
		return errors.Join(rows.Err(), rows.Close())
	})
	return refs, failed("reading the refs to remove", i.Provider, err)
}

// Forget drops refs that are no longer in the catalog.
func (s *Store) Forget(ctx context.Context, provider string, refs []string) error {
	return failed("dropping refs", provider, s.database.WriteTx(ctx, func(tx *sql.Tx) error {
		for part := range slices.Chunk(slices.Sorted(slices.Values(refs)), chunk) {
			args := []any{provider}
			for _, ref := range part {
				args = append(args, ref)
			}
			if _, err := tx.ExecContext(ctx, "DELETE FROM incremental_entity WHERE provider = $1 AND ref IN ("+parameters(2, len(part))+")", args...); err != nil {
				return err
			}
		}
		return nil
	}))
}

// parameters returns "$first, …" for n parameters.
func parameters(first, n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = "$" + strconv.Itoa(first+i)
	}
	return strings.Join(names, ", ")
}

// Found binds refs that came by events to the open ingestion, so that its end
// does not remove them.
func (s *Store) Found(ctx context.Context, provider string, refs []string) error {
	return failed("storing the refs of an event", provider, s.database.WriteTx(ctx, func(tx *sql.Tx) error {
		var ingestion string
		err := tx.QueryRowContext(ctx, "SELECT id FROM incremental_ingestion WHERE provider = $1 AND completion_ticket = $2", provider, open).Scan(&ingestion)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		return bind(ctx, tx, provider, ingestion, refs, true)
	}))
}
