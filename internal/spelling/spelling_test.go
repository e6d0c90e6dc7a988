package spelling_test

import (
	"testing"

	"github.com/flytower/flytower/internal/spelling"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"cache", "database", "listen", "baseUrl", "cors", "csp"}
	for name, want := range map[string]string{
		"databse": "database", "lisetn": "listen", "baseURL": "baseUrl", "corse": "cors", "cps": "csp",
		"cach": "cache", "metrics": "", "": "", "csp": "csp", "prefix": "",
	} {
		if got := spelling.Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
