package authors_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	codeBlock = regexp.MustCompile("(?m)(?:^<!-- (\\S+) -->\n)?^```go\n((?s:.*?))^```$")
	link      = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)
)

// Go code in the documents is quoted from files that are built and tested. A
// comment above the block names the file, relative to the repository; a line
// with nothing but an ellipsis stands for what is left out.
func TestCodeIsQuoted(t *testing.T) {
	t.Parallel()
	blocks := 0
	for name, text := range documents(t) {
		for _, m := range codeBlock.FindAllStringSubmatch(text, -1) {
			blocks++
			if m[1] == "" {
				t.Errorf("%s: a block of Go code names no file that it is quoted from:\n%s", name, m[2])
				continue
			}
			source, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(m[1])))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if missing := unquoted(lines(m[2]), lines(string(source))); missing != "" {
				t.Errorf("%s: %s does not have\n%s", name, m[1], missing)
			}
		}
	}
	if blocks < 20 {
		t.Errorf("found %d blocks", blocks)
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.FromSlash(m[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestUnquoted(t *testing.T) {
	t.Parallel()
	source := lines("func f() {\n\tif x {\n\t\ta()\n\t\tb()\n\t}\n\tc()\n}\n")
	for block, want := range map[string]bool{
		"a()\nb()":           true,
		"if x {\n…\n}":       true,
		"if x {\n\ta()\n…":   true,
		"a()\nc()":           false,
		"a()\n…\nc()":        true,
		"c()\n…\na()":        false,
		"if x {\na()\nb()\n": false, // the indentation differs
	} {
		if got := unquoted(lines(block), source) == ""; got != want {
			t.Errorf("%q: %t", block, got)
		}
	}
}

func documents(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	texts := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	return texts
}

func lines(text string) []string {
	return strings.Split(strings.TrimRight(text, "\n"), "\n")
}

// unquoted returns the first part of a block, between ellipses, that does not
// follow in the source; "" if all do.
func unquoted(block, source []string) string {
	var parts [][]string
	part := []string{}
	for _, line := range append(block, "…") {
		if strings.TrimSpace(line) != "…" {
			part = append(part, line)
			continue
		}
		if len(part) > 0 {
			parts = append(parts, part)
		}
		part = []string{}
	}
	for _, p := range parts {
		want, found := dedent(p), false
		for i := 0; i+len(p) <= len(source); i++ {
			if slices.Equal(dedent(source[i:i+len(p)]), want) {
				source, found = source[i+len(p):], true
				break
			}
		}
		if !found {
			return strings.Join(p, "\n")
		}
	}
	return ""
}

// dedent removes the tabs that all lines begin with.
func dedent(text []string) []string {
	common := -1
	for _, line := range text {
		if strings.TrimSpace(line) == "" {
			continue
		}
		if tabs := len(line) - len(strings.TrimLeft(line, "\t")); common < 0 || tabs < common {
			common = tabs
		}
	}
	out := make([]string, len(text))
	for i, line := range text {
		if strings.TrimSpace(line) != "" {
			out[i] = line[max(common, 0):]
		}
	}
	return out
}
