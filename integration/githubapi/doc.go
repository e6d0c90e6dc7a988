// Package githubapi sends GraphQL queries to the configured GitHub hosts, with
// the credentials of the configuration (GitHub Apps first, then the token).
//
// A module takes the service, which all features of a backend share, so that
// they share what it knows about rate limits, too:
//
//	github := githubapi.Service.From(env)
//	…
//	api, err := github().Host("github.com")
//	var out struct{ Organization struct{ Name string } }
//	err = api.Query(ctx, githubapi.Query{
//		Name:      "organization",
//		Text:      "query organization($login: String!) { organization(login: $login) { name } }",
//		Variables: map[string]any{"login": "acme"},
//		Owner:     "acme",
//	}, &out)
//
// An error never stands for an empty answer. What the host did not say,
// because it limits the rate of requests, is overloaded or broke off, is a
// service-unavailable error, after a few tries and after waiting for as long
// as the host asked and the context allows. An answer with errors beside its
// data is an error as a whole. Only a not-found error says that something is
// not there, or that the credential may not know of it.
//
// [Each] reads lists of any length page by page.
package githubapi
