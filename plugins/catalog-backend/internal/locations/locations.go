// Package locations holds the entity providers that the catalog has without
// any module: the locations of the configuration, and those that users
// registered.
package locations

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/api"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/engine"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Registered keeps the locations that users registered, and hands them in.
// It implements [api.Locations] and [catalognode.EntityProvider].
type Registered struct {
	database core.DatabaseService
	// Invalidate makes the entity with a ref be read anew.
	invalidate func(ctx context.Context, ref string) error
	// DryRun processes an entity and all that it leads to.
	dryRun func(ctx context.Context, e catalogcommon.Entity) ([]json.RawMessage, error)

	reactions *SCMReactions // nil for none

	mu         sync.Mutex
	connection engine.Transactional
	cancel     func() // of the subscription to events of source hosts
}

// NewRegistered returns the store.
func NewRegistered(database core.DatabaseService, invalidate func(context.Context, string) error,
	dryRun func(context.Context, catalogcommon.Entity) ([]json.RawMessage, error),
) *Registered {
	return &Registered{database: database, invalidate: invalidate, dryRun: dryRun}
}

// ProviderName implements [catalognode.EntityProvider].
func (*Registered) ProviderName() string { return "DefaultLocationStore" }

// Connect hands in all registered locations.
func (s *Registered) Connect(ctx context.Context, c catalognode.ProviderConnection) error {
	transactional, ok := c.(engine.Transactional)
	if !ok {
		return fmt.Errorf("a connection of type %T has no transactions to keep locations in", c)
	}
	s.mu.Lock()
	s.connection = transactional
	s.mu.Unlock()
	// The locations are read behind what other replicas are changing, and
	// before what they change next: else a location that is unregistered right
	// now would come back.
	err := s.change(ctx, func(t *sql.Tx, handed func() ([]string, error)) (catalognode.Delta, error) {
		var d catalognode.Delta
		if s.database.Dialect() == core.PostgreSQL {
			if _, err := t.ExecContext(ctx, "LOCK TABLE location IN SHARE ROW EXCLUSIVE MODE"); err != nil {
				return d, err
			}
		}
		b := s.build()
		b.Write("SELECT ", columns, " FROM location ORDER BY id")
		all, err := scan(ctx, t, b)
		if err != nil {
			return d, err
		}
		stale := map[string]bool{}
		refs, err := handed()
		if err != nil {
			return d, err
		}
		for _, ref := range refs {
			stale[ref] = true
		}
		for _, l := range all {
			d.Added = append(d.Added, deferred(l.Type, l.Target))
			delete(stale, entityRef(l.Type, l.Target))
		}
		d.Removed = slices.Sorted(maps.Keys(stale))
		return d, nil
	})
	if err == nil {
		s.follow()
	}
	return err
}

func deferred(typ, target string) catalognode.DeferredEntity {
	location := catalogcommon.LocationRef{Type: typ, Target: target}
	return catalognode.DeferredEntity{Entity: engine.LocationEntity(location, false), LocationKey: location.String()}
}

func entityRef(typ, target string) string {
	location := catalogcommon.LocationRef{Type: typ, Target: target}
	return catalogcommon.Ref{Kind: "location", Namespace: "default", Name: location.EntityName()}.String()
}

// change writes a change of locations down and hands it in, both or neither.
func (s *Registered) change(ctx context.Context, find func(t *sql.Tx, handed func() ([]string, error)) (catalognode.Delta, error)) error {
	s.mu.Lock()
	c := s.connection
	s.mu.Unlock()
	if c == nil {
		return apierr.ServiceUnavailable("the location store is not connected to the catalog; DefaultLocationStore was replaced or is disabled")
	}
	_, err := c.ApplyFound(ctx, find)
	return err
}

