// Package utf16text reads Go strings the way ECMAScript counts them: in UTF-16
// code units. Lengths, indexes and slices of templates and of JSON Schemas are
// defined in those units.
//
//	utf16text.Len("a😀")         // 3
//	utf16text.Slice("a😀b", 3, 4) // "b"
//
// Half a surrogate pair, which UTF-8 cannot express, is kept in the three bytes
// that the encoding scheme would give it (WTF-8), so that two halves that meet
// again are a whole character: [Join] puts them together, and [Valid] replaces
// those that stayed alone by U+FFFD before a text leaves the program.
package utf16text

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// IsASCII reports whether units and bytes of s are the same.
func IsASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// decode reads one code point, or one half of a pair, from the start of s.
func decode(s string) (r rune, size int) {
	if s[0] < utf8.RuneSelf {
		return rune(s[0]), 1
	}
	if s[0] == 0xED && len(s) >= 3 && s[1]&0xE0 == 0xA0 && s[2]&0xC0 == 0x80 {
		return 0xD000 | rune(s[1]&0x3F)<<6 | rune(s[2]&0x3F), 3
	}
	return utf8.DecodeRuneInString(s)
}

// Len counts the units of s.
func Len(s string) int {
	n := 0
	for i := 0; i < len(s); {
		r, size := decode(s[i:])
		if r > 0xFFFF {
			n++
		}
		n++
		i += size
	}
	return n
}

// Units returns the units of s.
func Units(s string) []uint16 {
	units := make([]uint16, 0, len(s))
	for i := 0; i < len(s); {
		r, size := decode(s[i:])
		if r > 0xFFFF {
			high, low := utf16.EncodeRune(r)
			units = append(units, uint16(high), uint16(low))
		} else {
			units = append(units, uint16(r))
		}
		i += size
	}
	return units
}

// String is the text of units.
func String(units []uint16) string {
	text := make([]byte, 0, len(units))
	for i := 0; i < len(units); i++ {
		r := rune(units[i])
		if isHigh(r) && i+1 < len(units) && isLow(rune(units[i+1])) {
			i++
			r = utf16.DecodeRune(r, rune(units[i]))
		}
		text = AppendUnit(text, r)
	}
	return string(text)
}

// AppendUnit appends a code point, or half of a pair, to a text.
func AppendUnit(text []byte, r rune) []byte {
	if utf16.IsSurrogate(r) {
		return append(text, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0xBF, 0x80|byte(r)&0xBF)
	}
	return utf8.AppendRune(text, r)
}

func isHigh(r rune) bool { return r >= 0xD800 && r < 0xDC00 }
func isLow(r rune) bool  { return r >= 0xDC00 && r < 0xE000 }

// Slice returns the units from the index start to the index end, which have
// to be in range.
func Slice(s string, start, end int) string {
	if start >= end {
		return ""
	}
	if IsASCII(s) {
		return s[start:end]
	}
	from, fromHalf := offset(s, start)
	to, toHalf := offset(s, end)
	if !fromHalf && !toHalf {
		return s[from:to]
	}
	return String(Units(s)[start:end])
}

// offset finds the byte at which the unit with an index begins; half is true
// if that unit is the second of a pair.
func offset(s string, index int) (at int, half bool) {
	units := 0
	for at < len(s) && units < index {
		r, size := decode(s[at:])
		if units++; r > 0xFFFF {
			if units == index {
				return at, true
			}
			units++
		}
		at += size
	}
	return at, false
}

// At returns the unit with an index, which has to be in range.
func At(s string, index int) string { return Slice(s, index, index+1) }

// Index returns the index of the first occurrence of sub at or after the index
// from, which has to be in range, or -1.
func Index(s, sub string, from int) int {
	if IsASCII(s) {
		if i := strings.Index(s[from:], sub); i >= 0 {
			return from + i
		}
		return -1
	}
	at, half := offset(s, from)
	if half || splits(sub) {
		return indexUnits(Units(s), Units(sub), from)
	}
	if i := strings.Index(s[at:], sub); i >= 0 {
		return from + Len(s[at:at+i])
	}
	return -1
}

// splits reports whether a text begins or ends with half a pair, which could
// match within a character.
func splits(s string) bool { return strings.IndexByte(s, 0xED) >= 0 && s != Valid(s) }

func indexUnits(s, sub []uint16, from int) int {
	for i := from; i+len(sub) <= len(s); i++ {
		if equal(s[i:i+len(sub)], sub) {
			return i
		}
	}
	return -1
}

func equal(a, b []uint16) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// LastIndex returns the index of the last occurrence of sub that begins at or
// before the index last, or -1.
func LastIndex(s, sub string, last int) int {
	if IsASCII(s) && IsASCII(sub) {
		return strings.LastIndex(s[:min(last+len(sub), len(s))], sub)
	}
	units, part := Units(s), Units(sub)
	for i := min(last, len(units)-len(part)); i >= 0; i-- {
		if equal(units[i:i+len(part)], part) {
			return i
		}
	}
	return -1
}

// Compare orders texts by their units, as ECMAScript's relational operators do.
func Compare(a, b string) int {
	for i := 0; i < len(a) && i < len(b); {
		if a[i] < utf8.RuneSelf || b[i] < utf8.RuneSelf {
			if a[i] != b[i] {
				return int(a[i]) - int(b[i])
			}
			i++
			continue
		}
		r, size := decode(a[i:])
		s, _ := decode(b[i:])
		if r != s {
			return int(firstUnit(r))<<16 + int(lastUnit(r)) - int(firstUnit(s))<<16 - int(lastUnit(s))
		}
		i += size
	}
	return len(a) - len(b)
}

func firstUnit(r rune) rune {
	if r > 0xFFFF {
		r, _ = utf16.EncodeRune(r)
	}
	return r
}

func lastUnit(r rune) rune {
	if r > 0xFFFF {
		_, r = utf16.EncodeRune(r)
	}
	return r
}

// Join puts halves of pairs that stand side by side together. Whoever
// concatenates texts that may end with half a pair calls it.
func Join(s string) string {
	return mend(s, false)
}

// Valid is s as valid UTF-8: halves of pairs side by side are joined, others,
// and bytes that are no UTF-8, become U+FFFD.
func Valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return mend(s, true)
}

func mend(s string, replace bool) string {
	if !replace && strings.IndexByte(s, 0xED) < 0 {
		return s
	}
	if utf8.ValidString(s) {
		return s
	}
	text := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		r, size := decode(s[i:])
		i += size
		if isHigh(r) && i < len(s) {
			if low, size := decode(s[i:]); isLow(low) {
				r = utf16.DecodeRune(r, low)
				i += size
			}
		}
		if replace && utf16.IsSurrogate(r) {
			r = utf8.RuneError
		}
		text = AppendUnit(text, r)
	}
	return string(text)
}

// Characters splits s into its characters; half a pair is one of its own.
func Characters(s string) []string {
	var list []string
	for s != "" {
		_, size := decode(s)
		list = append(list, s[:size])
		s = s[size:]
	}
	return list
}

// Split splits s into its units.
func Split(s string) []string {
	list := make([]string, 0, len(s))
	for s != "" {
		r, size := decode(s)
		if r > 0xFFFF {
			high, low := utf16.EncodeRune(r)
			list = append(list, string(AppendUnit(nil, high)), string(AppendUnit(nil, low)))
		} else {
			list = append(list, s[:size])
		}
		s = s[size:]
	}
	return list
}
