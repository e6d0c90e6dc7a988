package jsonvalue

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// AppendLike appends the JSON text of v as [Append] does, but the keys of an
// object come in the order that they have in like, a JSON text of about the
// same shape: objects are compared with the object at the same place. Keys that
// are not there follow, sorted. Nothing else of like matters: where it has
// another shape, or is no JSON, the rest is as Append writes it.
//
//	jsonvalue.AppendLike(nil, v, `{"b":0,"a":0}`) // {"b":1.5,"a":"<x>","c":null}
func AppendLike(dst []byte, v any, like string) []byte {
	p := pattern{text: like}
	return p.append(dst, v)
}

// Replace returns a JSON text in which the value at a path (keys of objects,
// indices of lists) is another one. It returns the text as it is where there is
// no such place.
func Replace(text string, path []string, value string) string {
	p := pattern{text: text}
	for _, name := range path {
		if !p.enter(name) {
			return text
		}
	}
	from := p.at
	p.skip()
	return text[:from] + value + text[p.at:]
}

// pattern is a JSON text that is read from the front. What cannot be read ends
// it.
type pattern struct {
	text string
	at   int
}

func (p *pattern) append(dst []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		if v != nil && p.take('{') {
			return p.object(dst, v)
		}
	case []any:
		if v != nil && p.take('[') {
			return p.array(dst, v)
		}
	}
	p.skip()
	return Append(dst, v)
}

// object writes an object; the brace of the pattern is behind.
func (p *pattern) object(dst []byte, m map[string]any) []byte {
	var room [16]string // most objects are small: no allocation for their keys
	done := room[:0]
	var many map[string]bool // done, once they are not few
	has := func(key string) bool {
		if many != nil {
			return many[key]
		}
		return slices.Contains(done, key)
	}
	dst = append(dst, '{')
	put := func(key string) {
		if len(done) > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, key), ':')
		if done = append(done, key); many != nil {
			many[key] = true
		} else if len(done) == cap(room[:]) {
			many = make(map[string]bool, len(m))
			for _, k := range done {
				many[k] = true
			}
		}
	}
	for p.at < len(p.text) && !p.take('}') {
		key, ok := p.key()
		if !ok {
			p.at = len(p.text)
			break
		}
		if value, there := m[key]; there && !has(key) {
			put(key)
			dst = p.append(dst, value)
		} else {
			p.skip()
		}
		p.take(',')
	}
	if len(done) == len(m) {
		return append(dst, '}')
	}
	rest := make([]string, 0, len(m)-len(done))
	for key := range m {
		if !has(key) {
			rest = append(rest, key)
		}
	}
	slices.SortFunc(rest, CompareKeys)
	for _, key := range rest {
		put(key)
		dst = Append(dst, m[key])
	}
	return append(dst, '}')
}

// array writes a list; the bracket of the pattern is behind.
func (p *pattern) array(dst []byte, list []any) []byte {
	dst = append(dst, '[')
	open := true // whether the pattern goes on
	for i, item := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		if open = open && p.at < len(p.text) && !p.take(']'); open {
			dst = p.append(dst, item)
			p.take(',')
		} else {
			dst = Append(dst, item)
		}
	}
	for open && p.at < len(p.text) && !p.take(']') {
		p.skip()
		p.take(',')
	}
	return append(dst, ']')
}

// enter goes to a member of the object, or to an item of the list, that is next.
func (p *pattern) enter(name string) bool {
	switch {
	case p.take('{'):
		for p.at < len(p.text) && !p.take('}') {
			key, ok := p.key()
			if !ok || key == name {
				return ok
			}
			p.skip()
			p.take(',')
		}
	case p.take('['):
		n, err := strconv.Atoi(name)
		for i := 0; err == nil && p.at < len(p.text) && !p.take(']'); i++ {
			if i == n {
				return true
			}
			p.skip()
			p.take(',')
		}
	}
	return false
}

// take reads a sign, behind white space, if it is the next one.
func (p *pattern) take(sign byte) bool {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
			continue
		case sign:
			p.at++
			return true
		}
		return false
	}
	return false
}

// key reads the key of a member and its colon.
func (p *pattern) key() (string, bool) {
	if !p.take('"') {
		return "", false
	}
	raw := p.quoted()
	if !p.take(':') {
		return "", false
	}
	if strings.IndexByte(raw, '\\') < 0 {
		return raw, true
	}
	var key string
	err := json.Unmarshal([]byte(`"`+raw+`"`), &key)
	return key, err == nil
}

// quoted reads the rest of a string; the quote before it is behind.
func (p *pattern) quoted() string {
	start := p.at
	for {
		i := strings.IndexByte(p.text[p.at:], '"')
		if i < 0 {
			p.at = len(p.text)
			return ""
		}
		p.at += i + 1
		raw := p.text[start : p.at-1]
		// A quote is a part of the string behind an odd number of backslashes.
		if escapes := len(raw) - len(strings.TrimRight(raw, `\`)); escapes%2 == 0 {
			return raw
		}
	}
}

// skip reads a value, and at least one byte.
func (p *pattern) skip() {
	depth := 0
	for start := p.at; p.at < len(p.text); {
		switch p.text[p.at] {
		case '"':
			p.at++
			p.quoted()
		case '{', '[':
			depth++
			p.at++
		case '}', ']':
			if depth == 0 {
				// The end of what the value is in.
				if p.at == start {
					p.at++
				}
				return
			}
			depth--
			p.at++
		case ',':
			if depth == 0 {
				return
			}
			p.at++
		default:
			p.at++
			continue
		}
		if depth == 0 && p.at > start {
			return
		}
	}
}
