package database

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/flytower/flytower/core"
)

// address tells where the server is, without credentials.
func (s *settings) address() string {
	config, err := s.poolConfig()
	if err != nil {
		return "an unknown address"
	}
	c := config.ConnConfig
	if len(c.Host) > 0 && c.Host[0] == '/' {
		return c.Host
	}
	return net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
}

// target is database and server, for messages.
func (s *settings) target() string {
	if s.database == "" {
		return "the PostgreSQL server at " + s.address()
	}
	return fmt.Sprintf("database %q on the PostgreSQL server at %s", s.database, s.address())
}

// explain turns the failure to get a connection into one line that says where,
// why, and what to do. The cause stays reachable; its text is used only where
// it holds no credentials.
func (s *settings) explain(ctx context.Context, err error) error {
	var known *core.ConfigError
	if errors.As(err, &known) {
		return err
	}
	out := &core.ConfigError{Key: s.key, Position: s.position, Err: err}
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &pg):
		s.explainAnswer(pg, out)
	case errors.As(err, &connect):
		out.Problem = fmt.Sprintf("leads to %s, which cannot be reached (%s)", s.target(), reason(err))
		out.Remedy = "start the server, or correct host, port and ssl"
	case ctx.Err() != nil:
		return err
	case errors.Is(err, context.DeadlineExceeded):
		out.Problem = fmt.Sprintf("leads to %s, for which no connection became free within %v", s.target(), s.acquireTimeout)
		out.Remedy = "look for requests that keep connections for long, or raise backend.database.maxConnections and knexConfig.pool.max"
	default:
		return fmt.Errorf("connect to %s: %w", s.target(), err)
	}
	return out
}

func (s *settings) explainAnswer(pg *pgconn.PgError, out *core.ConfigError) {
	switch pg.Code {
	case "28P01", "28000":
		out.Problem = fmt.Sprintf("leads to %s, which refuses the credentials (%s)", s.target(), pg.Message)
		out.Remedy = "correct user and password"
	case "3D000":
		out.Problem = fmt.Sprintf("leads to %s, which has no such database", s.target())
		out.Remedy = "create it, or set backend.database.ensureExists to true"
	case "53300":
		out.Problem = fmt.Sprintf("leads to %s, which has no connection left", s.target())
		out.Remedy = "lower backend.database.maxConnections, or raise max_connections of the server"
	case "57P03":
		out.Problem = fmt.Sprintf("leads to %s, which is starting or stopping", s.target())
		out.Remedy = "try again"
	default:
		out.Problem = fmt.Sprintf("leads to %s, which answers: %s (%s)", s.target(), pg.Message, pg.Code)
	}
}

// reason is the cause of a failed connection in one line, without what pgx
// adds to it. Where several ways were tried, it is that of the last one.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Error()
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "there was no answer in time"
	}
	text := strings.TrimSpace(rootCause(err).Error())
	text = text[strings.LastIndexByte(text, '\n')+1:]
	if _, after, ok := strings.Cut(text, "): "); ok { // "address (host): "
		text = after
	}
	return text
}
