package testdb_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/internal/testdb"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestEachGivesEveryTestADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	for range 3 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *testdb.Database) {
				if _, err := db.DB.ExecContext(t.Context(), "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)"); err != nil {
					t.Fatal(err)
				}
				if _, err := db.DB.ExecContext(t.Context(), "INSERT INTO things (id, name) VALUES (1, 'one')"); err != nil {
					t.Fatal(err)
				}
				var n int
				if err := db.DB.QueryRowContext(t.Context(), "SELECT count(*) FROM things").Scan(&n); err != nil || n != 1 {
					t.Errorf("%d rows, %v; want 1", n, err)
				}
			})
		})
	}
}

// The test runs itself once more as the process that is killed.
func TestServerEndsWithAKilledTestBinary(t *testing.T) {
	t.Parallel()
	const role = "FLYTOWER_TESTDB_VICTIM"
	if os.Getenv(role) != "" {
		os.Stdout.WriteString("server " + testdb.PostgresServer(t) + "\n")
		select {}
	}
	victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServerEndsWithAKilledTestBinary$")
	victim.Env = append(os.Environ(), role+"=1", "FLYTOWER_TEST_POSTGRES=")
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var server string
	for lines := bufio.NewScanner(out); server == "" && lines.Scan(); {
		server, _ = strings.CutPrefix(lines.Text(), "server ")
		if server == lines.Text() {
			server = ""
		}
	}
	config, err := pgx.ParseConfig(server)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(config.Host, "data")); err != nil {
		t.Fatalf("before the kill: %v", err)
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // it was killed
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(config.Host); os.IsNotExist(err) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", config.Host)
		}
	}
}
