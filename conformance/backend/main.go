// Command backend is the standard backend with the additions that the records
// of the conformance suite were made with. It takes the arguments of
// "flytower run":
//
//	go run ./conformance/backend --config app-config.golden.yaml
//
// It also reads the sources in the order of the records. As the plugins that
// they extend arrive, the additions do, too: a scaffolder module with a template
// filter, globals and an autocomplete provider, and, with REF_POLICY=1, a
// conditional permission policy.
package main

import (
	"os"

	"github.com/flytower/flytower/command"
	"github.com/flytower/flytower/internal/distribution"
)

func main() {
	args := append([]string{"run"}, os.Args[1:]...)
	features := append(distribution.Features(), recordedOrder)
	os.Exit(command.Main(command.App{Name: "conformance-backend", Features: features, Args: args}))
}
