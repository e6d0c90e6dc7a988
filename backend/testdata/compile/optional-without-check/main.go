// Package main uses an optional service without looking whether it is there.
//
// want: too many arguments for len(t())
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
	t := text.Optional(env)
	return func(context.Context) error { println(len(t())); return nil }
})

func main() {}
