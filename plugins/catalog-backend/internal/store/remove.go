package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// openDoomed makes the empty table of entities that are about to be removed.
func (t *tx) openDoomed() error {
	const create = "CREATE TEMP TABLE doomed (id bigint PRIMARY KEY)"
	if t.postgres() {
		return t.run("DROP TABLE IF EXISTS pg_temp.doomed", create+" ON COMMIT DROP")
	}
	return t.run("DROP TABLE IF EXISTS temp.doomed", create)
}

// notDoomed holds for a column with the id of an entity that stays. (NOT IN
// would become a list that is searched for each row.)
func notDoomed(column string) string {
	return "NOT EXISTS (SELECT 1 FROM doomed x WHERE x.id = " + column + ")"
}

// release takes the edges of a provider to the entities of a query away, and
// removes the entities, with everything that only they led to. Loops of
// entities that emit each other do not keep each other.
func (t *tx) release(provider, targets string, args ...any) (removed int64, err error) {
	if err := t.openDoomed(); err != nil {
		return 0, err
	}
	if _, err := t.ExecContext(t.ctx, "INSERT INTO doomed (id) "+targets, args...); err != nil {
		return 0, err
	}
	b := t.build()
	b.Write("DELETE FROM provider_edge WHERE provider = ", b.Arg(provider), " AND target_id IN (SELECT id FROM doomed)")
	n, err := t.exec(b)
	if err != nil || n == 0 {
		return 0, err
	}
	if err := t.analyze("doomed", int(n)); err != nil {
		return 0, err
	}
	// Where others hand the entity in as well, it was perhaps the text of this
	// provider that counted: theirs counts as changed.
	if err := t.run("UPDATE provider_edge SET hash = '' WHERE hash <> '' AND target_id IN (SELECT id FROM doomed)"); err != nil {
		return 0, err
	}
	if err := t.emitAnew("SELECT parent_id FROM entity_edge WHERE target_id IN (SELECT id FROM doomed)"); err != nil {
		return 0, err
	}
	return t.removeUnreachable()
}

// removeUnreachable extends the doomed entities by all that they lead to,
// spares what something else leads to as well, and removes the rest.
func (t *tx) removeUnreachable() (int64, error) {
	// Who is locked emits nothing any more. Without that, what a worker saves
	// for one of them at this moment would be left behind.
	for {
		if _, err := t.lockEntities("e.id IN (SELECT id FROM doomed)"); err != nil {
			return 0, err
		}
		result, err := t.ExecContext(t.ctx, "INSERT INTO doomed (id) WITH RECURSIVE below(id) AS (SELECT id FROM doomed UNION SELECT g.target_id FROM entity_edge g JOIN below b ON g.parent_id = b.id)"+
			" SELECT b.id FROM below b WHERE "+notDoomed("b.id"))
		if err != nil {
			return 0, err
		}
		if n, err := result.RowsAffected(); err != nil {
			return 0, err
		} else if n == 0 {
			break
		}
	}
	err := t.run(
		"DELETE FROM doomed WHERE id IN (WITH RECURSIVE spared(id) AS (" +
			"SELECT d.id FROM doomed d WHERE EXISTS (SELECT 1 FROM provider_edge p WHERE p.target_id = d.id)" +
			" OR EXISTS (SELECT 1 FROM entity_edge g WHERE g.target_id = d.id AND " + notDoomed("g.parent_id") + ")" +
			" UNION SELECT g.target_id FROM entity_edge g JOIN spared s ON g.parent_id = s.id" +
			") SELECT id FROM spared)",
	)
	if err != nil {
		return 0, err
	}
	return t.removeDoomed()
}

