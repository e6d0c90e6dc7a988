//go:build linux

// Command startup measures how long a backend takes from the start of its
// process to readiness, and how much memory it holds: idle, and at its peak.
// With a second command it measures the two in turn, A B A B …, and prints
// the ratios of the medians, so that a comparison holds on a noisy machine.
//
//	go build -o bin/flytower ./cmd/flytower
//	go run ./internal/bench/startup -url http://127.0.0.1:7107 \
//	    -a 'bin/flytower run --config perf.yaml' -b 'node reference/index.js --config perf.yaml'
//
// Memory is read from /proc, summed over the process and its children, so it
// runs on Linux only. Both commands must listen at the URL, and start from an
// empty database each time.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.a, "a", "", "first command")
	flag.StringVar(&o.b, "b", "", "second command; may be empty")
	flag.StringVar(&o.url, "url", "http://127.0.0.1:7007", "base URL at which both listen")
	flag.IntVar(&o.runs, "runs", 5, "counted runs of each command; one more goes before them")
	flag.DurationVar(&o.idle, "idle", 20*time.Second, "how long to wait after readiness before idle memory is read")
	flag.DurationVar(&o.limit, "limit", time.Minute, "how long a start may take")
	flag.Parse()
	if err := o.run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "startup: "+err.Error())
		os.Exit(1)
	}
}

type options struct {
	a, b, url   string
	runs        int
	idle, limit time.Duration
}

// figures are those of one run.
type figures struct{ ready, idle, peak float64 } // ms, MiB, MiB

func (o options) run(w io.Writer) error {
	if o.a == "" {
		return errors.New("-a names the command to measure")
	}
	var as, bs []figures
	for i := range o.runs + 1 {
		for _, side := range []struct {
			command string
			into    *[]figures
		}{{o.a, &as}, {o.b, &bs}} {
			if side.command == "" {
				continue
			}
			f, err := o.measure(side.command)
			if err != nil {
				return fmt.Errorf("%s: %w", side.command, err)
			}
			if i > 0 { // the first warms the file cache
				*side.into = append(*side.into, f)
			}
		}
	}
	fmt.Fprintf(w, "%d runs each, alternating; median (min to max)\n", o.runs)
	fmt.Fprintf(w, "%-26s %-26s %-26s %s\n", "", "A", "B", "A/B")
	for _, row := range []struct {
		name string
		of   func(figures) float64
	}{
		{"ready after, ms", func(f figures) float64 { return f.ready }},
		{"resident when idle, MiB", func(f figures) float64 { return f.idle }},
		{"resident at peak, MiB", func(f figures) float64 { return f.peak }},
	} {
		a, b := stats(as, row.of), stats(bs, row.of)
		ratio := ""
		if len(bs) > 0 {
			ratio = fmt.Sprintf("1/%.1f", b.median/a.median)
		}
		fmt.Fprintf(w, "%-26s %-26s %-26s %s\n", row.name, a, b, ratio)
	}
	return nil
}

type stat struct {
	n                int
	median, min, max float64
}

func (s stat) String() string {
	if s.n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f (%.1f to %.1f)", s.median, s.min, s.max)
}

func stats(fs []figures, of func(figures) float64) stat {
	if len(fs) == 0 {
		return stat{}
	}
	values := make([]float64, len(fs))
	for i, f := range fs {
		values[i] = of(f)
	}
	slices.Sort(values)
	return stat{len(values), values[len(values)/2], values[0], values[len(values)-1]}
}

func (o options) measure(command string) (f figures, err error) {
	if o.answers(context.Background()) {
		return f, fmt.Errorf("something listens at %s already; stop it first", o.url)
	}
	cmd := exec.Command("sh", "-c", "exec "+command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return f, err
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), o.limit)
	defer cancel()
	for !o.answers(ctx) {
		if ctx.Err() != nil {
			return f, fmt.Errorf("not ready after %s", o.limit)
		}
		time.Sleep(time.Millisecond)
	}
	f.ready = float64(time.Since(start).Microseconds()) / 1000
	time.Sleep(o.idle)
	if f.idle, err = memory(cmd.Process.Pid, "VmRSS"); err != nil {
		return f, err
	}
	f.peak, err = memory(cmd.Process.Pid, "VmHWM")
	return f, err
}

var client = &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// answers reports whether the backend is ready.
func (o options) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url+"/.backstage/health/v1/readiness", nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // its content does not matter
	return resp.StatusCode == http.StatusOK
}

// memory returns a figure of /proc/PID/status in MiB, over the process group.
func memory(group int, field string) (float64, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, path := range stats {
		pid, pgrp := processGroup(path)
		if pgrp != group {
			continue
		}
		kib, err := statusField(fmt.Sprintf("/proc/%d/status", pid), field)
		if err != nil {
			return 0, err
		}
		total += kib / 1024
	}
	if total == 0 {
		return 0, errors.New("the process ended, or this system has no /proc")
	}
	return total, nil
}

func processGroup(path string) (pid, pgrp int) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0 // it ended meanwhile
	}
	// pid (name) state ppid pgrp …; the name may hold anything.
	end := strings.LastIndexByte(string(text), ')')
	fields := strings.Fields(string(text[end+1:]))
	if end < 0 || len(fields) < 3 {
		return 0, 0
	}
	pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(path)))
	pgrp, _ = strconv.Atoi(fields[2])
	return pid, pgrp
}

func statusField(path, field string) (kib float64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			return strconv.ParseFloat(strings.Fields(value)[0], 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, field)
}
