//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/bench/catalog/shape"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, err string }{
		{"-entities 10000,74000 -form large -measure battery,stream", ""},
		{"-entities 0", "-entities"},
		{"-entities 100 -form regular", "300"},
		{"-form round", "-form"},
		{"-measure speed", "-measure"},
		{"-rounds 0", "-rounds"},
		{"extra", "extra"},
	} {
		o, err := parseOptions(strings.Fields(c.args))
		switch {
		case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: error %v, want %q", c.args, err, c.err)
		case c.err == "" && (len(o.sizes) != 2 || !o.measures("stream") || o.measures("ingest")):
			t.Errorf("%s: %+v", c.args, o)
		}
	}
}

// TestConnection reads answers of every form.
func TestConnection(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789", 30_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/sized":
			_, _ = io.WriteString(w, body[:100])
		case "/chunked":
			for part := range 3 {
				_, _ = io.WriteString(w, body[part*100_000:(part+1)*100_000])
				_ = http.NewResponseController(w).Flush()
			}
		case "/posted":
			_, _ = io.Copy(w, r.Body)
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(server.Close)
	target, err := newTarget("a", server.URL, "token", "", "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := dial(t.Context(), target.host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for range 2 { // on the same connection
		for _, want := range []struct {
			request request
			status  int
			body    string
		}{
			{target.newRequest("GET", "/sized", nil), 200, body[:100]},
			{target.newRequest("GET", "/chunked", nil), 200, body},
			{target.newRequest("POST", "/posted", []byte("hello")), 200, "hello"},
			{target.newRequest("GET", "/none", nil), 204, ""},
		} {
			var got bytes.Buffer
			a, err := c.do(want.request, &got)
			if err != nil || a.status != want.status || got.String() != want.body || a.bytes != int64(len(want.body)) {
				t.Errorf("%.40q: %+v, %d bytes, %v", want.request, a, got.Len(), err)
			}
		}
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	t.Cleanup(server.Close)
	target, err := newTarget("a", server.URL, "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := target.load(t.Context(), []request{target.newRequest("GET", "/", nil)}, 4, time.Nanosecond)
	if err != nil || len(s.latencies) != 4*leastRequests || s.bytes != int64(2*len(s.latencies)) {
		t.Errorf("%d requests, %d bytes, %v", len(s.latencies), s.bytes, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := target.load(ended, []request{target.newRequest("GET", "/", nil)}, 1, time.Hour); err == nil {
		t.Error("it goes on when its time is over")
	}
	nowhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(nowhere.Close)
	lost, err := newTarget("b", nowhere.URL, "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lost.load(t.Context(), []request{lost.newRequest("GET", "/", nil)}, 1, time.Nanosecond); err == nil {
		t.Error("answers that are errors are counted")
	}
}

// TestQuestions renders every question for both forms.
func TestQuestions(t *testing.T) {
	t.Parallel()
	target, err := newTarget("a", "http://127.0.0.1:1", "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []shape.Catalog{{Form: shape.Large, Entities: 1500}, {Form: shape.Regular, Entities: 400}} {
		battery := 0
		for _, q := range questions(c) {
			requests, err := q.requests(target)
			if err != nil || len(requests) == 0 || !bytes.Contains(requests[0], []byte(" /api/catalog/")) {
				t.Errorf("%s: %.80q, %v", q, requests, err)
			}
			if q.measure == "battery" {
				battery++
			}
		}
		if battery != 12 {
			t.Errorf("the battery has %d questions", battery)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	table := newTable("what", "ms")
	table.row("ä question", "1")
	var b strings.Builder
	if err := table.write(&b); err != nil {
		t.Fatal(err)
	}
	const want = "| what       |  ms |\n| ---------- | --: |\n| ä question |   1 |\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestQuantiles(t *testing.T) {
	t.Parallel()
	var s sample
	for i := range 101 {
		s.latencies = append(s.latencies, time.Duration(100-i)*time.Millisecond)
	}
	s.elapsed = time.Second
	if s.quantile(.5) != 50*time.Millisecond || s.quantile(.99) != 99*time.Millisecond || s.rate() != 101 {
		t.Errorf("median %s, p99 %s, rate %v", s.quantile(.5), s.quantile(.99), s.rate())
	}
	if (sample{}).quantile(.5) != 0 || (sample{}).rate() != 0 {
		t.Error("nothing has a median")
	}
}
