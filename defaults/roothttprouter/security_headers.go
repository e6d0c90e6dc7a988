package roothttprouter

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/flytower/flytower/core"
)

// directive is one of a Content-Security-Policy.
type directive struct {
	name   string
	values []string
}

func defaultPolicy() []directive {
	return []directive{
		{"default-src", []string{"'self'"}},
		{"base-uri", []string{"'self'"}},
		{"font-src", []string{"'self'", "https:", "data:"}},
		{"frame-ancestors", []string{"'self'"}},
		{"img-src", []string{"'self'", "data:"}},
		{"object-src", []string{"'none'"}},
		{"script-src", []string{"'self'", "'unsafe-eval'"}},
		{"script-src-attr", []string{"'none'"}},
		{"style-src", []string{"'self'", "https:", "'unsafe-inline'"}},
		{"upgrade-insecure-requests", nil},
	}
}

// contentSecurityPolicy returns the header value for backend.csp.
func contentSecurityPolicy(c core.Config) (string, error) {
	const key = "backend.csp"
	policy := defaultPolicy()
	fail := func(member, problem, remedy string) (string, error) {
		at := key
		if member != "" {
			at += "." + member
		}
		return "", &core.ConfigError{Key: c.Path(at), Position: c.Position(at), Problem: problem, Remedy: remedy}
	}
	v, ok := c.Value(key)
	if !ok {
		return formatPolicy(policy), nil
	}
	members, ok := v.(map[string]any)
	if !ok {
		return fail("", "must be an object of directives", `for example {connect-src: ["'self'", "https:"]}`)
	}
	for _, member := range c.Keys(key) {
		name := kebabCase(member)
		if !isDirectiveName(name) {
			return fail(member, "is no name of a directive", "")
		}
		i := slices.IndexFunc(policy, func(d directive) bool { return d.name == name })
		switch v := members[member].(type) {
		case nil: // hides a lower source
		case bool:
			if v {
				return fail(member, "must be an array of strings, or false to leave the directive out", "")
			}
			if i >= 0 {
				policy = slices.Delete(policy, i, i+1)
			}
		case []any:
			values := make([]string, 0, len(v))
			for _, item := range v {
				s, ok := item.(string)
				if !ok {
					return fail(member, "must be an array of strings", "")
				}
				if strings.ContainsAny(s, ";,\r\n") || !isHeaderText(s) {
					return fail(member, fmt.Sprintf("has the value %q; a value has no comma, semicolon or control character", s), "write one value per array element")
				}
				values = append(values, s)
			}
			if i >= 0 {
				policy[i].values = values
			} else {
				policy = append(policy, directive{name, values})
			}
		default:
			return fail(member, "must be an array of strings, or false to leave the directive out", "")
		}
	}
	if !slices.ContainsFunc(policy, func(d directive) bool { return d.name == "default-src" }) {
		return fail("default-src", "must not be left out", "give it sources, or \"'none'\"")
	}
	return formatPolicy(policy), nil
}

func formatPolicy(policy []directive) string {
	var b strings.Builder
	for i, d := range policy {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(d.name)
		for _, v := range d.values {
			b.WriteByte(' ')
			b.WriteString(v)
		}
	}
	return b.String()
}

// kebabCase turns "connectSrc" into "connect-src".
func kebabCase(s string) string {
	var b strings.Builder
	for _, c := range s {
		if 'A' <= c && c <= 'Z' {
			b.WriteByte('-')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

func isDirectiveName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') })
}

// isHeaderText reports whether s may stand in a header.
func isHeaderText(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || c > 0x7e })
}

var referrerPolicies = []string{
	"no-referrer", "no-referrer-when-downgrade", "same-origin", "origin", "strict-origin",
	"origin-when-cross-origin", "strict-origin-when-cross-origin", "unsafe-url", "",
}

func referrerPolicy(c core.Config) (string, error) {
	const key = "backend.referrer.policy"
	if !c.Has(key) {
		return "no-referrer", nil
	}
	values, err := c.Strings(key)
	if err != nil {
		return "", err
	}
	for i, v := range values {
		if !slices.Contains(referrerPolicies, v) || slices.Contains(values[:i], v) {
			return "", &core.ConfigError{
				Key: c.Path(key), Position: c.Position(key), Problem: fmt.Sprintf("has %q, which is unknown or repeated", v),
				Remedy: "use " + strings.Join(referrerPolicies[:len(referrerPolicies)-1], ", "),
			}
		}
	}
	if len(values) == 0 {
		return "no-referrer", nil
	}
	return strings.Join(values, ","), nil
}

// fixedHeader is a header that every answer has, unless its handler says
// otherwise.
type fixedHeader struct {
	key   string // canonical
	value []string
}

// fixedHeaders are all of them; text is how they are sent.
type fixedHeaders struct {
	list []fixedHeader
	text []byte
}

// add adds the headers that h does not have. On a connection without TLS they
// need not go through h.
func (f *fixedHeaders) add(h http.Header, conn *connection) {
	if conn != nil && conn.plain != nil && !f.anyIn(h) {
		conn.plain.wire.insert = f.text
		return
	}
	for i := range f.list {
		if _, own := h[f.list[i].key]; !own {
			h[f.list[i].key] = f.list[i].value
		}
	}
}

func (f *fixedHeaders) anyIn(h http.Header) bool {
	for i := range f.list {
		if _, own := h[f.list[i].key]; own {
			return true
		}
	}
	return false
}

func securityHeaders(c core.Config) (out fixedHeaders, err error) {
	csp, err := contentSecurityPolicy(c)
	if err != nil {
		return out, err
	}
	referrer, err := referrerPolicy(c)
	if err != nil {
		return out, err
	}
	for _, h := range [][2]string{
		{"Content-Security-Policy", csp},
		{"Referrer-Policy", referrer},
		{"Strict-Transport-Security", "max-age=15552000; includeSubDomains"},
		{"X-Content-Type-Options", "nosniff"},
		{"X-DNS-Prefetch-Control", "off"},
		{"X-Download-Options", "noopen"},
		{"X-Frame-Options", "SAMEORIGIN"},
		{"X-Permitted-Cross-Domain-Policies", "none"},
		{"X-XSS-Protection", "0"},
	} {
		// The slices are shared by all answers; appending to one copies it.
		key := http.CanonicalHeaderKey(h[0])
		out.list = append(out.list, fixedHeader{key, []string{h[1]}[:1:1]})
		out.text = append(out.text, key+": "+h[1]+"\r\n"...)
	}
	return out, nil
}
