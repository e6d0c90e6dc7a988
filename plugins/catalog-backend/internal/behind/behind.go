// Package behind is the form of the table search_behind: all search rows of an
// entity as one text, until they are written to entity_search. SQL reads it
// through the view search_behind_row.
//
//	text := behind.Append(nil, rows)
//	err := behind.Each(string(text), func(r behind.Row) { … })
package behind

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/flytower/flytower/internal/jsonvalue"
)

// Row is a row of entity_search.
type Row struct {
	Key   int64
	Value string
	// Original is empty if it is the value.
	Original string
	// Null says that there is no value; Item that it is an item of an array.
	Null, Item bool
}

// Append appends the text of rows: a JSON array with an array
// [key, value, original, item] for each, without what is null at its end.
func Append(dst []byte, rows []Row) []byte {
	dst = append(dst, '[')
	for i, r := range rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, '['), r.Key, 10)
		switch {
		case !r.Null:
			dst = jsonvalue.AppendString(append(dst, ','), r.Value)
		case r.Item:
			dst = append(dst, ",null"...)
		}
		switch {
		case r.Original != "" && !r.Null:
			dst = jsonvalue.AppendString(append(dst, ','), r.Original)
		case r.Item:
			dst = append(dst, ",null"...)
		}
		if r.Item {
			dst = append(dst, ",1"...)
		}
		dst = append(dst, ']')
	}
	return append(dst, ']')
}

// Each calls fn for each row of a text, in order.
func Each(text string, fn func(Row)) error {
	p := parser{rest: text}
	p.expect('[')
	for first := true; p.err == nil && !p.next(']'); first = false {
		if !first {
			p.expect(',')
		}
		if r := p.row(); p.err == nil {
			fn(r)
		}
	}
	if p.err == nil && p.rest != "" {
		p.fail("its end")
	}
	return p.err
}

// parser reads what Append writes, and nothing else.
type parser struct {
	rest string
	err  error
}

func (p *parser) fail(wanted string) {
	if p.err == nil {
		p.err = fmt.Errorf("rows in search_behind are malformed: %s is missing before %.40q", wanted, p.rest)
	}
}

// next skips a character, if it comes next.
func (p *parser) next(c byte) bool {
	if p.err != nil || p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *parser) expect(c byte) {
	if !p.next(c) {
		p.fail(string(c))
	}
}

func (p *parser) row() (r Row) {
	p.expect('[')
	digits := 0
	for digits < len(p.rest) && p.rest[digits] >= '0' && p.rest[digits] <= '9' {
		digits++
	}
	key, err := strconv.ParseInt(p.rest[:digits], 10, 64)
	if err != nil {
		p.fail("a key")
		return r
	}
	r.Key, p.rest, r.Null = key, p.rest[digits:], true
	if p.next(',') {
		r.Value, r.Null = p.optional()
	}
	if p.next(',') {
		r.Original, _ = p.optional()
	}
	if p.next(',') {
		p.expect('1')
		r.Item = true
	}
	p.expect(']')
	return r
}

// optional reads a string or null.
func (p *parser) optional() (s string, null bool) {
	const none = "null"
	if strings.HasPrefix(p.rest, none) {
		p.rest = p.rest[len(none):]
		return "", true
	}
	p.expect('"')
	end := 0
	escaped := false
	for ; end < len(p.rest) && p.rest[end] != '"'; end++ {
		if p.rest[end] == '\\' {
			escaped = true
			end++
		}
	}
	if p.err != nil || end >= len(p.rest) {
		p.fail("the end of a string")
		return "", false
	}
	s = p.rest[:end]
	p.rest = p.rest[end+1:]
	if !escaped {
		return s, false
	}
	var plain string
	if err := json.Unmarshal([]byte(`"`+s+`"`), &plain); err != nil {
		p.fail("a string")
	}
	return plain, false
}
