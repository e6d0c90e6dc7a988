package database

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	_ "modernc.org/sqlite" // the driver named sqlite
)

// The handle of a SQLite database has few connections: each has a cache of its
// own (2 MB), and only readers run side by side.
const sqliteConns = 4

// openSQLite opens a file, and makes it and its folder if need be; or a new
// database in memory, which lasts as long as the returned connection.
func openSQLite(ctx context.Context, s *settings) (*sql.DB, *sql.Conn, error) {
	options := "?_txlock=immediate&_time_format=sqlite&_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)&_pragma=cache_size(-2000)"
	var dsn string
	if s.file == memory {
		// A name that begins with a slash is shared by the connections of this
		// process, and by nobody who does not know it.
		dsn = "file:/" + rand.Text() + options + "&vfs=memdb"
	} else {
		if err := os.MkdirAll(filepath.Dir(s.file), 0o700); err != nil {
			return nil, nil, s.problem(fmt.Sprintf("leads to the folder %s, which cannot be made (%v)", filepath.Dir(s.file), rootCause(err)), "choose a folder where this process may write")
		}
		dsn = "file:" + (&url.URL{Path: filepath.ToSlash(s.file)}).EscapedPath() + options +
			"&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=journal_size_limit(16777216)"
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", s.file, err)
	}
	db.SetMaxOpenConns(sqliteConns)
	db.SetMaxIdleConns(2)
	db.SetConnMaxIdleTime(time.Minute)
	var keep *sql.Conn
	if s.file == memory {
		db.SetMaxOpenConns(sqliteConns + 1)
		keep, err = db.Conn(context.WithoutCancel(ctx))
	}
	if err == nil {
		err = db.PingContext(ctx)
	}
	if err != nil {
		_ = db.Close() // the first error counts
		return nil, nil, s.problem(fmt.Sprintf("leads to the file %s, which cannot be opened (%v)", s.file, err), "choose a folder where this process may write")
	}
	return db, keep, nil
}

// The library that translates C for SQLite does not follow semantic
// versioning: SQLite works with the version that its go.mod names, and with
// no other for sure.
const (
	sqliteModule, sqliteVersion = "modernc.org/sqlite", "v1.60.1"
	libcModule, libcVersion     = "modernc.org/libc", "v1.77.1"
)

// untested returns the modules of the program that differ from those that
// SQLite was tested with.
func untested(info *debug.BuildInfo) []string {
	want := map[string]string{sqliteModule: sqliteVersion, libcModule: libcVersion}
	var out []string
	for _, m := range info.Deps {
		path := m.Path
		if m.Replace != nil {
			m = m.Replace
		}
		if version, ok := want[path]; ok && version != m.Version {
			out = append(out, fmt.Sprintf("%s is %s, tested with %s", path, m.Version, version))
		}
	}
	return out
}
