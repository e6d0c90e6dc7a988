// Package integration knows the hosts of source code that an installation
// works with: their configuration (integrations.github, integrations.gitlab
// and so on), the shape of their URLs, and how a reference in one file leads
// to another.
//
//	hosts, err := integration.FromConfig(config)
//	…
//	place, err := hosts.Parse("https://github.com/acme/shop/blob/main/catalog-info.yaml")
//	// place.Owner == "acme", place.Repo == "shop", place.Ref == "main"
//	next, err := hosts.Resolve("./api/openapi.yaml", "https://github.com/acme/shop/blob/main/catalog-info.yaml")
//
// The package reads no network. Subpackage hostclient sends requests to
// hosts, githubapp gets credentials of GitHub Apps, and egress keeps requests
// away from addresses that they must not reach.
//
// URLs are those that a person copies from the browser. A ref is one segment
// of the path: a branch with a slash in its name is supported only where the
// host puts it in the query (Bitbucket Server, Azure), ends it with a mark
// (Harness), or where the slash is written as %2F.
package integration
