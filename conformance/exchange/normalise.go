package exchange

import (
	"cmp"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Answer is an answer before it is normalised.
type Answer struct {
	Status int
	// Headers have names in lower case.
	Headers map[string]any
	// Body is decoded JSON, a text, or nil if it is empty.
	Body any
}

// Places are texts that depend on where something runs, with the names that
// stand for them.
type Places map[string]string

// keptHeaders are those that clients read.
var keptHeaders = map[string]bool{
	"content-type": true, "location": true, "link": true, "cache-control": true, "access-control-allow-origin": true,
	"access-control-allow-credentials": true, "access-control-allow-methods": true, "vary": true, "www-authenticate": true,
	"set-cookie": true, "allow": true, "x-frame-options": true,
}

// volatile are members whose values are new in every run.
var volatile = map[string]bool{
	"etag": true, "uid": true, "access_token": true, "id_token": true, "refresh_token": true, "client_secret": true,
	"client_id": true, "kid": true, "x": true, "y": true, "nextCursor": true, "prevCursor": true, "iat": true, "exp": true,
	"uip": true, "expiresInSeconds": true, "expiresAt": true, "lastHeartbeatAt": true, "createdAt": true, "stack": true, "rank": true,
}

// patterns find what is new in every run within texts, in this order.
var patterns = []struct {
	re  *regexp.Regexp
	new string
}{
	{regexp.MustCompile(`(\\n|\n)\s+at [^\n"]*`), ""}, // stack traces
	{regexp.MustCompile(`\bgenerated-[0-9a-f]{40}\b`), "generated-<hash>"},
	{regexp.MustCompile(`(etag\\*"\s*:\s*\\*")[0-9a-f]{40}`), "${1}<etag>"},
	{regexp.MustCompile(`cursor=eyJ[\w%=+/-]+`), "cursor=<cursor>"},
	{regexp.MustCompile(`Expires=[^;]+ GMT`), "Expires=<date>"},
	{regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]*`), "<jwt>"},
	{regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<uuid>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?`), "<time>"},
	{regexp.MustCompile(`W?/?"[0-9a-f]+-[\w+/=-]{20,}"`), "<etag>"},
}

// Normalise returns the form of the answer in which it is compared.
func (x *Exchange) Normalise(a Answer, places Places) Response {
	n := normaliser{places}
	headers := map[string]any{}
	for name, v := range a.Headers {
		if keptHeaders[name] {
			headers[name] = n.value(v, name)
		}
	}
	// Paths begin at the answer, so it is looked at as one tree.
	tree := map[string]any{"headers": headers, "body": n.value(a.Body, "")}
	for _, path := range x.Unordered {
		apply(tree, strings.Split(path, "."), func(v any) any {
			if list, ok := v.([]any); ok {
				slices.SortFunc(list, func(a, b any) int { return cmp.Compare(stable(a), stable(b)) })
			}
			return v
		})
	}
	for _, path := range x.Ignore {
		apply(tree, strings.Split(path, "."), func(any) any { return "<ignored>" })
	}
	return Response{Status: a.Status, Headers: tree["headers"].(map[string]any), Body: tree["body"]}
}

// stable is a text that is the same for equal values.
func stable(v any) string {
	text, err := json.Marshal(v) // members are sorted
	if err != nil {
		panic("exchange: a decoded JSON value cannot be encoded: " + err.Error())
	}
	return string(text)
}

// apply replaces the values at a path.
func apply(v any, path []string, change func(any) any) any {
	if len(path) == 0 {
		return change(v)
	}
	if path[0] == "**" { // here, and at any depth below
		v = apply(v, path[1:], change)
		return apply(v, []string{"*"}, func(inner any) any { return apply(inner, path, change) })
	}
	switch v := v.(type) {
	case map[string]any:
		names := []string{path[0]}
		if path[0] == "*" {
			names = slices.Collect(maps.Keys(v))
		}
		for _, name := range names {
			if inner, ok := v[name]; ok {
				v[name] = apply(inner, path[1:], change)
			}
		}
	case []any:
		if path[0] == "*" {
			for i := range v {
				v[i] = apply(v[i], path[1:], change)
			}
		}
	}
	return v
}

type normaliser struct{ places Places }

func (n normaliser) text(s string) string {
	// The longest first: one place may be within another.
	for _, place := range slices.SortedFunc(maps.Keys(n.places), func(a, b string) int { return len(b) - len(a) }) {
		s = strings.ReplaceAll(s, place, n.places[place])
	}
	for _, p := range patterns {
		s = p.re.ReplaceAllString(s, p.new)
	}
	return s
}

func (n normaliser) value(v any, name string) any {
	switch v := v.(type) {
	case string:
		if volatile[name] && v != "" {
			return "<" + name + ">"
		}
		return n.text(v)
	case float64:
		if volatile[name] || v > 1.5e12 && v < 2.5e12 {
			return "<time>"
		}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = n.value(v[i], "")
		}
		return out
	case map[string]any:
		_, named := v["name"].(string)
		_, worded := v["message"].(string)
		out := make(map[string]any, len(v))
		for member, inner := range v {
			if named && worded && member == "message" { // an error
				out[member] = "<message>"
			} else {
				out[n.text(member)] = n.value(inner, member)
			}
		}
		return out
	}
	return v
}
