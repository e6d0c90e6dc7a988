package statuspage_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
	"github.com/flytower/flytower/defaults/roothttprouter"
	"github.com/flytower/flytower/defaults/statuspage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a backend that serves.
type site struct {
	t       *testing.T
	backend *backend.Backend
	url     string
	started chan error
}

// start starts a backend whose plugins may all fail. It serves at once; wait
// returns when it has started.
func start(t *testing.T, yaml string, features ...backend.Feature) *site {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := "backend:\n  baseUrl: http://localhost:7007\n  database: {client: better-sqlite3, connection: ':memory:'}\n" +
		"  startup: {default: {onPluginBootFailure: continue}}\n" + yaml
	s := &site{t: t, url: "http://" + l.Addr().String(), started: make(chan error, 1)}
	s.backend = flytower.New(flytower.WithConfig(rootconfig.Options{
		Args: []string{}, Strict: true, FS: fstest.MapFS{"app-config.yaml": &fstest.MapFile{Data: []byte(config)}},
		Env: []string{},
	}))
	s.backend.Add(roothttprouter.NewFactory(roothttprouter.WithListener(l)), silent)
	s.backend.Add(features...)
	go func() { s.started <- s.backend.Start(context.Background()) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		_ = s.backend.Stop(context.Background()) // some tests are about backends that cannot start
		_ = l.Close()
	})
	return s
}

func (s *site) wait() *site {
	s.t.Helper()
	if err := <-s.started; err != nil {
		s.t.Fatal(err)
	}
	return s
}

// do sends a request with headers given as "Name: value".
func (s *site) do(method, path string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(body)
}

