package database

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// parseConnectionString reads a URL, a "host=… user=…" list, or the path of a
// socket's folder followed by the name of a database. The members that it
// returns are those of the driver of Node. Its errors do not repeat the text,
// which has a password.
func parseConnectionString(text string) (map[string]any, error) {
	switch {
	case strings.HasPrefix(text, "postgres://"), strings.HasPrefix(text, "postgresql://"):
		return parseURL(text)
	case strings.HasPrefix(text, "/"):
		dir, database, _ := strings.Cut(text, " ")
		out := map[string]any{"host": dir}
		if database != "" {
			out["database"] = database
		}
		return out, nil
	case strings.Contains(text, "="):
		return parseList(text)
	}
	return nil, errors.New("is not a connection string")
}

func parseURL(text string) (map[string]any, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is not a valid URL")
	}
	out := map[string]any{}
	set := func(key, value string) {
		if value != "" {
			out[key] = value
		}
	}
	set("host", u.Hostname())
	set("port", u.Port())
	if u.User != nil {
		set("user", u.User.Username())
		password, _ := u.User.Password()
		set("password", password)
	}
	set("database", strings.TrimPrefix(u.Path, "/"))
	for key, values := range u.Query() {
		setParameter(out, key, values[len(values)-1])
	}
	return out, nil
}

// setParameter adds a parameter of a connection string, whose name is that of
// libpq or of the driver of Node.
func setParameter(out map[string]any, key, value string) {
	switch key {
	case "dbname":
		key = "database"
	case "hostaddr":
		key = "host"
	case "connect_timeout":
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			out["connectionTimeoutMillis"] = n * 1000
		}
		return
	}
	out[key] = value
}

// parseList reads key=value pairs; values may stand in single quotes, and a
// backslash escapes.
func parseList(text string) (map[string]any, error) {
	out := map[string]any{}
	rest := strings.TrimSpace(text)
	for rest != "" {
		key, after, ok := strings.Cut(rest, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" || strings.ContainsAny(key, " \t\n'") {
			return nil, errors.New("is not a list of key=value")
		}
		after = strings.TrimLeft(after, " \t\n")
		quoted := strings.HasPrefix(after, "'")
		after = strings.TrimPrefix(after, "'")
		var value strings.Builder
		i := 0
		closed := false
		for i < len(after) && !closed {
			switch c := after[i]; {
			case c == '\\' && i+1 < len(after):
				i++
				value.WriteByte(after[i])
			case quoted && c == '\'', !quoted && strings.IndexByte(" \t\n", c) >= 0:
				closed = true
			default:
				value.WriteByte(c)
			}
			i++
		}
		if quoted && !closed {
			return nil, errors.New("has a quote without end")
		}
		setParameter(out, key, value.String())
		rest = strings.TrimLeft(after[i:], " \t\n")
	}
	return out, nil
}

// member returns a member of the connection; numbers and strings convert.
func member[T string | int](s *settings, name string) (T, error) {
	var zero T
	v, ok := s.connection[name]
	if !ok || v == nil {
		return zero, nil
	}
	text := ""
	switch v := v.(type) {
	case string:
		text = v
	case float64:
		text = strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return zero, s.problem(fmt.Sprintf("has a member %q that is neither a string nor a number", name), "")
	}
	if _, isString := any(zero).(string); isString {
		return any(text).(T), nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return zero, s.problem(fmt.Sprintf("has a member %q that is no whole number", name), "")
	}
	return any(n).(T), nil
}

// ignored members of the connection have no meaning here.
var ignored = []string{"client_encoding", "keepAlive", "keepAliveInitialDelayMillis", "query_timeout", "fallback_application_name", "binary", "parseInputDatesAsUTC", "tokenCredential", "version"}

// runtime parameters are sent to the server as they are.
var runtimeParams = []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "options"}

