// Package archtest makes a test of package archcheck.
//
//	func TestArchitecture(t *testing.T) { archtest.Run(t, ".") }
package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flytower/flytower/archcheck"
)

// Run checks the module that dir is in, at or below dir, and fails the test
// with each finding.
func Run(t testing.TB, dir string) {
	t.Helper()
	// go test keeps the results of tests until a file changes that the test
	// itself has looked at; what go list looks at does not count.
	if err := look(dir); err != nil {
		t.Fatalf("archtest: %v", err)
	}
	findings, err := archcheck.Check(t.Context(), dir)
	if err != nil {
		t.Fatalf("archtest: %v", err)
	}
	for _, f := range findings {
		t.Error(f)
	}
}

// look looks at all Go files.
func look(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != dir && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir() || strings.HasSuffix(path, ".go") || entry.Name() == "go.mod":
			_, err = os.Stat(path)
		}
		return err
	})
}
