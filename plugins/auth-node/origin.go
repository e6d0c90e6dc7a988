package authnode

import (
	"net/url"
	"strings"
)

// OriginOf returns the origin of a URL as browsers write it (RFC 6454 §6.1): in
// lower case and without the default port. ok is false for what is no http or
// https URL.
func OriginOf(text string) (origin string, ok bool) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return "", false
	}
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	switch {
	case scheme != "http" && scheme != "https":
		return "", false
	case port == "", scheme == "http" && port == "80", scheme == "https" && port == "443":
		return scheme + "://" + host, true
	default:
		return scheme + "://" + host + ":" + port, true
	}
}
