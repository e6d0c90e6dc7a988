package discovery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/discovery"
	"github.com/flytower/flytower/internal/configtest"
)

func newService(t testing.TB, config string, opts ...discovery.Option) *discovery.Service {
	t.Helper()
	s, err := discovery.New(configtest.FromYAML(t, config), slog.New(slog.DiscardHandler), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestThisBackend(t *testing.T) {
	t.Parallel()
	port := func() net.Addr { return &net.TCPAddr{Port: 43210} }
	for name, c := range map[string]struct {
		config, internal, external string
	}{
		"default":         {"baseUrl: http://localhost:7007", "http://localhost:7007/api/x", "http://localhost:7007/api/x"},
		"slashes":         {"baseUrl: https://portal.example.com/sub//", "http://localhost:7007/api/x", "https://portal.example.com/sub/api/x"},
		"port":            {"baseUrl: http://h\n  listen: '8000'", "http://localhost:8000/api/x", "http://h/api/x"},
		"number":          {"baseUrl: http://h\n  listen: 8000", "http://localhost:8000/api/x", "http://h/api/x"},
		"host and port":   {"baseUrl: http://h\n  listen: '10.1.2.3:8000'", "http://10.1.2.3:8000/api/x", "http://h/api/x"},
		"no host":         {"baseUrl: http://h\n  listen: ':8000'", "http://localhost:8000/api/x", "http://h/api/x"},
		"all of IPv4":     {"baseUrl: http://h\n  listen: {host: 0.0.0.0, port: 1}", "http://127.0.0.1:1/api/x", "http://h/api/x"},
		"all of IPv6":     {"baseUrl: http://h\n  listen: {host: '::', port: '1'}", "http://localhost:1/api/x", "http://h/api/x"},
		"IPv6":            {"baseUrl: http://h\n  listen: {host: 'fd00::1', port: 1}", "http://[fd00::1]:1/api/x", "http://h/api/x"},
		"IPv6, brackets":  {"baseUrl: http://h\n  listen: {host: '[fd00::1]'}", "http://[fd00::1]:7007/api/x", "http://h/api/x"},
		"https":           {"baseUrl: https://h\n  https: true", "https://localhost:7007/api/x", "https://h/api/x"},
		"https with cert": {"baseUrl: https://h\n  https: {certificate: {cert: a, key: b}}", "https://localhost:7007/api/x", "https://h/api/x"},
		"https off":       {"baseUrl: https://h\n  https: false", "http://localhost:7007/api/x", "https://h/api/x"},
		"chosen port":     {"baseUrl: http://h\n  listen: ':0'", "http://localhost:43210/api/x", "http://h/api/x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, "backend:\n  "+c.config, discovery.WithListenAddr(port))
			internal, err1 := s.BaseURL(t.Context(), "x")
			external, err2 := s.ExternalBaseURL(t.Context(), "x")
			if internal != c.internal || external != c.external || err1 != nil || err2 != nil {
				t.Errorf("got %s, %s (%v, %v)", internal, external, err1, err2)
			}
		})
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	s := newService(t, `
backend: {baseUrl: "http://portal/"}
discovery:
  endpoints:
    - {target: "http://first/api/{{pluginId}}", plugins: [catalog, search]}
    - {target: {internal: "http://in/{{ pluginId }}/"}, plugins: [search, scaffolder]}
    - {target: {external: "https://out/{{pluginId}}"}, plugins: ["*"]}
    - {target: "http://localhost:7007/api/{{pluginId}}", plugins: [own]}
    - {target: "http://portal/api/{{pluginId}}", plugins: [own-too]}
    - {target: {external: "https://only-out"}, plugins: [outer]}
`, discovery.WithDefaults(
		discovery.Endpoint{Internal: "http://default/{{pluginId}}", Plugins: []string{"catalog", "techdocs"}},
		discovery.Endpoint{External: "http://never/{{pluginId}}", Plugins: []string{"*"}},
	))
	for plugin, want := range map[string][2]string{
		"catalog":    {"http://first/api/catalog", "http://first/api/catalog"},
		"search":     {"http://in/search", "http://first/api/search"},
		"scaffolder": {"http://in/scaffolder", "https://out/scaffolder"},
		"techdocs":   {"http://default/techdocs", "https://out/techdocs"},
		"unheard":    {"http://localhost:7007/api/unheard", "https://out/unheard"},
		"own":        {"http://localhost:7007/api/own", "http://localhost:7007/api/own"},
		"outer":      {"http://localhost:7007/api/outer", "https://only-out"},
		"a b/ü":      {"http://localhost:7007/api/a%20b%2F%C3%BC", "https://out/a%20b%2F%C3%BC"},
	} {
		internal, err1 := s.BaseURL(t.Context(), plugin)
		external, err2 := s.ExternalBaseURL(t.Context(), plugin)
		if internal != want[0] || external != want[1] || err1 != nil || err2 != nil {
			t.Errorf("%s: got %s, %s (%v, %v)", plugin, internal, external, err1, err2)
		}
	}
	if d := cmp.Diff([]string{"catalog", "scaffolder", "search", "techdocs"}, s.Elsewhere()); d != "" {
		t.Errorf("elsewhere:\n%s", d)
	}
}

func TestMistakesInTheConfiguration(t *testing.T) {
	t.Parallel()
	entry := func(text string) string {
		return "backend: {baseUrl: http://h}\ndiscovery:\n  endpoints:\n    - " + text
	}
	for name, c := range map[string]struct {
		config, key string
		line        int
	}{
		"no base URL":      {"backend: {}", "backend.baseUrl", 1},
		"listen":           {"backend:\n  baseUrl: http://h\n  listen: 'a:b:1'", "backend.listen", 3},
		"port":             {"backend:\n  baseUrl: http://h\n  listen: 70000", "backend.listen", 3},
		"no target":        {entry("{plugins: [a]}"), "discovery.endpoints[0].target", 4},
		"empty target":     {entry("{target: {}, plugins: [a]}"), "discovery.endpoints[0].target", 4},
		"no plugins":       {entry("{target: http://x}"), "discovery.endpoints[0].plugins", 4},
		"empty plugins":    {entry("{target: http://x, plugins: []}"), "discovery.endpoints[0].plugins", 4},
		"no URL":           {entry("{target: 'nonsense', plugins: [a]}"), "discovery.endpoints[0].target", 4},
		"other scheme":     {entry("{target: 'ftp://x', plugins: [a]}"), "discovery.endpoints[0].target", 4},
		"SRV for all":      {entry("{target: 'http+srv://x', plugins: [a]}"), "discovery.endpoints[0].target", 4},
		"SRV outside":      {entry("{target: {external: 'https+srv://x'}, plugins: [a]}"), "discovery.endpoints[0].target.external", 4},
		"SRV, port":        {entry("{target: {internal: 'http+srv://x:80'}, plugins: [a]}"), "discovery.endpoints[0].target", 4},
		"SRV, credentials": {entry("{target: {internal: 'http+srv://u:p@x'}, plugins: [a]}"), "discovery.endpoints[0].target", 4},
		"SRV, query":       {entry("{target: {internal: 'http+srv://x?a'}, plugins: [a]}"), "discovery.endpoints[0].target", 4},
		"SRV, fragment":    {entry("{target: {internal: 'http+srv://x#a'}, plugins: [a]}"), "discovery.endpoints[0].target", 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := discovery.New(configtest.FromYAML(t, c.config), slog.New(slog.DiscardHandler))
			var at *core.ConfigError
			if !errors.As(err, &at) || at.Key != c.key || at.Position.Line != c.line {
				t.Errorf("got %v; want key %s, line %d", err, c.key, c.line)
			}
		})
	}
}

// names answers SRV look-ups.
type names struct {
	records map[string][]*net.SRV
	err     error
	asked   atomic.Int32
}

func (n *names) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	n.asked.Add(1)
	if service != "" || proto != "" {
		return "", nil, errors.New("the whole name is expected in name")
	}
	if n.err != nil {
		return "", nil, n.err
	}
	r, ok := n.records[name]
	if !ok {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return name, r, nil
}

func TestSRV(t *testing.T) {
	t.Parallel()
	resolver := &names{records: map[string][]*net.SRV{
		"catalog.svc": {
			{Target: "backup.", Port: 1, Priority: 20, Weight: 100},
			{Target: "a.", Port: 8001, Priority: 10, Weight: 1},
			{Target: "b.", Port: 8002, Priority: 10, Weight: 3},
			{Target: "never.", Port: 8003, Priority: 10, Weight: 0},
		},
		"search.svc": {{Target: "x.", Port: 1}, {Target: "y.", Port: 2}},
		"empty.svc":  {},
	}}
	var now atomic.Int64
	next := 0
	s := newService(t, `
backend: {baseUrl: "http://h"}
discovery:
  endpoints:
    - {target: {internal: "http+srv://{{pluginId}}.svc/base/{{pluginId}}//"}, plugins: ["*"]}
    - {target: {internal: "https+srv://search.svc"}, plugins: [search]}
`, discovery.WithResolver(resolver), discovery.WithClock(func() time.Time { return time.Unix(now.Load(), 0) }),
		discovery.WithRandom(func(n int) int { next++; return (next - 1) % n }))
	seen := map[string]int{}
	for range 8 {
		u, err := s.BaseURL(t.Context(), "catalog")
		if err != nil {
			t.Fatal(err)
		}
		seen[u]++
	}
	if d := cmp.Diff(map[string]int{"http://a:8001/base/catalog": 2, "http://b:8002/base/catalog": 6}, seen); d != "" {
		t.Errorf("chosen:\n%s", d)
	}
	if resolver.asked.Load() != 1 {
		t.Errorf("asked %d times within a second", resolver.asked.Load())
	}
	now.Add(1)
	if _, err := s.BaseURL(t.Context(), "catalog"); err != nil || resolver.asked.Load() != 2 {
		t.Errorf("after a second: asked %d times, %v", resolver.asked.Load(), err)
	}
	next = 0
	for _, want := range []string{"https://x:1", "https://y:2"} {
		if u, err := s.BaseURL(t.Context(), "search"); u != want || err != nil {
			t.Errorf("got %s, %v; want %s", u, err, want)
		}
	}
	for _, plugin := range []string{"empty", "missing"} {
		if _, err := s.BaseURL(t.Context(), plugin); apierr.KindOf(err) != apierr.KindNotFound {
			t.Errorf("%s: got %v", plugin, err)
		}
	}
	resolver.err = errors.New("server failure")
	if _, err := s.BaseURL(t.Context(), "other"); apierr.KindOf(err) != apierr.KindServiceUnavailable {
		t.Errorf("got %v", err)
	}
	if len(s.Elsewhere()) != 1 {
		t.Errorf("elsewhere: %v", s.Elsewhere())
	}
}

func TestChangesApplyAsAWhole(t *testing.T) {
	t.Parallel()
	config := func(target string) string {
		return "backend: {baseUrl: http://h}\ndiscovery: {endpoints: [{target: '" + target + "/{{pluginId}}', plugins: [a]}, {target: {internal: 'http://x'}, plugins: [b]}]}"
	}
	root, update := configtest.Live(t, config("http://one"))
	var log bytes.Buffer
	s, err := discovery.New(root, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ config, want string }{
		{config("http://one"), "http://one/a"},
		{config("http://two"), "http://two/a"},
		{strings.Replace(config("http://three"), "'http://x'", "'nonsense'", 1), "http://two/a"},
		{"backend: {baseUrl: http://h}", "http://localhost:7007/api/a"},
	} {
		update(step.config)
		if got, err := s.BaseURL(t.Context(), "a"); got != step.want || err != nil {
			t.Errorf("after %s: got %s, %v; want %s", step.config, got, err, step.want)
		}
	}
	if !strings.Contains(log.String(), "app-config.yaml:2") {
		t.Errorf("the broken edit is not logged: %s", &log)
	}
	s.Close()
	update(config("http://four"))
	if got, _ := s.BaseURL(t.Context(), "a"); got != "http://localhost:7007/api/a" {
		t.Errorf("after Close: %s", got)
	}
}

func TestWarnings(t *testing.T) {
	for name, c := range map[string]struct{ env, base, warning string }{
		"localhost in production":  {"production", "http://localhost:7007", "production"},
		"localhost in development": {"development", "http://localhost:7007", ""},
		"elsewhere in production":  {"production", "https://portal.example.com", ""},
		"no URL":                   {"", "portal", "not a URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NODE_ENV", c.env)
			var log bytes.Buffer
			s, err := discovery.New(configtest.FromYAML(t, "backend: {baseUrl: '"+c.base+"'}"), slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			if (c.warning == "") != (log.Len() == 0) || !strings.Contains(log.String(), c.warning) {
				t.Errorf("logged %q", &log)
			}
		})
	}
}

