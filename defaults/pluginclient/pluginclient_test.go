package pluginclient_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/pluginclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// root is an HTTP server as far as the client needs one.
type root struct {
	core.HTTPRoot
	mounts map[string]http.Handler
}

func (r *root) Handler(path string) (http.Handler, bool) { h, ok := r.mounts[path]; return h, ok }

// ServeHTTP is what reaches the plugins over the network.
func (r *root) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	for path, h := range r.mounts {
		if req.URL.Path == path || strings.HasPrefix(req.URL.Path, path+"/") {
			http.StripPrefix(path, h).ServeHTTP(w, req)
			return
		}
	}
	http.NotFound(w, req)
}

// places has all plugins below one address.
type places struct {
	base      string
	elsewhere []string
}

func (d *places) BaseURL(_ context.Context, plugin string) (string, error) {
	return d.base + "/api/" + plugin, nil
}
func (d *places) ExternalBaseURL(ctx context.Context, plugin string) (string, error) {
	return d.BaseURL(ctx, plugin)
}
func (d *places) Elsewhere() []string { return d.elsewhere }

// issuer issues tokens that tell what they were issued for.
type issuer struct {
	core.AuthService
	issued atomic.Int32
	now    func() time.Time
	life   time.Duration
}

func (i *issuer) PluginRequestToken(_ context.Context, who core.Credentials, target string) (core.Token, error) {
	if target == "forbidden" {
		return core.Token{}, apierr.NotAllowed("not there")
	}
	payload, _ := json.Marshal(map[string]any{
		"n": i.issued.Add(1), "who": who.String(), "held": who.Token().Reveal(), "aud": target, "exp": i.now().Add(i.life).Unix(),
	})
	return core.NewToken("h." + base64.RawURLEncoding.EncodeToString(payload) + ".s"), nil
}

// noNetwork fails the test when somebody dials.
type noNetwork struct{ t *testing.T }

func (n noNetwork) RoundTrip(r *http.Request) (*http.Response, error) {
	n.t.Errorf("%s %s went to the network", r.Method, r.URL)
	return nil, errors.New("no network")
}

// form is a client whose requests take one of the two ways.
type form struct {
	name   string
	client core.PluginClientService
	tokens *issuer
}

