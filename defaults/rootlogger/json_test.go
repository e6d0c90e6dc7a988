package rootlogger

import (
	"encoding/json"
	"testing"
)

// FuzzAppendASCII compares with encoding/json.
func FuzzAppendASCII(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c\nd\te\rf\bg\fh\x00i\x1f", "<&>", "ä", "\x7f", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := appendValue(nil, s)
		if err != nil {
			t.Fatal(err)
		}
		want, err := encode(s)
		if err != nil || string(got) != string(want) {
			t.Errorf("%q: %s, want %s (%v)", s, got, want, err)
		}
		var back string
		if err := json.Unmarshal(got, &back); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}
