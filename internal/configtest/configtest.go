// Package configtest makes configurations for tests.
//
//	config := configtest.FromYAML(t, `
//	  backend:
//	    baseUrl: http://localhost:7007
//	`)
package configtest

import (
	"strings"
	"testing"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
)

// FromYAML returns the configuration that text describes, with the semantics
// of the real one. Positions name the file "app-config.yaml". The text may be
// indented with tabs as a whole, as Go source is.
func FromYAML(t testing.TB, text string) core.ConfigRoot {
	t.Helper()
	return rootconfig.New(layer(t, text))
}

// Live returns a configuration and a function that replaces it, which
// returns after the subscribers have been called.
func Live(t testing.TB, text string) (config core.ConfigRoot, update func(text string)) {
	t.Helper()
	root := rootconfig.New(layer(t, text))
	return root, func(text string) {
		t.Helper()
		root.Set(layer(t, text))
	}
}

func layer(t testing.TB, text string) rootconfig.Layer {
	t.Helper()
	l, err := rootconfig.Parse("app-config.yaml", Outdent(text))
	if err != nil {
		t.Fatalf("parse the test configuration: %v", err)
	}
	return l
}

// Outdent removes the tabs that all lines begin with.
func Outdent(text string) string {
	lines := strings.Split(text, "\n")
	common := -1
	for _, line := range lines {
		if strings.TrimSpace(line) == "" {
			continue
		}
		if tabs := len(line) - len(strings.TrimLeft(line, "\t")); common < 0 || tabs < common {
			common = tabs
		}
	}
	for i, line := range lines {
		if strings.TrimSpace(line) == "" {
			lines[i] = ""
		} else {
			lines[i] = line[max(common, 0):]
		}
	}
	return strings.Join(lines, "\n")
}
