package actions

import (
	"bytes"
	"unicode/utf8"
)

// sniffed is how much of a file tells whether it is text, in bytes.
const sniffed = 512

// isBinary reports whether a file is copied as it is: its beginning has a zero
// byte, or more than a tenth of it is neither printable nor UTF-8.
func isBinary(content []byte) bool {
	for _, mark := range []string{"\xef\xbb\xbf", "\x00\x00\xfe\xff", "\xff\xfe\x00\x00", "\x84\x31\x95\x33", "\xfe\xff", "\xff\xfe"} {
		if bytes.HasPrefix(content, []byte(mark)) {
			return false // Unicode says so
		}
	}
	if bytes.HasPrefix(content, []byte("%PDF-")) {
		return true
	}
	start := content[:min(len(content), sniffed)]
	suspicious := 0
	for i := 0; i < len(start); {
		c := start[i]
		switch {
		case c == 0:
			return true
		case c >= 7 && c <= 14 || c >= 32 && c <= 127:
			i++
		default:
			if r, size := utf8.DecodeRune(content[i:]); size > 1 && r != utf8.RuneError {
				i += size
				continue
			}
			suspicious++
			i++
			if i >= 32 && suspicious*100/i > 10 {
				return true
			}
		}
	}
	return len(start) > 0 && suspicious*100/len(start) > 10
}
