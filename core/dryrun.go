package core

import (
	"encoding/json"
	"os"
)

// TemplateDryRunErrand is the name of the errand that runs a template of the
// scaffolder from a file. It is sent with a [TemplateDryRun] and results in a
// [TemplateDryRunResult].
const TemplateDryRunErrand = "template-dry-run"

// TemplateDryRun asks to run a template that need not be in any catalog,
// without changing anything outside of its workspace.
type TemplateDryRun struct {
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
	Log func(TemplateDryRunLine)
	// Workspace is given the workspace before it is removed, if all steps went
	// well. It may be nil.
	Workspace func(*os.Root) error
}

// TemplateDryRunLine is a line of the log of a dry run.
type TemplateDryRunLine struct {
	// Step is the id of the step; "" if the line is about the run.
	Step string `json:"step,omitempty"`
	// Status is set where it changes: processing, completed, failed, skipped.
	Status  string `json:"status,omitempty"`
	Message string `json:"message"`
}

// TemplateDryRunResult tells how a dry run went. It is the document that
// flytower scaffolder dry-run --json prints, with the files added.
type TemplateDryRunResult struct {
	// Template is the name of the template.
	Template string `json:"template,omitempty"`
	// Problems are what is wrong with template and parameters. Nothing ran if
	// there are some.
	Problems []TemplateProblem `json:"problems,omitempty"`
	// Error is why the run failed; "" if it went well.
	Error string `json:"error,omitempty"`
	// Log is all of the log.
	Log []TemplateDryRunLine `json:"log,omitempty"`
	// Output is the rendered output of the template.
	Output json.RawMessage `json:"output,omitempty"`
}

// TemplateProblem is a mistake in a template or its parameters.
type TemplateProblem struct {
	// File is the path as it was given, Line counts from 1; 0 is unknown.
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	// Key is the path of the value, such as spec.steps[0].action.
	Key     string `json:"key,omitempty"`
	Problem string `json:"problem"`
}
