package distribution_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/flytower/flytower/command"
	"github.com/flytower/flytower/internal/distribution"
)

const repository = "../.."

// documents returns the Markdown files of the repository.
func documents(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "dist" || d.Name() == "testdata"):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".md"):
			out = append(out, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var links = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks checks that the files are there which documents refer to. Folders
// may be on their way.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, doc := range documents(t) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range links.FindAllSubmatch(text, -1) {
			target, err := url.Parse(string(match[1]))
			if err != nil {
				t.Errorf("%s: link %s: %v", doc, match[1], err)
				continue
			}
			if target.Scheme != "" || target.Path == "" || strings.HasSuffix(target.Path, "/") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), filepath.FromSlash(target.Path))); err != nil {
				t.Errorf("%s: link %s: %v", doc, match[1], err)
			}
		}
	}
}

var examples = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// TestConfigurationsInDocuments checks the examples for operators as the
// command check does.
func TestConfigurationsInDocuments(t *testing.T) {
	t.Parallel()
	const base = "app: {baseUrl: 'http://localhost:3000'}\nbackend:\n  baseUrl: http://localhost:7007\n" +
		"  database: {client: better-sqlite3, connection: ':memory:'}\n"
	dir := t.TempDir()
	for name, text := range map[string]string{"base.yaml": base, "certs/tls.crt": "x", "certs/tls.key": "x", "catalog.yaml": "catalog: {}"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	checked := 0
	for _, doc := range documents(t) {
		if dir := filepath.ToSlash(filepath.Dir(doc)); dir != repository+"/docs/operators" && dir != repository+"/docs" {
			continue
		}
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range examples.FindAllSubmatch(text, -1) {
			if bytes.HasPrefix(match[1], []byte("apiVersion:")) {
				continue // an entity
			}
			checked++
			name := fmt.Sprintf("example%d.yaml", checked)
			if err := os.WriteFile(filepath.Join(dir, name), match[1], 0o644); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			app := command.App{
				Features: distribution.Features(), Dir: dir, Stdout: &out, Stderr: &out,
				Args: []string{"check", "--config", "base.yaml", "--config", name},
			}
			if code := command.Main(app); code != 0 {
				t.Errorf("%s: this example is wrong:\n%s\n%s", doc, match[1], &out)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d examples were found", checked)
	}
}
