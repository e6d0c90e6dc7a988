package command

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestFrameworkVersion(t *testing.T) {
	t.Parallel()
	const framework = "github.com/flytower/flytower"
	for name, test := range map[string]struct {
		info    *debug.BuildInfo
		want    string
		problem string
	}{
		"release":        {&debug.BuildInfo{Main: debug.Module{Path: framework, Version: "v1.2.3"}}, "v1.2.3", ""},
		"author's":       {&debug.BuildInfo{Main: debug.Module{Path: "example.com/p"}, Deps: []*debug.Module{{Path: framework, Version: "v1.2.3"}}}, "v1.2.3", ""},
		"checkout":       {&debug.BuildInfo{Main: debug.Module{Path: framework, Version: "(devel)"}}, "", "built from a checkout"},
		"changed files":  {&debug.BuildInfo{Main: debug.Module{Path: framework, Version: "v0.0.0-20260101000000-abcdefabcdef+dirty"}}, "", "--replace"},
		"replaced":       {&debug.BuildInfo{Main: debug.Module{Path: "example.com/p"}, Deps: []*debug.Module{{Path: framework, Version: "v0.0.0", Replace: &debug.Module{Path: "../flytower"}}}}, "", "../flytower"},
		"something else": {&debug.BuildInfo{Main: debug.Module{Path: "example.com/p"}}, "", "does not know its version"},
	} {
		got, err := frameworkVersion(test.info, true)
		if got != test.want || (err == nil) != (test.problem == "") || err != nil && !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := frameworkVersion(nil, false); err == nil {
		t.Error("no error without build information")
	}
}
