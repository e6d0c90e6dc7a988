package scaffolderbackend

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// workspaceSettings say where workspaces are kept.
type workspaceSettings struct {
	name string // empty if nowhere
	// retention is how long those of failed tasks are kept for a retry.
	retention time.Duration
	// unknown is the error that the provider is not there.
	unknown *core.ConfigError
}

// defaultWorkspaceProvider is that of the old configuration.
const defaultWorkspaceProvider = "database"

func readWorkspaceSettings(c core.Config) (s workspaceSettings, err error) {
	const retention = "scaffolder.taskRecovery.workspaceRetention"
	if s.retention, err = c.DurationOr(retention, 7*24*time.Hour); err != nil {
		return s, err
	}
	if s.retention < 0 {
		return s, &core.ConfigError{Key: c.Path(retention), Position: c.Position(retention), Problem: "must not be negative"}
	}
	key := "scaffolder.taskRecovery.workspaceProvider"
	if !c.Has(key) {
		old, err := c.BoolOr("scaffolder.EXPERIMENTAL_workspaceSerialization", false)
		if err != nil || !old {
			return s, err
		}
		key = "scaffolder.EXPERIMENTAL_workspaceSerializationProvider"
	}
	if s.name, err = c.StringOr(key, defaultWorkspaceProvider); err != nil {
		return s, err
	}
	s.unknown = &core.ConfigError{Key: c.Path(key), Position: c.Position(key)}
	return s, nil
}

// provider returns the configured one of those that modules added; nil if
// none is configured.
func (s workspaceSettings) provider(added map[string]scaffoldernode.WorkspaceProvider) (scaffoldernode.WorkspaceProvider, error) {
	if s.name == "" {
		return nil, nil
	}
	if provider, ok := added[s.name]; ok {
		return provider, nil
	}
	names := "none is"
	if len(added) > 0 {
		names = strings.Join(slices.Sorted(maps.Keys(added)), ", ")
	}
	s.unknown.Problem = fmt.Sprintf("names the workspace provider %q, which no module has added; those that are there: %s", s.name, names)
	return nil, s.unknown
}
