package main

import (
	"context"
	"fmt"

	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"
)

// fx tells services apart by their Go types, so ten services are ten types.
type (
	s0 struct{ service }
	s1 struct{ service }
	s2 struct{ service }
	s3 struct{ service }
	s4 struct{ service }
	s5 struct{ service }
	s6 struct{ service }
	s7 struct{ service }
	s8 struct{ service }
	s9 struct{ service }
)

var constructors = []any{
	func() *s0 { return &s0{} }, func() *s1 { return &s1{} }, func() *s2 { return &s2{} }, func() *s3 { return &s3{} },
	func() *s4 { return &s4{} }, func() *s5 { return &s5{} }, func() *s6 { return &s6{} }, func() *s7 { return &s7{} },
	func() *s8 { return &s8{} }, func() *s9 { return &s9{} },
}

// fxOptions returns n modules that each need ten services.
func fxOptions(n int, own bool, init func(context.Context) error) fx.Option {
	invoke := func(lc fx.Lifecycle, a *s0, b *s1, c *s2, d *s3, e *s4, f *s5, g *s6, h *s7, i *s8, j *s9) {
		lc.Append(fx.StartHook(func(ctx context.Context) error {
			a.use()
			b.use()
			c.use()
			d.use()
			e.use()
			f.use()
			g.use()
			h.use()
			i.use()
			j.use()
			return init(ctx)
		}))
	}
	opts := []fx.Option{fx.WithLogger(func() fxevent.Logger { return fxevent.NopLogger })}
	if !own {
		opts = append(opts, fx.Provide(constructors...))
	}
	for i := range n {
		module := []fx.Option{fx.Invoke(invoke)}
		if own {
			module = append(module, fx.Provide(append(constructors[:len(constructors):len(constructors)], fx.Private)...))
		}
		opts = append(opts, fx.Module(fmt.Sprintf("p%d", i), module...))
	}
	return fx.Options(opts...)
}

// runFx wires, starts and stops an application. fx.New validates on its way:
// an error would have been found by the first invocation that fails.
func runFx(n int, own bool, init func(context.Context) error) error {
	ctx := context.Background()
	app := fx.New(fxOptions(n, own, init))
	if err := app.Err(); err != nil {
		return err
	}
	if err := app.Start(ctx); err != nil {
		return err
	}
	return app.Stop(ctx)
}
