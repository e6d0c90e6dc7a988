// Package main makes a service of another type.
//
// want: cannot use 42 (untyped int constant) as string value in return statement
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

var _ = backend.NewServiceFactory(text, func(*backend.FactoryEnv) backend.MakeFunc[string] {
	return func(context.Context) (string, error) { return 42, nil }
})

func main() {}
