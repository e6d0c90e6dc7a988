package migrate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/flytower/flytower/core"
)

// step is a file of migrations.
type step struct {
	name       string // file name without .sql
	file       string // path in the file system of the migrations
	checksum   string
	statements []statement
}

var fileForm = regexp.MustCompile(`^[0-9]{4,}_[a-z0-9_-]+\.sql$`)

// load reads the steps of a dialect in order.
func load(files fs.FS, dialect core.Dialect) ([]step, error) {
	if files == nil {
		return nil, errors.New("the migrations have no files: set core.Migrations.FS")
	}
	entries, err := fs.ReadDir(files, string(dialect))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the migrations have no folder %q: put the steps of this database there, and use fs.Sub if the folder lies deeper", dialect)
	}
	if err != nil {
		return nil, fmt.Errorf("list the migrations: %w", err)
	}
	var steps []step
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".sql") {
			continue
		}
		path := string(dialect) + "/" + e.Name()
		if !fileForm.MatchString(e.Name()) {
			return nil, fmt.Errorf("migration %s: the name must be like 0001_what.sql", path)
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", path, err)
		}
		s, err := parse(path, e.Name(), string(text))
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	slices.SortFunc(steps, func(a, b step) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(steps); i++ {
		if number(steps[i].name) == number(steps[i-1].name) {
			return nil, fmt.Errorf("migrations %s and %s have the same number", steps[i-1].file, steps[i].file)
		}
	}
	return steps, nil
}

func number(name string) string {
	n, _, _ := strings.Cut(name, "_")
	return n
}

func parse(path, file, text string) (step, error) {
	// A checkout on Windows must not look like an edit.
	text = strings.ReplaceAll(text, "\r\n", "\n")
	sum := sha256.Sum256([]byte(text))
	s := step{name: strings.TrimSuffix(file, ".sql"), file: path, checksum: hex.EncodeToString(sum[:])}
	var err error
	if s.statements, err = split(text); err != nil {
		return step{}, fmt.Errorf("migration %s: %w", path, err)
	}
	if len(s.statements) == 0 {
		return step{}, fmt.Errorf("migration %s has no statement", path)
	}
	for _, st := range s.statements {
		switch word := strings.ToUpper(firstWord(st.text)); word {
		case "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE":
			return step{}, fmt.Errorf("migration %s, line %d: %s is not allowed: the step runs in a transaction of its own", path, st.line, word)
		}
	}
	return s, nil
}

// lineOffset returns how many lines into the statement the database saw the
// error; 0 where it does not tell.
func lineOffset(err error, text string) int {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Position < 1 {
		return 0
	}
	// The position counts characters from 1.
	line, n := 0, int32(1)
	for _, r := range text {
		if n >= pg.Position {
			break
		}
		if r == '\n' {
			line++
		}
		n++
	}
	return line
}
