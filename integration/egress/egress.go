// Package egress keeps outgoing requests away from addresses that a caller
// must not reach through this process: the metadata services of clouds, other
// link-local addresses, and, unless the operator named the host, loopback and
// private networks.
//
//	guard := egress.New(egress.Options{Trusted: hosts.Trusts})
//	client := &http.Client{Transport: guard.Transport()}
//
// The check is made on the address of every connection, after the name was
// resolved, so neither a redirect nor a name that resolves differently the
// second time gets around it.
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options configure a [Guard].
type Options struct {
	// Trusted reports whether the operator named the host (without port), so
	// that it may have a loopback or private address. nil trusts no host.
	// Link-local and metadata addresses stay blocked for trusted hosts.
	Trusted func(host string) bool
	// Proxy is that of [http.Transport]; nil is [http.ProxyFromEnvironment].
	// The hosts of proxies are trusted. Behind a proxy only addresses written
	// in the URL can be checked: names are resolved by the proxy.
	Proxy func(*http.Request) (*url.URL, error)
	// DialTimeout bounds a connection attempt; 0 is 10 seconds.
	DialTimeout time.Duration
	// Resolver resolves names; nil is the default of package net.
	Resolver *net.Resolver
}

// BlockedError tells that a connection was refused by the guard.
type BlockedError struct {
	Host    string
	Address netip.Addr
	Reason  string
}

// Error names host and address.
func (e *BlockedError) Error() string {
	return fmt.Sprintf("requests to %s are blocked: its address %s is %s", e.Host, e.Address, e.Reason)
}

// Guard checks the addresses of connections. It is safe for concurrent use.
type Guard struct {
	options Options

	mu      sync.Mutex
	proxies map[string]struct{} // host:port of proxies in use; as few as are configured
}

// New returns a guard.
func New(o Options) *Guard {
	if o.Trusted == nil {
		o.Trusted = func(string) bool { return false }
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = 10 * time.Second
	}
	return &Guard{options: o, proxies: map[string]struct{}{}}
}

// Transport returns a transport whose connections are guarded. It has its own
// pool; close it with CloseIdleConnections.
func (g *Guard) Transport() http.RoundTripper {
	return &transport{guard: g, inner: &http.Transport{
		Proxy:                  g.proxy,
		DialContext:            g.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  60 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}}
}

// transport checks addresses that are written in the URL, which the dialer
// does not see when there is a proxy.
type transport struct {
	guard *Guard
	inner *http.Transport
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	host := r.URL.Hostname()
	if a, ok := written(host); ok {
		if err := t.guard.check(host, a); err != nil {
			if r.Body != nil {
				_ = r.Body.Close() // a RoundTripper must close it, also on errors
			}
			return nil, err
		}
	}
	return t.inner.RoundTrip(r)
}

// written returns the address that a host is, also in the old forms of IPv4
// addresses, which resolvers and proxies may understand: 2852039166,
// 0xa9.0xfe.43518, 0251.0376.0251.0376.
func written(host string) (netip.Addr, bool) {
	host = strings.TrimSuffix(host, ".")
	if a, err := netip.ParseAddr(host); err == nil {
		return a, true
	}
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	address := uint64(0)
	for i, part := range parts {
		base := 10
		switch lower := strings.ToLower(part); {
		case strings.HasPrefix(lower, "0x"):
			base, part = 16, "0"+part[2:]
		case len(part) > 1 && part[0] == '0':
			base = 8
		}
		n, err := strconv.ParseUint(part, base, 32)
		if err != nil {
			return netip.Addr{}, false
		}
		if i < len(parts)-1 {
			if n > 255 {
				return netip.Addr{}, false
			}
			address |= n << (24 - 8*i)
			continue
		}
		if n >= 1<<(8*(5-len(parts))) {
			return netip.Addr{}, false
		}
		address |= n // the last part has all that is left
	}
	return netip.AddrFrom4([4]byte{byte(address >> 24), byte(address >> 16), byte(address >> 8), byte(address)}), true
}

// CloseIdleConnections closes the connections that no request uses.
func (t *transport) CloseIdleConnections() { t.inner.CloseIdleConnections() }

func (g *Guard) proxy(r *http.Request) (*url.URL, error) {
	u, err := g.options.Proxy(r)
	if err == nil && u != nil {
		port := u.Port()
		if port == "" {
			port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
			if port == "" {
				port = "80"
			}
		}
		g.mu.Lock()
		g.proxies[net.JoinHostPort(u.Hostname(), port)] = struct{}{}
		g.mu.Unlock()
	}
	return u, err
}

// DialContext connects to host:port unless an address of the host is blocked.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dialing %q: %w", address, err)
	}
	g.mu.Lock()
	_, isProxy := g.proxies[address]
	g.mu.Unlock()
	d := net.Dialer{Timeout: g.options.DialTimeout, KeepAlive: 30 * time.Second, Resolver: g.options.Resolver}
	if !isProxy {
		d.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return fmt.Errorf("checking the address %q of %s: %w", resolved, host, err)
			}
			return g.check(host, ap.Addr())
		}
	}
	return d.DialContext(ctx, network, address)
}

func (g *Guard) check(host string, a netip.Addr) error {
	reason, private := Classify(a)
	if reason == "" || private && g.options.Trusted(strings.ToLower(strings.TrimSuffix(host, "."))) {
		return nil
	}
	return &BlockedError{Host: host, Address: a, Reason: reason}
}

// IsBlocked reports whether err comes from a guard.
func IsBlocked(err error) bool {
	var b *BlockedError
	return errors.As(err, &b)
}

// blocked addresses are never reached, whoever names them.
var blocked = []struct {
	prefix netip.Prefix
	reason string
}{
	{netip.MustParsePrefix("fd00:ec2::/32"), "a metadata service"},
	{netip.MustParsePrefix("fd20:ce::254/128"), "a metadata service"},
	{netip.MustParsePrefix("100.100.100.200/32"), "a metadata service"},
	{netip.MustParsePrefix("192.0.0.192/32"), "a metadata service"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
	{netip.MustParsePrefix("255.255.255.255/32"), "the broadcast address"},
}

// private addresses are reached where the operator named the host.
var private = []struct {
	prefix netip.Prefix
	reason string
}{
	{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address"},
	{netip.MustParsePrefix("::1/128"), "a loopback address"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "private"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("fec0::/10"), "private"},
}

// embeddings are prefixes of IPv6 addresses that carry an IPv4 address, and
// the offset at which it starts, in bytes.
var embeddings = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},   // NAT64, RFC 6052
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12}, // local NAT64, RFC 8215
	{netip.MustParsePrefix("2002::/16"), 2},       // 6to4, RFC 3056
	{netip.MustParsePrefix("::/96"), 12},          // IPv4-compatible, RFC 4291
}

// Classify returns why an address is not public, and whether naming its host
// in the configuration opens it; reason is empty for public addresses. An
// IPv4 address inside an IPv6 one is what counts.
func Classify(a netip.Addr) (reason string, canBeTrusted bool) {
	a = a.Unmap().WithZone("")
	for _, b := range blocked {
		if b.prefix.Contains(a) {
			return b.reason, false
		}
	}
	for _, p := range private {
		if p.prefix.Contains(a) {
			return p.reason, true
		}
	}
	for _, e := range embeddings {
		if a.Is6() && e.prefix.Contains(a) {
			raw := a.As16()
			return Classify(netip.AddrFrom4([4]byte(raw[e.at : e.at+4])))
		}
	}
	return "", false
}
