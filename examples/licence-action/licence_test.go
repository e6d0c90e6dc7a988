package licenceaction

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/command"
	scaffolderbackend "github.com/flytower/flytower/plugins/scaffolder-backend"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
)

func TestLicence(t *testing.T) {
	t.Parallel()
	run := actiontest.Run(t, licence, map[string]any{"owner": "Acme"})
	if run.Err != nil || run.Outputs["path"] != "LICENSE" || run.File("LICENSE") != "Copyright Acme. All rights reserved.\n" {
		t.Errorf("%v, %v, %v", run.Err, run.Outputs, run.Files())
	}
	if run := actiontest.Run(t, licence, map[string]any{"owner": "Acme", "path": "../LICENSE"}); run.Err == nil {
		t.Error("a file outside of the workspace was written")
	}
}

// The template runs as "portal scaffolder dry-run template/template.yaml" does it.
func TestTemplate(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	dir := t.TempDir() + "/made"
	code := command.Main(command.App{
		Name: "portal", Stdout: &out, Stderr: &out, Features: []backend.Feature{scaffolderbackend.Plugin, Module},
		Args: []string{"scaffolder", "dry-run", "template/template.yaml", "-p", "template/parameters.yaml", "--out", dir},
	})
	text, err := os.ReadFile(dir + "/LICENSE")
	if code != 0 || err != nil || !strings.Contains(string(text), "Copyright Acme.") {
		t.Errorf("code %d, %q, %v\n%s", code, text, err, out.String())
	}
}
