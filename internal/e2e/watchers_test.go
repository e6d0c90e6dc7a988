package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/testdb"
)

var (
	watchers     = flag.Int("watchers", 500, "how many watchers TestWatchers has")
	watchedTasks = flag.Int("watched-tasks", 20, "how many tasks they watch")
	watchedLines = flag.Int("watched-lines", 100, "how many lines each task writes")
)

// Watchers on two replicas follow running tasks, each of which runs on one of
// them. Some go away and come back with the last id that they saw, some do not
// read for a long time. All see every event once, in order.
func TestWatchers(t *testing.T) {
	t.Parallel()
	count := newCounter(t, 0)
	db := testdb.NewPostgres(t)
	s := setup{
		added: "counting", env: []string{counterURL + "=" + count.URL}, args: []string{"--plugins", "catalog,scaffolder"},
		files: map[string]string{"templates.yaml": fmt.Sprintf(`
apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata: {name: talk}
spec: {type: service, steps: [{id: talk, name: Talk, action: 'e2e:talk', input: {lines: %d}}]}
`, *watchedLines)},
		config: settings(postgres(db.DSN) + fmt.Sprintf(`
catalog:
  rules: [{allow: [Template]}]
  locations: [{type: file, target: ./templates.yaml}]
scaffolder:
  concurrentTasksLimit: %d
`, *watchedTasks)),
	}
	f := &fleet{replicas: []*process{launch(t, s), launch(t, s)}}
	for _, p := range f.replicas {
		p.ready()
	}
	eventually(t, "the template", func() error {
		if a := f.replica(0).get("/api/catalog/entities/by-name/template/default/talk", token); a.status != http.StatusOK {
			return fmt.Errorf("%s", a)
		}
		return nil
	})
	r := rand.New(rand.NewPCG(1, 2))
	ids := make([]string, *watchedTasks)
	for i := range ids {
		status, text := f.call(t.Context(), r, http.MethodPost, "/api/scaffolder/v2/tasks", map[string]any{"templateRef": "template:default/talk", "values": map[string]any{}})
		var made struct{ ID string }
		if err := json.Unmarshal(text, &made); err != nil || status != http.StatusCreated {
			t.Fatalf("%d %s", status, text)
		}
		ids[i] = made.ID
	}
	before := residentBytes(t, f.replicas)
	var connected, ended sync.WaitGroup
	seen := make([][]int64, *watchers)
	problems := make([]error, *watchers)
	for n := range *watchers {
		connected.Add(1)
		w := &watcher{replicas: f.replicas, at: n, task: ids[n%len(ids)], ready: sync.OnceFunc(connected.Done)}
		switch {
		case n%50 == 7:
			w.stalls = true
		case n%3 == 0:
			w.leavesAfter = 1 + r.IntN(*watchedLines)
		}
		ended.Go(func() {
			problems[n] = w.watch(t.Context())
			seen[n] = w.seen
		})
	}
	connected.Wait()
	after := residentBytes(t, f.replicas)
	if before > 0 {
		t.Logf("%d watchers of %d tasks on two replicas take %d KiB of resident memory each", *watchers, *watchedTasks, (after-before)/int64(*watchers)/1024)
	}
	begun := time.Now()
	close(count.gate)
	ended.Wait()
	t.Logf("%d events reached their watchers in %s", *watchers*len(seen[0]), time.Since(begun).Round(time.Millisecond))
	for i, id := range ids {
		var events []taskEvent
		f.replica(i%2).decode("/api/scaffolder/v2/tasks/"+id+"/events", token, &events)
		var want []int64
		for _, e := range events {
			want = append(want, e.ID)
		}
		if len(want) < *watchedLines || !slices.IsSorted(want) {
			t.Fatalf("the task has %d events", len(want))
		}
		for n := i; n < *watchers; n += len(ids) {
			if problems[n] != nil {
				t.Errorf("watcher %d: %v", n, problems[n])
			} else if diff := cmp.Diff(want, seen[n]); diff != "" {
				t.Errorf("watcher %d (-stored +seen):\n%.1000s", n, diff)
			}
		}
	}
}

// residentBytes is the memory that processes use; 0 where that is not known.
func residentBytes(t *testing.T, all []*process) (sum int64) {
	t.Helper()
	for _, p := range all {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err != nil {
			return 0
		}
		_, rest, _ := strings.Cut(string(text), "VmRSS:")
		kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += kb * 1024
	}
	return sum
}

// watcher follows a task until it ends.
type watcher struct {
	replicas    []*process
	at          int // the replica, modulo their number
	task        string
	ready       func()
	leavesAfter int  // so many events; then it comes back elsewhere
	stalls      bool // it does not read for a while, and has a small buffer

	seen []int64
}

func (w *watcher) watch(ctx context.Context) error {
	for {
		over, err := w.connect(ctx)
		if over || err != nil {
			w.ready()
			return err
		}
		w.at++
		w.leavesAfter = 0
	}
}

// connect reads a stream until the task ends, or until it is to leave.
func (w *watcher) connect(ctx context.Context) (over bool, err error) {
	ctx, done := context.WithCancel(ctx)
	defer done()
	address := w.replicas[w.at%len(w.replicas)].url + "/api/scaffolder/v2/tasks/" + w.task + "/eventstream"
	if len(w.seen) > 0 {
		address += fmt.Sprintf("?after=%d", w.seen[len(w.seen)-1])
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: w.at%2 == 0}
	if w.stalls {
		transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if tcp, ok := conn.(*net.TCPConn); ok {
				err = tcp.SetReadBuffer(4096)
			}
			return conn, err
		}
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return false, fmt.Errorf("%s %s", resp.Status, resp.Header)
	}
	lines := bufio.NewReader(resp.Body)
	kind := ""
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return false, fmt.Errorf("after %d events: %w", len(w.seen), err)
		}
		line = strings.TrimSuffix(line, "\n")
		w.ready() // it is being followed
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			kind = name
			continue
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var e taskEvent
		if err := json.Unmarshal([]byte(data), &e); err != nil || e.Type != kind {
			return false, fmt.Errorf("%s: %w", data, err)
		}
		w.seen = append(w.seen, e.ID)
		if e.Type == "completion" {
			return true, nil
		}
		if w.stalls && len(w.seen) == 2 {
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
		}
		if w.leavesAfter > 0 && len(w.seen) >= w.leavesAfter {
			return false, nil
		}
	}
}
