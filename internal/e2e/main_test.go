package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/flytower/flytower/command"
	"github.com/flytower/flytower/internal/distribution"
)

func TestMain(m *testing.M) {
	added, ok := os.LookupEnv(role)
	if !ok {
		os.Exit(m.Run())
	}
	app := command.App{Name: "flytower", Features: distribution.Features(), Example: distribution.Example()}
	for name := range strings.SplitSeq(added, ",") {
		if name != "" {
			app.Features = append(app.Features, testPlugins[name])
		}
	}
	os.Exit(command.Main(app))
}
