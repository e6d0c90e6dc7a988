package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/flytower/flytower/internal/testdb"
)

var update = flag.Bool("update", false, "write the golden messages anew")

// secret stands in many of the wrong configurations; no output may have it.
const secret = "hunter2-do-not-print"

// situation is something that keeps a backend from starting.
type situation struct {
	name    string
	added   string
	command []string // default: run
	config  string   // app-config.yaml
	files   map[string]string
	code    int
	// starts says that the backend starts all the same; it is stopped when it
	// is ready.
	starts bool
	// prepare makes what the configuration needs and returns values for its
	// ${…}, whose texts are masked in the message.
	prepare func(t *testing.T) map[string]string
}

func listen(rest string) string {
	return "backend:\n  baseUrl: http://localhost:7007\n  listen: {host: 127.0.0.1, port: 0}\n" + strings.TrimLeft(rest, "\n")
}

const pgConnection = `
  database:
    client: pg
    pluginDivisionMode: schema
    connection:
      host: ${PGHOST}
      user: ${PGUSER}
      password: ` + secret + `
      database: ${PGDATABASE}
`

var situations = []situation{
	{name: "broken-yaml", config: "backend:\n  baseUrl: [\n  listen: 7007\n", code: 1},
	{name: "not-an-object", config: "- backend\n", code: 1},
	{name: "unknown-key-check", command: []string{"check"}, config: listen(inMemory + "  databse: {client: pg}\n"), code: 1},
	{name: "unknown-key-run", config: listen(inMemory + "  databse: {client: pg}\n"), starts: true},
	{name: "wrong-type", config: listen("  database: 7\n"), code: 1},
	{name: "wrong-type-check", command: []string{"check"}, config: listen("  database: 7\n"), code: 1},
	{name: "wrong-value", config: listen("  database: {client: mysql, connection: {password: " + secret + "}}\n"), code: 1},
	{name: "missing-include", config: listen("  auth: {$include: nope.yaml}\n"), code: 1},
	{name: "include-cycle", config: listen("  auth: {$include: a.yaml}\n"), files: map[string]string{"a.yaml": "externalAccess: {$include: b.yaml}\n", "b.yaml": "$include: a.yaml\n"}, code: 1},
	{name: "missing-file-value", config: listen("  auth:\n    externalAccess:\n      - type: static\n        options: {subject: ci, token: {$file: token.txt}}\n"), code: 1},
	{name: "missing-environment", config: listen(inMemory + "  auth:\n    externalAccess:\n      - type: static\n        options: {subject: ci, token: '${E2E_UNSET_TOKEN}'}\n"), code: 1},
	{name: "missing-environment-of-database", config: listen("  database:\n    client: pg\n    connection: {host: '${E2E_UNSET_HOST}', user: u, password: " + secret + "}\n"), code: 1},
	{name: "port-in-use", config: listen(inMemory), code: 1, prepare: func(t *testing.T) map[string]string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() }) // nothing was written
		return map[string]string{"APP_CONFIG_backend_listen_port": fmt.Sprint(l.Addr().(*net.TCPAddr).Port)}
	}},
	{name: "port-in-use-of-file", config: "backend:\n  baseUrl: http://localhost:7007\n  listen: '127.0.0.1:${PORT}'\n" + inMemory, code: 1, prepare: func(t *testing.T) map[string]string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() }) // nothing was written
		return map[string]string{"PORT": fmt.Sprint(l.Addr().(*net.TCPAddr).Port)}
	}},
	{name: "invalid-listen", config: "backend:\n  baseUrl: http://localhost:7007\n  listen: {host: 127.0.0.1, port: 70070}\n" + inMemory, code: 1},
	{name: "postgres-unreachable", config: listen("  database:\n    client: pg\n    connection: {host: 127.0.0.1, port: 1, user: u, password: " + secret + "}\n"), code: 1},
	{name: "postgres-silent", config: listen("  database:\n    client: pg\n    connection: {host: 127.0.0.1, port: '${PORT}', connectionTimeoutMillis: 2000, user: u, password: " + secret + "}\n"), code: 1, prepare: func(t *testing.T) map[string]string {
		l, err := net.Listen("tcp", "127.0.0.1:0") // the system accepts, nobody answers
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() }) // nothing was written
		return map[string]string{"PORT": fmt.Sprint(l.Addr().(*net.TCPAddr).Port)}
	}},
	{name: "postgres-wrong-password", config: listen(pgConnection), code: 1, prepare: func(t *testing.T) map[string]string {
		return restricted(t, "a-very-different-password", "IN ROLE secured")
	}},
	{name: "postgres-may-not-create-database", config: strings.Replace(listen(pgConnection), "    pluginDivisionMode: schema\n", "", 1), code: 1, prepare: func(t *testing.T) map[string]string {
		return restricted(t, secret, "")
	}},
	{name: "postgres-may-not-create-schema", config: listen(pgConnection), code: 1, prepare: func(t *testing.T) map[string]string {
		return restricted(t, secret, "")
	}},
	{name: "duplicate-plugin", added: "duplicate", config: listen(inMemory), code: 2},
	{name: "duplicate-plugin-check", added: "duplicate", command: []string{"check"}, config: listen(inMemory), code: 1},
	{name: "plugins-typo", command: []string{"run", "--plugins", "catalgo"}, config: listen(inMemory), code: 2},
	{name: "missing-config-file", command: []string{"run", "--config", "missing.yaml"}, code: 1},
	{name: "unknown-flag", command: []string{"run", "--confg", "x.yaml"}, code: 64},
	{name: "wrong-certificate", config: listen(inMemory + "  https:\n    certificate:\n      cert: nonsense\n      key: " + secret + "\n"), code: 1},
	{name: "missing-certificate-file", config: listen(inMemory + "  https:\n    certificate:\n      cert: {$file: cert.pem}\n      key: {$file: key.pem}\n"), code: 1},
	{name: "module-config", config: listen(inMemory + "catalog:\n  rules: [{allow: Component}]\n"), code: 1},
}

