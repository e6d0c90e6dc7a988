// Command flytower is the standard backend: all plugins of this repository,
// configured by the app-config.yaml that a developer portal has.
//
//	flytower run                      # in the folder of app-config.yaml
//	flytower check --config app-config.yaml --config app-config.production.yaml
//	flytower graph --format svg -o wiring.svg
//	flytower new plugin greeter
package main

import (
	"os"

	"github.com/flytower/flytower/command"
	"github.com/flytower/flytower/internal/distribution"
)

func main() {
	os.Exit(command.Main(command.App{Name: "flytower", Features: distribution.Features(), Example: distribution.Example()}))
}
