package redact_test

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/flytower/flytower/internal/redact"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	const secret = "p@ss \"wörd\"/+?&<1>\nnext"
	inJSON, err := json.Marshal(map[string]string{"a": secret})
	if err != nil {
		t.Fatal(err)
	}
	twice, err := json.Marshal(string(inJSON))
	if err != nil {
		t.Fatal(err)
	}
	var r redact.Redactor
	if n := r.Add(" "+secret+"\n", "x", "", "token", "tokens-and-more", secret); n != 3 {
		t.Errorf("Add returned %d, want 3", n)
	}
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "a " + secret + " b", "a *** b"},
		{"JSON", string(inJSON), `{"a":"***"}`},
		{"JSON in JSON", string(twice), `"{\"a\":\"***\"}"`},
		{"query", "?p=" + url.QueryEscape(secret) + "&q", "?p=***&q"},
		{"path", "/" + url.PathEscape(secret) + "/x", "/***/x"},
		{"longest", "tokens-and-more", "***"},
		{"prefix of the longest", "tokens-and-less", "***s-and-less"},
		{"side by side", "tokentoken", "******"},
		{"none", "nothing to see", "nothing to see"},
		{"short ones stay", "x", "x"},
	} {
		if got := string(r.Redact([]byte(tt.in))); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestRedactBase64(t *testing.T) {
	t.Parallel()
	const secret = "correct-horse?>battery"
	var r redact.Redactor
	r.Add(secret)
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		for _, user := range []string{"", "u", "us", "usr", "user"} {
			text := "Basic " + encoding.EncodeToString([]byte(user+":"+secret+":more"))
			got := string(r.Redact([]byte(text)))
			if !strings.Contains(got, redact.Mask) || strings.Contains(got, encoding.EncodeToString([]byte(secret[3:12]))) {
				t.Errorf("user %q: %s stays %s", user, text, got)
			}
		}
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	var r redact.Redactor
	r.Add("abcd", "cdef", "bc", "zabc")
	for in, want := range map[string]string{"xabcdefx": "x***x", "zabc": "***", "bcbc": "******", "zab": "zab", "abab": "abab"} {
		if got := string(r.Redact([]byte(in))); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	var r redact.Redactor
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				secret := strings.Repeat(string(rune('a'+i)), 5+j)
				r.Add(secret)
				if got := string(r.Redact([]byte("<" + secret + ">"))); got != "<***>" {
					t.Errorf("%q became %q", secret, got)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzRedact(f *testing.F) {
	f.Add("secret", "a secret in the middle")
	f.Add("aa", "aaaaa")
	f.Add("ab\nc", `{"m":"ab\nc"}`)
	f.Fuzz(func(t *testing.T, secret, line string) {
		var r redact.Redactor
		if r.Add(secret) == 0 {
			return
		}
		got := string(r.Redact([]byte(line)))
		if s := strings.TrimSpace(secret); strings.Contains(line, s) && got == line {
			t.Errorf("%q stays in %q", s, got)
		}
	})
}

func TestRedactLinesAndDigits(t *testing.T) {
	t.Parallel()
	const key = "-----BEGIN KEY-----\r\nMIIEvQIBADANBgkqhkiG9w0B\r\nshort\r\n-----END KEY-----"
	var r redact.Redactor
	r.Add(key, "p@ss/w&rd")
	for in, want := range map[string]string{
		"one: MIIEvQIBADANBgkqhkiG9w0B;":       "one: ***;",
		"short and -----BEGIN KEY-----":        "short and -----BEGIN KEY-----",
		"p%40ss%2fw%26rd and p%40ss%2Fw%26rd":  "*** and ***",
		"<b>p@ss/w&amp;rd</b>":                 "<b>***</b>",
		"704073732f7726726 704073732F77267264": "704073732f7726726 ***",
	} {
		if got := string(r.Redact([]byte(in))); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	large := strings.Repeat("x", 20<<10) + "y"
	r.Add(large)
	if got := string(r.Redact([]byte("<" + large + ">"))); got != "<***>" {
		t.Errorf("a large secret became %.20q", got)
	}
}
