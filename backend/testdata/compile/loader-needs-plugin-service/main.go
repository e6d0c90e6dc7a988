// Package main lets a feature loader need a plugin scoped service.
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

var _ = backend.NewFeatureLoader("l", func(env *backend.RootEnv) backend.LoadFunc {
	t := text.From(env)
	return func(context.Context) ([]backend.Feature, error) { _ = t(); return nil, nil }
})

func main() {}
