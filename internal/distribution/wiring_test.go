package distribution_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/flytower/flytower/command"
	"github.com/flytower/flytower/internal/distribution"
)

func TestTheWiringIsValid(t *testing.T) {
	t.Parallel()
	var out, problems bytes.Buffer
	app := command.App{Features: distribution.Features(), Args: []string{"graph"}, Stdout: &out, Stderr: &problems}
	if code := command.Main(app); code != 0 || problems.Len() > 0 {
		t.Errorf("exit code %d\n%s", code, &problems)
	}
}

// places in the source change with every edit; they are in tooltips only.
var places = regexp.MustCompile(`\.go:\d+`)

func TestThePictureOfTheWiringIsCurrent(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	app := command.App{Features: distribution.Features(), Args: []string{"graph", "--format", "svg"}, Stdout: &want, Stderr: os.Stderr}
	if code := command.Main(app); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	got, err := os.ReadFile(filepath.Join("..", "..", "docs", "images", "wiring.svg"))
	if err != nil {
		t.Fatal(err)
	}
	got = bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n"))
	if !bytes.Equal(places.ReplaceAll(got, []byte(".go")), places.ReplaceAll(want.Bytes(), []byte(".go"))) {
		t.Error("docs/images/wiring.svg is not current; run\n\tgo run ./cmd/flytower graph --format svg -o docs/images/wiring.svg")
	}
}
