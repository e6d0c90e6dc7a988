// Package template is the language of templates.
package template
