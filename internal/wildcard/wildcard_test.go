package wildcard_test

import (
	"testing"

	"github.com/flytower/flytower/internal/wildcard"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a.b/c", true},
		{"abc", "abc", true}, {"abc", "abcd", false}, {"abc", "ABC", false},
		{"a*", "a", true}, {"a*", "ab", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*a", "ab", false},
		{"a*b*c", "abc", true}, {"a*b*c", "a.b.b.c", true}, {"a*b*c", "ac", false},
		{"ab*ba", "aba", false}, {"ab*ba", "abba", true}, {"a**b", "a.b", true}, {"a?", "ab", false},
	} {
		if got := wildcard.New(tt.pattern).Match(tt.text); got != tt.want {
			t.Errorf("%q matches %q = %t, want %t", tt.pattern, tt.text, got, tt.want)
		}
	}
}
