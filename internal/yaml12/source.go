package yaml12

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// source is a text that the YAML scanner accepts, and the way back.
//
// The scanner underneath differs from YAML 1.2 where it matters to real files:
// it takes U+0085, U+2028, U+2029 and a lone carriage return for line breaks,
// it refuses other control characters, and it refuses surrogate pairs in
// escapes, in which JSON writes emoji. All of them, rare as they are, pass
// through the scanner as private-use characters.
type source struct {
	text []byte
	veil []veiled // what the private-use characters from base on stand for
	base rune
}

// veiled is what a private-use character stands for.
type veiled struct {
	literal string // everywhere
	quoted  string // but in double quotes
}

// veilBases are blocks of private-use characters, to use one that the text does not.
var veilBases = [...]rune{0x10C000, 0x104000, 0xFC000, 0xF4000}

// veilSize is the size of a block, and so the number of different things that
// can be veiled in one text.
const veilSize = 0x3000

func prepare(text []byte) source {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	if bytes.IndexByte(text, '\r') >= 0 {
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	}
	if n := len(text); n > 0 && text[n-1] != '\n' {
		text = append(text[:n:n], '\n') // the end of the text ends the last line
	}
	if !needsVeil(text) {
		return source{text: text}
	}
	for _, base := range veilBases {
		if !bytes.ContainsFunc(text, func(r rune) bool { return base <= r && r < base+veilSize }) {
			return putVeil(text, base)
		}
	}
	return source{text: text}
}

// needsVeil looks for the bytes that something to be veiled begins with.
func needsVeil(text []byte) bool {
	for i, c := range text {
		switch {
		case c == '\\':
			if isSurrogateEscape(text[i:]) {
				return true
			}
		case c >= ' ' && c < 0x7F, c == '\n', c == '\t':
		case c < ' ', c == 0x7F, c == 0xC2, c == 0xEF:
			return true
		case c == 0xE2:
			if text[i+1] == 0x80 && (text[i+2] == 0xA8 || text[i+2] == 0xA9) {
				return true
			}
		}
	}
	return false
}

func mustVeil(r rune) bool {
	switch {
	case r < ' ':
		return r != '\n' && r != '\t'
	case r < 0x7F:
		return false
	}
	return r <= 0x9F || r == 0x2028 || r == 0x2029 || r == 0xFEFF || r == 0xFFFE || r == 0xFFFF
}

func putVeil(text []byte, base rune) source {
	src := source{base: base, text: make([]byte, 0, len(text)+16)}
	known := map[veiled]rune{}
	put := func(v veiled) {
		r, ok := known[v]
		if !ok {
			if len(src.veil) == veilSize {
				src.text = append(src.text, v.literal...)
				return
			}
			r = base + rune(len(src.veil))
			known[v] = r
			src.veil = append(src.veil, v)
		}
		src.text = utf8.AppendRune(src.text, r)
	}
	for i := 0; i < len(text); {
		if text[i] == '\\' {
			if isSurrogateEscape(text[i:]) {
				length := 6
				high, low := surrogate(text[i:]), rune(0)
				if isSurrogateEscape(text[i+6:]) {
					low = surrogate(text[i+6:])
				}
				decoded := utf16.DecodeRune(high, low) // U+FFFD if it is no pair
				if decoded != utf8.RuneError {
					length = 12
				}
				put(veiled{literal: string(text[i : i+length]), quoted: string(decoded)})
				i += length
				continue
			}
			// An escaped backslash does not begin an escape itself.
			length := min(2, len(text)-i)
			if text[i+length-1] != '\\' {
				length = 1
			}
			src.text = append(src.text, text[i:i+length]...)
			i += length
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if mustVeil(r) {
			put(veiled{literal: string(r), quoted: string(r)})
		} else {
			src.text = append(src.text, text[i:i+size]...)
		}
		i += size
	}
	return src
}

// isSurrogateEscape matches \uD800 to \uDFFF.
func isSurrogateEscape(text []byte) bool {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' || text[2]|0x20 != 'd' {
		return false
	}
	r := surrogate(text)
	return 0xD800 <= r && r <= 0xDFFF
}

// surrogate reads the four hex digits of an escape; 0 if they are none.
func surrogate(escape []byte) rune {
	n, err := strconv.ParseUint(string(escape[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(n)
}

func (s source) unveil(text string, inDoubleQuotes bool) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return s.base <= r && r < s.base+rune(len(s.veil)) }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch i := int(r - s.base); {
		case i < 0 || i >= len(s.veil):
			b.WriteRune(r)
		case inDoubleQuotes:
			b.WriteString(s.veil[i].quoted)
		default:
			b.WriteString(s.veil[i].literal)
		}
	}
	return b.String()
}

