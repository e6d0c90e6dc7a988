package memhttp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/internal/memhttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network sends the request over a real connection.
func network(t *testing.T, h http.Handler) func(*http.Request) (*http.Response, error) {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return func(r *http.Request) (*http.Response, error) {
		r.URL.Scheme, r.URL.Host = "http", strings.TrimPrefix(srv.URL, "http://")
		return srv.Client().Transport.RoundTrip(r)
	}
}

// memory sends the request in memory.
func memory(t *testing.T, h http.Handler, panicked memhttp.Panicked) func(*http.Request) (*http.Response, error) {
	tr := memhttp.New(panicked)
	t.Cleanup(func() {
		if err := tr.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return func(r *http.Request) (*http.Response, error) { return tr.RoundTrip(r, h) }
}

func TestSameAnswerAsOverTheNetwork(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 50_000)
	for name, c := range map[string]struct {
		method, target, body string
		header               http.Header
		h                    http.HandlerFunc
	}{
		"nothing written": {h: func(http.ResponseWriter, *http.Request) {}},
		"text":            {h: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }},
		"html is sniffed": {h: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<!doctype html><p>x") }},
		"json with status": {h: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, `{"a":1}`)
		}},
		"long": {h: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, long) }},
		"flushed": {h: func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "a")
			w.(http.Flusher).Flush()
			fmt.Fprint(w, "b")
		}},
		"declared length": {h: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000")
			fmt.Fprint(w, long[:5000])
		}},
		"header after the status is ignored": {h: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			w.Header().Set("X-Late", "1")
		}},
		"no content": {h: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
			_, err := w.Write([]byte("x"))
			if !errors.Is(err, http.ErrBodyNotAllowed) {
				panic(err)
			}
		}},
		"not modified": {h: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"x"`)
			w.WriteHeader(http.StatusNotModified)
		}},
		"head": {method: http.MethodHead, h: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }},
		"redirect": {h: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}},
		"trailers": {h: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			fmt.Fprint(w, "body")
			w.Header().Set("X-Sum", "42")
		}},
		"early hints": {h: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			fmt.Fprint(w, "ok")
		}},
		"request as the server sees it": {
			method: http.MethodPost, target: "/a%2Fb/%C3%A9?x=1&y=a+b", body: "payload",
			header: http.Header{"X-Multi": {"1", "2"}, "Content-Type": {"text/plain"}},
			h: func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				fmt.Fprintln(w, r.Method, r.URL.Path, r.URL.EscapedPath(), r.URL.RawQuery, r.RequestURI, r.Proto, r.ContentLength,
					r.Header["X-Multi"], r.Header.Get("Content-Type"), r.Header.Get("Content-Length"), string(b), err,
					r.URL.Host == "", r.URL.Scheme == "", r.Host != "")
			},
		},
		"no path": {target: "", h: func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path, r.RequestURI, r.ContentLength) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			type answer struct {
				Status  string
				Header  http.Header
				Length  int64
				Body    string
				Trailer http.Header
			}
			ask := func(send func(*http.Request) (*http.Response, error)) answer {
				var body io.Reader
				if c.body != "" {
					body = strings.NewReader(c.body)
				}
				r, err := http.NewRequestWithContext(t.Context(), c.method, "http://peer"+c.target, body)
				if err != nil {
					t.Fatal(err)
				}
				maps.Copy(r.Header, c.header)
				resp, err := send(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				if resp.Header.Get("Date") == "" {
					t.Error("no date")
				}
				resp.Header.Del("Date")
				return answer{resp.Status, resp.Header, resp.ContentLength, string(b), resp.Trailer}
			}
			want := ask(network(t, c.h))
			got := ask(memory(t, c.h, nil))
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("in memory differs from the network (-network +memory):\n%s", d)
			}
		})
	}
}

func TestStreamsBothWays(t *testing.T) {
	t.Parallel()
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		in := bufio.NewScanner(r.Body)
		for in.Scan() {
			fmt.Fprintln(w, "echo", in.Text())
			if err := rc.Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	out, in := io.Pipe()
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://peer/", out)
	go fmt.Fprintln(in, "one")
	resp, err := memory(t, echo, nil)(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for i, next := range []string{"two", "three", ""} {
		line, err := lines.ReadString('\n')
		if want := "echo " + []string{"one", "two", "three"}[i] + "\n"; line != want || err != nil {
			t.Fatalf("got %q, %v; want %q", line, err, want)
		}
		if next != "" {
			fmt.Fprintln(in, next)
		}
	}
	in.Close()
	if rest, err := io.ReadAll(lines); len(rest) != 0 || err != nil {
		t.Fatalf("after the end: %q, %v", rest, err)
	}
}

// forever streams until its client goes away, and says why it ended.
func forever(ended chan<- error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 10_000)); err != nil {
				<-r.Context().Done()
				ended <- err
				return
			}
		}
	})
}

func TestClosingTheBodyEndsTheHandler(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://peer/", nil)
	resp, err := memory(t, forever(ended), nil)(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, 1_000_000); err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the handler was not told")
	}
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
		t.Error("a closed body can be read")
	}
}

func TestCancelEndsTheHandlerAndTheBody(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://peer/", nil)
	resp, err := memory(t, forever(ended), nil)(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel()
	<-ended
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("reading on gives %v", err)
	}
}

func TestCancelBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		_, err := r.Body.Read(make([]byte, 1)) // blocked until the exchange ends
		ended <- err
	})
	out, in := io.Pipe()
	defer in.Close()
	r, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://peer/", out)
	if _, err := memory(t, h, nil)(r); !errors.Is(err, context.Canceled) { //nolint:bodyclose // there is none
		t.Errorf("got %v", err)
	}
	if err := <-ended; err == nil {
		t.Error("reading a body of a caller that left succeeded")
	}
}

func TestPanicsAreContained(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		h        http.HandlerFunc
		reported any
		begins   bool
	}{
		"before the answer": {func(http.ResponseWriter, *http.Request) { panic("boom") }, "boom", false},
		"within the answer": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "half")
			w.(http.Flusher).Flush()
			panic("boom")
		}, "boom", true},
		"abort": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil, false},
		"short of the declared length": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "half")
		}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reported := make(chan any, 1)
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://peer/", nil)
			resp, err := memory(t, c.h, func(_ *http.Request, v any, stack []byte) {
				if len(stack) == 0 {
					t.Error("no stack")
				}
				reported <- v
			})(r)
			if c.begins {
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if b, err := io.ReadAll(resp.Body); string(b) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("body %q, %v", b, err)
				}
			} else if !errors.Is(err, memhttp.ErrAborted) {
				t.Errorf("got %v", err)
			}
			if c.reported != nil {
				if v := <-reported; v != c.reported {
					t.Errorf("reported %v", v)
				}
			}
		})
	}
}

func TestContextValuesStayWithTheClient(t *testing.T) {
	t.Parallel()
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "credentials")
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://peer/", nil)
	resp, err := memory(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Context().Value(key{}))
	}), nil)(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != "<nil>" {
		t.Errorf("the handler sees %s", b)
	}
}

// What looks at addresses, such as a rate limit or a page for this machine,
// must not take a request of another plugin for one of a local client.
func TestThereIsNoAddress(t *testing.T) {
	t.Parallel()
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://peer/", nil)
	resp, err := memory(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%q", r.RemoteAddr)
	}), nil)(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != `""` {
		t.Errorf("the handler sees the address %s", b)
	}
}

func TestCloseEndsHandlers(t *testing.T) {
	t.Parallel()
	tr := memhttp.New(nil)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://peer/", nil)
	resp, err := tr.RoundTrip(r, h)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.RoundTrip(r, h); !errors.Is(err, memhttp.ErrClosed) { //nolint:bodyclose // there is none
		t.Errorf("got %v", err)
	}
	if err := tr.Close(t.Context()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestNoHijack(t *testing.T) {
	t.Parallel()
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://peer/", nil)
	resp, err := memory(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _, err := http.NewResponseController(w).Hijack()
		fmt.Fprint(w, errors.Is(err, http.ErrNotSupported))
	}), nil)(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != "true" {
		t.Errorf("hijacking: %s", b)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"ok":true}`) })
	tr := memhttp.New(nil)
	defer func() { _ = tr.Close(context.Background()) }()
	for b.Loop() {
		r, _ := http.NewRequest(http.MethodGet, "http://peer/", nil)
		resp, err := tr.RoundTrip(r, h)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
