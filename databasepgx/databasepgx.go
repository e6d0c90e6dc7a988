// Package databasepgx gives a plugin the pgx pool of its database, for what
// only PostgreSQL can do: COPY, LISTEN, batches.
//
//	pgx := databasepgx.Ref.From(env)
//	…
//	if db().Dialect() == core.PostgreSQL {
//		pool, err := pgx().Pool(ctx)
//		…
//	}
//
// The connections of the pool count towards backend.database.maxConnections
// like all others, for as long as they are taken.
package databasepgx

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Service has the pool of a plugin.
type Service interface {
	// Pool returns the pool, always the same. The first call creates the
	// database or schema where the configuration says so. It is an error if
	// the plugin's database is not PostgreSQL. The backend closes the pool
	// after the plugin has stopped; every connection must be back by then.
	Pool(ctx context.Context) (*pgxpool.Pool, error)
}

// Ref is the service of [Service].
var Ref = backend.NewServiceRef[Service]("flytower.databasePgx").WithDefault(
	func(ref backend.ServiceRef[Service]) backend.ServiceFactory {
		return backend.NewServiceFactory(ref, func(env *backend.FactoryEnv) backend.MakeFunc[Service] {
			db := core.Database.From(env)
			return func(context.Context) (Service, error) { return service{db()}, nil }
		})
	})

type service struct{ db core.DatabaseService }

func (s service) Pool(ctx context.Context) (*pgxpool.Pool, error) { return Pool(ctx, s.db) }

// Pool returns the pool below db.
func Pool(ctx context.Context, db core.DatabaseService) (*pgxpool.Pool, error) {
	p, ok := db.(interface {
		PgxPool(context.Context) (*pgxpool.Pool, error)
	})
	if !ok {
		return nil, errors.New("the installed implementation of core.database has no pool of pgx: give it a method PgxPool(context.Context) (*pgxpool.Pool, error)")
	}
	return p.PgxPool(ctx)
}