// both returns a client in the process of the plugin "peer", and one outside.
func both(t *testing.T, h http.Handler) []form {
	t.Helper()
	plugins := &root{mounts: map[string]http.Handler{"/api/peer": h}}
	srv := httptest.NewServer(plugins)
	t.Cleanup(srv.Close)
	make := func(name string, plugins core.HTTPRoot, opts ...pluginclient.Option) form {
		shared := pluginclient.NewShared(plugins, nil, slog.New(slog.DiscardHandler), opts...)
		t.Cleanup(func() {
			if err := shared.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		tokens := &issuer{now: time.Now, life: time.Hour}
		return form{name, pluginclient.New(shared, tokens, &places{base: srv.URL}), tokens}
	}
	return []form{
		make("memory", plugins, pluginclient.WithNetwork(noNetwork{t})),
		make("network", nil),
	}
}

func TestBothFormsGiveTheSameAnswer(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/echo/{rest...}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.Header().Set("X-Echo", "1")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintln(w, r.Method, r.URL.Path, r.URL.EscapedPath(), r.URL.RawQuery, r.RequestURI, r.PathValue("rest"), r.ContentLength,
			r.Header.Get("Content-Type"), r.Header.Get("Authorization"), r.Header["X-Many"], r.Host != "", string(body), err)
	})
	mux.HandleFunc("/error", func(w http.ResponseWriter, r *http.Request) { apierr.Write(w, r, apierr.Conflict("taken"), "") })
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/api/peer/echo/", http.StatusFound) })
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "index ", r.URL.Path) })
	forms := both(t, mux)
	jane := core.UserCredentials("user:default/jane", "", core.NewToken("jane's"), time.Time{}, false)
	for name, r := range map[string]core.PluginRequest{
		"get":             {Path: "/echo/a"},
		"index":           {Path: "/"},
		"escaped path":    {Path: "/echo/a%2Fb/%C3%A9/c%3Fd"},
		"query":           {Path: "/echo/", Query: url.Values{"a": {"1", "2 3"}, "b": {"&"}}},
		"json":            {Method: "POST", Path: "/echo/", JSON: map[string]any{"a": "<b>"}},
		"body":            {Method: "PUT", Path: "/echo/", Body: strings.NewReader("text"), Header: http.Header{"Content-Type": {"text/plain"}, "X-Many": {"1", "2"}}},
		"stream":          {Method: "PUT", Path: "/echo/", Body: io.MultiReader(strings.NewReader("te"), strings.NewReader("xt"))},
		"user":            {Path: "/echo/", As: jane},
		"service":         {Path: "/echo/", As: core.ServiceCredentials("plugin:me", core.Token{}, nil, nil)},
		"nobody":          {Path: "/echo/", As: core.NoCredentials()},
		"header":          {Path: "/echo/", Header: http.Header{"Authorization": {"Bearer own"}}},
		"error":           {Path: "/error"},
		"redirect":        {Path: "/redirect"},
		"not found":       {Path: "/nothing"},
		"head":            {Method: "HEAD", Path: "/echo/"},
		"delete":          {Method: "DELETE", Path: "/echo/x"},
		"path with space": {Path: "/echo/a%20b"},
	} {
		t.Run(name, func(t *testing.T) {
			type answer struct {
				Status int
				Header http.Header
				Length int64
				Body   string
			}
			var text string
			if r.Body != nil {
				raw, _ := io.ReadAll(r.Body)
				text = string(raw)
			}
			var got []answer
			for _, f := range forms {
				if r.Body != nil {
					r.Body = io.MultiReader(strings.NewReader(text))
				}
				r.Plugin = "peer"
				f.tokens.issued.Store(0)
				resp, err := f.client.Do(t.Context(), r)
				if err != nil {
					t.Fatal(f.name, err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil {
					t.Fatal(f.name, err)
				}
				resp.Header.Del("Date")
				got = append(got, answer{resp.StatusCode, resp.Header, resp.ContentLength, string(body)})
			}
			if d := cmp.Diff(got[1], got[0]); d != "" {
				t.Errorf("-network +memory:\n%s", d)
			}
		})
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/thing", func(w http.ResponseWriter, _ *http.Request) { apierr.WriteJSON(w, 200, map[string]int{"n": 7}) })
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	mux.HandleFunc("/bad", func(w http.ResponseWriter, r *http.Request) { apierr.Write(w, r, apierr.Input("no such thing"), "") })
	mux.HandleFunc("/html", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<p>") })
	for _, f := range both(t, mux) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			call := func(path string, out any) error {
				return f.client.Call(t.Context(), core.PluginRequest{Plugin: "peer", Path: path}, out)
			}
			var thing struct{ N int }
			if err := call("/thing", &thing); err != nil || thing.N != 7 {
				t.Errorf("got %+v, %v", thing, err)
			}
			if err := call("/thing", nil); err != nil {
				t.Error(err)
			}
			if err := call("/empty", nil); err != nil {
				t.Error(err)
			}
			var remote *apierr.ResponseError
			if err := call("/bad", &thing); !errors.As(err, &remote) || apierr.KindOf(err) != apierr.KindInput || remote.StatusCode != 400 {
				t.Errorf("got %v", err)
			}
			if err := call("/html", &thing); err == nil {
				t.Error("HTML was decoded")
			}
			if err := call("/empty", &thing); err == nil {
				t.Error("nothing was decoded")
			}
		})
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	for _, f := range both(t, http.NotFoundHandler()) {
		for name, r := range map[string]core.PluginRequest{
			"no plugin":            {Path: "/"},
			"path as plugin":       {Plugin: "../peer", Path: "/"},
			"relative path":        {Plugin: "peer", Path: "x"},
			"query in the path":    {Plugin: "peer", Path: "/x?y"},
			"fragment":             {Plugin: "peer", Path: "/x#y"},
			"dot segments":         {Plugin: "peer", Path: "/a/../../catalog"},
			"escaped dots":         {Plugin: "peer", Path: "/a/%2e%2E/x"},
			"bad escape":           {Plugin: "peer", Path: "/%zz"},
			"bad method":           {Plugin: "peer", Path: "/", Method: "A B"},
			"body that is no JSON": {Plugin: "peer", Path: "/", JSON: func() {}},
			"no token":             {Plugin: "forbidden", Path: "/", As: core.ServiceCredentials("x", core.Token{}, nil, nil)},
		} {
			resp, err := f.client.Do(t.Context(), r)
			if err == nil {
				resp.Body.Close()
				t.Errorf("%s, %s: answered %s", f.name, name, resp.Status)
			}
			if name == "no token" && apierr.KindOf(err) != apierr.KindNotAllowed {
				t.Errorf("%s: %v", f.name, err)
			}
		}
	}
}

func TestCancelEndsAStreamForever(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		for i := 0; ; i++ {
			if _, err := fmt.Fprintln(w, "event", i); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			if i == 3 {
				<-r.Context().Done()
				return
			}
		}
	})
	for _, f := range both(t, h) {
		for _, how := range []string{"cancel", "close"} {
			ctx, cancel := context.WithCancel(t.Context())
			resp, err := f.client.Do(ctx, core.PluginRequest{Plugin: "peer", Path: "/"})
			if err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(resp.Body)
			for i := range 4 {
				if !lines.Scan() || lines.Text() != fmt.Sprint("event ", i) {
					t.Fatalf("%s: got %q, %v", f.name, lines.Text(), lines.Err())
				}
			}
			if how == "cancel" {
				cancel()
				<-ended
				resp.Body.Close()
			} else {
				resp.Body.Close()
				<-ended
			}
			cancel()
		}
	}
}

