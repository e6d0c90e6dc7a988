package redact

import (
	"net/url"
	"slices"
	"strings"
)

// secretNames are parts of the names of query parameters whose values are
// credentials.
var secretNames = []string{"token", "secret", "password", "passwd", "apikey", "api_key", "api-key", "signature", "credential", "assertion"}

// secretParameters are whole names, which would match too much as parts.
var secretParameters = []string{"code", "state", "sig", "key", "auth", "jwt", "session"}

// Query returns a URL in which the values of query parameters that are
// credentials by their names are replaced.
func Query(address string) string {
	path, query, ok := strings.Cut(address, "?")
	if !ok {
		return address
	}
	var b strings.Builder
	b.Grow(len(address))
	b.WriteString(path + "?")
	for query != "" {
		part, separator := query, ""
		if i := strings.IndexAny(query, "&;"); i >= 0 {
			part, separator = query[:i], query[i:i+1]
		}
		query = query[len(part)+len(separator):]
		if name, value, ok := strings.Cut(part, "="); ok && value != "" && isSecretParameter(name) {
			part = name + "=" + Mask
		}
		b.WriteString(part + separator)
	}
	return b.String()
}

func isSecretParameter(name string) bool {
	if d, err := url.QueryUnescape(name); err == nil {
		name = d
	}
	name = strings.ToLower(name)
	if slices.Contains(secretParameters, name) {
		return true
	}
	for _, s := range secretNames {
		if strings.Contains(name, s) {
			return true
		}
	}
	return false
}
