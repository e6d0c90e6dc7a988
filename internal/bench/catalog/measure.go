//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/internal/bench/catalog/shape"
)

// ask asks all questions.
func (o options) ask(ctx context.Context, w io.Writer, c shape.Catalog, targets []*target) (err error) {
	if !o.measures("battery") && !o.measures("queries") {
		return nil
	}
	for _, target := range targets {
		if err := target.settle(ctx); err != nil {
			return err
		}
	}
	if o.bare {
		floor, stop, err := startBare(ctx, targets[0])
		if err != nil {
			return fmt.Errorf("starting the bare server: %w", err)
		}
		defer func() { err = errors.Join(err, stop()) }()
		targets = append(slices.Clone(targets), floor)
	}
	all := questions(c)
	for _, measure := range []string{"battery", "queries"} {
		if !o.measures(measure) {
			continue
		}
		for _, connections := range o.connections {
			fmt.Fprintf(w, "\n## %s, %s\n\n", map[string]string{"battery": "Battery", "queries": "Queries"}[measure], plural(connections, "connection"))
			t := newTable("question", "KiB")
			for _, target := range targets {
				t.columns(target.name+" p50 ms", "p99 ms", "req/s")
				if target.pid != 0 {
					t.columns("CPU s/1000")
				}
			}
			if o.beside != "" {
				t.columns("times the req/s", "1/p99")
			}
			if o.bare {
				t.columns("req/s of bare", "CPU of bare")
			}
			var asking time.Duration
			asked := 0
			for _, q := range all {
				if q.measure != measure || !strings.Contains(q.name, o.only) {
					continue
				}
				samples, err := o.alternate(ctx, q, connections, targets)
				if err != nil {
					return fmt.Errorf("%s: %w", q, err)
				}
				t.row(o.questionRow(q, targets, samples)...)
				for _, s := range samples {
					asking, asked = asking+s.asking, asked+len(s.latencies)
				}
			}
			if err := t.write(w); err != nil {
				return err
			}
			if asked > 0 {
				fmt.Fprintf(w, "\nAsking took %s s of the processors per 1000 requests itself.\n", perThousand(asking, asked))
			}
		}
		for _, target := range targets {
			rss, err := target.memory("VmRSS")
			if err != nil {
				return err
			}
			if rss > 0 {
				fmt.Fprintf(w, "\n%s is %.0f MiB resident after that.\n", target.name, rss)
			}
		}
	}
	return nil
}

