// Package main lets a root context need a plugin scoped service.
//
// want: *backend.RootEnv does not implement backend.PluginScope (missing method pluginScope)
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

var _ = backend.NewServiceFactoryWithRoot(text, func(env *backend.RootEnv) backend.MakeFunc[string] {
	t := text.From(env)
	return func(context.Context) (string, error) { return t(), nil }
}, func(_ *backend.FactoryEnv, shared func() string) backend.MakeFunc[string] {
	return func(context.Context) (string, error) { return shared(), nil }
})

func main() {}
