package main

import (
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// table prints medians, and how many times the first backend is as fast as
// each of the others.
func table(backends []*target, all [][]sample, n int, unit string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "backend\twall\t%ss/s\tfirst event\tCPU\tCPU per %s\tfaster than\tless CPU than\n", unit, unit)
	for i, t := range backends {
		wall := median(all[i], func(s sample) time.Duration { return s.wall })
		cpu := median(all[i], func(s sample) time.Duration { return s.cpu })
		first := median(all[i], func(s sample) time.Duration { return s.first })
		faster, less := "", ""
		if i == 0 {
			for j, other := range backends[1:] {
				faster += fmt.Sprintf("%s %.1fx ", other.name, median(all[j+1], func(s sample) time.Duration { return s.wall }).Seconds()/wall.Seconds())
				if cpu > 0 {
					less += fmt.Sprintf("%s %.1fx ", other.name, median(all[j+1], func(s sample) time.Duration { return s.cpu }).Seconds()/cpu.Seconds())
				}
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%s\t%s\t%s\t%s\t%s\n", t.name, wall.Round(time.Millisecond), float64(n)/wall.Seconds(), first.Round(time.Millisecond), cpu,
			(cpu / time.Duration(n)).Round(time.Microsecond), faster, less)
	}
	_ = w.Flush() // to the standard output
}

func median(all []sample, of func(sample) time.Duration) time.Duration {
	values := make([]time.Duration, len(all))
	for i, s := range all {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