// settle waits until the process has nothing left to do of what was handed in,
// for a while at most.
func (t *target) settle(ctx context.Context) error {
	const look, most = 500 * time.Millisecond, 20 * time.Second
	for end := time.Now().Add(most); t.pid != 0 && time.Now().Before(end); {
		before, err := t.cpu()
		if err != nil {
			return err
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		after, err := t.cpu()
		if err != nil || after-before < look/50 {
			return err
		}
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprint(n, " ", what, "s")
}

func (o options) questionRow(q question, targets []*target, samples []sample) []string {
	first, last := samples[0], samples[len(samples)-1]
	row := []string{q.name, fmt.Sprintf("%.1f", float64(first.bytes)/float64(len(first.latencies))/1024)}
	for i, s := range samples {
		row = append(row, milliseconds(s.quantile(.5)), milliseconds(s.quantile(.99)), fmt.Sprintf("%.0f", s.rate()))
		if targets[i].pid != 0 {
			row = append(row, perThousand(s.serving, len(s.latencies)))
		}
	}
	if o.beside != "" {
		row = append(row, ratio(first.rate(), samples[1].rate()), ratio(float64(samples[1].quantile(.99)), float64(first.quantile(.99))))
	}
	if o.bare {
		row = append(row, ratio(first.rate(), last.rate()), ratio(first.cost(), last.cost()))
	}
	return row
}

// perThousand returns the seconds that 1000 of n requests took.
func perThousand(d time.Duration, n int) string {
	return fmt.Sprintf("%.3g", d.Seconds()*1000/float64(n))
}

func milliseconds(d time.Duration) string {
	ms := float64(d.Microseconds()) / 1000
	if ms < 10 {
		return fmt.Sprintf("%.2f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return "-"
	}
	if a/b < 10 {
		return fmt.Sprintf("%.2f", a/b)
	}
	return fmt.Sprintf("%.0f", a/b)
}

// alternate asks the targets in turn, in short rounds, so that what else the
// machine does concerns all of them. A first round is not counted.
func (o options) alternate(ctx context.Context, q question, connections int, targets []*target) ([]sample, error) {
	samples := make([]sample, len(targets))
	requests := make([][]request, len(targets))
	for i, t := range targets {
		var err error
		if requests[i], err = q.requests(t); err != nil {
			return nil, err
		}
		if o.bare && i == len(targets)-1 {
			if err := t.teach(ctx, requests[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
		}
		if _, err := t.load(ctx, requests[i], connections, o.round); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	stop := o.startProfile(ctx, q, connections, targets[0])
	for range o.rounds {
		for i, t := range targets {
			s, err := t.load(ctx, requests[i], connections, o.round)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			samples[i].add(s)
		}
	}
	return samples, stop()
}

var unsafeInFileName = regexp.MustCompile(`[^a-z0-9]+`)

// startProfile takes a CPU profile of a backend of this repository.
func (o options) startProfile(ctx context.Context, q question, connections int, t *target) (stop func() error) {
	if o.profile == "" || t.control == "" {
		return func() error { return nil }
	}
	path := filepath.Join(o.profile, fmt.Sprintf("%s-%s-%d.pprof", q.measure, strings.Trim(unsafeInFileName.ReplaceAllString(strings.ToLower(q.name), "-"), "-"), connections))
	seconds := max(1, int((time.Duration(o.rounds) * o.round).Seconds()))
	done := make(chan error, 1)
	go func() { done <- t.saveProfile(ctx, path, seconds) }()
	return func() error { return <-done }
}

func (t *target) saveProfile(ctx context.Context, path string, seconds int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", t.control, seconds), nil)
	if err != nil {
		return err
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile of %s: %s", t.name, resp.Status)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, resp.Body)
	return errors.Join(err, file.Close())
}

// stream downloads everything, and looks how much memory that takes.
func stream(ctx context.Context, w io.Writer, o options, targets []*target) error {
	t := newTable("GET /entities of everything", "MB", "s", "MB/s", "extra MiB")
	for _, target := range targets {
		var best sample
		extra := 0.0
		request := target.newRequest(http.MethodGet, api+"/entities", nil)
		for range o.rounds {
			before, err := target.memory("VmRSS")
			if err != nil {
				return err
			}
			if err := target.resetPeak(); err != nil {
				return err
			}
			s, err := target.download(ctx, request)
			if err != nil {
				return err
			}
			peak, err := target.memory("VmHWM")
			if err != nil {
				return err
			}
			extra = max(extra, peak-before)
			best.add(s)
		}
		took := best.quantile(.5)
		size := float64(best.bytes) / float64(len(best.latencies)) / 1e6
		t.row(target.name, fmt.Sprintf("%.1f", size), fmt.Sprintf("%.2f", took.Seconds()), fmt.Sprintf("%.0f", size/took.Seconds()), fmt.Sprintf("%.0f", extra))
	}
	fmt.Fprintf(w, "\n## Streaming, median of %d\n\n", o.rounds)
	return t.write(w)
}

func (t *target) download(ctx context.Context, r request) (s sample, err error) {
	c, err := dial(ctx, t.host)
	if err != nil {
		return s, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // ends a read that takes too long
	defer stop()
	began := time.Now()
	a, err := c.do(r, io.Discard)
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("the answer has the status %d", a.status)
	}
	return sample{latencies: []time.Duration{time.Since(began)}, bytes: a.bytes}, err
}

// ingest hands the catalog in, and then the same and changed ones again.
func ingest(ctx context.Context, w io.Writer, o options, c shape.Catalog, targets []*target) error {
	related, err := c.Related()
	if err != nil {
		return err
	}
	t := newTable("ingestion", "s", "entities/s", "CPU s", "resident MiB", "peak MiB")
	var first []time.Duration
	for _, target := range targets {
		if target.control == "" {
			continue
		}
		f, err := target.ingest(ctx, o, "first", c, func(ctx context.Context) (string, error) { return target.complete(ctx, c, related) })
		if err != nil {
			return fmt.Errorf("%s: %w", target.name, err)
		}
		first = append(first, f.took)
		t.row(f.row(c.Entities)...)
		if !o.measures("ingest") {
			continue
		}
		if f, err = target.ingest(ctx, o, "nothing changed", c, nil); err != nil {
			return fmt.Errorf("%s: %w", target.name, err)
		}
		t.row(f.row(c.Entities)...)
		if target.pid == 0 || !target.changes(ctx) {
			continue
		}
		changed := c
		changed.Changed = "yes"
		f, err = target.ingest(ctx, o, "1 % changed", changed, func(ctx context.Context) (string, error) {
			n, err := target.count(ctx, "metadata.labels."+shape.ChangeLabel+"=yes")
			return unless(n == c.ChangedEntities(), "%d entities have changed", n), err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", target.name, err)
		}
		t.row(f.row(c.ChangedEntities())...)
	}
	if !o.measures("ingest") {
		return nil
	}
	fmt.Fprint(w, "\n## Ingestion\n\n")
	if err := t.write(w); err != nil {
		return err
	}
	if len(first) == 2 {
		fmt.Fprintf(w, "\nThe first one took 1/%s of the time.\n", ratio(first[1].Seconds(), first[0].Seconds()))
	}
	return nil
}

// remove takes the catalog back.
func remove(ctx context.Context, w io.Writer, o options, c shape.Catalog, targets []*target) error {
	t := newTable("removal of everything", "s", "entities/s", "CPU s", "resident MiB", "peak MiB")
	for _, target := range targets {
		if target.control == "" {
			continue
		}
		f, err := target.ingest(ctx, o, "", shape.Catalog{Form: c.Form}, func(ctx context.Context) (string, error) {
			n, err := target.count(ctx, "")
			return unless(n == 0, "%d entities are there", n), err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", target.name, err)
		}
		f.what = target.name
		t.row(f.row(c.Entities)...)
	}
	fmt.Fprint(w, "\n## Removal\n\n")
	return t.write(w)
}

// changes reports whether the control port can change entities: a backend of
// this repository.
func (t *target) changes(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.control+"/debug/pprof/cmdline", nil)
	if err != nil {
		return false
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // the status says all
	return resp.StatusCode == http.StatusOK
}

// figures are those of one mutation.
type figures struct {
	what                string
	took, cpu           time.Duration
	resident, peakAfter float64
}

func (f figures) row(entities int) []string {
	orNothing := func(v float64, format string) string {
		if f.resident == 0 {
			return "-"
		}
		return fmt.Sprintf(format, v)
	}
	return []string{
		f.what, fmt.Sprintf("%.2f", f.took.Seconds()), fmt.Sprintf("%.0f", float64(entities)/f.took.Seconds()),
		orNothing(f.cpu.Seconds(), "%.1f"), orNothing(f.resident, "%.0f"), orNothing(f.peakAfter, "%.0f"),
	}
}

func unless(fine bool, format string, args ...any) string {
	if fine {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// ingest makes one full mutation, and waits until nothing is missing any more,
// as lacking says; nil waits for nothing.
// ingestProfile is for how many seconds a profile of an ingestion is taken.
const ingestProfile = 12

func (t *target) ingest(ctx context.Context, o options, what string, c shape.Catalog, lacking func(context.Context) (string, error)) (f figures, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.ingestLimit, fmt.Errorf("-ingest-limit %s is over", o.ingestLimit))
	defer cancel()
	query := url.Values{"n": {fmt.Sprint(c.Entities)}, "form": {string(c.Form)}}
	if c.Changed != "" {
		query.Set("changed", c.Changed)
	}
	if err := t.resetPeak(); err != nil {
		return f, err
	}
	if o.profile != "" {
		profile := make(chan error, 1)
		go func() {
			profile <- t.saveProfile(ctx, filepath.Join(o.profile, strings.ReplaceAll("ingest-"+what, " ", "-")+".pprof"), ingestProfile)
		}()
		defer func() { err = errors.Join(err, <-profile) }()
	}
	cpu, err := t.cpu()
	if err != nil {
		return f, err
	}
	began := time.Now()
	if err := t.apply(ctx, query); err != nil {
		return f, err
	}
	for last := ""; lacking != nil; {
		missing, err := lacking(ctx)
		if err != nil {
			return f, errors.Join(err, context.Cause(ctx), errors.New(last))
		}
		if missing == "" {
			break
		}
		last = missing
		// What takes long is looked at less often, so that looking costs little.
		pause := min(max(time.Since(began)/50, 20*time.Millisecond), time.Second)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return f, fmt.Errorf("%w; %s", context.Cause(ctx), last)
		}
	}
	f = figures{what: t.name + ", " + what, took: time.Since(began)}
	after, err := t.cpu()
	f.cpu = after - cpu
	if err != nil {
		return f, err
	}
	if f.resident, err = t.memory("VmRSS"); err != nil {
		return f, err
	}
	f.peakAfter, err = t.memory("VmHWM")
	return f, err
}

// complete reports whether all entities are there, with all their relations.
func (t *target) complete(ctx context.Context, c shape.Catalog, related map[string]int) (missing string, err error) {
	if n, err := t.count(ctx, ""); n != c.Entities || err != nil {
		return fmt.Sprintf("%d of %d entities are there", n, c.Entities), err
	}
	for _, typ := range sortedKeys(related) {
		if n, err := t.count(ctx, "relations."+typ); n != related[typ] || err != nil {
			return fmt.Sprintf("%d of %d entities have relations of the type %s", n, related[typ], typ), err
		}
	}
	return "", nil
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
