// Package main serves a root scoped service with a plugin scoped factory.
//
// want: type backend.RootServiceRef[string] of root does not match backend.Target[T]
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

var _ = backend.NewServiceFactory(root, func(*backend.FactoryEnv) backend.MakeFunc[string] {
	return func(context.Context) (string, error) { return "", nil }
})

func main() {}
