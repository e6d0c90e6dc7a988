// Package thismachine tells requests that a program on the same machine made
// from all others, for pages that tell more than a stranger may know.
//
//	if !thismachine.Asks(r) {
//		w.WriteHeader(http.StatusNotFound)
//	}
package thismachine

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// forwarded are the headers by which a proxy says that it passes a request on.
var forwarded = [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"}

// Asks reports whether the request was made on this machine, and for it: over
// a loopback connection, not through a proxy, and with a loopback address or
// "localhost" as the host. The last keeps web pages out that make a name of
// theirs point here (DNS rebinding).
func Asks(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || from.Port() == 0 || !from.Addr().Unmap().IsLoopback() {
		return false // no connection has the port 0: the address was made up
	}
	for _, name := range forwarded {
		if r.Header[name] != nil {
			return false
		}
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	to, err := netip.ParseAddr(host)
	return err == nil && to.Unmap().IsLoopback()
}

// AsksOutsidePages is Asks for what is meant for programs: it refuses
// requests that a web page has a browser send, whatever page that is.
func AsksOutsidePages(r *http.Request) bool {
	return r.Header["Origin"] == nil && r.Header["Referer"] == nil && Asks(r)
}
