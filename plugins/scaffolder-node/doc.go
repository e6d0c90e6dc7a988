// Package scaffoldernode is what plugins, modules and the scaffolder itself
// share: what a repository URL of a template means, and the filters that every
// template may use.
//
//	env, err := template.NewEnvironment(template.Options{Filters: scaffoldernode.TemplateFilters(hosts)})
//
// Subpackage template is the language of templates.
package scaffoldernode
