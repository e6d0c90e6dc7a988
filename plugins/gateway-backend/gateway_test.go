package gatewaybackend_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/auth"
	"github.com/flytower/flytower/defaults/discovery"
	"github.com/flytower/flytower/defaults/httpauth"
	"github.com/flytower/flytower/defaults/httprouter"
	"github.com/flytower/flytower/defaults/logger"
	"github.com/flytower/flytower/defaults/pluginclient"
	"github.com/flytower/flytower/defaults/roothealth"
	"github.com/flytower/flytower/defaults/roothttprouter"
	"github.com/flytower/flytower/internal/configtest"
	gatewaybackend "github.com/flytower/flytower/plugins/gateway-backend"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a backend with a gateway.
type running struct {
	url    string
	client *http.Client
	update func(yaml string)
}

const base = `
backend:
  baseUrl: http://portal
  listen: 127.0.0.1:0
  auth: {externalAccess: [{type: static, options: {token: static-token, subject: ci}}]}
`

// start starts a backend with the features.
func start(t *testing.T, yaml string, features ...backend.Feature) *running {
	t.Helper()
	config, update := configtest.Live(t, base+yaml)
	b := backend.New().Add(
		auth.Factory, discovery.Factory, pluginclient.Factory, httpauth.Factory, httprouter.Factory,
		roothealth.Factory, roothttprouter.Factory, logger.Factory,
		backend.NewRootServiceFactory(core.RootConfig, func(*backend.RootEnv) backend.MakeFunc[core.ConfigRoot] {
			return func(context.Context) (core.ConfigRoot, error) { return config, nil }
		}),
		backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
			return func(context.Context) (*slog.Logger, error) { return slog.New(slog.DiscardHandler), nil }
		}),
	).Add(features...)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	root, err := backend.Get(b, core.RootHTTPRouter)
	if err != nil {
		t.Fatal(err)
	}
	return &running{
		url: "http://" + root.Addr().String(), client: &http.Client{Transport: transport},
		update: func(yaml string) { update(base + yaml) },
	}
}

// place is the configuration that places a plugin.
func place(plugin, at string) string {
	return "\ndiscovery: {endpoints: [{target: {internal: '" + at + "'}, plugins: ['" + plugin + "']}]}\n"
}

func (r *running) get(t *testing.T, path string, header ...string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// peer is another backend that has a plugin; it answers with h.
func peer(t *testing.T, h http.HandlerFunc) string {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestRequestsPassAsTheyAre(t *testing.T) {
	t.Parallel()
	type seen struct{ Method, Target, Host, Body string }
	got := make(chan seen, 1)
	headers := make(chan http.Header, 1)
	at := peer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.Method, r.RequestURI, r.Host, string(body)}
		headers <- r.Header
		w.Header().Set("X-Answer", "1")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "short and stout")
	})
	r := start(t, place("far", at+"/base/far"), gatewaybackend.Plugin)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, r.url+"/api/far/a%2Fb/c?x=1;y&z=%20", strings.NewReader("body"))
	req.Header = http.Header{"Authorization": {"Bearer x"}, "X-Forwarded-For": {"1.2.3.4"}, "X-Forwarded-Proto": {"https"}, "X-Many": {"1", "2"}, "Accept-Encoding": {"br"}, "User-Agent": {"ua"}}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusTeapot || resp.Header.Get("X-Answer") != "1" || string(body) != "short and stout" {
		t.Errorf("answer: %s %v %q", resp.Status, resp.Header, body)
	}
	if d := cmp.Diff(seen{"PUT", "/base/far/a%2Fb/c?x=1;y&z=%20", strings.TrimPrefix(at, "http://"), "body"}, <-got); d != "" {
		t.Errorf("request:\n%s", d)
	}
	h := <-headers
	via := h.Get("Flytower-Gateway-Via")
	h.Del("Flytower-Gateway-Via")
	want := req.Header.Clone()
	want.Set("Content-Length", "4")
	// Targets that trust the gateway take the last one for the client.
	want.Set("X-Forwarded-For", "1.2.3.4, 127.0.0.1")
	want.Set("Backstage-Gateway-Hops", "1")
	if d := cmp.Diff(want, h); d != "" || via == "" {
		t.Errorf("header (via %q):\n%s", via, d)
	}
}

