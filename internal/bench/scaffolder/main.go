// Command scaffolder compares how fast backends render templates, and run
// tasks.
//
//	go run ./internal/bench/scaffolder -make DIR            # a template with 1,000 files, and one with 10 steps
//	go run ./internal/bench/scaffolder -template DIR \
//		-backend name=flytower,url=http://127.0.0.1:7007,pid=123 \
//		-backend name=other,url=http://127.0.0.1:7107,pid=456
//
// The backends need the locations DIR/template.yaml and DIR/steps.yaml in
// their catalogs (rules have to allow templates), and a static token. Each
// round runs a task on each backend, in turn, so that what else the machine
// does meets all of them. A task is measured from its creation to its last
// event, by the clock of the database; the CPU time is that of the whole process
// (Linux).
//
// With -compare the backends render the template in dry runs, and every file
// has to be the same.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

type options struct {
	make, template, token string
	files, rounds, tasks  int
	compare               bool
	backends              []*target
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	flag.StringVar(&o.make, "make", "", "make the templates in this folder, and stop")
	flag.StringVar(&o.template, "template", "", "folder with the templates")
	flag.StringVar(&o.token, "token", "static-token-1234567890", "token of the backends")
	flag.IntVar(&o.files, "files", 1000, "with -make: number of files")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds with fetch:template; the first one warms up and does not count")
	flag.IntVar(&o.tasks, "tasks", 0, "also run this many tasks of ten steps at once")
	flag.BoolVar(&o.compare, "compare", false, "compare what the backends render, file by file")
	flag.Func("backend", "name=…,url=…[,pid=…], once for each backend; the first one is compared with the others", func(text string) error {
		t, err := parseTarget(text)
		o.backends = append(o.backends, t)
		return err
	})
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "scaffolder:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.make != "" {
		return makeTemplates(o.make, o.files)
	}
	if len(o.backends) == 0 {
		return fmt.Errorf("no -backend")
	}
	for _, t := range o.backends {
		t.token = o.token
		if err := t.ready(ctx); err != nil {
			return err
		}
	}
	if o.compare {
		if err := compare(ctx, o.template, o.backends); err != nil {
			return err
		}
	}
	if o.rounds > 0 {
		if err := rendering(ctx, o); err != nil {
			return err
		}
	}
	if o.tasks > 0 {
		return throughput(ctx, o)
	}
	return nil
}

// parseTarget reads name=…,url=…,pid=….
func parseTarget(text string) (*target, error) {
	t := &target{}
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "name":
			t.name = value
		case "url":
			t.url = strings.TrimSuffix(value, "/")
		case "pid":
			pid, err := strconv.Atoi(value)
			if err != nil {
				return t, fmt.Errorf("pid: %w", err)
			}
			t.pid = pid
		default:
			return t, fmt.Errorf("%q is none of name, url, pid", key)
		}
	}
	if t.url == "" {
		return t, fmt.Errorf("no url")
	}
	if t.name == "" {
		t.name = t.url
	}
	return t, nil
}

// sample is what a task, or many, took.
type sample struct{ wall, cpu, first time.Duration }

func measure(t *target, what func() (took, error)) (sample, error) {
	cpu, err := t.cpu()
	if err != nil {
		return sample{}, err
	}
	took, err := what()
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", t.name, err)
	}
	after, err := t.cpu()
	return sample{took.wall, after - cpu, took.first}, err
}

func rendering(ctx context.Context, o options) error {
	all := make([][]sample, len(o.backends))
	for round := range o.rounds + 1 {
		for i, t := range o.backends {
			s, err := measure(t, func() (took, error) { return t.task(ctx, "template:default/bench-files") })
			if err != nil {
				return err
			}
			if round > 0 {
				all[i] = append(all[i], s)
			}
		}
	}
	fmt.Printf("A task with fetch:template, %d rounds\n\n", o.rounds)
	table(o.backends, all, o.filesOf(), "file")
	return nil
}

func (o options) filesOf() int {
	if entries, err := os.ReadDir(o.template + "/skeleton"); err == nil {
		n := 0
		for _, dir := range entries {
			if files, err := os.ReadDir(o.template + "/skeleton/" + dir.Name()); err == nil {
				n += len(files)
			}
		}
		return n
	}
	return o.files
}

func throughput(ctx context.Context, o options) error {
	all := make([][]sample, len(o.backends))
	for round := range 3 {
		for i, t := range o.backends {
			s, err := measure(t, func() (took, error) { return t.many(ctx, "template:default/bench-steps", o.tasks) })
			if err != nil {
				return err
			}
			if round > 0 {
				all[i] = append(all[i], s)
			}
		}
	}
	fmt.Printf("\n%d tasks with ten steps of debug:log, created at once\n\n", o.tasks)
	table(o.backends, all, o.tasks, "task")
	return nil
}
