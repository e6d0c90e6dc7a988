package entityyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// source is a text that the YAML scanner accepts, and the way back.
//
// The scanner underneath follows YAML 1.1 in two respects that matter: it takes
// U+0085, U+2028, U+2029 and a lone carriage return for line breaks, and it
// refuses control characters. YAML 1.2 knows neither. Such characters, rare as
// they are, pass through the scanner as private-use characters.
type source struct {
	text   []byte
	veiled rune // what was added to each such character; 0 if there was none
}

// veilBase are blocks of private-use characters, to use one that the text does
// not. veilSize leaves room for the highest veiled character, U+2029.
var veilBase = [...]rune{0x10C000, 0x104000, 0xFC000, 0xF4000}

const veilSize = 0x3000

func prepare(text []byte) source {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	if bytes.IndexByte(text, '\r') >= 0 {
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	}
	if !needsVeil(text) {
		return source{text: text}
	}
	for _, base := range veilBase {
		if bytes.ContainsFunc(text, func(r rune) bool { return base <= r && r < base+veilSize }) {
			continue
		}
		return source{veiled: base, text: bytes.Map(func(r rune) rune {
			if veils(r) {
				return base + r
			}
			return r
		}, text)}
	}
	return source{text: text}
}

func veils(r rune) bool {
	switch {
	case r < ' ':
		return r != '\n' && r != '\t'
	case r < 0x7F:
		return false
	case r <= 0x9F, r == 0x2028, r == 0x2029:
		return true
	}
	return false
}

// needsVeil looks for the bytes that a character to be veiled begins with.
func needsVeil(text []byte) bool {
	for i, c := range text {
		switch {
		case c >= ' ' && c < 0x7F, c == '\n', c == '\t':
		case c < ' ', c == 0x7F:
			return true
		case c == 0xC2:
			if text[i+1] <= 0x9F {
				return true
			}
		case c == 0xE2:
			if text[i+1] == 0x80 && (text[i+2] == 0xA8 || text[i+2] == 0xA9) {
				return true
			}
		}
	}
	return false
}

func (s source) unveil(text string) string {
	return strings.Map(func(r rune) rune {
		if d := r - s.veiled; 0 <= d && d < veilSize {
			return d
		}
		return r
	}, text)
}

// chunk is the text of one document, with the directives and comments before it.
type chunk struct {
	text []byte
	line int // of the first byte, counted from 1
}

// split cuts a stream into documents. Lines that begin with --- or ... and a
// space or the end of the line are document markers wherever they stand, also
// inside quotes and block scalars, so no other syntax has to be understood.
func split(text []byte) iter.Seq[chunk] {
	return func(yield func(chunk) bool) {
		start, startLine := 0, 1
		content, explicit := false, false // whether the chunk has content, a --- line
		emit := func(end int) bool {
			return !content && !explicit || yield(chunk{text[start:end], startLine})
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
				if content || explicit {
					if !emit(at) {
						return
					}
					start, startLine, content = at, line, false
				}
				explicit = true
			case isMarker(row, "..."):
				if !emit(next) {
					return
				}
				start, startLine, content, explicit = next, line+1, false, false
			case !content && !explicit:
				trimmed := bytes.TrimLeft(row, " \t\n")
				content = len(trimmed) > 0 && trimmed[0] != '#' && row[0] != '%'
				if row[0] == '%' && !content && !hasMarkerAhead(text[next:]) {
					content = true // directives without a document are for the parser to refuse
				}
			}
			at = next
		}
		emit(len(text))
	}
}

func isMarker(row []byte, marker string) bool {
	return bytes.HasPrefix(row, []byte(marker)) &&
		(len(row) == 3 || row[3] == ' ' || row[3] == '\t' || row[3] == '\n')
}

// hasMarkerAhead reports whether a --- line follows behind nothing but
// directives, comments and empty lines.
func hasMarkerAhead(text []byte) bool {
	for row := range bytes.Lines(text) {
		if isMarker(row, "---") {
			return true
		}
		trimmed := bytes.TrimLeft(row, " \t\n")
		if len(trimmed) > 0 && trimmed[0] != '#' && row[0] != '%' {
			return false
		}
	}
	return false
}

// load parses one document. It returns nil for a document without a node.
func (s source) load(c chunk, opts Options) (*yaml.Node, error) {
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
	if c.line > 1 || s.veiled != 0 {
		s.adjust(root, c.line-1)
	}
	return root, nil
}

// adjust shifts the lines of a node tree and takes the veil off its texts.
func (s source) adjust(n *yaml.Node, lines int) {
	n.Line += lines
	if s.veiled != 0 {
		n.Value = s.unveil(n.Value)
		n.HeadComment, n.LineComment, n.FootComment = s.unveil(n.HeadComment), s.unveil(n.LineComment), s.unveil(n.FootComment)
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
		message = load.ContextMsg + ": " + message
	}
	line, column := load.Mark.Line, load.Mark.Column
	if line == 0 {
		line, column = 1, 1
	}
	return &Error{Line: c.line - 1 + line, Column: column, Message: message}
}
