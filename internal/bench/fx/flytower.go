package main

import (
	"context"
	"fmt"

	"github.com/flytower/flytower/backend"
)

// flytowerFeatures returns n plugins that each need ten services.
func flytowerFeatures(n int, own bool, init func(context.Context) error) []backend.Feature {
	var features []backend.Feature
	shared := make([]backend.RootServiceRef[*service], 10)
	perPlugin := make([]backend.ServiceRef[*service], 10)
	for i := range 10 {
		if own {
			perPlugin[i] = backend.NewServiceRef[*service](fmt.Sprintf("s%d", i))
			features = append(features, backend.NewServiceFactory(perPlugin[i], func(*backend.FactoryEnv) backend.MakeFunc[*service] {
				return func(context.Context) (*service, error) { return &service{}, nil }
			}))
			continue
		}
		shared[i] = backend.NewRootServiceRef[*service](fmt.Sprintf("s%d", i))
		features = append(features, backend.NewRootServiceFactory(shared[i], func(*backend.RootEnv) backend.MakeFunc[*service] {
			return func(context.Context) (*service, error) { return &service{}, nil }
		}))
	}
	for i := range n {
		features = append(features, backend.NewPlugin(fmt.Sprintf("p%d", i), func(env *backend.PluginEnv) backend.InitFunc {
			var gets [10]func() *service
			for k := range gets {
				if own {
					gets[k] = perPlugin[k].From(env)
				} else {
					gets[k] = shared[k].From(env)
				}
			}
			return func(ctx context.Context) error {
				for _, get := range gets {
					get().use()
				}
				return init(ctx)
			}
		}))
	}
	return features
}

// runFlytower wires, validates, starts and stops a backend.
func runFlytower(n int, own bool, init func(context.Context) error) error {
	ctx := context.Background()
	b := backend.New().Add(flytowerFeatures(n, own, init)...)
	if err := b.Validate(); err != nil {
		return err
	}
	if err := b.Start(ctx); err != nil {
		return err
	}
	return b.Stop(ctx)
}
