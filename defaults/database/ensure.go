package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/flytower/flytower/core"
)

// ensureDatabase connects to the database, and creates it first if it is not
// there and may be created. The server's database "postgres" is needed only
// for that.
func (s *settings) ensureDatabase(ctx context.Context, pool *pgxpool.Pool, l *limiter, password PasswordSource) error {
	err := ping(ctx, pool)
	var pg *pgconn.PgError
	if err == nil || !s.ensure || s.database == "" || !errors.As(err, &pg) || pg.Code != "3D000" {
		return err
	}
	for attempt := range 3 {
		if attempt > 0 {
			select {
			case <-ctx.Done():
				return errors.Join(err, ctx.Err())
			case <-time.After(100 * time.Millisecond):
			}
		}
		if err = s.createDatabase(ctx, l, password); err == nil {
			return ping(ctx, pool)
		}
		var connect *pgconn.ConnectError
		if errors.As(err, &pg) && pg.Code == "42501" || errors.As(err, &connect) {
			break // neither rights nor a server appear within moments
		}
	}
	return &core.ConfigError{Key: s.key, Position: s.position, Err: err,
		Problem: fmt.Sprintf("leads to %s, which is not there and could not be created (%v)", s.target(), reason(err)),
		Remedy:  "let the user create databases and connect to the database postgres; or create it yourself, and set backend.database.ensureExists to false"}
}

func (s *settings) createDatabase(ctx context.Context, l *limiter, password PasswordSource) error {
	admin := *s
	admin.database, admin.schema = "postgres", ""
	config, err := admin.poolConfig()
	if err != nil {
		return err
	}
	config.ConnConfig.DialFunc = l.dial
	if password != nil {
		if config.ConnConfig.Password, err = password(ctx); err != nil {
			return fmt.Errorf("get the password for a new connection: %w", err)
		}
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return err
	}
	if s.role != "" {
		_, err = conn.Exec(ctx, "SET ROLE "+pgx.Identifier{s.role}.Sanitize())
	}
	if err == nil {
		_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{s.database}.Sanitize())
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "42P04" || pg.Code == "23505") {
		err = nil // another replica was faster
	}
	return errors.Join(err, conn.Close(ctx))
}

// ensureSchema creates the schema of the plugin if it is not there.
func (s *settings) ensureSchema(ctx context.Context, pool *pgxpool.Pool) error {
	if s.schema == "" || !s.ensureSch {
		return nil
	}
	// The session of a plugin names the schema, so it is not used for this.
	conn, err := pool.Acquire(asIs(ctx))
	if err != nil {
		return s.explain(ctx, err)
	}
	defer conn.Release()
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)", s.schema).Scan(&there); err != nil {
		return fmt.Errorf("look for schema %q: %w", s.schema, err)
	}
	if there {
		return nil
	}
	create := "CREATE SCHEMA IF NOT EXISTS " + pgx.Identifier{s.schema}.Sanitize()
	if s.role != "" {
		create += " AUTHORIZATION " + pgx.Identifier{s.role}.Sanitize()
	}
	_, err = conn.Exec(ctx, create)
	var pg *pgconn.PgError
	switch {
	case err == nil, errors.As(err, &pg) && (pg.Code == "42P06" || pg.Code == "23505"):
		return nil
	default:
		return &core.ConfigError{Key: s.key, Position: s.position, Err: err,
			Problem: fmt.Sprintf("leads to %s, where schema %q could not be created (%v)", s.target(), s.schema, reason(err)),
			Remedy:  "let the user create schemas; or create it yourself, and set backend.database.ensureExists to false"}
	}
}

func ping(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(asIs(ctx))
	if err != nil {
		return err
	}
	defer conn.Release()
	return conn.Ping(ctx)
}