func TestWhoAnswers(t *testing.T) {
	t.Parallel()
	local := backend.NewPlugin("here", func(env *backend.PluginEnv) backend.InitFunc {
		router := core.HTTPRouter.From(env)
		return func(context.Context) error {
			router().HandleFunc("GET /x", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "here") })
			return nil
		}
	})
	at := peer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "far ", r.URL.Path) })
	r := start(t, place("*", at+"/{{pluginId}}"), gatewaybackend.Plugin, local)
	token := []string{"Authorization", "Bearer static-token"}
	for path, want := range map[string]string{
		"/api/here/x":           "200 here",
		"/API/Here/x":           "200 here",
		"/api/here/y":           "404",
		"/api/far/x":            "200 far /far/x",
		"/api/far":              "200 far /far/",
		"/api/other/":           "200 far /other/",
		"/api/":                 "404",
		"/api/a.b/x":            "404",
		"/api/gateway/x":        "404",
		"/api/%2e%2e/x":         "404",
		"/elsewhere/api/far/xx": "404",
	} {
		status, body := r.get(t, path, token...)
		if got := strings.TrimSpace(fmt.Sprint(status, " ", body)); !strings.HasPrefix(got, want) || strings.HasPrefix(got, "200") && got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	if status, _ := r.get(t, "/api/gateway/.backstage/auth/v1/jwks.json"); status != http.StatusOK {
		t.Errorf("the built-in routes of the gateway: %d", status)
	}
	// A plugin that nobody has is looked for here, and not found.
	r.update("")
	if status, body := r.get(t, "/api/far/x", token...); status != http.StatusNotFound {
		t.Errorf("a plugin that is nowhere: %d %s", status, body)
	}
}

func TestHops(t *testing.T) {
	t.Parallel()
	at := peer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("Backstage-Gateway-Hops")) })
	r := start(t, place("far", at), gatewaybackend.Plugin)
	for hops, want := range map[string]string{
		"": "200 1", "0": "200 1", "2": "200 3", "-5": "200 1", "many": "200 1", "-99999999999999999999": "200 1",
		"3":                    `508 {"error":{"message":"Maximum proxy hop count exceeded (3)","name":"LoopDetectedError"}}`,
		"99999999999999999999": `508 {"error":{"message":"Maximum proxy hop count exceeded (3)","name":"LoopDetectedError"}}`,
	} {
		status, body := r.get(t, "/api/far/", "Backstage-Gateway-Hops", hops)
		if got := fmt.Sprint(status, " ", body); got != want {
			t.Errorf("%q: got %s, want %s", hops, got, want)
		}
	}
}

func TestLoopOfGateways(t *testing.T) {
	t.Parallel()
	one := start(t, "", gatewaybackend.Plugin)
	two := start(t, place("lost", one.url+"/api/lost"), gatewaybackend.Plugin)
	one.update(place("lost", two.url+"/api/lost"))
	if status, body := one.get(t, "/api/lost/x"); status != http.StatusNotFound {
		t.Errorf("got %d %s", status, body)
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(one.url, "http://"))
	one.update(place("lost", "http://localhost:"+port+"/api/lost"))
	if status, _ := one.get(t, "/api/lost/x"); status != http.StatusNotFound {
		t.Errorf("got %d", status)
	}
}

