package command

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCommand struct{}

// Run implements the command.
func (*versionCommand) Run(a *App) error {
	version, revision := a.Version, ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if version == "" {
			version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " (" + s.Value[:min(12, len(s.Value))] + ")"
			}
		}
	}
	if version == "" {
		version = "unknown"
	}
	_, err := fmt.Fprintf(a.Stdout, "%s %s%s %s %s/%s\n", a.Name, version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
