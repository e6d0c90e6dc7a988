package ecmaregexp_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/ecmaregexp"
	"github.com/flytower/flytower/internal/utf16text"
)

const plenty = 50_000_000

// TestAnswersOfECMAScript compares with what an ECMAScript engine answers.
func TestAnswersOfECMAScript(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/ecmascript.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Pattern  string    `json:"p"`
		Flags    string    `json:"f"`
		Text     string    `json:"t"`
		Bad      bool      `json:"bad"`
		Match    []any     `json:"m"`
		Replaced string    `json:"r"`
		Split    []*string `json:"s"`
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		re, err := ecmaregexp.Compile(c.Pattern, c.Flags)
		if (err != nil) != c.Bad {
			t.Errorf("Compile(%q, %q): %v, want an error: %t", c.Pattern, c.Flags, err, c.Bad)
			continue
		}
		if err != nil || strings.Contains(c.Pattern+c.Text+c.Replaced, "\uFFFD") {
			continue
		}
		matched, err := re.MatchString(c.Text, ecmaregexp.NewBudget(plenty))
		if err != nil || matched != (c.Match != nil) {
			t.Errorf("%s matches %q: %t, %v; want %v", re, c.Text, matched, err, c.Match)
		}
		replaced, err := re.Replace(c.Text, "<$&|$1|$$|$9>", ecmaregexp.NewBudget(plenty))
		if err != nil || utf16text.Valid(replaced) != c.Replaced {
			t.Errorf("%s in %q replaced: %q, %v; want %q", re, c.Text, replaced, err, c.Replaced)
		}
		pieces, err := re.Split(c.Text, 1<<30, ecmaregexp.NewBudget(plenty))
		got := make([]*string, len(pieces))
		for i, p := range pieces {
			if p.Defined {
				text := utf16text.Valid(p.Text)
				got[i] = &text
			}
		}
		if diff := cmp.Diff(c.Split, got); err != nil || diff != "" {
			t.Errorf("%q split at %s (-want +got), %v:\n%s", c.Text, re, err, diff)
		}
	}
}

// TestRegexBombs: expressions with published exponential and polynomial cases
// end with ErrBudget, or in linear time.
func TestRegexBombs(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{
		`^(a+)+$`, `^(a|a)*$`, `^(a|aa)+$`, `(a*)*b`, `^(([a-z])+.)+[A-Z]([a-z])+$`, `(.*)*=(.*)*x`,
		`(?=(a+)+$)b`, `(a+)+\1$`, `^(\w+\s?)*$`, `(?<=(a+)+)b`, `((a{1,100}){1,100}){1,100}$`,
	} {
		re, err := ecmaregexp.Compile(pattern, "")
		if err != nil {
			t.Fatal(err)
		}
		budget := ecmaregexp.NewBudget(1_000_000)
		_, err = re.MatchString(strings.Repeat("a", 5000)+"!", budget)
		if err != nil && !errors.Is(err, ecmaregexp.ErrBudget) {
			t.Errorf("%s: %v", re, err)
		}
	}
}

func TestBudgetCheckEndsMatching(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	re, err := ecmaregexp.Compile(`(a+)+\1$`, "")
	if err != nil {
		t.Fatal(err)
	}
	budget := ecmaregexp.NewBudget(plenty)
	budget.Check = func() error { return stop }
	if _, err := re.MatchString(strings.Repeat("a", 40)+"!", budget); !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of Check", err)
	}
}

func TestErrorsNameTheExpression(t *testing.T) {
	t.Parallel()
	_, err := ecmaregexp.Compile("a(b", "")
	if err == nil || err.Error() != "regular expression /a(b/: unterminated group at offset 3" {
		t.Errorf("got %v", err)
	}
	if _, err = ecmaregexp.Compile("a", "x"); err == nil || !strings.Contains(err.Error(), `unknown flag 'x'`) {
		t.Errorf("got %v", err)
	}
}

func TestTestRemembersWhereItWas(t *testing.T) {
	t.Parallel()
	re, err := ecmaregexp.Compile("a.", "g")
	if err != nil {
		t.Fatal(err)
	}
	var places []int
	for last := 0; ; {
		ok, next, err := re.Test("abacx", last, ecmaregexp.NewBudget(plenty))
		if err != nil {
			t.Fatal(err)
		}
		if places = append(places, next); !ok {
			break
		}
		last = next
	}
	if diff := cmp.Diff([]int{2, 4, 0}, places); diff != "" {
		t.Error(diff)
	}
}

func FuzzRegexp(f *testing.F) {
	f.Add("(a+)+$", "", "aaaa!")
	f.Add(`(?<=x)\b[^\W_]+(?<n>.)\k<n>`, "gi", "xay ä😀")
	f.Add(`\p{L}{2,}?|[\d-x]`, "u", "12-x")
	f.Fuzz(func(t *testing.T, pattern, flags, text string) {
		re, err := ecmaregexp.Compile(pattern, flags)
		if err != nil || len(text) > 4096 {
			return
		}
		replaced, err := re.Replace(text, "[$&]", ecmaregexp.NewBudget(200_000))
		if err != nil {
			return
		}
		if matched, err := re.MatchString(text, ecmaregexp.NewBudget(200_000)); err == nil && !matched && replaced != text {
			t.Errorf("%s does not match %q but replaces it by %q", re, text, replaced)
		}
	})
}

func BenchmarkReplace(b *testing.B) {
	text := strings.Repeat("hello world ", 100)
	for _, pattern := range []string{`[^a-z]`, `(?!w)[^a-z]`} {
		re, err := ecmaregexp.Compile(pattern, "g")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(pattern, func(b *testing.B) {
			for b.Loop() {
				if _, err := re.Replace(text, "_", ecmaregexp.NewBudget(plenty)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
