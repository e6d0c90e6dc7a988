package scaffolderbackend_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/command"
	"github.com/flytower/flytower/internal/ownprocess"
	scaffolderbackend "github.com/flytower/flytower/plugins/scaffolder-backend"
	scaffoldermoduleworkspacedatabase "github.com/flytower/flytower/plugins/scaffolder-backend-module-workspace-database"
)

func TestMain(m *testing.M) {
	if ownprocess.Requested() { // this is the process of a task
		os.Exit(command.Main(command.App{Features: []backend.Feature{scaffolderbackend.Plugin, scaffoldermoduleworkspacedatabase.Module, withActions(isolatedActions()...)}}))
	}
	goleak.VerifyTestMain(m)
}
