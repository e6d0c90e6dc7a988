package tasks

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// Limits bound how many tasks of a template run at once, in all instances. A
// task whose lease has ended does not count. 0 is no limit.
type Limits struct {
	// Each is the limit of every template that has none of its own.
	Each int
	// Template are limits by the refs of templates.
	Template map[string]int
}

func (l Limits) of(template string) int {
	if n, ok := l.Template[template]; ok {
		return n
	}
	return l.Each
}

func (l Limits) any() bool { return l.Each > 0 || len(l.Template) > 0 }

// Claim is the right to run a task.
type Claim struct {
	Task
	// Template is the ref of the task's template; it may be empty.
	Template string
	// Secrets are sealed.
	Secrets string
	// Cancelled says that the task was cancelled before it was claimed.
	Cancelled bool
	// Since is a time, by the clock of this process, from which on the lease
	// surely lasts.
	Since time.Time
	// Ran is how long ago the first run of the task began.
	Ran time.Duration

	number  int64
	written int64 // entries, which only one goroutine at a time writes
}

// waiting is a template with open tasks.
type waiting struct {
	template string
	running  int
}

// Claim takes an open task; nil if there is none that may run now. Templates
// take turns: of those with open tasks, the one with the fewest running ones,
// and of those the one that waited longest for its turn, gives its oldest. So
// no template makes the others wait until all of its tasks have run.
func (s *Store) Claim(ctx context.Context, lease time.Duration) (*Claim, error) {
	turns, err := s.turns(ctx)
	if err != nil {
		return nil, err
	}
	for _, next := range turns {
		limit := s.Limits.of(next.template)
		if limit > 0 && next.running >= limit {
			continue
		}
		c, err := s.claim(ctx, next.template, limit, lease)
		if c != nil || err != nil {
			return c, err
		}
	}
	return nil, nil
}

// turns returns the templates with open tasks in the order of their turns.
func (s *Store) turns(ctx context.Context) ([]waiting, error) {
	db, err := s.db.DB(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, `SELECT o.template, COALESCE(r.running, 0) AS running
		FROM (SELECT template, MIN(created_at) AS oldest FROM scaffolder_task WHERE status = 'open' GROUP BY template) o
		LEFT JOIN (SELECT template, COUNT(*) AS running FROM scaffolder_task WHERE status = 'processing' AND lease_until > `+s.now()+` GROUP BY template) r ON r.template = o.template
		LEFT JOIN scaffolder_template_turn t ON t.template = o.template
		ORDER BY running, COALESCE(t.claimed_at, 0), o.oldest, o.template`)
	if err != nil {
		return nil, fmt.Errorf("look for open tasks: %w", err)
	}
	defer rows.Close()
	var turns []waiting
	for rows.Next() {
		var w waiting
		if err := rows.Scan(&w.template, &w.running); err != nil {
			return nil, fmt.Errorf("look for open tasks: %w", err)
		}
		turns = append(turns, w)
	}
	return turns, rows.Err()
}

// claim takes the oldest open task of a template.
func (s *Store) claim(ctx context.Context, template string, limit int, lease time.Duration) (c *Claim, err error) {
	since := time.Now()
	err = s.write(ctx, "claim a task", func(tx *sql.Tx) error {
		c = nil
		if limit > 0 {
			if full, err := s.full(ctx, tx, template, limit); err != nil || full {
				return err
			}
		}
		found := &Claim{Template: template, Since: since}
		var spec string
		var by, secrets sql.NullString
		var created, beat, ran int64
		err := tx.QueryRowContext(ctx, s.text(`UPDATE scaffolder_task SET status = 'processing', claim = claim + 1, written = 0,
				heartbeat_at = `+s.now()+`, lease_until = `+s.now()+` + ?, started_at = COALESCE(started_at, `+s.now()+`)
			WHERE id = (SELECT id FROM scaffolder_task WHERE status = 'open' AND template = ? ORDER BY created_at, id LIMIT 1`+s.lock(" SKIP LOCKED")+`)
			RETURNING id, spec, status, created_by, created_at, heartbeat_at, secrets, cancelled, claim, heartbeat_at - started_at`), lease.Milliseconds(), template).
			Scan(&found.ID, &spec, &found.Status, &by, &created, &beat, &secrets, &found.Cancelled, &found.number, &ran)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.text(`INSERT INTO scaffolder_template_turn (template, claimed_at) VALUES (?, `+s.now()+`)
			ON CONFLICT (template) DO UPDATE SET claimed_at = excluded.claimed_at`), template); err != nil {
			return err
		}
		found.Spec, found.CreatedBy, found.Secrets = json.RawMessage(spec), by.String, secrets.String
		found.CreatedAt, found.LastHeartbeat, found.Ran = time.UnixMilli(created), time.UnixMilli(beat), max(0, time.Duration(ran)*time.Millisecond)
		c = found
		return nil
	})
	if err != nil {
		return nil, err
	}
	if c != nil {
		s.change(Change{ID: c.ID, Spec: c.Spec, Status: string(scaffoldercommon.TaskProcessing), CreatedBy: c.CreatedBy, CreatedAt: c.CreatedAt, LastHeartbeat: c.LastHeartbeat})
	}
	return c, nil
}