// removeDoomed removes the doomed entities, has the entities that are related
// to them built anew, and takes up claims that they stood in the way of. The
// doomed entities must be locked.
func (t *tx) removeDoomed() (int64, error) {
	const doomed = "(SELECT id FROM doomed)"
	b := t.build()
	b.Write("SELECT ref FROM entity WHERE id IN ", doomed, " AND EXISTS (SELECT 1 FROM entity_claim c WHERE c.ref = entity.ref)")
	err := t.each(b, func(rows *sql.Rows) error {
		var ref string
		err := rows.Scan(&ref)
		t.freed = append(t.freed, ref)
		return err
	})
	if err != nil {
		return 0, err
	}
	left := " AND " + notDoomed("g.target_id")
	if err := t.emitAnew("SELECT o.parent_id FROM entity_edge g JOIN entity_edge o ON o.target_id = g.target_id WHERE g.parent_id IN " + doomed +
		left + " AND " + notDoomed("o.parent_id")); err != nil {
		return 0, err
	}
	err = t.run(
		// Relations that others have to what is gone stay.
		"INSERT INTO entity_dirty (entity_id, since) SELECT e.id, "+sqltext.ID(t.now)+" FROM entity e WHERE e.ref IN (SELECT r.source_ref FROM relation r WHERE r.origin_id IN "+doomed+") AND "+notDoomed("e.id"),
		"INSERT INTO entity_change (entity_id, deleted) SELECT id, "+t.build().Bool(true)+" FROM entity WHERE final IS NOT NULL AND id IN "+doomed,
		"INSERT INTO orphan_candidate (entity_id, since) SELECT DISTINCT g.target_id, "+sqltext.ID(t.now)+" FROM entity_edge g WHERE g.parent_id IN "+doomed+left+
			" ORDER BY g.target_id ON CONFLICT (entity_id) DO NOTHING",
		"INSERT INTO entity_dirty (entity_id, since) SELECT DISTINCT g.target_id, "+sqltext.ID(t.now)+" FROM entity_edge g WHERE g.parent_id IN "+doomed+left,
		// This waits for who is writing the rows of one of them.
		"DELETE FROM search_behind WHERE entity_id IN "+doomed,
		"DELETE FROM entity_search WHERE entity_id IN "+doomed,
		"DELETE FROM relation WHERE origin_id IN "+doomed,
		"DELETE FROM refresh_key WHERE entity_id IN "+doomed,
		"DELETE FROM entity_due WHERE entity_id IN "+doomed,
		"DELETE FROM orphan_candidate WHERE entity_id IN "+doomed,
		"DELETE FROM provider_edge WHERE target_id IN "+doomed,
		"DELETE FROM entity_edge WHERE target_id IN "+doomed,
		"DELETE FROM entity_edge WHERE parent_id IN "+doomed,
		"DELETE FROM entity_claim WHERE parent_id IN "+doomed,
		"DELETE FROM entity_twice WHERE parent_id IN "+doomed,
	)
	if err != nil {
		return 0, err
	}
	result, err := t.ExecContext(t.ctx, "DELETE FROM entity WHERE id IN "+doomed)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// emitAnew has the entities of a query, which emit others, do that again.
func (t *tx) emitAnew(parents string) error {
	if _, err := t.lockEntities("e.id IN (" + parents + ")"); err != nil {
		return err
	}
	// Without its result hash a parent takes nothing for unchanged.
	b := t.build()
	b.Write("UPDATE entity SET result_hash = '' WHERE id IN (", parents, ") RETURNING id")
	ids, err := t.ids(b)
	if err != nil || len(ids) == 0 {
		return err
	}
	return t.due(ids, LaneNew, t.now)
}

// promote takes up what was refused for the sake of entities that are gone,
// at the end of the transaction: what the transaction itself hands in goes
// first.
func (t *tx) promote() error {
	if len(t.freed) == 0 {
		return nil
	}
	if err := t.openStage(); err != nil {
		return err
	}
	for _, ref := range t.freed {
		if err := t.stageClaims(ref); err != nil {
			return err
		}
	}
	_, err := t.merge(LaneNew)
	return err
}

// Delete removes the entity with the uid, whoever hands it in; those who do
// are processed again, so that it comes back if its source still has it. It
// reports whether there was one.
func (s *Store) Delete(ctx context.Context, uid string) (found bool, err error) {
	err = s.write(ctx, func(t *tx) error {
		b := t.build()
		b.Write("SELECT id FROM entity WHERE uid = ", b.Arg(uid))
		ids, err := t.ids(b)
		found = len(ids) > 0
		if err != nil || !found {
			return err
		}
		if err := t.emitAnew("SELECT parent_id FROM entity_edge WHERE target_id = " + sqltext.ID(ids[0])); err != nil {
			return err
		}
		if err := t.openDoomed(); err != nil {
			return err
		}
		if _, err := t.ExecContext(t.ctx, "INSERT INTO doomed (id) VALUES ("+sqltext.ID(ids[0])+")"); err != nil {
			return err
		}
		if _, err := t.lockEntities("e.id IN (SELECT id FROM doomed)"); err != nil {
			return err
		}
		_, err = t.removeDoomed()
		return err
	})
	return found && err == nil, err
}

// RemoveOrphans removes entities that nobody hands in any more, if they became
// such before a while ago, with everything that only they led to. Only
// candidates are looked at, so an idle catalog costs nothing. Entities that
// emit each other do not keep each other.
func (s *Store) RemoveOrphans(ctx context.Context, age time.Duration) (removed int64, err error) {
	err = s.write(ctx, func(t *tx) error {
		removed = 0
		before := sqltext.ID(t.now - age.Milliseconds())
		if err := t.openDoomed(); err != nil {
			return err
		}
		err := t.run(
			"INSERT INTO doomed (id) SELECT c.entity_id FROM orphan_candidate c WHERE c.since <= "+before+
				" AND NOT EXISTS (SELECT 1 FROM provider_edge p WHERE p.target_id = c.entity_id)",
			"DELETE FROM orphan_candidate WHERE since <= "+before,
		)
		if err != nil {
			return err
		}
		removed, err = t.removeUnreachable()
		return err
	})
	return removed, err
}

// Providers returns the names of all providers that hold entities.
func (s *Store) Providers(ctx context.Context) ([]string, error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return nil, err
	}
	b := sqltext.New(s.database.Dialect())
	b.Write("SELECT DISTINCT provider FROM provider_edge ORDER BY provider")
	var out []string
	err = each(ctx, db, b, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		out = append(out, name)
		return err
	})
	return out, err
}
