package template

import (
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"

	"github.com/flytower/flytower/internal/utf16text"
)

func toUpper(s string) string {
	if utf16text.IsASCII(s) {
		return strings.ToUpper(s)
	}
	return cases.Upper(language.Und).String(s)
}

func toLower(s string) string {
	if utf16text.IsASCII(s) {
		return strings.ToLower(s)
	}
	return cases.Lower(language.Und).String(s)
}

// capitalize makes the first unit of a text a capital.
func capitalize(s string) string {
	if s == "" {
		return ""
	}
	first := utf16text.At(s, 0)
	return toUpper(first) + utf16text.Slice(s, 1, utf16text.Len(s))
}

// encodeComponent is encodeURIComponent; ok is false if s has half a surrogate
// pair.
func encodeComponent(s string) (encoded string, ok bool) {
	const hex = "0123456789ABCDEF"
	if utf16text.Valid(s) != s {
		return "", false
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isNameStart(c) || isDigit(c) || strings.IndexByte("-.!~*'()", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String(), true
}

var htmlEscapes = strings.NewReplacer("&", "&amp;", `"`, "&quot;", "'", "&#39;", "<", "&lt;", ">", "&gt;", `\`, "&#92;")
