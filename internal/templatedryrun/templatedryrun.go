// Package templatedryrun is what a command and the scaffolder say to each
// other when a template is run from a file: neither knows the other.
//
//	request := templatedryrun.Request{Template: "template.yaml"}
//	result, err := flytower.Errand{Plugin: "scaffolder", Name: templatedryrun.Errand, With: request}.Do(ctx, config, features...)
package templatedryrun

import (
	"encoding/json"
	"os"
)

// Errand is the name of the errand that runs a template of the scaffolder from
// a file. It is sent with a [Request] and results in a [Result].
const Errand = "template-dry-run"

// Request asks to run a template that need not be in any catalog,
// without changing anything outside of its workspace.
type Request struct {
	// Template is the path of the file with the template. What the template
	// fetches by relative paths has to be in the folder of that file.
	Template string
	// Parameters is the path of a YAML or JSON file with the values of the
	// form; "" is none. Fields without a value have the default of the form.
	Parameters string
	// Secrets are those of the form, by name.
	Secrets map[string]string
	// User is the ref of the user that the template sees; "" is none.
	User string
	// Log is given the lines of the log as they come; it may be nil.
	Log func(Line)
	// Workspace is given the workspace before it is removed, if all steps went
	// well. It may be nil.
	Workspace func(*os.Root) error
}

// Line is a line of the log of a dry run.
type Line struct {
	// Step is the id of the step; "" if the line is about the run.
	Step string `json:"step,omitempty"`
	// Status is set where it changes: processing, completed, failed, skipped.
	Status  string `json:"status,omitempty"`
	Message string `json:"message"`
}

// Result tells how a dry run went. It is the document that
// flytower scaffolder dry-run --json prints, with the files added.
type Result struct {
	// Template is the name of the template.
	Template string `json:"template,omitempty"`
	// Problems are what is wrong with template and parameters. Nothing ran if
	// there are some.
	Problems []Problem `json:"problems,omitempty"`
	// Error is why the run failed; "" if it went well.
	Error string `json:"error,omitempty"`
	// Log is all of the log.
	Log []Line `json:"log,omitempty"`
	// Output is the rendered output of the template.
	Output json.RawMessage `json:"output,omitempty"`
}

// Problem is a mistake in a template or its parameters.
type Problem struct {
	// File is the path as it was given, Line counts from 1; 0 is unknown.
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	// Key is the path of the value, such as spec.steps[0].action.
	Key     string `json:"key,omitempty"`
	Problem string `json:"problem"`
}
