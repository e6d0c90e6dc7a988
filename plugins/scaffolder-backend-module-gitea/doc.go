// Package scaffoldermodulegitea is the module of the scaffolder with the action
// publish:gitea, for Gitea and Forgejo.
//
//	b := flytower.New()
//	b.Add(catalogbackend.Plugin, scaffolderbackend.Plugin, scaffoldermodulegitea.Module)
//
// The hosts are those below integrations.gitea, which need username and
// password. The action may run again after a crash at any point: it finds the
// repository that it created, and the commit that it pushed.
package scaffoldermodulegitea
