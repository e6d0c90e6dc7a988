package rootlogger_test

import (
	"os"

	"github.com/flytower/flytower/defaults/rootlogger"
)

func Example() {
	log := rootlogger.New(rootlogger.Options{Writer: os.Stdout, Format: rootlogger.JSON, OmitTimestamp: true})
	log.AddSecrets("hunter2")
	log.With("plugin", "catalog").Info("connected", "url", "postgres://app:hunter2@db/catalog")
	// Output:
	// {"level":"info","message":"connected","plugin":"catalog","service":"backstage","url":"postgres://app:***@db/catalog"}
}
