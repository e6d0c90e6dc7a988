package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"
)

// service is what plugins depend on.
type service struct{ used atomic.Int64 }

func (s *service) use() { s.used.Add(1) }

// run wires, starts and stops n plugins.
type run func(n int, own bool, init func(context.Context) error) error

func nothing(context.Context) error { return nil }

// millisecond is the init of a plugin that waits, as for a database.
func millisecond(ctx context.Context) error {
	select {
	case <-time.After(time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func measure(r run, n int, own bool, init func(context.Context) error) testing.BenchmarkResult {
	return testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := r(n, own, init); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func main() {
	testing.Init()
	flag.Parse()
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Printf("%s, %d CPUs; time of one wiring, start and stop\n", runtime.Version(), runtime.GOMAXPROCS(0))
	fmt.Fprintln(out, "plugins\tten services\tinit\tflytower\tfx\tfx/flytower\t")
	for _, c := range []struct {
		name string
		init func(context.Context) error
	}{{"nothing", nothing}, {"1 ms", millisecond}} {
		for _, own := range []bool{false, true} {
			for _, n := range []int{10, 100, 1000} {
				kind := "shared"
				if own {
					kind = "per plugin"
				}
				ours, theirs := measure(runFlytower, n, own, c.init), measure(runFx, n, own, c.init)
				fmt.Fprintf(out, "%d\t%s\t%s\t%s\t%s\t%.1f\t\n", n, kind, c.name, round(ours.NsPerOp()), round(theirs.NsPerOp()), float64(theirs.NsPerOp())/float64(ours.NsPerOp()))
			}
		}
	}
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func round(ns int64) time.Duration { return time.Duration(ns).Round(time.Microsecond) }
