//go:build unix

package testdb

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// supervise runs the server as a child and ends it when standard input ends,
// which is when the test binary closes its end of the pipe or dies. It ignores
// the signals of a terminal, because it must outlive the test binary.
const supervise = `
trap '' INT TERM HUP
dir=$1; shift
"$@" </dev/null &
server=$!
cat >/dev/null
kill -INT $server 2>/dev/null
wait $server
cd /
rm -rf "$dir"
`

// settings make the server small, and fast at the expense of what a test
// database does not need: surviving a crash of the machine.
var settings = []string{
	"listen_addresses=", "unix_socket_permissions=0700", "max_connections=300",
	"fsync=off", "synchronous_commit=off", "full_page_writes=off",
	"shared_buffers=32MB", "wal_level=minimal", "max_wal_senders=0",
	"autovacuum_naptime=1h", "log_min_messages=fatal", "jit=off",
}

// hostRules let everybody in who reaches the socket, except members of the
// role "secured", who need their password.
const hostRules = `local all +secured scram-sha-256
local all all trust
`

// keepAlive is the pipe that keeps the server alive.
var keepAlive io.Closer //nolint:unused // it is held, not read

func start(more ...string) (string, error) {
	if dsn := os.Getenv("FLYTOWER_TEST_POSTGRES"); dsn != "" {
		return dsn, nil
	}
	bin, err := findPrograms()
	if err != nil {
		return "", err
	}
	attr, uid, gid, err := unprivileged()
	if err != nil {
		return "", err
	}
	// The name is short because paths of Unix sockets are limited to about 100
	// characters.
	dir, err := os.MkdirTemp("", "ftpg")
	if err != nil {
		return "", err
	}
	fail := func(err error) (string, error) {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		return fail(err)
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr, initdb.Env = dir, attr, environment(dir)
	if out, err := initdb.CombinedOutput(); err != nil {
		return fail(fmt.Errorf("initdb: %w\n%s", err, out))
	}
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(hostRules), 0o600); err != nil {
		return fail(err)
	}
	logPath := filepath.Join(dir, "log")
	log, err := os.Create(logPath)
	if err != nil {
		return fail(err)
	}
	defer log.Close()

	args := []string{"-c", supervise, "sh", dir, filepath.Join(bin, "postgres"), "-D", data, "-k", dir}
	for _, s := range append(slices.Clone(settings), more...) { // the last one of a name counts
		args = append(args, "-c", s)
	}
	server := exec.Command("/bin/sh", args...)
	server.Dir, server.SysProcAttr, server.Env = dir, attr, environment(dir)
	server.Stdout, server.Stderr = log, log
	stdin, err := server.StdinPipe()
	if err != nil {
		return fail(err)
	}
	if err := server.Start(); err != nil {
		return fail(fmt.Errorf("start the supervisor of postgres: %w", err))
	}
	keepAlive = stdin

	dsn := "postgres://postgres@/postgres?host=" + url.QueryEscape(dir) + "&sslmode=disable"
	if err := await(dsn); err != nil {
		text, _ := os.ReadFile(logPath)
		return "", errors.Join(fmt.Errorf("the PostgreSQL server did not start: %w\n%s", err, bytes.TrimSpace(text)), stdin.Close())
	}
	return dsn, nil
}

func await(dsn string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	for {
		if _, err = db.ExecContext(ctx, "CREATE ROLE secured"); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// findPrograms returns the folder that has initdb and postgres.
func findPrograms() (string, error) {
	var candidates []string
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		candidates = append(candidates, filepath.Dir(path))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin", "/usr/local/pgsql/bin",
	} {
		found, _ := filepath.Glob(pattern) // the patterns are well formed
		slices.Reverse(found)              // the newest version first
		candidates = append(candidates, found...)
	}
	for _, dir := range candidates {
		if isFile(filepath.Join(dir, "initdb")) && isFile(filepath.Join(dir, "postgres")) {
			return dir, nil
		}
	}
	return "", errors.New("no PostgreSQL server is installed: install one (Debian: apt-get install postgresql; macOS: brew install postgresql@17) or set FLYTOWER_TEST_POSTGRES to the URL of a server on which the user may create databases")
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// unprivileged returns how to start the server: PostgreSQL refuses to run as
// root, so root lends it to another user.
func unprivileged() (attr *syscall.SysProcAttr, uid, gid int, err error) {
	attr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() != 0 {
		return attr, -1, -1, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 != nil || err2 != nil {
			continue
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: false}
		return attr, uid, gid, nil
	}
	return nil, 0, 0, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it: run the tests as another user")
}

func environment(dir string) []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir, "TZ=UTC", "LC_ALL=C"}
}
