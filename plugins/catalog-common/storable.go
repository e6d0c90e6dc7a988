package catalogcommon

import (
	"strings"
	"unicode/utf8"
)

// Storable returns the text without what PostgreSQL does not keep in a text:
// U+0000 is left out, and what is no UTF-8 becomes U+FFFD.
func Storable(text string) string {
	if IsStorable(text) {
		return text
	}
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD")
}

// IsStorable reports whether [Storable] changes nothing.
func IsStorable(text string) bool {
	return strings.IndexByte(text, 0) < 0 && utf8.ValidString(text)
}
