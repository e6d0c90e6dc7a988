package cache

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// A stored value is {"value":…,"expires":<milliseconds since 1970>}, without
// expires if it is kept for ever. Strings that begin with a colon have one
// more; ":base64:" marks bytes, which Node backends write. Names of members
// stay as they are.

// encode wraps the JSON text of a value.
func encode(value []byte, expires time.Time) []byte {
	out := make([]byte, 0, len(value)+48)
	out = append(out, `{"value":`...)
	out = rewriteStrings(out, value, func(out, content []byte) []byte {
		if leadingColon(content) > 0 {
			out = append(out, ':')
		}
		return append(out, content...)
	})
	if !expires.IsZero() {
		out = append(out, `,"expires":`...)
		out = strconv.AppendInt(out, expires.UnixMilli(), 10)
	}
	return append(out, '}')
}

// decode unwraps a stored text. The value is nil if there is none, and
// expires is zero if it is kept for ever.
func decode(text []byte) (value []byte, expires time.Time, err error) {
	var stored struct {
		Value   json.RawMessage
		Expires *float64
	}
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, time.Time{}, err
	}
	if stored.Expires != nil {
		ms := min(max(*stored.Expires, 0), math.MaxInt64/2)
		expires = time.UnixMilli(int64(ms))
	}
	if stored.Value == nil {
		return nil, expires, nil
	}
	value = rewriteStrings(make([]byte, 0, len(stored.Value)), stored.Value, func(out, content []byte) []byte {
		if rest, ok := bytes.CutPrefix(content, []byte(":base64:")); ok {
			return append(out, rest...)
		}
		return append(out, content[leadingColon(content):]...)
	})
	return value, expires, nil
}

// leadingColon returns how many bytes of the content of a JSON string write
// its first character, if that is a colon.
func leadingColon(content []byte) int {
	const escaped = `\u003a`
	switch {
	case len(content) > 0 && content[0] == ':':
		return 1
	case len(content) >= len(escaped) && bytes.EqualFold(content[:len(escaped)], []byte(escaped)) && content[1] == 'u':
		return len(escaped)
	default:
		return 0
	}
}

// rewriteStrings appends valid JSON to out; rewrite appends the content of
// each string that is not the name of a member.
func rewriteStrings(out, text []byte, rewrite func(out, content []byte) []byte) []byte {
	if bytes.IndexByte(text, ':') < 0 && bytes.IndexByte(text, '\\') < 0 {
		return append(out, text...)
	}
	for len(text) > 0 {
		start := bytes.IndexByte(text, '"')
		if start < 0 {
			break
		}
		out = append(out, text[:start+1]...)
		text = text[start+1:]
		end := closingQuote(text)
		content, rest := text[:end], text[end:]
		if name := bytes.TrimLeft(rest[min(1, len(rest)):], " \t\r\n"); len(name) > 0 && name[0] == ':' {
			out = append(out, content...)
		} else {
			out = rewrite(out, content)
		}
		quote := min(1, len(rest))
		out = append(out, rest[:quote]...)
		text = rest[quote:]
	}
	return append(out, text...)
}

// closingQuote returns the index of the quote that ends the string at the
// begin of text.
func closingQuote(text []byte) int {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(text)
}
