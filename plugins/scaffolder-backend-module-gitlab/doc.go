// Package scaffoldermodulegitlab is the module of the scaffolder with the
// actions for GitLab: publish:gitlab, publish:gitlab:merge-request and those
// that begin with gitlab:.
//
//	b := flytower.New()
//	b.Add(catalogbackend.Plugin, scaffolderbackend.Plugin, scaffoldermodulegitlab.Module)
//
// The hosts are those below integrations.gitlab. Actions use the token of
// their input, as an OAuth token of a user, or else that of the integration.
//
// All actions may run again after a crash at any point and find what they did:
// by its name where there can be only one, and else by comparing with what
// there was before, which a checkpoint keeps. Tokens that they create are kept
// sealed; one whose answer was lost is revoked and created again.
package scaffoldermodulegitlab
