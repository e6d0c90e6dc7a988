//go:build linux

// Command catalog measures the catalog as a whole process: a backend with a
// database, asked over HTTP. It makes a synthetic catalog, starts a backend of
// this repository, hands the catalog in, and prints tables in Markdown.
//
//	go run ./internal/bench/catalog -entities 10000,74000
//
// It measures, as -measure says:
//
//   - ingest: the first full mutation, until all entities can be queried with
//     all their relations; the same again; one with 1 % changed; and the removal
//     of everything
//   - battery: the twelve questions that Backstage publishes figures of
//   - queries: those that clients ask most
//   - stream: GET /entities of everything
//
// The catalog is in SQLite (-database sqlite), on a private PostgreSQL server
// that is started for it (-database postgres, the default), or on any
// PostgreSQL server (-database postgres://…), whose user may create databases;
// those named bench_… are dropped first.
//
// # Beside another backend
//
// With -beside the same is asked of another backend, the two in turn in short
// rounds, and the tables have ratios. It has to have the same catalog, or a
// control port that hands it in: POST /apply?n=10000 there is a full mutation
// of a catalog of the regular form, and n=0 removes it. For another
// implementation, use that form:
//
//	go run ./internal/bench/catalog -entities 10000 -form regular \
//	    -beside http://127.0.0.1:7107 -beside-token … -beside-control http://127.0.0.1:7190
//
// With -url it is not a backend of this repository that is asked, but the one
// at the URL; -token and -control go with that.
//
// # The floor
//
// The tables of questions also have a bare net/http server, in a process of its
// own, that gives the bytes that the first backend answered: what the server of
// the standard library and the kernel take at least. CPU is the processor time
// of the process of the server, user and system, per 1000 requests: on a machine
// that does other things, too, it says more than the rate. What the load itself
// takes of the processors that it shares is told, too. -bare=false leaves it out.
//
// # Looking inside
//
// -profile writes the CPU profile of each question into a folder. -hold keeps
// the backend running after the tables, and prints how to reach it.
//
// Everything listens at, and asks, loopback addresses only unless -url or
// -beside say otherwise. Memory is read from /proc, so it runs on Linux only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/flytower/flytower/internal/bench/catalog/shape"
)

func main() {
	if len(os.Args) > 1 {
		if command := map[string]func([]string) error{serveCommand: serve, bareCommand: serveBare}[os.Args[1]]; command != nil {
			if err := command(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, "catalog "+os.Args[1]+": "+err.Error())
				os.Exit(1)
			}
			return
		}
	}
	o, err := parseOptions(os.Args[1:])
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = o.run(ctx, os.Stdout)
		stop()
	}
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "catalog: "+err.Error())
		os.Exit(1)
	}
}

type options struct {
	sizes    []int
	form     shape.Form
	database string
	measure  []string
	only     string

	url, token, control, pid                      string
	beside, besideToken, besideControl, besidePID string
	names                                         string
	rounds                                        int
	round, ingestLimit, limit, hold               time.Duration
	connections                                   []int
	profile, log                                  string
	index, bare                                   bool
	cache                                         string
}

var measures = []string{"ingest", "battery", "queries", "stream"}

