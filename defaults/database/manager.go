package database

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/flytower/flytower/core"
)

// minHealthCheck bounds how often a pool looks for idle connections to close.
const minHealthCheck = 100 * time.Millisecond

// PasswordSource returns the password for a new connection. It is called for
// every connection, so short-lived tokens work; it should keep them while they
// are good.
type PasswordSource func(ctx context.Context) (string, error)

// Manager opens the databases of plugins.
type Manager struct {
	cfg     core.Config
	log     *slog.Logger
	options options
	limiter *limiter
	// versions has the modules below SQLite checked once.
	versions sync.Once

	mu       sync.Mutex
	services map[string]*service
	shared   map[string]*sharedPool // by what the plugins' connections have in common
	pools    []*pgxpool.Pool        // to close
	closed   bool
}

// sharedPool is the pool of the plugins that are divided by schema.
type sharedPool struct {
	turn chan struct{}
	pool *pgxpool.Pool // guarded by turn
}

type options struct {
	passwords map[string]func(connection core.Config) (PasswordSource, error)
	waited    func(time.Duration)
}

// Option changes what [NewManager] and [NewFactory] do.
type Option func(*options)

// WithPasswordSource adds a value of connection.type: connections of that type
// get their passwords from the source that open makes of the connection's
// configuration. Cloud providers' tokens are added with it.
func WithPasswordSource(connectionType string, open func(connection core.Config) (PasswordSource, error)) Option {
	return func(o *options) { o.passwords[connectionType] = open }
}

// WithWaitObserver calls waited with the time that each use of a PostgreSQL
// connection had to wait in line for one of backend.database.maxConnections
// places; mostly that is zero. It must be fast.
func WithWaitObserver(waited func(time.Duration)) Option {
	return func(o *options) {
		before := o.waited
		o.waited = func(d time.Duration) { before(d); waited(d) }
	}
}

// NewManager reads backend.database. Nothing is opened before it is needed.
func NewManager(cfg core.Config, log *slog.Logger, opts ...Option) (*Manager, error) {
	m := &Manager{cfg: cfg, log: log, services: map[string]*service{}, shared: map[string]*sharedPool{}}
	m.options = options{passwords: map[string]func(core.Config) (PasswordSource, error){}, waited: func(time.Duration) {}}
	for _, o := range opts {
		o(&m.options)
	}
	most, err := maxConnections(cfg)
	if err != nil {
		return nil, err
	}
	m.limiter = newLimiter(most, m.options.waited)
	return m, nil
}

// For returns the database of a plugin, always the same. A wrong configuration
// is an error; a server that cannot be reached is one of the service's DB.
func (m *Manager) For(plugin string, log *slog.Logger) (core.DatabaseService, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.services[plugin]; ok {
		return s, nil
	}
	st, err := readSettings(m.cfg, plugin)
	if err != nil {
		return nil, err
	}
	password, err := m.passwordSource(&st)
	if err != nil {
		return nil, err
	}
	if st.dialect == core.PostgreSQL {
		if _, err := st.poolConfig(); err != nil {
			return nil, err
		}
	}
	if unknown := st.unknownMembers(); len(unknown) > 0 {
		log.Warn("ignoring members of the database connection that have no meaning here", "key", st.key, "members", unknown)
	}
	s := newService(st.dialect, log, func(ctx context.Context) (*handle, error) {
		if st.dialect == core.SQLite {
			return m.openFile(ctx, &st)
		}
		return m.openServer(ctx, &st, password)
	})
	s.skip = st.skipMigrations
	if st.dialect == core.PostgreSQL {
		s.pgx = func(ctx context.Context) (*pgxpool.Pool, error) { return m.ownPool(ctx, &st, password) }
	}
	if m.closed {
		s.close()
	}
	m.services[plugin] = s
	return s, nil
}

func (m *Manager) passwordSource(st *settings) (PasswordSource, error) {
	if st.dialect != core.PostgreSQL {
		return nil, nil
	}
	kind, err := member[string](st, "type")
	if err != nil || kind == "" || kind == "default" {
		return nil, err
	}
	open, ok := m.options.passwords[kind]
	if !ok {
		return nil, st.problem(fmt.Sprintf("has the type %q, for which no source of passwords is installed", kind),
			"add one with database.WithPasswordSource, or use a password")
	}
	return open(m.cfg.Sub(st.key))
}

