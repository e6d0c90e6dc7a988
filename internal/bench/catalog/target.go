//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/flytower/flytower/internal/testdb"
)

// target is a backend that is measured.
type target struct {
	name, url, token, control string
	host                      string
	pid                       int
	client                    *http.Client
}

func newTarget(name, base, token, control, pid string) (*target, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("%q is not the base URL of a backend, such as http://127.0.0.1:7007", base)
	}
	t := &target{
		name: name, url: strings.TrimSuffix(base, "/"), token: token, control: strings.TrimSuffix(control, "/"), host: u.Host,
		client: &http.Client{Transport: &http.Transport{DisableCompression: true}},
	}
	if pid != "" {
		if t.pid, err = strconv.Atoi(pid); err != nil {
			return nil, fmt.Errorf("%q is not the number of a process", pid)
		}
	}
	return t, nil
}

const configuration = `
app: {title: Benchmark, baseUrl: %[1]q}
organization: {name: Benchmark}
backend:
  baseUrl: %[1]q
  listen: {host: 127.0.0.1, port: %[2]d}
  database: {client: %[3]s, connection: %[4]s, prefix: bench_}
  auth:
    externalAccess:
      - type: static
        options: {token: %[5]s, subject: bench}
permission: {enabled: false}
catalog:
  index: {enabled: %[6]t, cache: %[7]q}
  rules: [{allow: [Component, API, Resource, System, Domain, Group, User, Location, Template]}]
`

// start starts a backend of this repository with an empty database.
func (o options) start(ctx context.Context, name string) (_ *target, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "catalogbench")
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	ports, err := freePorts(2)
	if err != nil {
		return nil, nil, err
	}
	client, connection, err := o.emptyDatabase(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	base, token := fmt.Sprint("http://127.0.0.1:", ports[0]), rand.Text()
	config := filepath.Join(dir, "app-config.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, configuration, base, ports[0], client, connection, token, o.index, o.cache), 0o600); err != nil {
		return nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	control := fmt.Sprint("127.0.0.1:", ports[1])
	cmd := exec.Command(self, serveCommand, "-config", config, "-control", control)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt reaches it through its standard input only
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	logPath := o.log
	if logPath == "" {
		logPath = filepath.Join(dir, "log")
	}
	log, err := os.Create(logPath)
	if err != nil {
		return nil, nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		return nil, nil, err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the status is in ProcessState
		close(exited)
	}()
	stop = func() error {
		err := stdin.Close()
		if errors.Is(err, os.ErrClosed) { // the process ended before
			err = nil
		}
		select {
		case <-exited:
		case <-time.After(time.Minute):
			err = errors.Join(err, fmt.Errorf("the backend does not stop: %w", cmd.Process.Kill()))
			<-exited
		}
		return errors.Join(err, os.RemoveAll(dir))
	}
	t, err := newTarget(name, base, token, "http://"+control, strconv.Itoa(cmd.Process.Pid))
	if err == nil {
		err = t.awaitReady(ctx, exited)
	}
	if err != nil {
		text, _ := os.ReadFile(logPath)
		return nil, nil, errors.Join(fmt.Errorf("%w\n%s", err, text), stop())
	}
	return t, stop, nil
}

func freePorts(n int) (ports []int, err error) {
	var open []net.Listener
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		open = append(open, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	for _, l := range open {
		err = errors.Join(err, l.Close())
	}
	return ports, err
}

// emptyDatabase returns how to reach an empty database.
func (o options) emptyDatabase(ctx context.Context, dir string) (client, connection string, err error) {
	switch o.database {
	case "sqlite":
		folder := filepath.Join(dir, "databases")
		if err := os.Mkdir(folder, 0o700); err != nil {
			return "", "", err
		}
		return "better-sqlite3", fmt.Sprintf("{directory: %q}", folder), nil
	case "postgres":
		if o.database, err = testdb.Server(postgresSettings...); err != nil {
			return "", "", err
		}
	}
	db, err := pgx.Connect(ctx, o.database)
	if err != nil {
		return "", "", err
	}
	_, err = db.Exec(ctx, "DROP DATABASE IF EXISTS bench_catalog WITH (FORCE)")
	return "pg", strconv.Quote(o.database), errors.Join(err, db.Close(ctx))
}

// postgresSettings are those of the private server: the ordinary ones, except
// that nothing has to survive a crash of the machine.
var postgresSettings = []string{
	"shared_buffers=512MB", "wal_level=replica", "max_wal_size=2GB", "autovacuum_naptime=1min", "fsync=off", "synchronous_commit=off", "full_page_writes=off",
}

func (t *target) awaitReady(ctx context.Context, exited <-chan struct{}) error {
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if resp, err := t.get(ctx, "/.backstage/health/v1/readiness"); err == nil {
			_ = resp.Body.Close() // the status says all
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-exited:
			return errors.New("the backend ended")
		default:
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return fmt.Errorf("%s is not ready after a minute", t.url)
		}
	}
}

func (t *target) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url+path, nil)
	if err != nil {
		return nil, err
	}
	if t.token != "" {
		req.Header.Set("Authorization", "Bearer "+t.token)
	}
	return t.client.Do(req)
}

// getJSON decodes the answer to a GET.
func (t *target) getJSON(ctx context.Context, path string, into any) error {
	resp, err := t.get(ctx, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s%s: %s: %.300s", t.url, path, resp.Status, body)
	}
	return json.Unmarshal(body, into)
}

// count returns how many entities meet a filter; all, if it is empty.
func (t *target) count(ctx context.Context, filter string) (int, error) {
	query := url.Values{"limit": {"0"}}
	if filter != "" {
		query.Set("filter", filter)
	}
	var page struct {
		TotalItems int `json:"totalItems"`
	}
	err := t.getJSON(ctx, "/api/catalog/entities/by-query?"+query.Encode(), &page)
	return page.TotalItems, err
}

// apply makes a full mutation through the control port.
func (t *target) apply(ctx context.Context, query url.Values) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.control+"/apply?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("POST %s/apply: %s: %s", t.control, resp.Status, text)
	}
	return err
}

// memory returns a figure of /proc/PID/status in MiB, 0 for an unknown process.
func (t *target) memory(field string) (float64, error) {
	if t.pid == 0 {
		return 0, nil
	}
	path := fmt.Sprintf("/proc/%d/status", t.pid)
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, field)
}

// resetPeak makes the present memory of the process its peak.
func (t *target) resetPeak() error {
	if t.pid == 0 {
		return nil
	}
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", t.pid), []byte("5"), 0)
}

// cpu returns the processor time that the threads of the process took, user
// and system; 0 for an unknown process.
func (t *target) cpu() (sum time.Duration, err error) {
	if t.pid == 0 {
		return 0, nil
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", t.pid))
	if err != nil {
		return 0, err
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has just ended
		}
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s is malformed: %w", thread, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

// machine says what it was measured on.
func machine() string {
	text := fmt.Sprintf("%s, %d CPUs, %s", runtime.Version(), runtime.NumCPU(), time.Now().UTC().Format("2006-01-02 15:04 MST"))
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		text += ", load " + strings.Fields(string(load))[0]
	}
	return text
}
