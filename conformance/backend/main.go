// Command backend is the standard backend with what the records of the
// conformance suite were made with, and without what they were made without.
// It takes the arguments of "flytower run":
//
//	go run ./conformance/backend --config app-config.golden.yaml
//
// It reads the sources in the order of the records. With REF_POLICY=1 in its
// environment it has a conditional permission policy. The scaffolder has a
// module with a template filter, globals and an autocomplete provider.
package main

import (
	"os"
	"slices"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/command"
	"github.com/flytower/flytower/internal/distribution"
	catalogmoduleunprocessed "github.com/flytower/flytower/plugins/catalog-backend-module-unprocessed"
)

func main() {
	// The permissions of the module would be among those of the catalog.
	features := slices.DeleteFunc(distribution.Features(), func(f backend.Feature) bool { return f == catalogmoduleunprocessed.Module })
	args := append([]string{"run"}, os.Args[1:]...)
	features = append(features, recordedOrder, goldenModule)
	if os.Getenv("REF_POLICY") == "1" {
		features = append(features, policyModule)
	}
	os.Exit(command.Main(command.App{Name: "conformance-backend", Features: features, Args: args}))
}