func TestWhereRequestsGo(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	network := roundTrip(func(r *http.Request) (*http.Response, error) {
		seen <- "network " + r.URL.String()
		return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r, Header: http.Header{}}, nil
	})
	local := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- "memory " + r.URL.String() })
	plugins := &root{mounts: map[string]http.Handler{"/api/here": local, "/api/moved": local, "/api/here-too": local}}
	shared := pluginclient.NewShared(plugins, func() []string { return []string{"here", "moved", "starting"} }, slog.New(slog.DiscardHandler), pluginclient.WithNetwork(network))
	t.Cleanup(func() { _ = shared.Close(context.Background()) })
	c := pluginclient.New(shared, &issuer{}, &places{base: "http://own:7007", elsewhere: []string{"moved"}})

	for plugin, want := range map[string]bool{"here": true, "moved": false, "starting": true, "far": false, "": false, "HERE/x": false} {
		if c.Local(plugin) != want {
			t.Errorf("Local(%q) = %t", plugin, !want)
		}
	}
	for plugin, want := range map[string]string{
		"here":  "memory /x",
		"moved": "network http://own:7007/api/moved/x",
		"far":   "network http://own:7007/api/far/x",
	} {
		resp, err := c.Do(t.Context(), core.PluginRequest{Plugin: plugin, Path: "/x"})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := <-seen; got != want {
			t.Errorf("%s: %s, want %s", plugin, got, want)
		}
	}
	if err := c.Call(t.Context(), core.PluginRequest{Plugin: "starting", Path: "/x"}, nil); apierr.KindOf(err) != apierr.KindServiceUnavailable {
		t.Errorf("a plugin that starts: %v", err)
	}

	client := &http.Client{Transport: c.Transport()}
	for at, want := range map[string]string{
		"http://own:7007/api/here/x/y?z=1": "memory /x/y?z=1",
		"http://own:7007/api/here":         "memory /",
		"http://OWN:7007/api/here/a%2Fb":   "memory /a%2Fb",
		"http://own:7007/api/here-too/x":   "memory /x",
		"http://own:7007/api/hereafter/x":  "network http://own:7007/api/hereafter/x",
		"http://own:7007/api/moved/x":      "network http://own:7007/api/moved/x",
		"https://own:7007/api/here/x":      "network https://own:7007/api/here/x",
		"http://other:7007/api/here/x":     "network http://other:7007/api/here/x",
		"http://own:7007/x/api/here/x":     "network http://own:7007/x/api/here/x",
		"http://own:7007":                  "network http://own:7007",
	} {
		resp, err := client.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := <-seen; got != want {
			t.Errorf("%s: %s, want %s", at, got, want)
		}
		if got := resp.Request.URL.String(); got != at {
			t.Errorf("%s: the answer names the request %s", at, got)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTokensAreUsedAgainForTheSameCallerOnly(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Unix(1_900_000_000, 0)
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	advance := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	tokens := &issuer{now: clock, life: time.Hour}
	var last string
	echo := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { last = r.Header.Get("Authorization") })
	plugins := &root{mounts: map[string]http.Handler{"/api/a": echo, "/api/b": echo}}
	shared := pluginclient.NewShared(plugins, nil, slog.New(slog.DiscardHandler), pluginclient.WithClock(clock), pluginclient.WithNetwork(noNetwork{t}))
	t.Cleanup(func() { _ = shared.Close(context.Background()) })
	c := pluginclient.New(shared, tokens, &places{base: "http://own"})
	call := func(plugin string, as core.Credentials) string {
		if err := c.Call(t.Context(), core.PluginRequest{Plugin: plugin, Path: "/", As: as}, nil); err != nil {
			t.Fatal(err)
		}
		return last
	}
	user := func(ref, token string) core.Credentials {
		return core.UserCredentials(ref, "", core.NewToken(token), time.Time{}, false)
	}
	own := core.ServiceCredentials("plugin:me", core.Token{}, nil, nil)
	restricted := core.ServiceCredentials("ci", core.NewToken("x"), nil, []string{"a"})

	callers := []core.Credentials{own, user("user:default/jane", "t1"), user("user:default/jane", "t2"), user("user:default/joe", "t3")}
	seen := []string{}
	for _, plugin := range []string{"a", "b"} {
		for _, who := range callers {
			token := call(plugin, who)
			if slices.Contains(seen, token) {
				t.Errorf("%v at %s got the token of another", who, plugin)
			}
			if again := call(plugin, who); again != token {
				t.Errorf("%v at %s: a second call got another token", who, plugin)
			}
			seen = append(seen, token)
		}
	}
	if call("a", restricted) == call("a", restricted) || slices.Contains(seen, last) {
		t.Error("the token of a restricted caller is used again, although each call must be checked")
	}
	advance(5 * time.Minute)
	if call("a", own) == seen[0] {
		t.Error("a token is used for too long")
	}
	tokens.life = 90 * time.Second
	advance(10 * time.Minute)
	short := call("a", own)
	advance(29 * time.Second)
	if call("a", own) != short {
		t.Error("a token of 90 seconds is not used again")
	}
	advance(2 * time.Second)
	if call("a", own) == short {
		t.Error("a token is used in its last minute")
	}
}

func TestTraceTravels(t *testing.T) {
	t.Parallel()
	got := make(chan [2]string, 1)
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- [2]string{r.Header.Get("Traceparent"), r.Header.Get("Baggage")}
	})
	id, _ := trace.TraceIDFromHex("0af7651916cd43dd8448eb211c80319c")
	span, _ := trace.SpanIDFromHex("b7ad6b7169203331")
	member, _ := baggage.NewMember("team", "a")
	bag, _ := baggage.New(member)
	ctx := baggage.ContextWithBaggage(trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.FlagsSampled})), bag)
	for _, f := range both(t, h) {
		if err := f.client.Call(ctx, core.PluginRequest{Plugin: "peer", Path: "/"}, nil); err != nil {
			t.Fatal(err)
		}
		want := [2]string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "team=a"}
		if g := <-got; g != want {
			t.Errorf("%s: %v", f.name, g)
		}
	}
}

