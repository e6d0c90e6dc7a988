package scaffolderbackend

import (
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/internal/configtest"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

func TestTheWorkspaceProviderIsTheConfiguredOne(t *testing.T) {
	t.Parallel()
	added := map[string]scaffoldernode.WorkspaceProvider{"s3": nil, "database": nil, "directory": nil}
	for name, c := range map[string]struct {
		config, name, problem string
	}{
		"none":                 {`{}`, "", ""},
		"one":                  {`{taskRecovery: {workspaceProvider: s3}}`, "s3", ""},
		"unknown":              {`{taskRecovery: {workspaceProvider: tape}}`, "tape", `"tape", which no module has added; those that are there: database, directory, s3`},
		"old, default":         {`{EXPERIMENTAL_workspaceSerialization: true}`, "database", ""},
		"old":                  {`{EXPERIMENTAL_workspaceSerialization: true, EXPERIMENTAL_workspaceSerializationProvider: s3}`, "s3", ""},
		"old, unknown":         {`{EXPERIMENTAL_workspaceSerialization: true, EXPERIMENTAL_workspaceSerializationProvider: tape}`, "tape", "EXPERIMENTAL_workspaceSerializationProvider"},
		"old, off":             {`{EXPERIMENTAL_workspaceSerialization: false, EXPERIMENTAL_workspaceSerializationProvider: tape}`, "", ""},
		"new and old":          {`{taskRecovery: {workspaceProvider: s3}, EXPERIMENTAL_workspaceSerialization: true}`, "s3", ""},
		"a negative retention": {`{taskRecovery: {workspaceRetention: {seconds: -1}}}`, "", "workspaceRetention"},
	} {
		s, err := readWorkspaceSettings(configtest.FromYAML(t, "scaffolder: "+c.config))
		if err == nil {
			_, err = s.provider(added)
		}
		if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%s: %v", name, err)
		}
		if s.name != c.name {
			t.Errorf("%s: it is %q", name, s.name)
		}
	}
	s, err := readWorkspaceSettings(configtest.FromYAML(t, "scaffolder: {taskRecovery: {workspaceProvider: tape}}"))
	if err != nil || s.retention != 7*24*time.Hour {
		t.Errorf("the retention is %s, %v", s.retention, err)
	}
	if _, err := s.provider(nil); err == nil || !strings.Contains(err.Error(), "none is") {
		t.Errorf("without any module: %v", err)
	}
}
