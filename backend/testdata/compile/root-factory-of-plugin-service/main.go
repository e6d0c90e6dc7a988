// Package main serves a plugin scoped service with a root factory.
//
// want: type backend.ServiceRef[string] of text does not match backend.RootTarget[T]
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

var _ = backend.NewRootServiceFactory(text, func(*backend.RootEnv) backend.MakeFunc[string] {
	return func(context.Context) (string, error) { return "", nil }
})

func main() {}
