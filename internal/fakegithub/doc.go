// Package fakegithub is a GitHub for tests: an HTTP server with the parts of
// the GraphQL and REST APIs that the modules use, which is as strict as the
// real one.
//
//	gh := fakegithub.New(t)
//	gh.Change(func(w *fakegithub.World) {
//		w.AddRepository(fakegithub.Repository{Owner: "acme", Name: "shop"})
//	})
//	hosts, err := githubapi.New(gh.Config(t), gh.Options())
//
// Queries are parsed and executed: an unknown field, an undeclared variable
// and a page without a size from 1 to 100 are errors, and answers have exactly
// the members that were asked for. Requests need a credential that exists, and
// are counted and limited; see [Server.LimitTo] and [Server.Inject]. Time is
// that of the server: whoever sleeps by its options moves it on.
package fakegithub
