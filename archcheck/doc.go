// Package archcheck checks the architecture of a repository with plugins: what
// the folders of plugins are called, and which packages may import which. The
// compiler enforces the most of it, as implementations are internal; this is
// the rest.
//
//	findings, err := archcheck.Check(ctx, ".")
//
// Package archtest makes a test of it:
//
//	func TestArchitecture(t *testing.T) { archtest.Run(t, ".") }
//
// The command line of every backend has it, too: go run . archcheck.
//
// # Families
//
// The packages of a plugin are told by the name of a folder in their path,
// wherever that is: at the root of a module, in its folder plugins, or deeper.
//
//	<id>-backend                the plugin; main packages import it
//	<id>-backend-module-<name>  a module of the plugin; main packages import it
//	<id>-node                   extension points, service references, client
//	<id>-common                 wire types and pure functions
//
// A package that only lists features, such as internal/distribution, counts as
// part of the main packages that share it; its folder is called distribution.
//
// # Rules
//
// The constants of type [Rule] are the rules. Imports of test files are not
// looked at: a test may run whatever it needs. Packages of other modules in the
// build are checked where packages of this one import them.
package archcheck
