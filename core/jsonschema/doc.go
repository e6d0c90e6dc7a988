// Package jsonschema makes JSON Schemas (draft 7) of Go types and checks
// documents against schemas.
//
// It serves what plugins publish: the inputs and outputs of actions and the
// parameters of permission rules.
//
//	type input struct {
//		Name string `json:"name" description:"Name of the entity"`
//		Kind string `json:"kind,omitempty" enum:"Component,API"`
//	}
//
//	registry().Register(core.Action{Name: "find", Input: jsonschema.For[input](), …})
//
// [Compile] gives a [Schema], whose Check returns a [*ValidationError] that
// lists what is wrong, and where.
package jsonschema
