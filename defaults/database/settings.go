package database

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"time"

	"github.com/flytower/flytower/core"
)

const section = "backend.database"

// settings are what the configuration says about the database of a plugin.
type settings struct {
	plugin  string
	dialect core.Dialect
	// key and position tell where the connection is configured.
	key      string
	position core.Position

	// connection has the members of the driver of Node, for PostgreSQL.
	connection map[string]any
	database   string // to use; "" is the server's default
	schema     string // "" unless plugins are divided by schema
	role       string
	ensure     bool // create the database
	ensureSch  bool // create the schema

	maxConns       int
	acquireTimeout time.Duration
	idleTimeout    time.Duration

	file string // of SQLite, or memory

	skipMigrations bool
}

const memory = ":memory:"

var schemaForm = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// reader reads a value for a plugin: its own, or else that of all plugins.
type reader struct {
	base, own core.Config
}

// at returns the level that has the key.
func (r reader) at(key string) core.Config {
	if r.own.Has(key) {
		return r.own
	}
	return r.base
}

func readSettings(cfg core.Config, plugin string) (settings, error) {
	s := settings{plugin: plugin, key: section, position: cfg.Position(section)}
	if !cfg.Has(section) {
		s.dialect, s.file = core.SQLite, memory
		return s, nil
	}
	base := cfg.Sub(section)
	r := reader{base: base, own: base.Sub("plugin." + plugin)}
	var err error
	if s.skipMigrations, err = r.at("skipMigrations").BoolOr("skipMigrations", false); err != nil {
		return s, err
	}
	baseClient, err := base.StringOr("client", "")
	if err != nil {
		return s, err
	}
	client, err := r.own.StringOr("client", baseClient)
	if err != nil {
		return s, err
	}
	at := r.at("client")
	switch client {
	case "pg":
		s.dialect = core.PostgreSQL
	case "better-sqlite3", "sqlite3":
		s.dialect = core.SQLite
	case "":
		return s, &core.ConfigError{Key: base.Path("client"), Position: cfg.Position(section), Problem: "is missing", Remedy: "set it to pg or better-sqlite3"}
	default:
		return s, &core.ConfigError{Key: at.Path("client"), Position: at.Position("client"), Problem: fmt.Sprintf("names an unknown database %q", client), Remedy: "use pg or better-sqlite3"}
	}
	schemaMode, err := divisionMode(base)
	if err != nil {
		return s, err
	}
	s.connection, err = effectiveConnection(r, s.dialect, client == baseClient, schemaMode, &s)
	if err != nil {
		return s, err
	}
	if s.dialect == core.SQLite {
		if schemaMode && client == baseClient {
			return s, &core.ConfigError{Key: base.Path("pluginDivisionMode"), Position: base.Position("pluginDivisionMode"), Problem: "is schema, which SQLite does not have", Remedy: "remove it"}
		}
		return s, s.readFile(r)
	}
	return s, s.readPostgres(r, schemaMode)
}

func divisionMode(base core.Config) (schema bool, err error) {
	mode, err := base.StringOr("pluginDivisionMode", "database")
	if err != nil {
		return false, err
	}
	switch mode {
	case "database":
		return false, nil
	case "schema":
		return true, nil
	}
	return false, &core.ConfigError{Key: base.Path("pluginDivisionMode"), Position: base.Position("pluginDivisionMode"), Problem: fmt.Sprintf("must be database or schema, found %q", mode)}
}

// effectiveConnection lays the connection of the plugin over that of all
// plugins, member by member, unless they are of different databases.
func effectiveConnection(r reader, dialect core.Dialect, sameClient, schemaMode bool, s *settings) (map[string]any, error) {
	out := map[string]any{}
	if sameClient {
		if v, ok := r.base.Value("connection"); ok {
			s.key, s.position = r.base.Path("connection"), r.base.Position("connection")
			m, err := connectionObject(v, dialect, s)
			if err != nil {
				return nil, err
			}
			if f, ok := m["filename"].(string); dialect == core.SQLite && ok && f != memory {
				return nil, s.problem("must not name a file, since every plugin needs one of its own", "set connection.directory instead")
			}
			maps.Copy(out, m)
			if !schemaMode {
				delete(out, "database")
			}
		}
	}
	if v, ok := r.own.Value("connection"); ok {
		s.key, s.position = r.own.Path("connection"), r.own.Position("connection")
		m, err := connectionObject(v, dialect, s)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, m)
	}
	if len(out) == 0 && dialect == core.SQLite {
		return nil, &core.ConfigError{Key: r.base.Path("connection"), Position: r.at("client").Position("client"), Problem: "is missing", Remedy: "set it to ':memory:' or {directory: ./data}"}
	}
	return out, nil
}

