package roothttprouter

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/flytower/flytower/core"
)

// cors answers for backend.cors. A nil *cors does nothing.
type cors struct {
	patterns       []string // lower case; nil lets every origin in, as "*"
	anyOrigin      bool
	methods        string
	allowedHeaders string // "" echoes what is asked for
	exposedHeaders string
	maxAge         string
	credentials    bool
	passPreflight  bool
	successStatus  int
}

const corsKey = "backend.cors"

// parseCORS returns nil if backend.cors is absent.
func parseCORS(config core.Config) (*cors, error) {
	if !config.Has(corsKey) {
		return nil, nil
	}
	c := config.Sub(corsKey)
	out := &cors{successStatus: http.StatusNoContent, methods: "GET,HEAD,PUT,PATCH,POST,DELETE"}
	origins, err := stringOrList(c, "origin")
	if err != nil {
		return nil, err
	}
	out.anyOrigin = !c.Has("origin")
	for _, o := range origins {
		p := strings.ToLower(o)
		for strings.Contains(p, "**") {
			p = strings.ReplaceAll(p, "**", "*")
		}
		if !doublestar.ValidatePattern(p) {
			return nil, configError(c, "origin", fmt.Sprintf("has %q, which is no valid pattern", o), "for example https://*.example.com")
		}
		out.patterns = append(out.patterns, p)
	}
	for key, to := range map[string]*string{"methods": &out.methods, "allowedHeaders": &out.allowedHeaders, "exposedHeaders": &out.exposedHeaders} {
		if !c.Has(key) {
			continue
		}
		list, err := stringOrList(c, key)
		if err != nil {
			return nil, err
		}
		if *to = strings.Join(list, ","); !isHeaderText(*to) {
			return nil, configError(c, key, "has characters that a header cannot have", "")
		}
	}
	if c.Has("maxAge") {
		n, err := c.IntOr("maxAge", 0)
		if err != nil {
			return nil, err
		}
		out.maxAge = strconv.Itoa(n)
	}
	if out.credentials, err = c.BoolOr("credentials", false); err != nil {
		return nil, err
	}
	if out.passPreflight, err = c.BoolOr("preflightContinue", false); err != nil {
		return nil, err
	}
	if out.successStatus, err = c.IntOr("optionsSuccessStatus", http.StatusNoContent); err != nil {
		return nil, err
	}
	if out.successStatus < 200 || out.successStatus > 299 {
		return nil, configError(c, "optionsSuccessStatus", "must be a status from 200 to 299", "")
	}
	return out, nil
}

// stringOrList reads a string or an array of strings.
func stringOrList(c core.Config, key string) ([]string, error) {
	if v, _ := c.Value(key); v != nil {
		if s, ok := v.(string); ok {
			return []string{s}, nil
		}
	}
	return c.Strings(key)
}

func configError(c core.Config, key, problem, remedy string) error {
	return &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: problem, Remedy: remedy}
}

// maxOrigin bounds the origins that are matched with patterns, in bytes.
const maxOrigin = 1024

func (c *cors) matches(origin string) bool {
	if origin == "" || len(origin) > maxOrigin {
		return false
	}
	origin = strings.ToLower(origin)
	for _, p := range c.patterns {
		if ok, err := doublestar.Match(p, origin); ok && err == nil {
			return true
		}
	}
	return false
}

// apply sets the headers. It reports whether the request is answered with
// them, and whether it was turned down for its origin.
func (c *cors) apply(w http.ResponseWriter, r *http.Request) (answered, refused bool) {
	if c == nil {
		return false, false
	}
	h := w.Header()
	origin := r.Header.Get("Origin")
	switch {
	case c.anyOrigin:
		h["Access-Control-Allow-Origin"] = []string{"*"}
	case c.matches(origin):
		h["Access-Control-Allow-Origin"] = []string{origin}
		addVary(h, "Origin")
	default:
		return false, origin != ""
	}
	if c.credentials {
		h["Access-Control-Allow-Credentials"] = []string{"true"}
	}
	if c.exposedHeaders != "" {
		h["Access-Control-Expose-Headers"] = []string{c.exposedHeaders}
	}
	if r.Method != http.MethodOptions {
		return false, false
	}
	h["Access-Control-Allow-Methods"] = []string{c.methods}
	if c.allowedHeaders != "" {
		h["Access-Control-Allow-Headers"] = []string{c.allowedHeaders}
	} else {
		addVary(h, "Access-Control-Request-Headers")
		if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
			h["Access-Control-Allow-Headers"] = []string{asked}
		}
	}
	if c.maxAge != "" {
		h["Access-Control-Max-Age"] = []string{c.maxAge}
	}
	if c.passPreflight {
		return false, false
	}
	w.WriteHeader(c.successStatus)
	return true, false
}

// addVary adds a field name to the Vary header, once.
func addVary(h http.Header, name string) {
	old := h["Vary"]
	if len(old) == 0 {
		h["Vary"] = []string{name}
		return
	}
	all := strings.Join(old, ", ")
	for part := range strings.SplitSeq(all, ",") {
		if part = strings.TrimSpace(part); part == "*" || strings.EqualFold(part, name) {
			return
		}
	}
	h["Vary"] = []string{all + ", " + name}
}