func TestTraceIsInTheContextOfTheHandler(t *testing.T) {
	t.Parallel()
	got := make(chan trace.SpanContext, 1)
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- trace.SpanContextFromContext(r.Context()) })
	id, _ := trace.TraceIDFromHex("0af7651916cd43dd8448eb211c80319c")
	span, _ := trace.SpanIDFromHex("b7ad6b7169203331")
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span}))
	f := both(t, h)[0]
	if err := f.client.Call(ctx, core.PluginRequest{Plugin: "peer", Path: "/"}, nil); err != nil {
		t.Fatal(err)
	}
	if sc := <-got; sc.TraceID() != id || !sc.IsRemote() {
		t.Errorf("got %+v", sc)
	}
}

func TestPanicIsAnErrorOfTheCall(t *testing.T) {
	t.Parallel()
	for _, f := range both(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })) {
		if err := f.client.Call(t.Context(), core.PluginRequest{Plugin: "peer", Path: "/"}, nil); err == nil {
			t.Errorf("%s: no error", f.name)
		}
	}
}

func TestUnreachablePeer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	shared := pluginclient.NewShared(nil, nil, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = shared.Close(context.Background()) })
	c := pluginclient.New(shared, &issuer{}, &places{base: "http://" + addr})
	if err := c.Call(t.Context(), core.PluginRequest{Plugin: "peer", Path: "/"}, nil); err == nil || !strings.Contains(err.Error(), `"peer"`) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Call(ctx, core.PluginRequest{Plugin: "peer", Path: "/"}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkCall(b *testing.B) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { apierr.WriteJSON(w, 200, map[string]bool{"ok": true}) })
	plugins := &root{mounts: map[string]http.Handler{"/api/peer": h}}
	srv := httptest.NewServer(plugins)
	defer srv.Close()
	for name, at := range map[string]core.HTTPRoot{"memory": plugins, "network": nil} {
		b.Run(name, func(b *testing.B) {
			shared := pluginclient.NewShared(at, nil, slog.New(slog.DiscardHandler))
			defer func() { _ = shared.Close(context.Background()) }()
			c := pluginclient.New(shared, &issuer{now: time.Now, life: time.Hour}, &places{base: srv.URL})
			as := core.ServiceCredentials("plugin:me", core.Token{}, nil, nil)
			b.ReportAllocs()
			for b.Loop() {
				var out struct{ OK bool }
				if err := c.Call(b.Context(), core.PluginRequest{Plugin: "peer", Path: "/x", As: as}, &out); err != nil || !out.OK {
					b.Fatal(err)
				}
			}
		})
	}
}
