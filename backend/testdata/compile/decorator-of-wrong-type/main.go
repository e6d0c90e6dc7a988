// Package main decorates a service with another type.
//
// want: does not match inferred type func(env *backend.FactoryEnv, inner func() string) backend.MakeFunc[string]
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

var _ = backend.Decorate(text, func(_ *backend.FactoryEnv, inner func() int) backend.MakeFunc[int] {
	return func(context.Context) (int, error) { return inner(), nil }
})

func main() {}
