// Package main lets a service factory need an extension point.
//
// want: cannot use env (variable of type *backend.FactoryEnv) as *backend.ModuleEnv value in argument to point.From
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

var _ = backend.NewServiceFactory(text, func(env *backend.FactoryEnv) backend.MakeFunc[string] {
	p := point.From(env)
	return func(context.Context) (string, error) { p()("x"); return "", nil }
})

func main() {}
