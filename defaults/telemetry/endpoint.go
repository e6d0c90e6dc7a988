package telemetry

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/thismachine"
)

// DefaultPath is where metrics are shown.
const DefaultPath = "/metrics"

// Endpoint is the page with the metrics.
type Endpoint struct {
	// Path is where it is; "" where metrics are not shown.
	Path string
}

// MetricsEndpoint mounts the page with the metrics on the HTTP server of the
// backend. It is a service of its own because the server needs the telemetry
// first.
var MetricsEndpoint = backend.NewRootServiceRef[Endpoint]("flytower.telemetry.metricsEndpoint")

// EndpointFactory is the factory of [MetricsEndpoint].
var EndpointFactory = backend.NewRootServiceFactory(MetricsEndpoint, func(env *backend.RootEnv) backend.MakeFunc[Endpoint] {
	config, telemetry, server := core.RootConfig.From(env), core.Telemetry.From(env), core.RootHTTPRouter.From(env)
	return func(context.Context) (Endpoint, error) {
		settings, err := ReadConfig(config())
		if err != nil {
			return Endpoint{}, fmt.Errorf("metrics endpoint: %w", err)
		}
		exposition := telemetry().Exposition
		if exposition == nil {
			return Endpoint{}, nil
		}
		if err := server().Use(settings.Path, Protect(exposition, settings.Open, settings.Token)); err != nil {
			return Endpoint{}, fmt.Errorf("metrics endpoint: %w", err)
		}
		return Endpoint{Path: settings.Path}, nil
	}
}, backend.Eager())

// Protect lets requests through to next: all if open is set, otherwise those
// that bear the token, unless it is empty, and those that come straight from
// the same machine. A request that a proxy passed on, or a web page of another
// origin had a browser send, is not taken for one from the same machine.
func Protect(next http.Handler, open bool, token core.Token) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			w.WriteHeader(http.StatusMethodNotAllowed)
		case open || thismachine.AsksOutsidePages(r) || bears(r, token):
			next.ServeHTTP(w, r)
		default:
			apierr.Write(w, r, apierr.NotAllowed("metrics are shown to the same machine only; set backend.telemetry.metrics.token, or access to open"), "")
		}
	})
}

func bears(r *http.Request, token core.Token) bool {
	if token.IsZero() {
		return false
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	want, got := sha256.Sum256([]byte(token.Reveal())), sha256.Sum256([]byte(strings.TrimSpace(given)))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}
