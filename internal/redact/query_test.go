package redact_test

import (
	"testing"

	"github.com/flytower/flytower/internal/redact"
)

func FuzzQuery(f *testing.F) {
	for _, s := range []string{"/a?token=x", "/a?b=c&code=d", "?", "/?%74oken=x", "/?a=b?token=c&&="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, url string) {
		got := redact.Query(url)
		if redact.Query(got) != got {
			t.Errorf("%q: %q is masked again", url, got)
		}
	})
}

func TestQuery(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"/a":                       "/a",
		"/a?b=1&keyword=x":         "/a?b=1&keyword=x",
		"/a?token=x&b=1":           "/a?token=***&b=1",
		"/a?Access%5FToken=x":      "/a?Access%5FToken=***",
		"/cb?code=x&state=y&scope": "/cb?code=***&state=***&scope",
		"/a?x-amz-signature=x":     "/a?x-amz-signature=***",
		"/a?token=":                "/a?token=",
		"/a?b=1;token=x;c":         "/a?b=1;token=***;c",
	} {
		if got := redact.Query(url); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}
