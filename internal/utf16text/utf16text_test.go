package utf16text_test

import (
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/utf16text"
)

func TestUnits(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "abc", "naïve €", "a😀b", "😀😀"} {
		want := utf16.Encode([]rune(text))
		got := utf16text.Units(text)
		if len(got) != len(want) || utf16text.Len(text) != len(want) {
			t.Fatalf("%q has %d units (Len says %d), want %d", text, len(got), utf16text.Len(text), len(want))
		}
		if back := utf16text.String(got); back != text {
			t.Errorf("units of %q became %q", text, back)
		}
		for i := range want {
			for j := i; j <= len(want); j++ {
				part := utf16text.Slice(text, i, j)
				if diff := cmp.Diff(want[i:j], utf16text.Units(part), cmp.Transformer("empty", func(u []uint16) []uint16 { return append([]uint16{}, u...) })); diff != "" {
					t.Errorf("Slice(%q, %d, %d): %s", text, i, j, diff)
				}
			}
		}
	}
}

func TestHalvesMeetAgain(t *testing.T) {
	t.Parallel()
	high, low := utf16text.At("😀", 0), utf16text.At("😀", 1)
	if diff := cmp.Diff([]string{"a", high, low, "ä"}, utf16text.Split("a😀ä")); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a", "😀", low, "ä"}, utf16text.Characters("a😀"+low+"ä")); diff != "" {
		t.Errorf("characters (-want +got):\n%s", diff)
	}
	if got := utf16text.Join(high + low); got != "😀" {
		t.Errorf("joined halves are %q", got)
	}
	if got := utf16text.Join(low + high); utf16text.Len(got) != 2 || utf8.ValidString(got) {
		t.Errorf("halves in the wrong order became %q", got)
	}
	if got := utf16text.Valid("x" + high + "y"); got != "x\uFFFDy" {
		t.Errorf("a lone half became %q", got)
	}
}

func TestIndex(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, part        string
		from, first, last int
	}{
		{"hello", "l", 0, 2, 3},
		{"hello", "l", 3, 3, 3},
		{"hello", "", 2, 2, 5},
		{"ä😀ä", "ä", 1, 3, 3},
		{"ä😀ä", utf16text.At("😀", 1), 0, 2, 2},
		{"abc", "z", 0, -1, -1},
	} {
		if got := utf16text.Index(c.text, c.part, c.from); got != c.first {
			t.Errorf("Index(%q, %q, %d) = %d, want %d", c.text, c.part, c.from, got, c.first)
		}
		if got := utf16text.LastIndex(c.text, c.part, utf16text.Len(c.text)); got != c.last {
			t.Errorf("LastIndex(%q, %q) = %d, want %d", c.text, c.part, got, c.last)
		}
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	inOrder := []string{"", "A", "a", "ab", "ä", "€", "😀", "\uFF5E"}
	for i, a := range inOrder {
		for j, b := range inOrder {
			got := utf16text.Compare(a, b)
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("Compare(%q, %q) = %d", a, b, got)
			}
		}
	}
}

func FuzzUnits(f *testing.F) {
	f.Add("a😀b")
	f.Add("\xED\xA0\x80x\xFF")
	f.Fuzz(func(t *testing.T, text string) {
		units := utf16text.Units(text)
		if len(units) != utf16text.Len(text) {
			t.Fatalf("%d units, but Len %d", len(units), utf16text.Len(text))
		}
		if again := utf16text.Units(utf16text.String(units)); !cmp.Equal(again, units) {
			t.Fatalf("units %x became %x", units, again)
		}
		if !utf8.ValidString(utf16text.Valid(text)) {
			t.Fatalf("Valid(%q) is not UTF-8", text)
		}
	})
}
