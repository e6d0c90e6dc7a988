package main

import (
	"context"
	"sync/atomic"
	"testing"
)

// TestBothDoTheSameWork guards the comparison: both run every init.
func TestBothDoTheSameWork(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]run{"flytower": runFlytower, "fx": runFx} {
		for _, own := range []bool{false, true} {
			var inits atomic.Int64
			if err := r(20, own, func(context.Context) error { inits.Add(1); return nil }); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if n := inits.Load(); n != 20 {
				t.Errorf("%s ran %d inits, want 20", name, n)
			}
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for _, c := range []struct {
		name string
		run  run
	}{{"flytower", runFlytower}, {"fx", runFx}} {
		b.Run(c.name+"/plugins=100", func(b *testing.B) {
			for b.Loop() {
				if err := c.run(100, false, nothing); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
