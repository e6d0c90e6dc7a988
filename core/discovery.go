package core

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/flytower/flytower/backend"
)

// DiscoveryService tells where plugins are.
type DiscoveryService interface {
	// BaseURL returns the URL under which this backend reaches the plugin,
	// without a trailing slash.
	BaseURL(ctx context.Context, plugin string) (string, error)
	// ExternalBaseURL returns the URL under which browsers reach it.
	ExternalBaseURL(ctx context.Context, plugin string) (string, error)
	// Elsewhere returns the plugins that the configuration places outside of
	// this backend, sorted.
	Elsewhere() []string
}

// Discovery tells where plugins are.
var Discovery = backend.NewServiceRef[DiscoveryService]("core.discovery")

// PluginRequest is a request from one plugin to another.
type PluginRequest struct {
	// Plugin is the id of the plugin to call.
	Plugin string
	// Method is GET if empty.
	Method string
	// Path is relative to the plugin and escaped: "/entities/by-name/a/b/c".
	Path   string
	Query  url.Values
	Header http.Header
	// JSON, if not nil, is sent as the body; otherwise Body is, if not nil.
	JSON any
	Body io.Reader
	// As says on whose behalf; the zero value calls without credentials.
	As Credentials
}

// PluginClientService calls other plugins, wherever they run: in this process
// the request goes to their handler in memory, elsewhere over the network.
// Routes, middleware, authentication, streaming and cancellation are the same.
type PluginClientService interface {
	// Do sends the request with a token for the target. The caller closes the
	// body. A status that is not 2xx is an answer, not an error.
	Do(ctx context.Context, r PluginRequest) (*http.Response, error)
	// Call sends the request and decodes the JSON answer into out, unless out
	// is nil. A status that is not 2xx is a *apierr.ResponseError.
	Call(ctx context.Context, r PluginRequest, out any) error
	// Local reports whether the plugin is in this process.
	Local(plugin string) bool
	// Transport returns the transport that Do uses, for clients that make
	// their own requests from the URLs that discovery gives.
	Transport() http.RoundTripper
}

// PluginClient calls other plugins.
var PluginClient = backend.NewServiceRef[PluginClientService]("flytower.pluginClient")
