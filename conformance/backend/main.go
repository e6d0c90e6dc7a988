// Command backend is the standard backend with the additions that the records
// of the conformance suite were made with. It takes the arguments of
// "flytower run":
//
//	go run ./conformance/backend --config app-config.golden.yaml
//
// It reads the sources in the order of the records. With REF_POLICY=1 in its
// environment it has a conditional permission policy. As the plugins that they
// extend arrive, the other additions do, too: a scaffolder module with a
// template filter, globals and an autocomplete provider.
package main

import (
	"os"

	"github.com/flytower/flytower/command"
	"github.com/flytower/flytower/internal/distribution"
)

func main() {
	args := append([]string{"run"}, os.Args[1:]...)
	features := append(distribution.Features(), recordedOrder)
	if os.Getenv("REF_POLICY") == "1" {
		features = append(features, policyModule)
	}
	os.Exit(command.Main(command.App{Name: "conformance-backend", Features: features, Args: args}))
}
