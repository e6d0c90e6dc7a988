// Package main adds a feature of its own making.
//
// want: myFeature does not implement backend.Feature (unexported method feature)
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

type myFeature struct{}

func (myFeature) feature() {}

var _ = backend.New().Add(myFeature{})

func main() {}