func FuzzTarget(f *testing.F) {
	f.Add("http://x/{{pluginId}}", "catalog")
	f.Add("https+srv://{{ pluginId }}.svc//", "a/b")
	f.Add("http://[::1]:80", "..")
	f.Add("http://0/{{pluginId}}", "/")
	f.Fuzz(func(t *testing.T, target, plugin string) {
		if plugin == "" {
			return // nobody has this id
		}
		resolver := &names{err: &net.DNSError{IsNotFound: true}}
		s, err := discovery.New(configtest.FromYAML(t, "backend: {baseUrl: http://h}"), slog.New(slog.DiscardHandler),
			discovery.WithResolver(resolver), discovery.WithDefaults(discovery.Endpoint{Internal: target, Plugins: []string{"*"}}))
		if err != nil {
			return
		}
		defer s.Close()
		at, err := s.BaseURL(t.Context(), plugin)
		if err != nil {
			return
		}
		if strings.HasSuffix(at, "/") {
			t.Errorf("%q ends with a slash", at)
		}
		if u, err := url.Parse(at); err == nil && target != "" && u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("%q has another scheme", at)
		}
	})
}

func TestConfigSchema(t *testing.T) {
	t.Parallel()
	if !json.Valid([]byte(discovery.ConfigSchema)) {
		t.Error("the schema is not JSON")
	}
}
