package api

import (
	"bytes"
	"unicode/utf8"
)

// plainRefs reads a body of the form {"entityRefs":["…","…"]}, which is what
// clients send, without building a tree of it. It returns false for anything
// else, also for what is malformed.
func plainRefs(raw []byte) (refs []string, ok bool) {
	rest, ok := bytes.CutPrefix(skipSpace(raw), []byte("{"))
	if !ok {
		return nil, false
	}
	if rest, ok = bytes.CutPrefix(skipSpace(rest), []byte(`"entityRefs"`)); !ok {
		return nil, false
	}
	for _, c := range []byte(":[") {
		if rest = skipSpace(rest); len(rest) == 0 || rest[0] != c {
			return nil, false
		}
		rest = rest[1:]
	}
	// One text for all, of which the refs are parts.
	text := string(rest)
	at, ok := 0, utf8.ValidString(text)
	refs = make([]string, 0, len(text)/32+1)
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
		refs = append(refs, text[begin:at])
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
			return refs, at+spaces(text[at:]) == len(text)
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