func (s *site) report(headers ...string) statuspage.Report {
	s.t.Helper()
	resp, body := s.do("GET", "/.flytower/status.json", headers...)
	if resp.StatusCode != 200 {
		s.t.Fatalf("status.json: %d %s", resp.StatusCode, body)
	}
	var r statuspage.Report
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

const proxied = "X-Forwarded-For: 192.0.2.7"

// silent keeps the log of the backends out of that of the tests.
var silent = backend.DecorateRoot(core.RootLogger, func(*backend.RootEnv, func() *slog.Logger) backend.MakeFunc[*slog.Logger] {
	return func(context.Context) (*slog.Logger, error) { return slog.New(slog.DiscardHandler), nil }
})

type words interface{ Add(string) }

type list struct{ words []string }

func (l *list) Add(w string) { l.words = append(l.words, w) }

var wordsPoint = backend.NewExtensionPoint[words]("greeter", "words")

// greeter has a route of each kind, an extension point and a module.
func greeter() backend.Feature {
	return backend.Features(
		backend.NewPlugin("greeter", func(env *backend.PluginEnv) backend.InitFunc {
			router := core.HTTPRouter.From(env)
			wordsPoint.Offer(env, &list{})
			return func(context.Context) error {
				router().HandleFunc("POST /words", func(http.ResponseWriter, *http.Request) {})
				router().HandleFunc("GET /words/{lang}", func(http.ResponseWriter, *http.Request) {})
				router().HandleFunc("/any", func(http.ResponseWriter, *http.Request) {})
				return nil
			}
		}, backend.WithDescription("Greets <everybody> & all")),
		backend.NewModule("greeter", "italian", func(env *backend.ModuleEnv) backend.InitFunc {
			point := wordsPoint.From(env)
			return func(context.Context) error { point().Add("ciao"); return nil }
		}),
	)
}

func TestReport(t *testing.T) {
	t.Parallel()
	r := start(t, "", greeter()).wait().report()
	if r.Phase != backend.PhaseStarted || r.ReadyAt.Before(r.StartedAt) || len(r.Plugins) != 1 {
		t.Fatalf("got %+v", r)
	}
	p := r.Plugins[0]
	if !strings.HasPrefix(p.Source, "statuspage/statuspage_test.go:") || p.StartSeconds <= 0 || !strings.HasPrefix(p.Modules[0].Source, "statuspage/") {
		t.Errorf("source %q, start %v s, module %+v", p.Source, p.StartSeconds, p.Modules[0])
	}
	p.Source, p.StartSeconds, p.Modules[0].Source, p.Modules[0].StartSeconds = "", 0, "", 0
	if diff := cmp.Diff(statuspage.Plugin{
		ID: "greeter", Description: "Greets <everybody> & all", State: backend.StateStarted, AllowedToFail: true, Path: "/api/greeter",
		Routes:          []statuspage.Route{{Method: "*", Path: "/any"}, {Method: "POST", Path: "/words"}, {Method: "GET", Path: "/words/{lang}"}},
		ExtensionPoints: []string{"greeter.words"},
		Modules:         []statuspage.Module{{ID: "italian", State: backend.StateStarted, Uses: []string{"greeter.words"}, Needs: []string{}}},
		Needs:           []string{"core.httpRouter"},
	}, p); diff != "" {
		t.Error(diff)
	}
	logger := service(t, r, "core.rootLogger")
	if logger.Scope != "root" || logger.Origin != backend.OriginDefault || logger.Decorated != 1 || !slices.Contains(logger.ByServices, "core.logger") {
		t.Errorf("the logger: %+v", logger)
	}
	router := service(t, r, "core.httpRouter")
	if router.Scope != "plugin" || !slices.Equal(router.Plugins, []string{"greeter"}) {
		t.Errorf("the router: %+v", router)
	}
	if server := service(t, r, "core.rootHttpRouter"); server.Origin != backend.OriginAdded {
		t.Errorf("the server: %+v", server)
	}
	if !slices.Contains(r.Other, "/metrics") || slices.Contains(r.Other, "/api/greeter") {
		t.Errorf("other routes: %q", r.Other)
	}
}

func service(t *testing.T, r statuspage.Report, id string) statuspage.Service {
	t.Helper()
	for _, s := range r.Services {
		if s.ID == id {
			return s
		}
	}
	t.Fatalf("there is no service %s in %+v", id, r.Services)
	return statuspage.Service{}
}

var (
	inline     = regexp.MustCompile(`(?i)<style|<script(?:\s*>|[^>]*>[^<])|\sstyle=|\son[a-z]+=|javascript:`)
	referenced = regexp.MustCompile(`(?:src|href|data-status)="([^"#]+)"`)
)

func TestPage(t *testing.T) {
	t.Parallel()
	s := start(t, "", greeter()).wait()
	for _, path := range []string{"/", "/?theme=x", "/.flytower/status", "/.flytower/status/"} {
		base := &url.URL{Path: strings.TrimSuffix(path, "?theme=x")}
		resp, page := s.do("GET", path)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || resp.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
		if policy := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if found := inline.FindString(page); found != "" {
			t.Errorf("%s: inline script or style: %s", path, found)
		}
		for _, want := range []string{"Greets &lt;everybody&gt; &amp; all", "italian", "greeter.words", "/<wbr>words/<wbr>{lang}", "core.<wbr>rootLogger", "default, decorated", "statuspage_test.go:"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: %q is missing", path, want)
			}
		}
		refs := referenced.FindAllStringSubmatch(page, -1)
		if len(refs) < 6 {
			t.Errorf("%s: references %v", path, refs)
		}
		for _, ref := range refs {
			at, err := base.Parse(ref[1])
			if err != nil {
				t.Fatal(err)
			}
			if resp, _ := s.do("GET", at.Path); resp.StatusCode != 200 {
				t.Errorf("%s refers to %s: %d", path, ref[1], resp.StatusCode)
			}
		}
	}
	if resp, body := s.do("HEAD", "/"); resp.StatusCode != 200 || body != "" {
		t.Errorf("HEAD: %d %q", resp.StatusCode, body)
	}
}

func TestPicture(t *testing.T) {
	t.Parallel()
	s := start(t, "  statusPage: public\n", greeter()).wait()
	for _, who := range []string{"Accept: */*", proxied} {
		resp, picture := s.do("GET", "/.flytower/wiring.svg", who)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "image/svg+xml" {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		d := xml.NewDecoder(strings.NewReader(picture))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if !strings.Contains(picture, "italian") || strings.Contains(picture, ".go:") != (who != proxied) {
			t.Errorf("asked %q: %s", who, picture)
		}
	}
}

func TestNothingElseIsServed(t *testing.T) {
	t.Parallel()
	s := start(t, "", greeter()).wait()
	for _, request := range []string{
		"POST /", "PUT /", "GET /index.html", "GET /status", "GET /status.json", "GET //", "GET /.flytower", "GET /.flytower/",
		"GET /.flytower/page.html", "GET /.flytower/status/x", "GET /.flytower/status.css/x", "GET /.flytower/../", "GET /api", "GET /api/", "GET /api/other",
	} {
		method, path, _ := strings.Cut(request, " ")
		if resp, body := s.do(method, path); resp.StatusCode != 404 || body != "" {
			t.Errorf("%s: %d %.60q", request, resp.StatusCode, body)
		}
	}
}

func TestAudience(t *testing.T) {
	t.Parallel()
	paths := []string{"/", "/.flytower/status", "/.flytower/status.json", "/.flytower/wiring.svg", "/.flytower/status.css"}
	for _, tt := range []struct {
		name, yaml       string
		here, everywhere int
	}{
		{"default", "", 200, 404},
		{"loopback", "  statusPage: loopback\n", 200, 404},
		{"public", "  statusPage: public\n", 200, 200},
		{"off", "  statusPage: off\n", 404, 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, tt.yaml).wait()
			for _, path := range paths {
				if resp, _ := s.do("GET", path); resp.StatusCode != tt.here {
					t.Errorf("%s from this machine: %d", path, resp.StatusCode)
				}
				if resp, _ := s.do("GET", path, proxied); resp.StatusCode != tt.everywhere {
					t.Errorf("%s from elsewhere: %d", path, resp.StatusCode)
				}
			}
		})
	}
}