func TestTargetsThatFail(t *testing.T) {
	t.Parallel()
	raw := func(answer string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = http.ReadRequest(bufio.NewReader(c))
				_, _ = io.WriteString(c, answer)
				c.Close()
			}
		}()
		t.Cleanup(func() { l.Close(); <-done })
		return "http://" + l.Addr().String()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := "http://" + l.Addr().String()
	l.Close()
	for name, c := range map[string]struct {
		at     string
		status int
	}{
		"refused":       {refusing, 504},
		"closed":        {raw(""), 504},
		"not HTTP":      {raw("SSH-2.0-OpenSSH_9.0\r\n\r\n"), 502},
		"unknown host":  {"http://nothing.invalid", 504},
		"SRV not found": {"http+srv://nothing.invalid", 404},
	} {
		r := start(t, place("far", c.at), gatewaybackend.Plugin)
		status, body := r.get(t, "/api/far/secret?token=x")
		if strings.Contains(body, "nothing.invalid") || strings.Contains(body, strings.TrimPrefix(refusing, "http://")) {
			t.Errorf("%s: the body names the target: %s", name, body)
		}
		if strings.HasPrefix(c.at, "http+srv") && status == http.StatusServiceUnavailable {
			continue // a resolver that cannot be reached does not say that the name is unknown
		}
		if status != c.status {
			t.Errorf("%s: got %d %s, want %d", name, status, body, c.status)
		}
		if want := "Error occurred while trying to proxy: " + strings.TrimPrefix(r.url, "http://") + "/secret"; status >= 500 && body != want {
			t.Errorf("%s: body %q, want %q", name, body, want)
		}
	}
}

// Two values of headers such as these would be a policy that nobody wrote.
func TestTheTargetDecidesAboutItsHeaders(t *testing.T) {
	t.Parallel()
	at := peer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		w.Header().Set("Access-Control-Allow-Origin", "https://portal.example.com")
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
	})
	r := start(t, "  cors: {origin: 'https://*.example.com'}\n"+place("far", at), gatewaybackend.Plugin)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/far/x", nil)
	req.Header.Set("Origin", "https://portal.example.com")
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for name, want := range map[string][]string{
		"Content-Security-Policy":     {"default-src 'none'"},
		"Access-Control-Allow-Origin": {"https://portal.example.com"},
		"Set-Cookie":                  {"a=1", "b=2"},
		"X-Content-Type-Options":      {"nosniff"},
	} {
		if d := cmp.Diff(want, resp.Header.Values(name)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// The answer to somebody without credentials must not tell about the network.
func TestDiscoveryErrorsAreMasked(t *testing.T) {
	t.Parallel()
	broken := backend.Decorate(core.Discovery, func(_ *backend.FactoryEnv, inner func() core.DiscoveryService) backend.MakeFunc[core.DiscoveryService] {
		return func(context.Context) (core.DiscoveryService, error) { return brokenDiscovery{inner()}, nil }
	})
	r := start(t, "", gatewaybackend.Plugin, broken)
	if status, body := r.get(t, "/api/far/x"); status != http.StatusServiceUnavailable || strings.Contains(body, "10.0.0.53") || !strings.Contains(body, "cannot be found") {
		t.Errorf("got %d %s", status, body)
	}
}

type brokenDiscovery struct{ core.DiscoveryService }

func (brokenDiscovery) BaseURL(context.Context, string) (string, error) {
	return "", apierr.ServiceUnavailable("looking up: %w", errors.New("lookup x on 10.0.0.53:53: timeout"))
}

func TestStreams(t *testing.T) {
	t.Parallel()
	proceed, left := make(chan struct{}), make(chan struct{})
	at := peer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		if r.URL.Query().Has("abort") {
			panic(http.ErrAbortHandler)
		}
		<-proceed
		fmt.Fprint(w, "data: 2\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(left)
	})
	r := start(t, place("far", at), gatewaybackend.Plugin)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/far/events", nil)
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for i := 1; i <= 2; i++ {
		if line, err := lines.ReadString('\n'); line != fmt.Sprintf("data: %d\n", i) || err != nil {
			t.Fatalf("got %q, %v", line, err)
		}
		_, _ = lines.ReadString('\n')
		if i == 1 {
			close(proceed)
		}
	}
	cancel()
	<-left // the peer learns that the client has left

	resp, err = r.client.Get(r.url + "/api/far/events?abort")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "data: 1\n\n" {
		t.Errorf("a stream that the peer aborts: %q", body)
	}
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	at := peer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			t.Errorf("header %v", r.Header)
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		fmt.Fprint(rw, "echo ", line)
		_ = rw.Flush()
	})
	r := start(t, place("far", at), gatewaybackend.Plugin)
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /api/far/signals HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v", resp, err)
	}
	fmt.Fprint(conn, "hello\n")
	if line, err := in.ReadString('\n'); line != "echo hello\n" || err != nil {
		t.Errorf("got %q, %v", line, err)
	}
}
