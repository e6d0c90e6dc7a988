// Package fakegitlab is a GitLab for tests: an HTTP server with the parts of
// the REST API that the scaffolder uses, and git repositories behind it.
//
//	gl := fakegitlab.New(t)
//	shop := gl.AddProject("acme/shop")
//	gl.Git.Seed("acme/shop", "main", map[string]string{"README.md": "Shop"})
//	config := gl.Integration() // YAML
//
// Requests need a credential that exists: [Token] as PRIVATE-TOKEN, or
// [UserToken] as Bearer. Answers to what is refused have the shapes of the real
// ones. A parameter that an endpoint does not know fails the test, which the
// real one would ignore. Lists have pages. The wire can be cut at any request,
// git's included; see [Server.Wire].
package fakegitlab
