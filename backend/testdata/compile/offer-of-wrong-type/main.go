// Package main offers an extension point with another type.
//
// want: cannot use 42 (untyped int constant) as func(string) value in argument to point.Offer
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
	point.Offer(env, 42)
	return nothing
})

func main() {}