func TestStrangersSeeNoDetails(t *testing.T) {
	t.Parallel()
	broken := backend.NewPlugin("broken", func(*backend.PluginEnv) backend.InitFunc {
		return func(context.Context) error { return errors.New("password hunter2 is wrong") }
	})
	s := start(t, "  statusPage: public\n", greeter(), broken).wait()
	local, foreign := s.report(), s.report(proxied)
	if p := local.Plugins[1]; p.State != backend.StateFailed || !strings.Contains(p.Error, "hunter2") {
		t.Errorf("from this machine: %+v", p)
	}
	if p := foreign.Plugins[1]; p.State != backend.StateFailed || p.Error != "" || p.Source != "" {
		t.Errorf("from elsewhere: %+v", p)
	}
	if foreign.Go != "" || foreign.Version != "" || len(foreign.Warnings) > 0 {
		t.Errorf("from elsewhere: %+v", foreign)
	}
	if got, want := service(t, foreign, "core.rootLogger").Decorated, service(t, local, "core.rootLogger").Decorated; got != want {
		t.Errorf("decorated %d times, want %d", got, want)
	}
	for _, path := range []string{"/", "/.flytower/status.json", "/.flytower/wiring.svg"} {
		_, body := s.do("GET", path, proxied)
		for _, secret := range []string{"hunter2", ".go:", "go1."} {
			if strings.Contains(body, secret) {
				t.Errorf("%s tells %q", path, secret)
			}
		}
		if !strings.Contains(body, "broken") {
			t.Errorf("%s does not tell of the plugin", path)
		}
	}
	if _, page := s.do("GET", "/"); !strings.Contains(page, "hunter2") || !strings.Contains(page, "Running, in part") {
		t.Error("the page does not tell what failed")
	}
}

func TestTheFrontendGoesFirst(t *testing.T) {
	t.Parallel()
	initialising, goOn := make(chan struct{}), make(chan struct{})
	s := start(t, "", backend.NewPlugin("app", func(env *backend.PluginEnv) backend.InitFunc {
		router := core.HTTPRouter.From(env)
		return func(context.Context) error {
			close(initialising)
			<-goOn
			router().AddAuthPolicy(core.AuthPolicy{Path: "/", Allow: core.AllowUnauthenticated})
			router().HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "frontend") })
			return nil
		}
	}))
	<-initialising
	if r := s.report(); r.Phase != backend.PhaseStarting || r.Plugins[0].State != backend.StateStarting {
		t.Errorf("while it starts: %+v", r)
	}
	if _, page := s.do("GET", "/.flytower/status"); !strings.Contains(page, "Starting") {
		t.Error("the page does not show that the backend starts")
	}
	close(goOn)
	s.wait()
	if _, body := s.do("GET", "/"); body != "frontend" {
		t.Errorf("/ answers %.60q", body)
	}
	if r := s.report(); r.Phase != backend.PhaseStarted || r.Plugins[0].State != backend.StateStarted {
		t.Errorf("afterwards: %+v", r)
	}
}

func TestWrongAudience(t *testing.T) {
	t.Parallel()
	s := start(t, "  statusPage: everybody\n")
	if err := <-s.started; err == nil || !strings.Contains(err.Error(), "statusPage") {
		t.Errorf("error %v", err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	s := start(t, "", statuspage.NewFactory(statuspage.WithName("The <Meridian>"), statuspage.WithAudience(statuspage.AudiencePublic))).wait()
	if _, page := s.do("GET", "/", proxied); !strings.Contains(page, "<h1>The &lt;Meridian&gt;</h1>") {
		t.Errorf("the name is missing in %s", page)
	}
}
