package scaffolderbackend

import (
	"errors"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/templatedryrun"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/api"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/engine"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/isolation"
)

// takeErrands does what the plugin is asked for where it does not serve.
func takeErrands(e core.ErrandService, runner *engine.Runner) error {
	local := api.Local{Runner: runner, Actions: runner.Actions}
	return errors.Join(e.Take(templatedryrun.Errand, local.DryRun), e.Take(isolation.Errand, isolation.Task(runner)))
}