// connectionObject returns the members of a connection. Strings are secret, so
// they never become part of an error.
func connectionObject(v any, dialect core.Dialect, s *settings) (map[string]any, error) {
	switch v := v.(type) {
	case map[string]any:
		text, ok := v["connectionString"].(string)
		if !ok || dialect != core.PostgreSQL {
			return v, nil
		}
		parsed, err := parseConnectionString(text)
		if err != nil {
			return nil, s.problem(err.Error(), "write it like postgres://user:password@host:5432/database")
		}
		out := maps.Clone(v)
		delete(out, "connectionString")
		maps.Copy(out, parsed)
		return out, nil
	case string:
		if dialect == core.SQLite {
			return map[string]any{"filename": v}, nil
		}
		parsed, err := parseConnectionString(v)
		if err != nil {
			return nil, s.problem(err.Error(), "write it like postgres://user:password@host:5432/database, or as an object")
		}
		return parsed, nil
	default:
		return nil, s.problem("must be a string or an object", "")
	}
}

func (s *settings) problem(problem, remedy string) *core.ConfigError {
	return &core.ConfigError{Key: s.key, Position: s.position, Problem: problem, Remedy: remedy}
}

func (s *settings) readFile(r reader) error {
	name, _ := s.connection["filename"].(string)
	if name == memory {
		s.file = memory
		return nil
	}
	directory, _ := s.connection["directory"].(string)
	switch {
	case name == "" && directory == "":
		return s.problem("says neither where the files are nor that they are in memory", "set it to ':memory:' or {directory: ./data}")
	case name == "":
		name = s.plugin + ".sqlite"
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(directory, name)
	}
	s.file = name
	return nil
}

func (s *settings) readPostgres(r reader, schemaMode bool) error {
	prefix, err := r.base.StringOr("prefix", "backstage_plugin_")
	if err != nil {
		return err
	}
	if s.database, err = member[string](s, "database"); err != nil {
		return err
	}
	if s.role, err = r.at("role").StringOr("role", ""); err != nil {
		return err
	}
	if s.ensure, err = r.at("ensureExists").BoolOr("ensureExists", true); err != nil {
		return err
	}
	if schemaMode {
		if err := s.readSchema(r); err != nil {
			return err
		}
	} else if s.database == "" {
		s.database = prefix + s.plugin
	}
	pool := func(name string, absent int) (int, error) {
		key := "knexConfig.pool." + name
		at := r.at(key)
		n, err := at.IntOr(key, absent)
		if err == nil && n < 1 {
			err = &core.ConfigError{Key: at.Path(key), Position: at.Position(key), Problem: "must be at least 1"}
		}
		return n, err
	}
	if s.maxConns, err = pool("max", 10); err != nil {
		return err
	}
	acquire, err := pool("acquireTimeoutMillis", 60_000)
	if err != nil {
		return err
	}
	idle, err := pool("idleTimeoutMillis", 30_000)
	if err != nil {
		return err
	}
	s.acquireTimeout, s.idleTimeout = time.Duration(acquire)*time.Millisecond, time.Duration(idle)*time.Millisecond
	return nil
}

func (s *settings) readSchema(r reader) error {
	prefix, err := r.base.StringOr("schemaPrefix", "")
	if err != nil {
		return err
	}
	if prefix != "" && !schemaForm.MatchString(prefix) {
		return &core.ConfigError{Key: r.base.Path("schemaPrefix"), Position: r.base.Position("schemaPrefix"), Problem: "must have letters, digits and underscores only, and not begin with a digit"}
	}
	s.schema = prefix + s.plugin
	if len(s.schema) > 63 {
		return &core.ConfigError{Key: r.base.Path("schemaPrefix"), Position: r.base.Position("schemaPrefix"), Problem: fmt.Sprintf("makes the schema name %q longer than the 63 bytes of PostgreSQL", s.schema), Remedy: "shorten it"}
	}
	ensure, err := r.at("ensureSchemaExists").BoolOr("ensureSchemaExists", false)
	s.ensureSch = ensure || s.ensure
	return err
}

// maxConnections reads the bound of all pools together.
func maxConnections(cfg core.Config) (int, error) {
	key := section + ".maxConnections"
	n, err := cfg.IntOr(key, 30)
	if err == nil && n < 1 {
		err = &core.ConfigError{Key: key, Position: cfg.Position(key), Problem: "must be at least 1"}
	}
	return n, err
}
