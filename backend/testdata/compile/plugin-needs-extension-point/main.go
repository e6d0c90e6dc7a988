// Package main lets a plugin need an extension point.
//
// want: cannot use env (variable of type *backend.PluginEnv) as *backend.ModuleEnv value in argument to point.From
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

var _ = backend.NewPlugin("host", func(env *backend.PluginEnv) backend.InitFunc {
	p := point.From(env)
	return func(context.Context) error { p()("x"); return nil }
})

func main() {}
