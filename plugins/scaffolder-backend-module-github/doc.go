// Package scaffoldermodulegithub gives templates actions for GitHub: to
// publish repositories and pull requests, and to set repositories up. It also
// completes fields of template forms.
//
//	b := flytower.New()
//	b.Add(catalogbackend.Plugin, scaffolderbackend.Plugin, scaffoldermodulegithub.Module)
//
// The hosts are those below integrations.github. An action uses the token of
// its input, or else the GitHub App or token of the integration.
//
// Every action finds before it creates. It may die at any point, also between
// a change and its answer, and run again: there is one repository, branch,
// pull request or issue at the end. docs/authors/github-actions.md tells where
// that ends.
package scaffoldermodulegithub