const columns = "id, type, target, entity_ref"

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func scan(ctx context.Context, q querier, b *sqltext.Builder) (out []api.Location, err error) {
	rows, err := q.QueryContext(ctx, b.String(), b.Args()...)
	if err != nil {
		return nil, fmt.Errorf("reading locations: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var l api.Location
		if err := rows.Scan(&l.ID, &l.Type, &l.Target, &l.EntityRef); err != nil {
			return nil, fmt.Errorf("reading locations: %w", err)
		}
		out = append(out, l)
	}
	return out, rows.Err()
}

func (s *Registered) scan(ctx context.Context, b *sqltext.Builder) ([]api.Location, error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return nil, err
	}
	return scan(ctx, db, b)
}

func (s *Registered) build() *sqltext.Builder { return sqltext.New(s.database.Dialect()) }

// List implements [api.Locations].
func (s *Registered) List(ctx context.Context) ([]api.Location, error) {
	b := s.build()
	b.Write("SELECT ", columns, " FROM location ORDER BY id")
	return s.scan(ctx, b)
}

// Count returns how many locations are registered.
func (s *Registered) Count(ctx context.Context) (n int64, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM location").Scan(&n)
	return n, err
}

// ByID implements [api.Locations].
func (s *Registered) ByID(ctx context.Context, id string) (api.Location, error) {
	b := s.build()
	b.Write("SELECT ", columns, " FROM location WHERE id = ", b.Arg(id))
	return s.one(ctx, b, "Found no location with ID %s", id)
}

// ByTarget implements [api.Locations].
func (s *Registered) ByTarget(ctx context.Context, typ, target string) (api.Location, error) {
	b := s.build()
	b.Write("SELECT ", columns, " FROM location WHERE type = ", b.Arg(typ), " AND target = ", b.Arg(target))
	return s.one(ctx, b, "Found no location with type %s and target %s", typ, target)
}

func (s *Registered) one(ctx context.Context, b *sqltext.Builder, missing string, args ...any) (api.Location, error) {
	found, err := s.scan(ctx, b)
	if err != nil {
		return api.Location{}, err
	}
	if len(found) == 0 {
		return api.Location{}, apierr.NotFound(missing, args...)
	}
	return found[0], nil
}

// Create implements [api.Locations].
func (s *Registered) Create(ctx context.Context, typ, target string, refresh bool) (api.Location, error) {
	l := api.Location{ID: uuid.NewString(), Type: typ, Target: target, EntityRef: entityRef(typ, target)}
	created := false
	err := s.change(ctx, func(t *sql.Tx, _ func() ([]string, error)) (d catalognode.Delta, err error) {
		b := s.build()
		b.Write("INSERT INTO location (", columns, ") VALUES ", b.Row(l.ID, l.Type, l.Target, l.EntityRef), " ON CONFLICT (type, target) DO NOTHING")
		if created, err = touched(t.ExecContext(ctx, b.String(), b.Args()...)); created {
			d.Added = []catalognode.DeferredEntity{deferred(typ, target)}
		}
		return d, err
	})
	if err != nil {
		return l, fmt.Errorf("registering location %s:%s: %w", typ, target, err)
	}
	if created {
		return l, nil
	}
	if !refresh {
		return l, apierr.Conflict("Location %s:%s already exists", typ, target)
	}
	if l, err = s.ByTarget(ctx, typ, target); err != nil {
		return l, err
	}
	return l, s.invalidate(ctx, l.EntityRef)
}

