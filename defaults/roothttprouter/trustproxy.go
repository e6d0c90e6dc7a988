package roothttprouter

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/ratelimit"
)

// trust decides which of the addresses that a request went through are
// proxies whose X-Forwarded headers can be believed. The zero value believes
// none.
type trust struct {
	all      bool
	hops     int
	prefixes []netip.Prefix
}

var namedRanges = map[string][]string{
	"loopback":    {"127.0.0.1/8", "::1/128"},
	"linklocal":   {"169.254.0.0/16", "fe80::/10"},
	"uniquelocal": {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"},
}

const trustKey = "backend.trustProxy"

func parseTrust(c core.Config) (trust, error) {
	v, ok := c.Value(trustKey)
	if !ok {
		return trust{}, nil
	}
	fail := func(problem string) (trust, error) {
		return trust{}, configError(c, trustKey, problem, "use true, a number of proxies, or addresses and ranges such as loopback, 10.0.0.0/8")
	}
	var names []string
	switch v := v.(type) {
	case bool:
		return trust{all: v}, nil
	case float64:
		if v < 0 || v != float64(int(v)) {
			return fail("must be a whole number of proxies")
		}
		return trust{hops: int(v)}, nil
	case string:
		names = strings.Split(v, ",")
	case []any:
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return fail("must have strings")
			}
			names = append(names, strings.Split(s, ",")...)
		}
	default:
		return fail("has the wrong type")
	}
	var t trust
	for _, name := range names {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		ranges, ok := namedRanges[name]
		if !ok {
			ranges = []string{name}
		}
		for _, text := range ranges {
			p, err := ratelimit.ParsePrefix(text)
			if err != nil {
				return fail(fmt.Sprintf("has %q, which is no address or range", name))
			}
			t.prefixes = append(t.prefixes, p)
		}
	}
	return t, nil
}

func (t trust) off() bool { return !t.all && t.hops == 0 && len(t.prefixes) == 0 }

// trusts reports whether the address, the hop-th from here, is a proxy.
func (t trust) trusts(a netip.Addr, hop int) bool {
	if t.all || hop < t.hops {
		return true
	}
	for _, p := range t.prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// maxForwarded bounds the addresses of X-Forwarded-For that are looked at.
const maxForwarded = 64

// apply rewrites the address, the host and the scheme of r to those that the
// client used.
func (t trust) apply(r *http.Request) {
	if t.off() {
		return
	}
	client, ok := ratelimit.Address(r)
	if !ok || !t.trusts(client, 0) {
		return
	}
	hop := 0
	forwarded := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(forwarded) - 1; i >= 0 && hop < maxForwarded; i-- {
		if !t.trusts(client, hop) {
			break
		}
		next, err := parseForwarded(strings.TrimSpace(forwarded[i]))
		if err != nil {
			break
		}
		client = next
		hop++
	}
	if hop > 0 {
		r.RemoteAddr = netip.AddrPortFrom(client, 0).String()
	}
	if proto := firstOf(r.Header.Get("X-Forwarded-Proto")); proto == "https" || proto == "http" {
		r.URL.Scheme = proto
	}
	if host := firstOf(r.Header.Get("X-Forwarded-Host")); host != "" && !strings.ContainsAny(host, "/\\@ \t") {
		r.Host = host
	}
}

func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(first)
}

// parseForwarded reads an address with or without a port.
func parseForwarded(text string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return a.Unmap().WithZone(""), nil
	}
	host, _, err := net.SplitHostPort(text)
	if err != nil {
		return netip.Addr{}, err
	}
	a, err := netip.ParseAddr(host)
	return a.Unmap().WithZone(""), err
}
