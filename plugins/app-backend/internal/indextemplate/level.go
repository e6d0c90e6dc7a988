package indextemplate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// level is a level of the configuration.
type level struct {
	value map[string]any
	path  string // of the level, for messages
}

var methods = []string{"get", "getString", "getNumber", "getBoolean", "getStringArray", "getConfig"}

func knownMethod(name string) bool {
	return name == "has" || slices.Contains(methods, required(name))
}

// needsKey tells whether the method cannot mean the level itself.
func needsKey(name string) bool { return required(name) != "get" }

// required returns the name of the method that fails where there is no value.
func required(method string) string {
	if rest, ok := strings.CutPrefix(method, "getOptional"); ok {
		return "get" + rest
	}
	return method
}

// call returns what a method returns for a key. self stands for the level.
func (l level) call(method, key string, self bool) (any, error) {
	full := key
	if l.path != "" {
		full = strings.TrimSuffix(l.path+"."+key, ".")
	}
	var v any = l.value
	if !self {
		v = l.find(key)
	}
	if method == "has" {
		return v != nil, nil
	}
	if v == nil {
		if method != required(method) {
			return nil, nil
		}
		return nil, fmt.Errorf("config.%s finds no value at %q; configure it, mark it with visibility frontend in the schema, or use %s",
			method, full, strings.Replace(method, "get", "getOptional", 1))
	}
	want := ""
	switch required(method) {
	case "get":
		return v, nil
	case "getString":
		if s, ok := v.(string); ok && s != "" {
			return s, nil
		}
		want = "string that is not empty"
	case "getNumber":
		switch n := v.(type) {
		case float64:
			return n, nil
		case string:
			if f, err := strconv.ParseFloat(strings.TrimSpace(n), 64); err == nil {
				return f, nil
			}
		}
		want = "number"
	case "getBoolean":
		if b, ok := boolean(v); ok {
			return b, nil
		}
		want = "boolean"
	case "getStringArray":
		if list, ok := v.([]any); ok && !slices.ContainsFunc(list, notString) {
			return list, nil
		}
		want = "list of strings"
	case "getConfig":
		if m, ok := v.(map[string]any); ok {
			return level{m, full}, nil
		}
		want = "object"
	}
	return nil, fmt.Errorf("config.%s finds no %s at %q", method, want, full)
}

func notString(v any) bool { _, ok := v.(string); return !ok }

func boolean(v any) (value, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case string:
		switch strings.ToLower(v) {
		case "y", "yes", "true", "on", "1":
			return true, true
		case "n", "no", "false", "off", "0":
			return false, true
		}
	case float64:
		return v == 1, v == 0 || v == 1
	}
	return false, false
}

func (l level) find(key string) any {
	var v any = l.value
	for part := range strings.SplitSeq(key, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[part]
	}
	return v
}
