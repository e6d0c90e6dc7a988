package backendtest

import (
	"context"
	"strings"
	"testing"

	"github.com/flytower/flytower/backend"
)

// Service returns a service of a plugin of the backend.
func Service[T any](t testing.TB, s *Server, plugin string, ref backend.ServiceRef[T]) T {
	t.Helper()
	v, err := backend.GetFor(s.backend, plugin, ref)
	if err != nil {
		t.Fatalf("backendtest: %v", err)
	}
	return v
}

// RootService returns a root service of the backend.
func RootService[T any](t testing.TB, s *Server, ref backend.RootServiceRef[T]) T {
	t.Helper()
	v, err := backend.Get(s.backend, ref)
	if err != nil {
		t.Fatalf("backendtest: %v", err)
	}
	return v
}

// MakeService returns the instance of a service for a plugin named "test", in
// a backend of its own. The features are the factory under test and whatever
// it needs beyond the core services.
//
//	clock := backendtest.MakeService(t, greeternode.Clock, zoneClock)
//
// For instances of several plugins, [Start] a backend with [EmptyPlugin] and
// ask for them with [Service].
func MakeService[T any](t testing.TB, ref backend.ServiceRef[T], features ...backend.Feature) T {
	t.Helper()
	return Service(t, Start(t, append([]backend.Feature{EmptyPlugin("test")}, features...)...), "test", ref)
}

// MakeRootService is [MakeService] for a root service.
func MakeRootService[T any](t testing.TB, ref backend.RootServiceRef[T], features ...backend.Feature) T {
	t.Helper()
	return RootService(t, Start(t, features...), ref)
}

// Offer stands in for an extension point that the plugin under test does not
// offer, because it is not installed. Modules that use the extension point
// get impl.
//
//	words := fakeDictionary{}
//	backendtest.Start(t, italian.Module, backendtest.Offer[greeternode.Dictionary](greeternode.Languages, words))
func Offer[T any](point backend.ExtensionPoint[T], impl T) backend.Feature {
	plugin, name, _ := strings.Cut(point.ID(), ".")
	id := "offers-" + strings.Map(func(r rune) rune {
		if r == '.' || r == '_' || r == '/' {
			return '-'
		}
		return r
	}, name)
	return backend.NewModule(plugin, id, func(env *backend.ModuleEnv) backend.InitFunc {
		point.Offer(env, impl)
		return func(context.Context) error { return nil }
	})
}
