// Package main fetches a plugin scoped service without saying for which plugin.
//
// want: type backend.ServiceRef[string] of text does not match inferred type backend.RootServiceRef[string]
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

var _, _ = backend.Get(backend.New(), text)

func main() {}
