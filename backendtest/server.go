package backendtest

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/defaults/httprouter"
	"github.com/flytower/flytower/defaults/rootconfig"
	"github.com/flytower/flytower/defaults/roothttprouter"
)

const (
	// stopTimeout is what a stop may take as a whole.
	stopTimeout = 30 * time.Second
	// drainTimeout is what requests that are under way may take then.
	drainTimeout = 5 * time.Second
)

// Server is a backend that a test started.
type Server struct {
	backend *backend.Backend
	addr    net.Addr
	config  *testConfig
	log     *testLog
	setup   *setup
	http    *http.Client
	stop    func() error
}

// Start starts a backend of the features, which may also be those that this
// package offers, and stops it when the test ends. A backend that does not
// start fails the test at once, one that does not stop cleanly when it ends.
//
// It may be called by many parallel tests, and more than once in a test: the
// backends have nothing in common.
func Start(t testing.TB, features ...backend.Feature) *Server {
	t.Helper()
	s, err := start(t.Context(), t, features)
	if err != nil {
		t.Fatalf("backendtest: the backend does not start: %v", err)
	}
	t.Cleanup(func() {
		defer s.log.close() // before the test ends, after which it must not be written to
		if err := s.stop(); err != nil {
			t.Errorf("backendtest: the backend did not stop cleanly: %v", err)
		}
		if s.setup.get().panics {
			return
		}
		for _, p := range s.backend.Status().Plugins {
			if p.Panics > 0 {
				t.Errorf("backendtest: the plugin %q panicked (%d times); the log above has the stack", p.ID, p.Panics)
			}
		}
	})
	return s
}

func start(ctx context.Context, t testing.TB, features []backend.Feature) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{
		addr: listener.Addr(), log: &testLog{t: t}, setup: &setup{},
		http: &http.Client{
			Transport:     &http.Transport{},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	s.config = newTestConfig(s.addr.String())
	s.backend = s.assemble(listener, features)
	s.stop = sync.OnceValue(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		s.http.CloseIdleConnections()
		return s.backend.Stop(ctx)
	})
	if err := s.backend.Start(ctx); err != nil {
		_ = listener.Close() // the server may have closed it, or never have got it
		s.log.close()
		return nil, err
	}
	return s, nil
}

// assemble makes the backend. What this package replaces is yielded by a
// feature loader: it goes before the defaults, and gives way to the features
// of the test.
func (s *Server) assemble(listener net.Listener, features []backend.Feature) *backend.Backend {
	replaced := []backend.Feature{
		s.config.factory(),
		s.log.factory(),
		roothttprouter.NewFactory(roothttprouter.WithListener(listener), roothttprouter.WithDrainTimeout(drainTimeout)),
		httprouter.NewFactory(),
		authFactory, httpAuthFactory, userInfoFactory, schedulerFactory,
	}
	loader := backend.NewFeatureLoader("backendtest", func(*backend.RootEnv) backend.LoadFunc {
		return func(context.Context) ([]backend.Feature, error) { return replaced, nil }
	})
	b := backend.New(backend.WithDefaults(flytower.Defaults(rootconfig.Options{Args: []string{}})...))
	b.Add(loader, s.setup.factory())
	b.Add(features...)
	for _, id := range missingPlugins(b.Graph()) {
		b.Add(EmptyPlugin(id))
	}
	return b
}

// missingPlugins returns the plugins that modules extend and that are not
// installed.
func missingPlugins(g backend.Graph) []string {
	var missing []string
	for _, m := range g.Modules {
		installed := slices.ContainsFunc(g.Plugins, func(p backend.PluginNode) bool { return p.ID == m.Plugin })
		if !installed && !slices.Contains(missing, m.Plugin) {
			missing = append(missing, m.Plugin)
		}
	}
	return missing
}

// EmptyPlugin returns a plugin that does nothing, as the owner of services.
func EmptyPlugin(id string) backend.Feature {
	return backend.NewPlugin(id, func(*backend.PluginEnv) backend.InitFunc {
		return func(context.Context) error { return nil }
	})
}

// URL returns the address of the backend, without a trailing slash.
func (s *Server) URL() string { return "http://" + s.addr.String() }

// PluginURL returns the address below which the routes of a plugin are.
func (s *Server) PluginURL(plugin string) string { return s.URL() + "/api/" + plugin }

// Backend returns the backend, for its status and its graph.
func (s *Server) Backend() *backend.Backend { return s.backend }

// Clock returns the clock of the backend.
func (s *Server) Clock() *Clock { return s.setup.clock() }

// Stop stops the backend before the test ends, for tests of what happens
// then. The error is what makes the stop unclean, and it fails the test in
// any case.
func (s *Server) Stop() error { return s.stop() }
