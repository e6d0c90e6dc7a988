// Package main uses a multiton service as if it were one.
//
// want: cannot use m() (value of type []string) as string value
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
	m := many.From(env)
	return func(context.Context) error { var s string = m(); _ = s; return nil }
})

func main() {}