// restricted creates a role that may log in and nothing else, and the database
// that it is pointed to.
func restricted(t *testing.T, password, options string) map[string]string {
	t.Helper()
	server, err := url.Parse(testdb.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	name := "e2e_" + strings.TrimPrefix(server.Path, "/test_")[:12]
	administer := func(ctx context.Context, statement string) error {
		conn, err := pgx.Connect(ctx, server.String())
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, statement)
		return errors.Join(err, conn.Close(ctx))
	}
	if err := administer(t.Context(), fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s' %s`, name, password, options)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := administer(context.Background(), "DROP ROLE "+name); err != nil {
			t.Errorf("drop the role of the test: %v", err)
		}
	})
	return map[string]string{"PGHOST": server.Query().Get("host"), "PGUSER": name, "PGDATABASE": strings.TrimPrefix(server.Path, "/")}
}

// Whatever keeps a backend from starting, the operator reads one message on
// the standard error (of check: on the standard output) that names the file
// and line or the key, and what to do; no stack trace, no secret.
func TestMessages(t *testing.T) {
	t.Parallel()
	for _, s := range situations {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			var env []string
			mask := map[string]string{}
			if s.prepare != nil {
				for name, value := range s.prepare(t) {
					env = append(env, name+"="+value)
					mask[value] = name
				}
			}
			if s.command == nil {
				// Some plugins, so that a new one changes no message.
				s.command = []string{"run", "--plugins", "catalog,gateway"}
			}
			p := execute(t, setup{added: s.added, config: s.config, files: s.files, env: env}, s.command)
			if s.starts {
				p.ready()
				p.stop()
			}
			code := p.wait()
			if code != s.code {
				t.Errorf("exit code %d, want %d", code, s.code)
			}
			message := p.stderr.String()
			if s.command[0] == "check" {
				message = p.stdout.String()
			}
			for _, e := range p.log() {
				if text := e.text("message"); s.starts && strings.Contains(text, "config key") {
					message += e.text("level") + ": " + text + "\n"
				}
			}
			everything := p.stdout.String() + p.stderr.String()
			for _, bad := range []string{secret, "goroutine ", "panic:", ".go:1\n", "runtime."} {
				if strings.Contains(everything, bad) {
					t.Errorf("the output contains %q:\n%s", bad, everything)
				}
			}
			mask[p.dir] = "DIR"
			compareGolden(t, s.name, maskText(message, mask))
		})
	}
}

// masks hide what changes with every run, and with every plugin that the
// standard backend gets.
var masks = []struct {
	re  *regexp.Regexp
	new string
}{
	{regexp.MustCompile(`(127\.0\.0\.1|localhost):\d{4,5}\b`), "$1:<port>"},
	{regexp.MustCompile(`\.go:\d+`), ".go:<line>"},
	{regexp.MustCompile(`(?m)^\d+ plugins?, .*: `), "<counts>: "},
	{regexp.MustCompile(`nstalled are .*`), "nstalled are <plugins>"},
}

func maskText(text string, mask map[string]string) string {
	for value, name := range mask {
		text = strings.ReplaceAll(text, value, "<"+name+">")
	}
	for _, m := range masks {
		text = m.re.ReplaceAllString(text, m.new)
	}
	return text
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "messages", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("want:\n%s\ngot:\n%s", want, got)
	}
}
