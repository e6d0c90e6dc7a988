package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/flytower/flytower/apierr"
)

// param is a query parameter that a route knows.
type param struct {
	name     string
	integer  bool
	min      int // of an integer
	enum     []string
	required bool
}

func text(name string) param     { return param{name: name} }
func required(name string) param { return param{name: name, required: true} }
func integer(name string) param  { return param{name: name, integer: true} }
func enum(name string, values ...string) param {
	return param{name: name, enum: values}
}

// params are the checked query parameters of a request.
type params map[string][]string

// parseParams checks the query of r as the published API document demands:
// a parameter that it does not list is refused.
func parseParams(r *http.Request, known ...param) (params, error) {
	if r.URL.RawQuery == "" {
		for _, p := range known {
			if err := p.check(nil); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	raw, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, apierr.Input("Malformed query string: %s", err.Error())
	}
	out := params{}
	for _, name := range sortedKeys(raw) {
		bare := strings.TrimSuffix(name, "[]")
		i := slices.IndexFunc(known, func(p param) bool { return p.name == bare })
		if i < 0 {
			return nil, apierr.Input("Unknown query parameter '%s'", name)
		}
		if slices.Contains(raw[name], "") {
			return nil, apierr.Input("Empty value found for query parameter '%s'", bare)
		}
		out[bare] = append(out[bare], raw[name]...)
	}
	for _, p := range known {
		if err := p.check(out[p.name]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (p param) check(values []string) error {
	if len(values) == 0 {
		if p.required {
			return apierr.Input("request/query must have required property '%s'", p.name)
		}
		return nil
	}
	if p.integer {
		n, err := strconv.Atoi(values[0])
		if err != nil || len(values) > 1 {
			return apierr.Input("request/query/%s must be integer", p.name)
		}
		if n < p.min {
			return apierr.Input("request/query/%s must be >= %d", p.name, p.min)
		}
	}
	if p.enum != nil && (len(values) > 1 || !slices.Contains(p.enum, values[0])) {
		return apierr.Input("request/query/%s must be equal to one of the allowed values: %s", p.name, strings.Join(p.enum, ", "))
	}
	return nil
}

func (p params) has(name string) bool { return len(p[name]) > 0 }

// first returns the first value of a parameter.
func (p params) first(name string) string {
	if len(p[name]) == 0 {
		return ""
	}
	return p[name][0]
}

// int returns an integer that was checked, or absent.
func (p params) int(name string, absent int) int {
	n, err := strconv.Atoi(p.first(name))
	if err != nil {
		return absent
	}
	return n
}

func sortedKeys(v url.Values) []string {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// maxBody bounds the JSON body of a request, in bytes. Clients of the
// original split their requests below 100 KiB; ours may send more.
const maxBody = 8 << 20

// maxAnnounced is up to how many bytes the length that a client announces is
// believed before the body has come.
const maxAnnounced = 64 << 10

const jsonMedia = "application/json"

// parseBody reads the JSON object of a request. An absent body is nil if
// optional is set.
func parseBody(w http.ResponseWriter, r *http.Request, optional bool) (map[string]any, error) {
	raw, err := readBody(w, r, optional)
	if err != nil || raw == nil {
		return nil, err
	}
	return parseObject(raw)
}

// readBody reads the JSON text of a request. An absent one is nil if optional
// is set.
func readBody(w http.ResponseWriter, r *http.Request, optional bool) ([]byte, error) {
	// What is announced fits at once, and the end of it, too.
	room := bytes.NewBuffer(make([]byte, 0, min(max(r.ContentLength, 0), maxAnnounced)+bytes.MinRead))
	if _, err := room.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, apierr.Input("request entity too large")
		}
		return nil, apierr.Input("reading the request body: %s", err.Error())
	}
	raw, contentType := room.Bytes(), r.Header.Get("Content-Type")
	if len(raw) == 0 && optional {
		return nil, nil
	}
	if contentType == "" {
		return nil, apierr.Input("unsupported media type undefined")
	}
	if contentType != jsonMedia {
		if media, _, err := mime.ParseMediaType(contentType); err != nil || media != jsonMedia {
			return nil, apierr.Input("unsupported media type %s", contentType)
		}
	}
	return raw, nil
}

func parseObject(raw []byte) (map[string]any, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, apierr.Input("malformed JSON in the request body: %s", err.Error())
	}
	body, ok := v.(map[string]any)
	if !ok {
		return nil, apierr.Input("request/body must be object")
	}
	return body, nil
}

// member returns a member of a body if it has the type; what names the type
// in the error.
func member[T any](body map[string]any, name, what string) (v T, ok bool, err error) {
	raw, ok := body[name]
	if !ok {
		return v, false, nil
	}
	if v, ok = raw.(T); !ok {
		return v, false, apierr.Input("request/body/%s must be %s", name, what)
	}
	return v, true, nil
}

// mustMember is member for a required one.
func mustMember[T any](body map[string]any, name, what string) (T, error) {
	v, ok, err := member[T](body, name, what)
	if err == nil && !ok {
		err = apierr.Input("request/body must have required property '%s'", name)
	}
	return v, err
}

// stringsMember returns an array of strings.
func stringsMember(body map[string]any, name string) (out []string, ok bool, err error) {
	list, ok, err := member[[]any](body, name, "array")
	if err != nil || !ok {
		return nil, ok, err
	}
	out = make([]string, 0, len(list))
	for i, v := range list {
		s, isString := v.(string)
		if !isString {
			return nil, false, apierr.Input("request/body/%s/%d must be string", name, i)
		}
		out = append(out, s)
	}
	return out, true, nil
}

// onlyMembers refuses members that are not named. at is the place in the
// request.
func onlyMembers(at string, body map[string]any, names ...string) error {
	for k := range body {
		if !slices.Contains(names, k) {
			return apierr.Input("%s must NOT have additional properties", at)
		}
	}
	return nil
}
