package backend_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/flytower/flytower/backend"
)

// benchFeatures returns n plugins that each need ten services of their own,
// which in turn need a root service.
func benchFeatures(n int) []backend.Feature {
	root := backend.NewRootServiceRef[int]("bench.root")
	features := []backend.Feature{backend.NewRootServiceFactory(root, func(*backend.RootEnv) backend.MakeFunc[int] {
		return func(context.Context) (int, error) { return 1, nil }
	})}
	refs := make([]backend.ServiceRef[int], 10)
	for i := range refs {
		refs[i] = backend.NewServiceRef[int](fmt.Sprintf("bench.s%d", i))
		features = append(features, backend.NewServiceFactory(refs[i], func(env *backend.FactoryEnv) backend.MakeFunc[int] {
			r := root.From(env)
			return func(context.Context) (int, error) { return r() + i, nil }
		}))
	}
	for i := range n {
		features = append(features, backend.NewPlugin(fmt.Sprintf("p%d", i), func(env *backend.PluginEnv) backend.InitFunc {
			gets := make([]func() int, len(refs))
			for k, r := range refs {
				gets[k] = r.From(env)
			}
			return func(context.Context) error {
				for _, get := range gets {
					_ = get()
				}
				return nil
			}
		}))
	}
	return features
}

func BenchmarkValidate(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		features := benchFeatures(n)
		b.Run(fmt.Sprintf("plugins=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := backend.New().Add(features...).Validate(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkStart(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		features := benchFeatures(n)
		b.Run(fmt.Sprintf("plugins=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				be := backend.New().Add(features...)
				if err := be.Start(context.Background()); err != nil {
					b.Fatal(err)
				}
				if err := be.Stop(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
