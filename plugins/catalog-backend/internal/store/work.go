package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// Work is an entity that is due.
type Work struct {
	ID          int64
	UID, Ref    string
	Lane        int
	Unprocessed string
	Hash        string // of Unprocessed
	LocationKey string
	Cache       string // JSON, or empty
	ResultHash  string
	// Waited is how long it was due.
	Waited time.Duration

	dueAt int64
}

// Claim takes up to limit entities that are due, most urgent first, and holds
// them for the lease: a claim that is not settled by then is anybody's again.
func (s *Store) Claim(ctx context.Context, limit int, lease time.Duration) ([]Work, error) {
	return s.ClaimUrgent(ctx, LanePeriodic, limit, lease)
}

// ClaimUrgent is Claim for what is in the lane or in a more urgent one.
func (s *Store) ClaimUrgent(ctx context.Context, lane, limit int, lease time.Duration) ([]Work, error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return nil, err
	}
	now := s.now()
	// Most polls find nothing, and need no transaction for that.
	b := sqltext.New(s.database.Dialect())
	b.Write("SELECT 1 FROM entity_due WHERE ", dueNow(lane, now), " LIMIT 1")
	any := false
	if err := each(ctx, db, b, func(*sql.Rows) error { any = true; return nil }); err != nil || !any {
		return nil, err
	}
	var work []Work
	err = s.transaction(ctx, func(t *tx) error {
		work, err = t.claim(lane, limit, lease)
		return err
	})
	return work, err
}

// dueNow holds for rows of the queue that may be claimed.
func dueNow(lane int, now int64) string {
	return "lane <= " + sqltext.ID(int64(lane)) + " AND next_at <= " + sqltext.ID(now) + " AND lease_until <= " + sqltext.ID(now)
}

func (t *tx) claim(lane, limit int, lease time.Duration) ([]Work, error) {
	b := t.build()
	b.Write("UPDATE entity_due SET holder = ", sqltext.ID(t.store.holder), ", lease_until = ", sqltext.ID(t.now+lease.Milliseconds()), " WHERE entity_id IN (",
		"SELECT entity_id FROM entity_due WHERE ", dueNow(lane, t.now), " ORDER BY lane, next_at LIMIT ", sqltext.ID(int64(limit)))
	if t.postgres() {
		b.Write(" FOR UPDATE SKIP LOCKED")
	}
	b.Write(") RETURNING entity_id, lane, next_at")
	type claim struct {
		lane int
		at   int64
	}
	claims := map[int64]claim{}
	err := t.each(b, func(rows *sql.Rows) error {
		var id int64
		var c claim
		err := rows.Scan(&id, &c.lane, &c.at)
		claims[id] = c
		return err
	})
	if err != nil || len(claims) == 0 {
		return nil, err
	}
	ids := make([]int64, 0, len(claims))
	for id := range claims {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	b = t.build()
	b.Write("SELECT id, uid, ref, unprocessed, unprocessed_hash, COALESCE(location_key, ''), COALESCE(cache, ''), COALESCE(result_hash, '') FROM entity WHERE id ", b.AnyID(ids))
	work := make([]Work, 0, len(ids))
	err = t.each(b, func(rows *sql.Rows) error {
		var w Work
		err := rows.Scan(&w.ID, &w.UID, &w.Ref, &w.Unprocessed, &w.Hash, &w.LocationKey, &w.Cache, &w.ResultHash)
		c := claims[w.ID]
		w.Lane, w.Waited, w.dueAt = c.lane, time.Duration(t.now-c.at)*time.Millisecond, c.at
		work = append(work, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(work) < len(ids) {
		// Somebody made an entity due that was removed at the same moment.
		for _, w := range work {
			delete(claims, w.ID)
		}
		if err := t.forIDs("DELETE FROM entity_due WHERE entity_id", slices.Collect(maps.Keys(claims)), ""); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(work, func(a, b Work) int { return a.Lane - b.Lane })
	return work, nil
}

// Renew extends the claims of entities.
func (s *Store) Renew(ctx context.Context, ids []int64, lease time.Duration) error {
	return s.setLease(ctx, ids, s.now()+lease.Milliseconds())
}

// Release gives claims back: the entities are due for anybody at once.
func (s *Store) Release(ctx context.Context, ids []int64) error { return s.setLease(ctx, ids, 0) }

// Postpone gives a claim back that is to be taken again after a while.
func (s *Store) Postpone(ctx context.Context, id int64, delay time.Duration) error {
	return s.setLease(ctx, []int64{id}, s.now()+delay.Milliseconds())
}

func (s *Store) setLease(ctx context.Context, ids []int64, until int64) error {
	return s.transaction(ctx, func(t *tx) error {
		b := t.build()
		b.Write("UPDATE entity_due SET lease_until = ", sqltext.ID(until), " WHERE entity_id IN (SELECT entity_id FROM entity_due WHERE ", t.held(""), " AND entity_id ", b.AnyID(ids))
		if t.postgres() {
			b.Write(" ORDER BY entity_id FOR UPDATE SKIP LOCKED") // what is being settled needs no lease
		}
		b.Write(")")
		_, err := t.exec(b)
		return err
	})
}

// Backlog tells how much work waits.
type Backlog struct {
	Due, Dirty int
	// Oldest is how long the oldest due entity has waited.
	Oldest time.Duration
}

// Backlog returns how much work waits.
func (s *Store) Backlog(ctx context.Context) (out Backlog, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return out, err
	}
	now := s.now()
	var oldest sql.NullInt64
	err = db.QueryRowContext(ctx, "SELECT count(*), min(next_at), (SELECT count(*) FROM entity_dirty) FROM entity_due WHERE next_at <= "+sqltext.ID(now)).
		Scan(&out.Due, &oldest, &out.Dirty)
	if oldest.Valid {
		out.Oldest = time.Duration(now-oldest.Int64) * time.Millisecond
	}
	return out, err
}
