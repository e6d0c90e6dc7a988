package redirects

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/flytower/flytower/internal/wildcard"
)

// Patterns are those of a list of the configuration.
type Patterns []Pattern

// Pattern stands for addresses: "*" for all, otherwise
// scheme://host[:port][/path], where a "*" in the host or the path stands for
// any text, and a port of "*" for any port; or scheme:path, for any host.
// Without a path, http and https mean the path /, and other schemes any path.
// The query is not compared.
type Pattern struct {
	text                     string
	any                      bool
	scheme, host, port, path string
}

// ParsePatterns reads patterns. The error names the one that is malformed.
func ParsePatterns(texts []string) (Patterns, error) {
	var all Patterns
	for _, text := range texts {
		p, err := parsePattern(text)
		if err != nil {
			return nil, fmt.Errorf("the pattern %q %w", text, err)
		}
		all = append(all, p)
	}
	return all, nil
}

func parsePattern(text string) (Pattern, error) {
	if text == "*" {
		return Pattern{text: text, any: true}, nil
	}
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok || !schemeForm.MatchString(scheme) {
		return Pattern{}, errors.New("does not say which scheme: begin it like https://")
	}
	if strings.ContainsAny(rest, "?#") {
		return Pattern{}, errors.New("has more than scheme, host, port and path")
	}
	p := Pattern{text: text, scheme: strings.ToLower(scheme), host: "*", port: "*", path: rest}
	web := p.scheme == "http" || p.scheme == "https"
	if authority, ok := strings.CutPrefix(rest, "//"); ok {
		path := ""
		if i := strings.IndexByte(authority, '/'); i >= 0 {
			authority, path = authority[:i], authority[i:]
		}
		if strings.Contains(authority, "@") {
			return Pattern{}, errors.New("has more than scheme, host, port and path")
		}
		p.path, p.host, p.port = path, strings.ToLower(authority), ""
		if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
			p.host, p.port = p.host[:i], authority[i+1:]
		}
		p.host = strings.Trim(p.host, "[]")
		if p.host == "" && !web {
			p.host = "*"
		}
	} else if web {
		return Pattern{}, errors.New("has no host")
	}
	switch {
	case p.host == "":
		return Pattern{}, errors.New("has no host")
	case p.path == "" && web:
		p.path = "/"
	case p.path == "":
		p.path = "*"
	}
	return p, nil
}

// schemeForm is what the scheme of a URL looks like (RFC 3986 §3.1).
var schemeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*$`)

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Exact reports whether the pattern stands for one address only.
func (p Pattern) Exact() bool { return !strings.Contains(p.text, "*") }

// Match reports whether a pattern stands for the address.
func (all Patterns) Match(address string) bool {
	_, ok := all.Find(address)
	return ok
}

// Find returns the pattern that stands for the address, an exact one rather
// than another.
func (all Patterns) Find(address string) (found Pattern, ok bool) {
	u, err := parse(address)
	if err != nil {
		return found, false
	}
	for _, p := range all {
		if p.match(u) && (!ok || p.Exact()) {
			found, ok = p, true
		}
	}
	return found, ok
}

func (p Pattern) match(u *url.URL) bool {
	if p.any {
		return true
	}
	path := u.EscapedPath()
	switch {
	case u.Opaque != "":
		path = u.Opaque
	case path == "" && (p.scheme == "http" || p.scheme == "https"):
		path = "/"
	}
	return strings.EqualFold(u.Scheme, p.scheme) &&
		wildcard.New(p.host).Match(strings.ToLower(u.Hostname())) &&
		(p.port == "*" || port(p.scheme, p.port) == port(p.scheme, u.Port())) &&
		!dots(path) && wildcard.New(p.path).Match(path)
}

// port leaves out the default of the scheme.
func port(scheme, port string) string {
	if scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return ""
	}
	return port
}

// dots reports whether a path has segments that lead elsewhere.
func dots(path string) bool {
	path = strings.NewReplacer("%2e", ".", "%2E", ".").Replace(path)
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}