// Update implements [api.Locations].
func (s *Registered) Update(ctx context.Context, id, typ, target string) (api.Location, error) {
	old, err := s.ByID(ctx, id)
	if err != nil {
		return api.Location{}, err
	}
	other, err := s.ByTarget(ctx, typ, target)
	if err == nil && other.ID != id {
		return api.Location{}, apierr.Conflict("Location %s:%s already exists", typ, target)
	}
	if err != nil && apierr.KindOf(err) != apierr.KindNotFound {
		return api.Location{}, err
	}
	now := api.Location{ID: id, Type: typ, Target: target, EntityRef: old.EntityRef}
	if old.Type == typ && old.Target == target {
		return now, nil
	}
	found := false
	err = s.change(ctx, func(t *sql.Tx, _ func() ([]string, error)) (d catalognode.Delta, err error) {
		b := s.build()
		b.Write("UPDATE location SET type = ", b.Arg(typ), ", target = ", b.Arg(target), " WHERE id = ", b.Arg(id),
			" AND type = ", b.Arg(old.Type), " AND target = ", b.Arg(old.Target))
		if found, err = touched(t.ExecContext(ctx, b.String(), b.Args()...)); found {
			d.Added = []catalognode.DeferredEntity{deferred(typ, target)}
			d.Removed = []string{entityRef(old.Type, old.Target)}
		}
		return d, err
	})
	if core.IsUniqueViolation(err) { // registered meanwhile
		return now, apierr.Conflict("Location %s:%s already exists", typ, target)
	}
	if err != nil {
		return now, fmt.Errorf("changing location %s: %w", id, err)
	}
	if !found {
		return now, apierr.Conflict("Location %s was changed by somebody else at the same time; look at it again", id)
	}
	return now, nil
}

// Delete implements [api.Locations].
func (s *Registered) Delete(ctx context.Context, id string) error {
	found := false
	err := s.change(ctx, func(t *sql.Tx, _ func() ([]string, error)) (d catalognode.Delta, err error) {
		b := s.build()
		b.Write("DELETE FROM location WHERE id = ", b.Arg(id), " RETURNING ", columns)
		old, err := scan(ctx, t, b)
		found = len(old) > 0
		for _, l := range old {
			d.Removed = append(d.Removed, entityRef(l.Type, l.Target))
		}
		return d, err
	})
	if err != nil {
		return fmt.Errorf("unregistering location %s: %w", id, err)
	}
	if !found {
		return missing(id)
	}
	return nil
}

func missing(id string) error { return apierr.NotFound("Found no location with ID %s", id) }

// touched reports whether a statement changed a row.
func touched(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// DryRun implements [api.Locations].
func (s *Registered) DryRun(ctx context.Context, typ, target string) (api.Location, bool, []json.RawMessage, error) {
	l := api.Location{ID: typ + ":" + target, Type: typ, Target: target, EntityRef: entityRef(typ, target)}
	exists := true
	if _, err := s.ByTarget(ctx, typ, target); apierr.KindOf(err) == apierr.KindNotFound {
		exists = false
	} else if err != nil {
		return l, false, nil, err
	}
	entities, err := s.dryRun(ctx, deferred(typ, target).Entity)
	return l, exists, entities, err
}

// Query implements [api.Locations]. There are few locations, so they are
// filtered here.
func (s *Registered) Query(ctx context.Context, q api.LocationQuery) ([]api.Location, int, error) {
	all, err := s.List(ctx)
	if err != nil {
		return nil, 0, err
	}
	matching := slices.DeleteFunc(all, func(l api.Location) bool { return !holds(q.Filter, l) })
	var page []api.Location
	for _, l := range matching {
		if l.ID > q.AfterID && len(page) < q.Limit {
			page = append(page, l)
		}
	}
	return page, len(matching), nil
}

func holds(p query.Predicate, l api.Location) bool {
	value := func(key string) string {
		return strings.ToLower(map[string]string{"id": l.ID, "type": l.Type, "target": l.Target, "entityref": l.EntityRef}[key])
	}
	switch p := p.(type) {
	case nil:
		return true
	case query.All:
		// Unlike for entities, of no condition nothing follows.
		return len(p) > 0 && !slices.ContainsFunc(p, func(m query.Predicate) bool { return !holds(m, l) })
	case query.Any:
		return slices.ContainsFunc(p, func(m query.Predicate) bool { return holds(m, l) })
	case query.Not:
		return !holds(p.Predicate, l)
	case query.In:
		return slices.Contains(p.Values, value(p.Key))
	case query.HasPrefix:
		return strings.HasPrefix(value(p.Key), p.Prefix)
	default: // Exists
		return true
	}
}
