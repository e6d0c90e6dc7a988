package api

import (
	"bytes"
	"unicode/utf8"
)

// plainStrings reads an object of the form {"member":["…","…"]}, which is what
// clients send to ask by refs, without building a tree of it. It returns false
// for anything else, also for what is malformed.
func plainStrings(raw []byte, member string) (list []string, ok bool) {
	rest, ok := bytes.CutPrefix(skipSpace(raw), []byte("{"))
	if !ok {
		return nil, false
	}
	if rest = skipSpace(rest); len(rest) < len(member)+2 || rest[0] != '"' || string(rest[1:len(member)+1]) != member || rest[len(member)+1] != '"' {
		return nil, false
	}
	rest = rest[len(member)+2:]
	for _, c := range []byte(":[") {
		if rest = skipSpace(rest); len(rest) == 0 || rest[0] != c {
			return nil, false
		}
		rest = rest[1:]
	}
	// One text for all, of which the strings are parts.
	text := string(rest)
	at, ok := 0, utf8.ValidString(text)
	list = make([]string, 0, len(text)/32+1)
	for ok {
		at += spaces(text[at:])
		if at == len(text) || text[at] != '"' {
			return nil, false
		}
		at++
		begin := at
		for at < len(text) && text[at] != '"' {
			if text[at] < ' ' || text[at] == '\\' {
				return nil, false
			}
			at++
		}
		if at == len(text) {
			return nil, false
		}
		list = append(list, text[begin:at])
		at++
		at += spaces(text[at:])
		if at == len(text) {
			return nil, false
		}
		at++
		switch text[at-1] {
		case ',':
			continue
		case ']':
			at += spaces(text[at:])
			if at == len(text) || text[at] != '}' {
				return nil, false
			}
			at++
			return list, at+spaces(text[at:]) == len(text)
		}
		return nil, false
	}
	return nil, false
}

func spaces[T string | []byte](s T) (n int) {
	for n < len(s) && (s[n] == ' ' || s[n] == '\n' || s[n] == '\t' || s[n] == '\r') {
		n++
	}
	return n
}

func skipSpace(b []byte) []byte { return b[spaces(b):] }
