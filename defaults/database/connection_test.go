package database

import (
	"fmt"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
)

func TestConnectionStrings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string]any{
		"postgres://jo:p%40ss@db:5433/things?sslmode=require&application_name=x": {"host": "db", "port": "5433", "user": "jo", "password": "p@ss", "database": "things", "sslmode": "require", "application_name": "x"},
		"postgresql://db":                             {"host": "db"},
		"postgres:///things?host=/run/pg":             {"host": "/run/pg", "database": "things"},
		"postgres://[::1]:5432/":                      {"host": "::1", "port": "5432"},
		"/run/pg things":                              {"host": "/run/pg", "database": "things"},
		`host = db password='it\'s \\' dbname=things`: {"host": "db", "password": `it's \`, "database": "things"},
		"host=db connect_timeout=3":                   {"host": "db", "connectionTimeoutMillis": 3000.0},
		"host":                                        nil,
		"host='db":                                    nil,
		"postgres://db:port/":                         nil,
	} {
		got, err := parseConnectionString(text)
		if (err != nil) != (want == nil) {
			t.Errorf("%s: error %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" && want != nil {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestEncryption(t *testing.T) {
	t.Parallel()
	type outcome struct{ TLS, Verified, Fallback bool }
	for _, test := range []struct {
		connection map[string]any
		want       outcome
	}{
		{map[string]any{}, outcome{TLS: true, Fallback: true}},
		{map[string]any{"ssl": true}, outcome{TLS: true, Verified: true}},
		{map[string]any{"ssl": false}, outcome{}},
		{map[string]any{"ssl": map[string]any{"rejectUnauthorized": false}}, outcome{TLS: true}},
		{map[string]any{"ssl": map[string]any{"servername": "x"}}, outcome{TLS: true, Verified: true}},
		{map[string]any{"sslmode": "require"}, outcome{TLS: true, Verified: true}},
		{map[string]any{"sslmode": "no-verify"}, outcome{TLS: true}},
		{map[string]any{"sslmode": "disable"}, outcome{}},
		{map[string]any{"sslmode": "require", "uselibpqcompat": "true"}, outcome{TLS: true}},
	} {
		test.connection["host"] = "db.example"
		s := settings{plugin: "a", connection: test.connection}
		config, err := s.poolConfig()
		if err != nil {
			t.Errorf("%v: %v", test.connection, err)
			continue
		}
		c := config.ConnConfig
		got := outcome{TLS: c.TLSConfig != nil, Fallback: len(c.Fallbacks) > 0}
		got.Verified = c.TLSConfig != nil && !c.TLSConfig.InsecureSkipVerify
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%v: %s", test.connection, diff)
		}
	}
}

func TestPoolSettings(t *testing.T) {
	t.Parallel()
	s := settings{plugin: "a", database: "it's", connection: map[string]any{
		"host": "db", "port": 5433.0, "password": 1234.0, "statement_timeout": 500.0, "connectionTimeoutMillis": "1500",
	}}
	config, err := s.poolConfig()
	if err != nil {
		t.Fatal(err)
	}
	c := config.ConnConfig
	got := fmt.Sprint(c.Host, c.Port, c.Database, c.Password, c.ConnectTimeout, c.RuntimeParams["statement_timeout"], c.RuntimeParams["application_name"])
	if want := fmt.Sprint("db", 5433, "it's", "1234", 1500*time.Millisecond, "500", "backstage_plugin_a"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What is accepted can be used, and no error repeats the text.
func FuzzConnectionString(f *testing.F) {
	for _, text := range []string{"postgres://u:secret@h:1/d?sslmode=disable", "host=h password='se cret'", "/run d", "a=b\\", "postgres://%"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		connection, err := parseConnectionString(text)
		if err != nil {
			if len(text) > 40 && strings.Contains(err.Error(), text) {
				t.Fatalf("error %q repeats the text", err)
			}
			return
		}
		s := settings{plugin: "a", connection: connection, key: "k"}
		config, err := s.poolConfig()
		if err != nil {
			return
		}
		if host, ok := connection["host"].(string); ok && host != "" && !strings.Contains(host, ",") && config.ConnConfig.Host != host {
			t.Fatalf("host %q became %q", host, config.ConnConfig.Host)
		}
		if password, ok := connection["password"].(string); ok && password != "" && config.ConnConfig.Password != password {
			t.Fatalf("password %q became %q", password, config.ConnConfig.Password)
		}
	})
}

func TestSQLiteIsBuiltWithTheLibraryItWasTestedWith(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{with .Replace}}{{.Version}}{{else}}{{.Version}}{{end}}", sqliteModule, libcModule).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := sqliteVersion + "\n" + libcVersion + "\n"; string(out) != want {
		t.Errorf("versions %q, want %q: take the version of libc that the go.mod of sqlite names, and change both in sqlite.go", out, want)
	}
	info := &debug.BuildInfo{Deps: []*debug.Module{{Path: sqliteModule, Version: sqliteVersion}, {Path: libcModule, Version: "v9.9.9"}}}
	if diff := cmp.Diff([]string{libcModule + " is v9.9.9, tested with " + libcVersion}, untested(info)); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownMembersAreTold(t *testing.T) {
	t.Parallel()
	s := settings{connection: map[string]any{"host": "db", "hots": 1, "type": "x", "keepAlive": true}, dialect: core.PostgreSQL}
	if diff := cmp.Diff([]string{"hots"}, s.unknownMembers()); diff != "" {
		t.Error(diff)
	}
}