// chunk is the text of one document, with the directives and comments before it.
type chunk struct {
	text       []byte
	line       int  // of the first byte, counted from 1
	directives bool // whether there are any
	explicit   bool // whether there is a --- line
}

// split cuts a stream into documents. Lines that begin with --- or ... and a
// space or the end of the line are document markers wherever they stand, also
// inside quotes and block scalars, so no other syntax has to be understood.
func split(text []byte) iter.Seq[chunk] {
	return func(yield func(chunk) bool) {
		c := chunk{line: 1}
		start, content := 0, false
		// cut ends the chunk and says whether to go on; the next one starts at end.
		cut := func(end, nextLine int) bool {
			c.text = text[start:end]
			wanted := !content && !c.explicit || yield(c)
			c, start, content = chunk{line: nextLine}, end, false
			return wanted
		}
		line := 1
		for at := 0; at < len(text); line++ {
			next := len(text)
			if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
				next = at + i + 1
			}
			row := text[at:next]
			switch {
			case isMarker(row, "---"):
				if (content || c.explicit) && !cut(at, line) {
					return
				}
				c.explicit = true
			case isMarker(row, "..."):
				if !cut(next, line+1) {
					return
				}
			case content || c.explicit:
			case row[0] == '%':
				c.directives = true
			default:
				trimmed := bytes.TrimLeft(row, " \t\n")
				content = len(trimmed) > 0 && trimmed[0] != '#'
			}
			at = next
		}
		cut(len(text), line)
	}
}

func isMarker(row []byte, marker string) bool {
	return bytes.HasPrefix(row, []byte(marker)) &&
		(len(row) == 3 || row[3] == ' ' || row[3] == '\t' || row[3] == '\n')
}

// hideDirectives makes comments of the directives that the scanner does not
// know or refuses, such as %YAML 1.2. Only %TAG means something to us.
func hideDirectives(text []byte) []byte {
	text = bytes.Clone(text)
	for row := range bytes.Lines(text) {
		if isMarker(row, "---") {
			break
		}
		if row[0] == '%' && !bytes.HasPrefix(row, []byte("%TAG")) {
			row[0] = '#'
		}
	}
	return text
}

// load parses one document. It returns nil for a document without a node.
func (s source) load(c chunk, opts Options) (*yaml.Node, error) {
	if c.directives {
		if !c.explicit {
			return nil, &Error{Line: c.line, Column: 1, Message: "Directives must end with a line of ---"}
		}
		c.text = hideDirectives(c.text)
	}
	loader, err := yaml.NewLoader(bytes.NewReader(c.text),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(opts.MaxDepth), loaderlimits.AliasNone())))
	if err != nil {
		return nil, fmt.Errorf("set up the YAML parser: %w", err)
	}
	var doc, rest yaml.Node
	if err := loader.Load(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, c.failure(err)
	}
	// The parser notices text behind the root only when asked for more.
	if err := loader.Load(&rest); err == nil {
		return nil, &Error{Line: c.line - 1 + rest.Line, Column: rest.Column, Message: "Unexpected content behind the end of the document"}
	} else if !errors.Is(err, io.EOF) {
		return nil, c.failure(err)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	root := doc.Content[0]
	if c.line > 1 || len(s.veil) > 0 {
		s.adjust(root, c.line-1)
	}
	return root, nil
}

// adjust shifts the lines of a node tree and takes the veil off its texts.
func (s source) adjust(n *yaml.Node, lines int) {
	n.Line += lines
	if len(s.veil) > 0 {
		n.Value = s.unveil(n.Value, n.Style&yaml.DoubleQuotedStyle != 0)
		n.HeadComment, n.LineComment, n.FootComment = s.unveil(n.HeadComment, false), s.unveil(n.LineComment, false), s.unveil(n.FootComment, false)
	}
	for _, child := range n.Content {
		s.adjust(child, lines)
	}
}

// failure turns an error of the parser into one with a place in the whole text.
func (c chunk) failure(err error) error {
	var load *yaml.LoadError
	if !errors.As(err, &load) {
		return &Error{Line: c.line, Column: 1, Message: err.Error()}
	}
	message := load.Message
	if message == "" {
		message = err.Error()
	}
	if load.ContextMsg != "" {
		message += " " + load.ContextMsg
	}
	line, column := load.Mark.Line, load.Mark.Column
	if line == 0 {
		line, column = 1, 1
	}
	return &Error{Line: c.line - 1 + line, Column: column, Message: message}
}
