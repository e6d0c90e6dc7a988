// Package main declares a need and does not use it.
//
// want: declared and not used: t
package main

import (
	"context"

	"github.com/flytower/flytower/backend"
)

var (
	root  = backend.NewRootServiceRef[string]("test.root")
	text  = backend.NewServiceRef[string]("test.text")
	many  = backend.NewMultiServiceRef[string]("test.many")
	point = backend.NewExtensionPoint[func(string)]("host", "point")
)

var _ = []any{root, text, many, point}

func nothing(context.Context) error { return nil }

var _ = backend.NewPlugin("p", func(env *backend.PluginEnv) backend.InitFunc {
	t := text.From(env)
	return nothing
})

func main() {}
