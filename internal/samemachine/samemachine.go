// Package samemachine tells requests of this machine from all others, for
// pages that are shown to whoever may log in to it.
//
//	if !samemachine.Sent(r) {
//		w.WriteHeader(http.StatusNotFound)
//		return
//	}
package samemachine

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// proxied are headers of requests that somebody else began: a proxy on this
// machine passes them on, or a page of another origin has a browser send them.
var proxied = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via", "Origin", "Referer",
}

// Sent reports whether r was sent from this machine, for this machine, and by
// no proxy. A name other than localhost in the Host header is not this
// machine: a web page can let a name of its own point to 127.0.0.1.
func Sent(r *http.Request) bool {
	for _, name := range proxied {
		if r.Header[name] != nil {
			return false
		}
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	// No connection has the port 0: such an address was made up.
	return err == nil && remote.Port() != 0 && remote.Addr().Unmap().IsLoopback() && names(r.Host)
}

// names reports whether a Host header names this machine.
func names(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}
