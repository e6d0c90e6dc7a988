package distribution_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/flytower/flytower/command"
	"github.com/flytower/flytower/internal/distribution"
)

// policyRow is a row of the table that says what the example decides.
var policyRow = regexp.MustCompile("(?m)^\\| ([a-z]+) \\| ([a-z]*) ?\\| `([a-z.]+)` \\| (.*) \\|$")

// TestThePolicyOfTheDocumentation checks that the complete example decides
// what the table below it says, with the command that the page recommends.
func TestThePolicyOfTheDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(repository, "docs/operators/permissions.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## A complete example\n")
	example := examples.FindStringSubmatch(section)
	if example == nil {
		t.Fatal("there is no example")
	}
	dir := t.TempDir()
	config := "app: {baseUrl: 'http://localhost:3000'}\nbackend: {baseUrl: 'http://localhost:7007'}\n" + example[1]
	if err := os.WriteFile(filepath.Join(dir, "app-config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	rows := policyRow.FindAllStringSubmatch(section, -1)
	if len(rows) < 10 {
		t.Fatalf("only %d rows were found", len(rows))
	}
	for _, row := range rows {
		who, group, permission, says := row[1], row[2], row[3], row[4]
		want := "It depends: "
		switch {
		case says == "allowed":
			want = "Allowed: "
		case strings.HasPrefix(says, "denied: "):
			want = "Denied: " + strings.TrimPrefix(strings.ReplaceAll(says, "no rule speaks", "no rule of the user's roles speaks"), "denied: ")
		}
		args := []string{"permission", "explain", who, permission}
		if group != "" {
			args = append(args, "--group", group)
		}
		var out bytes.Buffer
		code := command.Main(command.App{Features: distribution.Features(), Dir: dir, Stdout: &out, Stderr: &out, Args: args})
		if code != 0 || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%s: code %d\n%s", row[0], code, &out)
		}
		// Who may do without owning has no condition that speaks of owning.
		if owns := strings.Contains(says, "theirs"); owns != strings.Contains(out.String(), "IS_ENTITY_OWNER") && who != "imani" {
			t.Errorf("%s: %s", row[0], &out)
		}
	}
}
