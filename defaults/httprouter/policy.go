package httprouter

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// pathMatcher decides whether an escaped path lies at or below the path of a
// policy.
type pathMatcher struct {
	all    bool
	prefix string         // literal paths; "/a/b"
	re     *regexp.Regexp // others
}

// parsePolicyPath reads the path of a policy: literals, ":name" for a part of
// a segment, "*name" for one or more segments, "{…}" for an optional part, and
// a backslash before a character that is meant literally.
func parsePolicyPath(path string) (*pathMatcher, error) {
	if path == "/" || path == "*" {
		return &pathMatcher{all: true}, nil
	}
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("the path %q must begin with a slash", path)
	}
	path = strings.TrimRight(path, "/")
	if path == "" {
		return nil, errors.New("the path has nothing but slashes; use \"/\" for everything")
	}
	if !strings.ContainsAny(path, `:*{}()[]+?!\`) {
		return &pathMatcher{prefix: (&url.URL{Path: path}).EscapedPath()}, nil
	}
	expr, err := policyRegexp(path)
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(`(?is)^(?:` + expr + `)(?:/.*)?$`)
	if err != nil {
		return nil, fmt.Errorf("the path %q is too complicated: %w", path, err)
	}
	return &pathMatcher{re: re}, nil
}

const maxPolicyPath = 1000

func policyRegexp(path string) (string, error) {
	if len(path) > maxPolicyPath {
		return "", fmt.Errorf("the path is longer than %d characters", maxPolicyPath)
	}
	var b strings.Builder
	depth := 0
	for i := 0; i < len(path); {
		switch c := path[i]; c {
		case '\\':
			if i++; i == len(path) {
				return "", fmt.Errorf("the path %q ends in a backslash", path)
			}
			b.WriteString(regexp.QuoteMeta(path[i : i+1]))
			i++
		case ':', '*':
			name := i + 1
			for name < len(path) && isNameByte(path[name]) {
				name++
			}
			if name == i+1 {
				return "", fmt.Errorf("the path %q has %q without a name; use for example \"*rest\" or \":id\"", path, c)
			}
			if c == ':' {
				b.WriteString(`[^/]+`)
			} else {
				b.WriteString(`.+`)
			}
			i = name
		case '{':
			if depth++; depth > 10 {
				return "", fmt.Errorf("the path %q is nested too deeply", path)
			}
			b.WriteString(`(?:`)
			i++
		case '}':
			if depth--; depth < 0 {
				return "", fmt.Errorf("the path %q has an unexpected \"}\"", path)
			}
			b.WriteString(`)?`)
			i++
		case '(', ')', '[', ']', '+', '?', '!':
			return "", fmt.Errorf("the path %q has %q, which means nothing here; put a backslash before it", path, c)
		default:
			b.WriteString(regexp.QuoteMeta(path[i : i+1]))
			i++
		}
	}
	if depth != 0 {
		return "", fmt.Errorf("the path %q has an open \"{\"", path)
	}
	return b.String(), nil
}

func isNameByte(c byte) bool {
	return c == '_' || c == '$' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// match reports whether the escaped path is matched.
func (m *pathMatcher) match(path string) bool {
	switch {
	case m.all:
		return true
	case m.re != nil:
		return m.re.MatchString(path)
	}
	n := len(m.prefix)
	return len(path) >= n && (len(path) == n || path[n] == '/') && strings.EqualFold(path[:n], m.prefix)
}
