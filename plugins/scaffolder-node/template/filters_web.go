package template

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/internal/utf16text"
)

// dumpFilter is JSON.stringify with an indentation.
func dumpFilter(c *filterCall) Value {
	indent := ""
	switch v := c.arg(0).(type) {
	case String:
		indent = utf16text.Slice(string(v), 0, min(utf16text.Len(string(v)), 10))
	case Number:
		if v > 0 {
			indent = strings.Repeat(" ", int(math.Min(10, float64(v))))
		}
	}
	if isUndefined(c.input) {
		return c.input
	}
	d := dumper{evaluator: c.evaluator, indent: indent}
	d.value(c.input, 0)
	return String(d.out.String())
}

type dumper struct {
	*evaluator
	out    bytes.Buffer
	indent string
}

func (d *dumper) value(v Value, depth int) {
	if depth > maxValueDepth {
		d.fail(ErrTooDeep.Error())
	}
	if !d.step(1) || !d.evaluator.text(depth*len(d.indent)) {
		return
	}
	switch v := v.(type) {
	case *Array:
		items := d.items(v)
		d.out.WriteByte('[')
		for i, item := range items {
			d.separate(i, depth+1)
			d.value(item, depth+1)
		}
		d.end(len(items), depth, ']')
	case *Record:
		d.out.WriteByte('{')
		written := 0
		for key, value := range v.All() {
			if isUndefined(value) {
				continue
			}
			d.separate(written, depth+1)
			written++
			d.text(key)
			d.out.WriteByte(':')
			if d.indent != "" {
				d.out.WriteByte(' ')
			}
			d.value(value, depth+1)
		}
		d.end(written, depth, '}')
	case *Regexp:
		d.out.WriteString("{}")
	default:
		if s, ok := asText(v); ok {
			d.text(s)
			return
		}
		d.out.Write(AppendJSON(d.out.AvailableBuffer(), v))
	}
}

// text writes a text; half of a surrogate pair is written as an escape.
func (d *dumper) text(s string) {
	if !d.evaluator.text(len(s)) {
		return
	}
	if utf16text.Valid(s) == s {
		d.out.Write(jsonvalue.AppendString(d.out.AvailableBuffer(), s))
		return
	}
	d.out.WriteByte('"')
	for _, part := range utf16text.Characters(s) {
		if utf16text.Valid(part) == part {
			quoted := jsonvalue.AppendString(nil, part)
			d.out.Write(quoted[1 : len(quoted)-1])
		} else {
			fmt.Fprintf(&d.out, `\u%04x`, utf16text.Units(part)[0])
		}
	}
	d.out.WriteByte('"')
}

func (d *dumper) separate(i, depth int) {
	if i > 0 {
		d.out.WriteByte(',')
	}
	d.line(depth)
}

func (d *dumper) line(depth int) {
	if d.indent != "" {
		d.out.WriteByte('\n')
		d.out.WriteString(strings.Repeat(d.indent, depth))
	}
}

func (d *dumper) end(items, depth int, bracket byte) {
	if items > 0 {
		d.line(depth)
	}
	d.out.WriteByte(bracket)
}

func urlencodeFilter(c *filterCall) Value {
	if s, ok := asText(c.input); ok {
		return String(c.encoded(String(s)))
	}
	var pairs []string
	switch v := c.input.(type) {
	case *Record:
		c.step(int64(v.Len()))
		for key, value := range v.All() {
			pairs = append(pairs, c.encoded(String(key))+"="+c.encoded(value))
		}
	case *Array:
		items := c.items(v)
		c.step(int64(len(items)))
		for _, item := range items {
			if isNothing(item) {
				return c.fail("urlencode sequence entries cannot be nullish")
			}
			key, _ := c.own(item, "0")
			value, _ := c.own(item, "1")
			pairs = append(pairs, c.encoded(key)+"="+c.encoded(value))
		}
	}
	return String(strings.Join(pairs, "&"))
}

func (c *filterCall) encoded(v Value) string {
	s := c.toText(v)
	if !c.evaluator.text(3 * len(s)) {
		return ""
	}
	encoded, ok := encodeComponent(s)
	if !ok {
		c.fail("URI malformed")
	}
	return encoded
}

