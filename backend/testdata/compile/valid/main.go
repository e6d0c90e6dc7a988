// Package main is the control: it uses the same declarations in the right way, and compiles.
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

var _ = backend.New().Add(
	backend.NewRootServiceFactory(root, func(*backend.RootEnv) backend.MakeFunc[string] {
		return func(context.Context) (string, error) { return "", nil }
	}),
	backend.NewPlugin("host", func(env *backend.PluginEnv) backend.InitFunc {
		r, t, m := root.From(env), text.From(env), many.From(env)
		point.Offer(env, func(string) {})
		return func(context.Context) error { _, _, _ = r(), t(), m(); return nil }
	}),
	backend.NewModule("host", "m", func(env *backend.ModuleEnv) backend.InitFunc {
		p := point.From(env)
		return func(context.Context) error { p()("x"); return nil }
	}),
)

func main() {}