// full reports whether a template has as many running tasks as it may. Only
// one transaction at a time asks for a template, until it is committed.
func (s *Store) full(ctx context.Context, tx *sql.Tx, template string, limit int) (bool, error) {
	if _, err := tx.ExecContext(ctx, s.text(`INSERT INTO scaffolder_template_turn (template, claimed_at) VALUES (?, 0) ON CONFLICT (template) DO NOTHING`), template); err != nil {
		return false, err
	}
	var one, running int
	if err := tx.QueryRowContext(ctx, s.text(`SELECT 1 FROM scaffolder_template_turn WHERE template = ?`+s.lock("")), template).Scan(&one); err != nil {
		return false, err
	}
	err := tx.QueryRowContext(ctx, s.text(`SELECT COUNT(*) FROM scaffolder_task WHERE status = 'processing' AND template = ? AND lease_until > `+s.now()), template).Scan(&running)
	return running >= limit, err
}

// maxRecovered is how many tasks are recovered in one transaction.
const maxRecovered = 100

// Recover opens tasks whose run did not extend its lease in time, and returns
// how many.
func (s *Store) Recover(ctx context.Context) (n int, err error) {
	for {
		some, err := s.recover(ctx)
		if n += some; err != nil || some < maxRecovered {
			return n, err
		}
	}
}

func (s *Store) recover(ctx context.Context) (int, error) {
	var changes []Change
	err := s.write(ctx, "open tasks again whose instance went away", func(tx *sql.Tx) error {
		changes = nil
		rows, err := tx.QueryContext(ctx, s.text(`UPDATE scaffolder_task SET status = 'open', lease_until = NULL, heartbeat_at = `+s.now()+`
			WHERE id IN (SELECT id FROM scaffolder_task WHERE status = 'processing' AND lease_until < `+s.now()+` ORDER BY created_at, id LIMIT ?`+s.lock(" SKIP LOCKED")+`)
			RETURNING id, spec`), maxRecovered)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			c := Change{Status: string(scaffoldercommon.EventRecovered)}
			var spec string
			if err := rows.Scan(&c.TaskID, &spec); err != nil {
				return err
			}
			c.Body = &scaffoldercommon.EventBody{RecoverStrategy: strategy(json.RawMessage(spec))}
			changes = append(changes, c)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for i := range changes {
			c := &changes[i]
			if c.EventID, err = s.insert(ctx, tx, c.TaskID, scaffoldercommon.EventRecovered, *c.Body); err != nil {
				return err
			}
		}
		if len(changes) == 0 {
			return nil
		}
		return s.notify(ctx, tx, "")
	})
	if err != nil {
		return 0, err
	}
	for _, c := range changes {
		s.follow.tell(c.TaskID)
		s.change(c)
	}
	if len(changes) > 0 {
		s.wake()
	}
	return len(changes), nil
}

// NextExpiry returns how long it takes until the first lease ends, unless it
// is extended; ok is false if there is none.
func (s *Store) NextExpiry(ctx context.Context) (left time.Duration, ok bool, err error) {
	db, err := s.db.DB(ctx)
	if err != nil {
		return 0, false, err
	}
	var ms sql.NullInt64
	if err := db.QueryRowContext(ctx, `SELECT MIN(lease_until) - `+s.now()+` FROM scaffolder_task WHERE status = 'processing'`).Scan(&ms); err != nil {
		return 0, false, fmt.Errorf("look for the next lease that ends: %w", err)
	}
	return time.Duration(ms.Int64) * time.Millisecond, ms.Valid, nil
}

func strategy(spec json.RawMessage) scaffoldercommon.RecoveryStrategy {
	var s scaffoldercommon.TaskSpec
	if json.Unmarshal(spec, &s) == nil && s.Recoverable() {
		return scaffoldercommon.RecoverStartOver
	}
	return scaffoldercommon.RecoverNone
}