func (m *Manager) openFile(ctx context.Context, st *settings) (*handle, error) {
	m.versions.Do(func() {
		if info, ok := debug.ReadBuildInfo(); ok {
			if found := untested(info); len(found) > 0 {
				m.log.WarnContext(ctx, "the program was built with modules that SQLite was not tested with: pin them in go.mod", "modules", found)
			}
		}
	})
	db, keep, err := openSQLite(ctx, st)
	if err != nil {
		return nil, err
	}
	return &handle{db: db, close: func() {
		if keep != nil {
			_ = keep.Close() // nothing of a database in memory can be lost any more
		}
		if err := db.Close(); err != nil {
			m.log.Warn("could not close a database", "file", st.file, "error", err)
		}
	}}, nil
}

func (st *settings) session() session {
	return session{schema: st.schema, role: st.role, application: st.applicationName()}
}

func (st *settings) applicationName() string {
	if name, err := member[string](st, "application_name"); err == nil && name != "" {
		return name
	}
	return "backstage_plugin_" + st.plugin
}

func (m *Manager) openServer(ctx context.Context, st *settings, password PasswordSource) (*handle, error) {
	pool, err := m.poolFor(ctx, st, password)
	if err != nil {
		return nil, err
	}
	if err := st.ensureSchema(ctx, pool); err != nil {
		return nil, err
	}
	db := openDB(pool, st, st.session())
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close() // it has no connection
		return nil, err
	}
	h := &handle{db: db, close: func() { _ = db.Close() }} // the pool has the connections
	if st.schema == "" {
		h.pool = pool
	}
	return h, nil
}

// poolFor returns the pool below the handle of a plugin, after it has made the
// database: one of its own, or the one that plugins divided by schema share if
// their connections are equal.
func (m *Manager) poolFor(ctx context.Context, st *settings, password PasswordSource) (*pgxpool.Pool, error) {
	shared := &sharedPool{turn: make(chan struct{}, 1)}
	most := st.maxConns
	if st.schema != "" {
		key, err := st.fingerprint()
		if err != nil {
			return nil, err
		}
		most = m.limiter.max
		m.mu.Lock()
		if known, ok := m.shared[key]; ok {
			shared = known
		}
		m.shared[key] = shared
		m.mu.Unlock()
	}
	select {
	case shared.turn <- struct{}{}:
		defer func() { <-shared.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if shared.pool != nil {
		return shared.pool, nil
	}
	pool, err := newPool(context.WithoutCancel(ctx), st, m.limiter, st.session(), password, most)
	if err != nil {
		return nil, err
	}
	if err := st.ensureDatabase(ctx, pool, m.limiter, password); err != nil {
		m.limiter.remove(pool)
		pool.Close()
		return nil, st.explain(ctx, err)
	}
	if err := m.own(pool); err != nil {
		return nil, err
	}
	shared.pool = pool
	return pool, nil
}

// ownPool makes a pool for pgx that only one plugin uses: in a shared pool pgx
// would not know whose schema to use.
func (m *Manager) ownPool(ctx context.Context, st *settings, password PasswordSource) (*pgxpool.Pool, error) {
	pool, err := newPool(context.WithoutCancel(ctx), st, m.limiter, st.session(), password, st.maxConns)
	if err != nil {
		return nil, err
	}
	return pool, m.own(pool)
}

func (m *Manager) own(pool *pgxpool.Pool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		m.limiter.remove(pool)
		pool.Close()
		return ErrClosed
	}
	m.pools = append(m.pools, pool)
	return nil
}

// fingerprint is equal for connections that may be shared. It is a hash, since
// the connection has the password.
func (st *settings) fingerprint() (string, error) {
	config, err := st.poolConfig()
	if err != nil {
		return "", err
	}
	c := config.ConnConfig
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, c.Host, "\x00", c.Port, "\x00", c.User, "\x00", c.Password, "\x00", c.Database, "\x00",
		st.connection["ssl"], "\x00", st.connection["sslmode"], "\x00", st.connection["type"], "\x00", c.RuntimeParams["options"]))), nil
}

// Close closes all databases. It waits for connections that are in use until
// ctx ends.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	services, pools := maps.Clone(m.services), m.pools
	m.pools = nil
	m.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, s := range services {
			s.close()
		}
		for _, p := range pools {
			m.limiter.remove(p)
			p.Close()
		}
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close the databases: connections are still in use: %w", ctx.Err())
	}
}