// tlsMembers configure encryption.
var tlsMembers = []string{"ssl", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslnegotiation", "sslsni", "uselibpqcompat"}

// poolConfig turns the settings into those of pgx. What they leave out comes
// from the variables of the environment that PostgreSQL's own programs read.
func (s *settings) poolConfig() (*pgxpool.Config, error) {
	var pairs []string
	add := func(key, value string) {
		if value != "" {
			pairs = append(pairs, key+"='"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value)+"'")
		}
	}
	for name, key := range map[string]string{"host": "host", "user": "user", "password": "password"} {
		value, err := member[string](s, name)
		if err != nil {
			return nil, err
		}
		add(key, value)
	}
	port, err := member[int](s, "port")
	if err != nil {
		return nil, err
	}
	if port > 0 {
		add("port", strconv.Itoa(port))
	}
	add("dbname", s.database)
	mode, compat := s.connection["sslmode"], s.connection["uselibpqcompat"]
	if mode != nil {
		add("sslmode", sslMode(fmt.Sprint(mode), compat == "true" || compat == true))
	}
	for _, key := range []string{"sslrootcert", "sslcert", "sslkey", "sslpassword", "sslnegotiation", "sslsni"} {
		if v, ok := s.connection[key].(string); ok {
			add(key, v)
		}
	}
	config, err := pgxpool.ParseConfig(strings.Join(pairs, " "))
	if err != nil {
		// pgx would repeat the text, though without the password.
		return nil, s.problem("cannot be used: "+rootCause(err).Error(), "")
	}
	for _, name := range runtimeParams {
		value, err := member[string](s, name)
		if err != nil {
			return nil, err
		}
		if value != "" {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	name, err := member[string](s, "application_name")
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = "backstage_plugin_" + s.plugin
	}
	config.ConnConfig.RuntimeParams["application_name"] = name
	timeout, err := member[int](s, "connectionTimeoutMillis")
	if err != nil {
		return nil, err
	}
	config.ConnConfig.ConnectTimeout = 10 * time.Second
	if timeout > 0 {
		config.ConnConfig.ConnectTimeout = time.Duration(timeout) * time.Millisecond
	}
	if v, ok := s.connection["ssl"]; ok && v != nil {
		if err := s.setTLS(config, v); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// sslMode translates what connection strings say for the driver of Node, which
// verifies the server in every mode that encrypts, unless it is told to do as
// libpq does.
func sslMode(mode string, compat bool) string {
	switch {
	case mode == "no-verify":
		return "require"
	case compat || mode == "disable" || mode == "allow":
		return mode
	case mode == "prefer" || mode == "require" || mode == "verify-ca":
		return "verify-full"
	default:
		return mode
	}
}

// setTLS applies connection.ssl: a boolean, or the options of Node's TLS.
func (s *settings) setTLS(config *pgxpool.Config, v any) error {
	conn := config.ConnConfig
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: conn.Host}
	switch v := v.(type) {
	case bool:
		if !v {
			t = nil
		}
	case string:
		switch v {
		case "true", "1":
		case "false", "0":
			t = nil
		default:
			return s.problem("has a member \"ssl\" that is no boolean and no object", "")
		}
	case map[string]any:
		if err := s.tlsOptions(t, v); err != nil {
			return err
		}
	default:
		return s.problem("has a member \"ssl\" that is no boolean and no object", "")
	}
	conn.TLSConfig = t
	fallbacks := conn.Fallbacks[:0]
	for _, f := range conn.Fallbacks {
		// Fallbacks of the same host are pgx's attempts without encryption.
		if f.Host == conn.Host && f.Port == conn.Port {
			continue
		}
		f.TLSConfig = t
		fallbacks = append(fallbacks, f)
	}
	conn.Fallbacks = fallbacks
	return nil
}

func (s *settings) tlsOptions(t *tls.Config, options map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		switch v := options[name]; name {
		case "ca":
			pool := x509.NewCertPool()
			for _, text := range texts(v) {
				if !pool.AppendCertsFromPEM([]byte(text)) {
					return s.problem("has a member \"ssl.ca\" that is no certificate in PEM form", "use $file to include the certificate's file")
				}
			}
			t.RootCAs = pool
		case "cert", "key":
			if name == "cert" {
				cert, key := texts(v), texts(options["key"])
				if len(cert) != 1 || len(key) != 1 {
					return s.problem("has a member \"ssl.cert\" without \"ssl.key\"", "set both")
				}
				pair, err := tls.X509KeyPair([]byte(cert[0]), []byte(key[0]))
				if err != nil {
					return s.problem("has members \"ssl.cert\" and \"ssl.key\" that do not fit: "+err.Error(), "")
				}
				t.Certificates = []tls.Certificate{pair}
			}
		case "rejectUnauthorized":
			t.InsecureSkipVerify = v == false || v == "false"
		case "servername":
			if name, ok := v.(string); ok {
				t.ServerName = name
			}
		case "require":
		default:
			return s.problem(fmt.Sprintf("has an unknown member \"ssl.%s\"", name), "use ca, cert, key, rejectUnauthorized and servername")
		}
	}
	return nil
}

func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, texts(e)...)
		}
		return out
	}
	return nil
}

// unknownMembers returns the members that nothing reads, to warn about them.
func (s *settings) unknownMembers() []string {
	known := slices.Concat(ignored, runtimeParams, tlsMembers,
		[]string{"host", "port", "user", "password", "database", "application_name", "connectionTimeoutMillis", "type", "directory", "filename"})
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.connection)) {
		if !slices.Contains(known, name) {
			out = append(out, name)
		}
	}
	return out
}

// rootCause is the innermost error.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
