// Package e2e proves what the backend promises as a whole, with real
// processes, real HTTP and a real PostgreSQL: the placement of plugins by
// configuration alone, replicas, contained panics, messages for operators,
// changes of the configuration while it runs, and shutdown.
//
// There is nothing to import. The test binary is also the backend under test:
// it is the standard backend with a few plugins added, when TestMain finds
// [role] in its environment.
//
//	go test ./internal/e2e
//	go test ./internal/e2e -run TestMessages -update   # write the golden messages again
package e2e

// role is the environment variable that makes a test binary run the backend
// instead of the tests. Its value names the test plugins to add, with commas
// between them.
const role = "FLYTOWER_E2E_BACKEND"