func parseOptions(args []string) (o options, err error) {
	f := flag.NewFlagSet("catalog", flag.ContinueOnError)
	sizes := f.String("entities", "10000", "sizes of the catalog, with commas between them")
	form := f.String("form", string(shape.Large), "form of the catalog: large or regular; see package shape")
	measure := f.String("measure", strings.Join(measures, ","), "what to measure")
	connections := f.String("connections", "1,16", "numbers of connections that ask at the same time")
	f.StringVar(&o.only, "only", "", "ask only the questions whose name contains this")
	f.StringVar(&o.database, "database", "postgres", "postgres, sqlite, or the URL of a PostgreSQL server")
	f.StringVar(&o.url, "url", "", "base URL of a running backend to measure instead of one of this repository")
	f.StringVar(&o.token, "token", "", "bearer token for -url")
	f.StringVar(&o.control, "control", "", "base URL of the control port of -url; without it, its catalog is taken as it is")
	f.StringVar(&o.pid, "pid", "", "process of -url, whose memory is read")
	f.StringVar(&o.beside, "beside", "", "base URL of a running backend to compare with")
	f.StringVar(&o.besideToken, "beside-token", "", "bearer token for -beside")
	f.StringVar(&o.besideControl, "beside-control", "", "base URL of the control port of -beside; without it, its catalog is taken as it is")
	f.StringVar(&o.besidePID, "beside-pid", "", "process of -beside, whose memory is read")
	f.StringVar(&o.names, "names", "flytower,beside", "names of the two in the tables")
	f.IntVar(&o.rounds, "rounds", 5, "rounds of each question")
	f.DurationVar(&o.round, "round", 300*time.Millisecond, "least duration of a round; each connection asks three times at least")
	f.DurationVar(&o.ingestLimit, "ingest-limit", 10*time.Minute, "how long one ingestion may take")
	f.DurationVar(&o.limit, "limit", time.Hour, "how long all of it may take")
	f.DurationVar(&o.hold, "hold", 0, "how long to keep the backend running after the tables")
	f.StringVar(&o.profile, "profile", "", "folder for CPU profiles")
	f.StringVar(&o.log, "log", "", "file for the log of the backend; default: none is kept")
	f.StringVar(&o.cache, "cache", "64MiB", "memory of the backend for the texts of entities")
	f.BoolVar(&o.bare, "bare", true, "whether a bare net/http server that gives the same bytes is asked the same")
	f.BoolVar(&o.index, "index", true, "whether the backend may answer from its index in memory")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("there are only flags, found %q", f.Arg(0))
	}
	if o.sizes, err = numbers("entities", *sizes); err != nil {
		return o, err
	}
	if o.connections, err = numbers("connections", *connections); err != nil {
		return o, err
	}
	switch o.form = shape.Form(*form); o.form {
	case shape.Large:
	case shape.Regular:
		if n := slices.Min(o.sizes); n < shape.MinRegular {
			return o, fmt.Errorf("-entities %d: a catalog of the regular form has %d entities at least", n, shape.MinRegular)
		}
	default:
		return o, fmt.Errorf("-form %q: expected large or regular", *form)
	}
	for m := range strings.SplitSeq(*measure, ",") {
		if !slices.Contains(measures, m) {
			return o, fmt.Errorf("-measure %q: expected some of %s", m, strings.Join(measures, ","))
		}
		o.measure = append(o.measure, m)
	}
	if o.rounds < 1 || o.round <= 0 {
		return o, errors.New("-rounds and -round must be positive")
	}
	return o, nil
}

func numbers(name, text string) (out []int, err error) {
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-%s %q: expected positive numbers with commas between them", name, text)
		}
		out = append(out, n)
	}
	return out, nil
}

func (o options) measures(what string) bool { return slices.Contains(o.measure, what) }

// run measures all sizes, each with a new backend and an empty database.
func (o options) run(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("-limit %s is over", o.limit))
	defer cancel()
	names := strings.SplitN(o.names+",beside", ",", 3)
	for _, n := range o.sizes {
		if err := o.measureSize(ctx, w, names, shape.Catalog{Form: o.form, Entities: n}); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = errors.Join(err, cause)
			}
			return err
		}
	}
	return nil
}

func (o options) measureSize(ctx context.Context, w io.Writer, names []string, c shape.Catalog) (err error) {
	var targets []*target
	if o.url != "" {
		t, err := newTarget(names[0], o.url, o.token, o.control, o.pid)
		if err != nil {
			return err
		}
		targets = append(targets, t)
	} else {
		t, stop, err := o.start(ctx, names[0])
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
		targets = append(targets, t)
	}
	if o.beside != "" {
		t, err := newTarget(names[1], o.beside, o.besideToken, o.besideControl, o.besidePID)
		if err != nil {
			return err
		}
		targets = append(targets, t)
	}
	where := o.database
	if i := strings.Index(where, "://"); i >= 0 {
		where = where[:i]
	}
	fmt.Fprintf(w, "# %d entities (%s)", c.Entities, c.Form)
	if o.url == "" {
		fmt.Fprintf(w, ", %s in %s", names[0], where)
	}
	fmt.Fprintf(w, "\n\n%s\n", machine())
	if err := ingest(ctx, w, o, c, targets); err != nil {
		return err
	}
	if err := o.ask(ctx, w, c, targets); err != nil {
		return err
	}
	if o.measures("stream") {
		if err := stream(ctx, w, o, targets); err != nil {
			return err
		}
	}
	if o.hold > 0 {
		for _, t := range targets {
			fmt.Fprintf(w, "\n%s: %s with the bearer token %s, control %s, process %d\n", t.name, t.url, t.token, t.control, t.pid)
		}
		select {
		case <-time.After(o.hold):
		case <-ctx.Done():
			return nil
		}
	}
	if o.measures("ingest") {
		return remove(ctx, w, o, c, targets)
	}
	return nil
}
