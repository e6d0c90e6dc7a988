// Package main lets a service factory offer an extension point.
//
// want: *backend.FactoryEnv does not implement backend.Offerer (missing method offererScope)
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
	point.Offer(env, func(string) {})
	return func(context.Context) (string, error) { return "", nil }
})

func main() {}
