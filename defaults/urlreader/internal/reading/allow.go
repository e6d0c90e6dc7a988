// Package reading decides which URLs backend.reading.allow opens.
//
//	rules, err := reading.FromConfig(config)
//	rules.Allows(u)
package reading

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/flytower/flytower/core"
)

// Key is the configuration key of the rules.
const Key = "backend.reading.allow"

// Rules are the opened URLs. The zero value opens none.
type Rules struct{ rules []rule }

type rule struct {
	host     string // in lower case, without port
	suffix   bool   // host is the part after "*", with its dot
	from, to int    // ports; 0 is the default port of the scheme only
	paths    []string
	all      bool // no paths were given
}

// FromConfig reads the rules from the whole configuration.
func FromConfig(config core.Config) (*Rules, error) {
	list, err := config.List(Key)
	if err != nil {
		return nil, err
	}
	r := &Rules{}
	for _, c := range list {
		text, err := c.String("host")
		if err != nil {
			return nil, err
		}
		one, err := parseHost(text)
		if err != nil {
			return nil, &core.ConfigError{
				Key: c.Path("host"), Position: c.Position("host"), Problem: "is not a host: " + err.Error(), Err: err,
				Remedy: `write "example.com", "*.example.com", "example.com:8080" or "example.com:8000-8999"`,
			}
		}
		one.all = !c.Has("paths")
		paths, err := c.Strings("paths")
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			if !strings.HasPrefix(p, "/") {
				return nil, &core.ConfigError{
					Key: c.Path("paths"), Position: c.Position("paths"), Problem: fmt.Sprintf("has the path %q without a leading slash", p),
					Remedy: "write /" + p,
				}
			}
			one.paths = append(one.paths, normal(p))
		}
		r.rules = append(r.rules, one)
	}
	return r, nil
}

// parseHost reads "host", "*.suffix", and an optional ":port" or ":from-to".
func parseHost(s string) (rule, error) {
	host, ports := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, ports = s[:i], s[i+1:]
		if ports == "" {
			return rule{}, fmt.Errorf("%q has no port after its colon", s)
		}
	}
	r := rule{host: strings.ToLower(host)}
	if rest, ok := strings.CutPrefix(r.host, "*"); ok {
		r.host, r.suffix = rest, true
		if !strings.HasPrefix(rest, ".") || len(rest) < 2 {
			return rule{}, fmt.Errorf("%q has a star that is not followed by a dot and a domain", s)
		}
	}
	r.host = strings.Trim(r.host, "[]")
	if r.host == "" || strings.ContainsAny(r.host, "/*?#@ \\") {
		return rule{}, fmt.Errorf("%q", s)
	}
	if ports == "" {
		return r, nil
	}
	from, to, isRange := strings.Cut(ports, "-")
	if !isRange {
		to = from
	}
	var err error
	if r.from, err = port(from); err != nil {
		return rule{}, err
	}
	if r.to, err = port(to); err != nil {
		return rule{}, err
	}
	if r.from > r.to {
		return rule{}, fmt.Errorf("the range of ports %s ends before it starts", ports)
	}
	return r, nil
}

func port(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 {
		return 0, fmt.Errorf("%q is not a port", s)
	}
	return n, nil
}

// normal resolves "." and ".." and double slashes, and keeps a trailing slash.
func normal(p string) string {
	clean := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// Allows reports whether a rule opens the URL.
func (r *Rules) Allows(u *url.URL) bool {
	if r == nil || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	for _, one := range r.rules {
		if one.hostMatches(u.Hostname()) && one.portMatches(u) && one.pathMatches(u) {
			return true
		}
	}
	return false
}

// AllowsHost reports whether a rule names the host (without port), whatever
// its ports and paths.
func (r *Rules) AllowsHost(host string) bool {
	if r == nil {
		return false
	}
	for _, one := range r.rules {
		if one.hostMatches(host) {
			return true
		}
	}
	return false
}

func (r rule) hostMatches(host string) bool {
	host = strings.ToLower(host)
	if r.suffix {
		return strings.HasSuffix(host, r.host) && len(host) > len(r.host)
	}
	return host == r.host
}

func (r rule) portMatches(u *url.URL) bool {
	def := 443
	if u.Scheme == "http" {
		def = 80
	}
	have := def
	if p := u.Port(); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil {
			return false
		}
		have = n
	}
	if r.from == 0 {
		return have == def
	}
	return r.from <= have && have <= r.to
}

func (r rule) pathMatches(u *url.URL) bool {
	if r.all {
		return true
	}
	have := normal(u.Path)
	for _, p := range r.paths {
		switch {
		case strings.HasSuffix(p, "/"):
			// Strictly below.
			if strings.HasPrefix(have, p) && len(have) > len(p) {
				return true
			}
		case have == p || strings.HasPrefix(have, p+"/"):
			return true
		}
	}
	return false
}
