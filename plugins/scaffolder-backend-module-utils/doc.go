// Package scaffoldermoduleutils adds actions to the scaffolder that read, write
// and merge files of the workspace, and one that calls routes of the backend.
//
//	b.Add(scaffolderbackend.Plugin, scaffoldermoduleutils.Module)
//
// They have the ids, inputs and outputs that public templates use:
// roadiehq:utils:… and http:backstage:request. Those with jsonata in their ids
// are not here.
package scaffoldermoduleutils
