// Package redirects decides to which addresses the answer to an authorization
// request may go. It is what stands between the provider and an open
// redirector.
//
//	patterns, err := redirects.ParsePatterns([]string{"http://127.0.0.1:*/*", "https://*.example.com/callback"})
//	if err := redirects.Check(uri); err == nil && patterns.Match(uri) { … }
//	if redirects.Registered(client.RedirectURIs, uri) { … }
package redirects

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// maxLength is how long an address may be, in bytes.
const maxLength = 2000

// refused are schemes whose addresses a browser runs or shows instead of
// handing them to a client.
var refused = []string{"javascript", "data", "vbscript", "about", "blob", "file", "filesystem", "view-source", "ws", "wss", "mailto", "tel"}

// allowed are the characters of URLs (RFC 3986 §2). Browsers repair others,
// each in its own way, so that an address could mean one host here and
// another there.
const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?[]@!$&'()*+,;=%"

// hostCharacters are those of host names and IP addresses.
const hostCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:"

// Check returns why the address can be nobody's, nil if it can be somebody's:
// it must be absolute, without user and fragment, and of a scheme that leads
// to a client.
func Check(address string) error {
	_, err := parse(address)
	return err
}

func parse(address string) (*url.URL, error) {
	switch {
	case address == "":
		return nil, errors.New("it is empty")
	case len(address) > maxLength:
		return nil, fmt.Errorf("it is longer than %d bytes", maxLength)
	case strings.Contains(address, "#"):
		return nil, errors.New("it has a fragment")
	}
	if !consists(address, allowed) {
		return nil, errors.New("it has a character that does not belong into a URL")
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("it is no URL")
	}
	switch scheme := strings.ToLower(u.Scheme); {
	case scheme == "":
		return nil, errors.New("it is not absolute")
	case slices.Contains(refused, scheme):
		return nil, fmt.Errorf("addresses of the scheme %s do not lead to a client", scheme)
	case u.User != nil:
		return nil, errors.New("it names a user")
	case (scheme == "http" || scheme == "https") && u.Hostname() == "":
		return nil, errors.New("it has no host")
	case !consists(u.Hostname(), hostCharacters):
		return nil, errors.New("its host has a character that does not belong there")
	}
	return u, nil
}

// consists reports whether the text has no other characters.
func consists(text, characters string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune(characters, r) }) < 0
}

// IsLoopback reports whether the address is of this machine: localhost,
// 127.0.0.1 or [::1] by http.
func IsLoopback(address string) bool {
	u, err := parse(address)
	return err == nil && loopback(u)
}

func loopback(u *url.URL) bool {
	if !strings.EqualFold(u.Scheme, "http") {
		return false
	}
	host := strings.ToLower(u.Hostname())
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && (a == netip.IPv6Loopback() || a == netip.AddrFrom4([4]byte{127, 0, 0, 1}))
}

// Registered reports whether the address is one of those that a client has
// registered, byte for byte (RFC 9700 §2.1). Addresses of the machine of the
// user may differ in the port, which native clients are given when they start
// to listen (RFC 8252 §7.3).
func Registered(registered []string, address string) bool {
	u, err := parse(address)
	if err != nil {
		return false
	}
	for _, r := range registered {
		if r == address {
			return true
		}
		known, err := parse(r)
		if err == nil && loopback(known) && loopback(u) && sameButPort(known, u) {
			return true
		}
	}
	return false
}

func sameButPort(a, b *url.URL) bool {
	return strings.EqualFold(a.Hostname(), b.Hostname()) && a.EscapedPath() == b.EscapedPath() && a.RawQuery == b.RawQuery
}

// With returns the address with more parameters at the end of its query: names
// and values in turn, without those whose value is empty.
func With(address string, pairs ...string) string {
	var b strings.Builder
	b.WriteString(address)
	separator := byte('?')
	if strings.Contains(address, "?") {
		separator = '&'
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		b.WriteByte(separator)
		b.WriteString(url.QueryEscape(pairs[i]) + "=" + url.QueryEscape(pairs[i+1]))
		separator = '&'
	}
	return b.String()
}

// WithOnly is [With] for an address whose own query goes.
func WithOnly(address string, pairs ...string) string {
	address, _, _ = strings.Cut(address, "?")
	return With(address, pairs...)
}
