// Command greeter is an example of a backend: two plugins, a module, and a
// service that replaces a default one. README.md walks through it.
//
//	cd examples/greeter
//	go run . run
package main

import (
	"os"

	"github.com/flytower/flytower/command"
)

// A main package is a list of features. Package command gives it the command
// line: run, check, graph, config, new, and so on.
func main() {
	os.Exit(command.Main(command.App{Name: "greeter", Features: features()}))
}
