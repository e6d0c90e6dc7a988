package gatewaybackend

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/httptelemetry"
	"github.com/flytower/flytower/internal/ratelimit"
)

const (
	// hopsHeader counts the gateways that a request has passed; those of all
	// backends of the family know it.
	hopsHeader = "Backstage-Gateway-Hops"
	maxHops    = 3
	// viaHeader names the gateways that a request has passed.
	viaHeader = "Flytower-Gateway-Via"
)

// gateway forwards requests.
type gateway struct {
	discovery core.DiscoveryService
	listener  interface{ Addr() net.Addr }
	log       *slog.Logger
	network   http.RoundTripper
	installed map[string]bool
	id        string // of this gateway, for viaHeader
	proxy     *httputil.ReverseProxy
}

func newGateway(discovery core.DiscoveryService, listener interface{ Addr() net.Addr }, log *slog.Logger, network http.RoundTripper) *gateway {
	if network == nil {
		network = &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:    5 * time.Second,
			IdleConnTimeout:        4 * time.Second, // Node closes after five
			MaxIdleConns:           256,
			MaxIdleConnsPerHost:    64,
			MaxResponseHeaderBytes: 1 << 20,
			DisableCompression:     true, // what the client accepts is its own matter
		}
	}
	g := &gateway{discovery: discovery, listener: listener, log: log, network: network, installed: map[string]bool{}, id: rand.Text()}
	g.proxy = &httputil.ReverseProxy{
		Transport:     network,
		FlushInterval: -1,
		Rewrite:       g.rewrite,
		// What the target says of its answer holds, not what this backend says
		// of its own: two policies, or two allowed origins, are none.
		ModifyResponse: func(resp *http.Response) error {
			to, _ := resp.Request.Context().Value(destinationKey{}).(destination)
			for name := range resp.Header {
				if name != "Vary" { // what the answer depends on adds up
					delete(to.header, name)
				}
			}
			return nil
		},
		ErrorHandler: g.fail,
		ErrorLog:     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return g
}

func (g *gateway) close() {
	if idle, ok := g.network.(interface{ CloseIdleConnections() }); ok {
		idle.CloseIdleConnections()
	}
}

var pluginID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// mountPath is below which the gateway answers; paths of plugins that are
// installed here come first.
const mountPath = "/api/:pluginId"

// ServeHTTP forwards a request for the mount path, of which it sees what is
// below.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	httptelemetry.SetRoute(r.Context(), mountPath)
	plugin := r.PathValue("pluginId")
	if !pluginID.MatchString(plugin) || g.installed[plugin] {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	g.forward(w, r, plugin, r.URL.EscapedPath())
}

// destination travels to the hooks of the proxy in the context.
type destination struct {
	url    *url.URL
	hops   int
	host   string      // that the client asked
	header http.Header // of the answer
}

type destinationKey struct{}

// forward sends the request to the plugin; rest is the escaped path below it.
func (g *gateway) forward(w http.ResponseWriter, r *http.Request, plugin, rest string) {
	base, err := g.discovery.BaseURL(r.Context(), plugin)
	if err != nil {
		g.log.WarnContext(r.Context(), "no address of the plugin", "target", plugin, "error", err)
		// Whoever asks need not be anybody, so the names of hosts stay here.
		apierr.Write(w, r, apierr.New(apierr.KindOf(err), "The address of plugin '%s' cannot be found", plugin), "")
		return
	}
	target, err := url.Parse(base + rest)
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	target.RawQuery = r.URL.RawQuery
	hops := max(0, parseHops(r.Header.Get(hopsHeader)))
	switch {
	case g.self(target) || strings.Contains(strings.Join(r.Header.Values(viaHeader), ","), g.id):
		w.WriteHeader(http.StatusNotFound)
		return
	case hops >= maxHops:
		g.log.WarnContext(r.Context(), "request passed too many gateways; check where discovery places the plugin", "target", plugin, "hops", hops)
		apierr.WriteJSON(w, http.StatusLoopDetected, map[string]any{"error": map[string]any{
			"name": "LoopDetectedError", "message": fmt.Sprintf("Maximum proxy hop count exceeded (%d)", maxHops),
		}})
		return
	}
	ctx := context.WithValue(r.Context(), destinationKey{}, destination{target, hops + 1, r.Host, w.Header()})
	g.proxy.ServeHTTP(w, r.WithContext(ctx))
}

func parseHops(s string) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil && errors.Is(err, strconv.ErrRange) && !strings.HasPrefix(s, "-") {
		return maxHops
	}
	return n
}

func (g *gateway) rewrite(p *httputil.ProxyRequest) {
	to, _ := p.In.Context().Value(destinationKey{}).(destination)
	p.Out.URL = to.url
	p.Out.Host = to.url.Host
	// What proxies in front of us said about the client still holds.
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v := p.In.Header.Values(name); len(v) > 0 {
			p.Out.Header[name] = v
		}
	}
	// Anybody can claim anything there. Who asked us stands at the end, where a
	// target that trusts this gateway, and nobody else, looks.
	if client, ok := ratelimit.Address(p.In); ok {
		p.Out.Header.Set("X-Forwarded-For", strings.Join(append(p.In.Header.Values("X-Forwarded-For"), client.String()), ", "))
	}
	p.Out.Header.Set(hopsHeader, strconv.Itoa(to.hops))
	p.Out.Header.Add(viaHeader, g.id)
}

// self reports whether the address is this backend.
func (g *gateway) self(u *url.URL) bool {
	own, ok := g.listener.Addr().(*net.TCPAddr)
	if !ok {
		return false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if port != strconv.Itoa(own.Port) {
		return false
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	switch {
	case strings.EqualFold(host, "localhost"):
		return own.IP.IsUnspecified() || own.IP.IsLoopback() || own.IP == nil
	case ip == nil:
		return false
	case ip.IsLoopback() || ip.IsUnspecified():
		return own.IP.IsUnspecified() || own.IP == nil || own.IP.IsLoopback() && (ip.IsUnspecified() || ip.Equal(own.IP))
	}
	return ip.Equal(own.IP)
}

// fail answers for a target that did not.
func (g *gateway) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		// The client has left. Nothing that is sent arrives.
		panic(http.ErrAbortHandler)
	}
	to, _ := r.Context().Value(destinationKey{}).(destination)
	status := proxyStatus(err)
	g.log.WarnContext(r.Context(), "request was not forwarded", "target", to.url.Host, "status", status, "error", err)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	// The host is the one that the client knows: ours, not the target.
	_, _ = io.WriteString(w, "Error occurred while trying to proxy: "+to.host+to.url.EscapedPath())
}

// proxyStatus is 504 for targets that cannot be reached or end the
// connection, 502 for answers that are no HTTP, and 500 for the rest.
func proxyStatus(err error) int {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &dns),
		errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case strings.Contains(err.Error(), "malformed HTTP"), strings.Contains(err.Error(), "transport connection broken"):
		return http.StatusBadGateway
	}
	return http.StatusInternalServerError
}
