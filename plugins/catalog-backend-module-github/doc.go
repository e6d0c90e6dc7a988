// Package catalogmodulegithub finds the catalog files in the repositories of
// GitHub organizations and users.
//
//	b.Add(catalogbackend.Plugin, catalogmodulegithub.Module)
//
// The smallest configuration:
//
//	catalog:
//	  providers:
//	    github:
//	      acme:                 # any name
//	        organization: acme
//
// For each repository the module hands in a Location entity of
// /catalog-info.yaml on the default branch, whose file may be absent. A task
// "github-provider:acme:refresh" lists the repositories every three hours. If
// a module passes webhooks of GitHub on as events, the topics github.push and
// github.repository keep the catalog up to date in between.
//
// Webhooks of all kinds under the topic github become events of source hosts
// (catalognode.SCMEvents), which registered locations follow if the
// configuration catalog.scmEvents says so. And users who want to register a
// repository are shown the catalog files that are in it.
//
// What the host does not answer is unknown, never gone: a run that cannot read
// the whole list changes nothing, and one that finds far fewer repositories
// than the last is refused. [ConfigSchema] has all keys.
package catalogmodulegithub
