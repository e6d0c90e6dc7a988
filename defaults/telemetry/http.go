package telemetry

import (
	"context"
	"net/http"
	"strings"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/httptelemetry"
)

// MeasureHTTP measures and traces the requests to each plugin, those that
// come over the network and those from other plugins of the process: how many
// there are at the moment (http.server.active_requests) and how long they
// took (http.server.request.duration), by plugin, method, route and status.
// Handlers that measure themselves, as the routers of plugins do, are left as
// they are.
var MeasureHTTP = backend.DecorateRoot(core.RootHTTPRouter, func(env *backend.RootEnv, inner func() core.HTTPRoot) backend.MakeFunc[core.HTTPRoot] {
	telemetry := core.Telemetry.From(env)
	return func(context.Context) (core.HTTPRoot, error) {
		instruments, err := httptelemetry.New(telemetry())
		if err != nil {
			return nil, err
		}
		return &measuredRoot{inner(), instruments}, nil
	}
})

// measuredRoot measures what is mounted.
type measuredRoot struct {
	core.HTTPRoot
	instruments *httptelemetry.HTTP
}

// Use mounts the measured handler.
func (m *measuredRoot) Use(path string, h http.Handler) error {
	self, _ := h.(interface{ MeasuresItself() bool })
	if plugin, ok := strings.CutPrefix(path, "/api/"); ok && (self == nil || !self.MeasuresItself()) {
		h = &measured{m.instruments.Middleware(plugin)(h), h}
	}
	return m.HTTPRoot.Use(path, h)
}

// measured is a handler that tells which one it measures, which may know its
// routes.
type measured struct {
	http.Handler
	inner http.Handler
}

// Unwrap returns the handler that is measured.
func (m *measured) Unwrap() http.Handler { return m.inner }