// The expressions of the language's text filters. All of them need linear time.
var (
	htmlTag       = regexp.MustCompile(`(?i)</?[a-z][a-z0-9]*\b[^>]*>|<!--(?s:.)*?-->`)
	lineEdges     = regexp.MustCompile(`(?m)^ +| +$`)
	manySpaces    = regexp.MustCompile(` +`)
	manyLines     = regexp.MustCompile(`\n\n\n+`)
	whitespace    = regexp.MustCompile(`[` + spaces + `]+`)
	wordCharacter = regexp.MustCompile(`\w+`)
	punctuated    = regexp.MustCompile(`^(?:\(|<|&lt;)?(.*?)(?:\.|,|\)|\n|&gt;)?$`)
	emailAddress  = regexp.MustCompile("(?i)^[\\w.!#$%&'*+\\-/=?^`{|}~]+@[a-z\\d-]+(?:\\.[a-z\\d-]+)+$")
	commonDomain  = regexp.MustCompile(`\.(?:org|net|com)(?::|/|$)`)
)

// maxTagPasses is how often tags are removed that removing tags made.
const maxTagPasses = 8

func striptagsFilter(c *filterCall) Value {
	text, ok := c.text()
	if !ok {
		return Undefined{}
	}
	for pass := 0; ; pass++ {
		next := htmlTag.ReplaceAllString(text, "")
		if next == text {
			break
		}
		if pass == maxTagPasses {
			return c.fail("striptags input contains excessively nested markup")
		}
		if text = next; !c.evaluator.text(len(text)) {
			return Undefined{}
		}
	}
	text = trimSpace(text)
	if truthy(c.arg(0)) {
		text = lineEdges.ReplaceAllString(text, "")
		text = manySpaces.ReplaceAllString(text, " ")
		text = strings.ReplaceAll(text, "\r\n", "\n")
		return c.like(manyLines.ReplaceAllString(text, "\n\n"))
	}
	return c.like(whitespace.ReplaceAllString(text, " "))
}

func wordcountFilter(c *filterCall) Value {
	input := c.normalized()
	if !truthy(input) {
		return Null{}
	}
	text, ok := asText(input)
	if !ok {
		return c.fail("Filter input must be a string")
	}
	n := len(wordCharacter.FindAllStringIndex(text, -1))
	if n == 0 {
		return Null{}
	}
	return Number(n)
}

// urlizeFilter makes links of addresses. As in the language that this one
// follows, nothing is escaped.
func urlizeFilter(c *filterCall) Value {
	text, ok := c.exactText()
	if !ok {
		return Undefined{}
	}
	limit := math.Inf(1)
	if v := c.arg(0); !isUndefined(v) && !(v == Number(nan)) {
		limit = max(zeroIfNaN(c.toNumber(v)), 0)
	}
	nofollow := ""
	if c.arg(1) == Bool(true) {
		nofollow = ` rel="nofollow"`
	}
	var b strings.Builder
	for text != "" {
		space := strings.IndexAny(text, spaces)
		if space < 0 {
			space = len(text)
		}
		b.WriteString(link(text[:space], limit, nofollow))
		rest := strings.TrimLeft(text[space:], spaces)
		b.WriteString(text[space : len(text)-len(rest)])
		text = rest
	}
	return String(b.String())
}

func link(word string, limit float64, nofollow string) string {
	address := word
	if m := punctuated.FindStringSubmatch(word); m != nil {
		address = m[1]
	}
	scheme := ""
	switch {
	case strings.HasPrefix(address, "http://"), strings.HasPrefix(address, "https://"):
	case strings.HasPrefix(address, "www."):
		scheme = "http://"
	case emailAddress.MatchString(address):
		return `<a href="mailto:` + address + `">` + address + `</a>`
	case commonDomain.MatchString(address):
		scheme = "http://"
	default:
		return word
	}
	short := address
	if n := utf16text.Len(address); limit < float64(n) {
		short = utf16text.Slice(address, 0, int(limit))
	}
	return `<a href="` + scheme + address + `"` + nofollow + `>` + short + `</a>`
}
