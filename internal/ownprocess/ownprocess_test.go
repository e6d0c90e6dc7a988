//go:build linux

package ownprocess

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
)

func TestMain(m *testing.M) {
	if Requested() {
		child, err := Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(70)
		}
		errand(child)
		os.Exit(0)
	}
	if dir, ok := os.LookupEnv("OWNPROCESS_TEST_BACKEND"); ok { // a backend that will be killed
		_, _ = Work{Plugin: "p", Errand: "forever", Dir: dir, Serve: func(_ context.Context, _ string, params json.RawMessage) (any, error) {
			fmt.Println(string(params))
			return nil, nil
		}}.Do(context.Background(), context.Background())
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// errand is what the processes of these tests do.
func errand(c *Child) {
	ctx := context.Background()
	switch c.Errand() {
	case "echo":
		var in any
		err := c.Input(&in)
		var answer string
		err = errors.Join(err, c.Call(ctx, "ask", in, &answer))
		_ = c.End(map[string]any{"answer": answer, "config": c.Config()}, err)
	case "fail":
		_ = c.End(nil, c.Call(ctx, "refuse", nil, nil))
	case "until-cancelled":
		_ = c.Call(ctx, "ready", nil, nil)
		<-c.Context().Done()
		_ = c.End(context.Cause(c.Context()).Error(), nil)
	case "forever":
		_ = c.Call(ctx, "ready", os.Getpid(), nil)
		select {}
	case "hang-up":
		_ = c.channel.conn.(*net.UnixConn).CloseWrite()
		select {}
	case "garbage":
		_, _ = c.channel.conn.Write([]byte("\x00\x00\x00\x02{}"))
		select {}
	case "too-long":
		_, _ = c.channel.conn.Write([]byte("\xff\xff\xff\xff"))
		select {}
	case "say":
		for i := range 3 * maxLines {
			fmt.Fprintln(os.Stderr, "line", i)
		}
		_ = c.End(nil, nil)
	}
}

func work(t *testing.T, errand string, serve func(method string, params json.RawMessage) (any, error)) Work {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	return Work{Plugin: "p", Errand: errand, Dir: dir, Confine: true, Serve: func(_ context.Context, method string, params json.RawMessage) (any, error) {
		if serve == nil {
			return nil, nil
		}
		return serve(method, params)
	}}
}

func TestAnErrandAsksAndAnswers(t *testing.T) {
	t.Parallel()
	w := work(t, "echo", func(method string, params json.RawMessage) (any, error) { return method + string(params), nil })
	w.Input, w.Config = []int{1, 2}, map[string]any{"a": "b"}
	got, err := w.Do(t.Context(), t.Context())
	if want := `{"answer":"ask[1,2]","config":{"a":"b"}}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func TestErrorsKeepTheirNames(t *testing.T) {
	t.Parallel()
	_, err := work(t, "fail", func(string, json.RawMessage) (any, error) { return nil, apierr.NotAllowed("not you") }).Do(t.Context(), t.Context())
	if apierr.KindOf(err) != apierr.KindNotAllowed || err.Error() != "not you" {
		t.Errorf("got %v", err)
	}
}

func TestCancelling(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancelCause(t.Context())
	got, err := work(t, "until-cancelled", func(string, json.RawMessage) (any, error) { cancel(errors.New("enough")); return nil, nil }).Do(t.Context(), cancelled)
	if err != nil || string(got) != `"enough"` {
		t.Errorf("got %s, %v", got, err)
	}
	deaf := work(t, "forever", func(string, json.RawMessage) (any, error) { cancel(nil); return nil, nil })
	deaf.Grace = time.Millisecond
	_, err = deaf.Do(t.Context(), cancelled)
	var ended *Ended
	if !errors.As(err, &ended) || ended.Reason != "its process was ended: it did not end after it was cancelled" {
		t.Errorf("one that does not listen: %v", err)
	}
	lost, lose := context.WithCancelCause(t.Context())
	reason := errors.New("lost")
	if _, err := work(t, "forever", func(string, json.RawMessage) (any, error) { lose(reason); return nil, nil }).Do(lost, lost); !errors.Is(err, reason) {
		t.Errorf("one that is let go: %v", err)
	}
}

func TestProcessesThatBreakTheRules(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"hang-up":  "its process was ended: it hung up",
		"garbage":  "its process was ended: it broke the rules of its messages: a message has no meaning",
		"too-long": "its process was ended: it broke the rules of its messages: a message is longer than 64 MB",
		"unknown":  "its process exited with code 0",
	} {
		_, err := work(t, name, nil).Do(t.Context(), t.Context())
		var ended *Ended
		if !errors.As(err, &ended) || ended.Reason != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatAProcessSaysIsBounded(t *testing.T) {
	t.Parallel()
	told := 0
	w := work(t, "say", nil)
	w.Said = func(string) { told++ }
	if _, err := w.Do(t.Context(), t.Context()); err != nil || told != maxLines {
		t.Errorf("%d lines were told, %v", told, err)
	}
}

// kill -9 of the backend ends the process, too.
func TestProcessesDoNotOutliveTheBackend(t *testing.T) {
	t.Parallel()
	w := work(t, "", nil)
	backend := exec.CommandContext(t.Context(), self)
	backend.Env = append(os.Environ(), "OWNPROCESS_TEST_BACKEND="+w.Dir)
	out, err := backend.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := backend.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 32)
	n, err := out.Read(line)
	pid, bad := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil || bad != nil {
		t.Fatal(err, bad)
	}
	if err := backend.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = backend.Wait()
	for { // until the system has taken note; the limit of the test ends it otherwise
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(text), ") Z") {
			return
		}
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			return
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{1 << 30: "1 GB", 512 << 20: "512 MB", 3 << 10: "3 kB", 1000: "1000 bytes"} {
		if got := Size(n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// FuzzRead shows that no bytes of a process break or bloat the backend.
func FuzzRead(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Add([]byte("\x00\x00\x00\x20" + `{"call":{"id":1,"method":"log"}}`))
	f.Add([]byte("\x7f\x00\x00\x00{"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		c := channel{conn: readOnly{strings.NewReader(string(text))}}
		for {
			if _, err := c.read(); err != nil {
				return
			}
		}
	})
}

type readOnly struct{ io.Reader }

func (readOnly) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (readOnly) Close() error              { return nil }
