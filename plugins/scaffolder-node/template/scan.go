package template

import (
	"strings"
	"unicode"

	"github.com/flytower/flytower/internal/ecmaregexp"
)

// Syntax selects a variant of the language.
type Syntax struct {
	// Cookiecutter makes {{ and }} the delimiters of expressions, and adds what
	// templates of cookiecutter use: True, False, None, the filter jsonify, and
	// methods of Python's lists and dictionaries.
	Cookiecutter bool
	// TrimBlocks removes the line end after a tag {% … %}.
	TrimBlocks bool
	// LstripBlocks removes white space in front of a tag {% … %} that is the
	// first thing on its line.
	LstripBlocks bool
}

type segmentKind uint8

const (
	textSegment segmentKind = iota
	variableSegment
	blockSegment
)

// segment is a piece of a template: text, an expression, or a tag.
type segment struct {
	kind segmentKind
	// text of text segments
	text string
	// start is where the segment begins in the source
	start int
	// from and to enclose the code of the other segments, without white space
	from, to int
}

// scanner splits a template into segments.
type scanner struct {
	source   string
	syntax   Syntax
	segments []segment
	// limit is how many segments there may be
	limit int64
	at    int
	// pending is text that was not added yet; white space control of the next
	// tag may shorten it
	pending      string
	pendingStart int
}

func (s *scanner) fail(offset int, detail, remedy string) error {
	return &syntaxError{offset: offset, detail: detail, remedy: remedy}
}

// syntaxError is an [Error] before its place is known as line and column.
type syntaxError struct {
	offset         int
	detail, remedy string
}

func (e *syntaxError) Error() string { return e.detail }

const rawRemedy = "wrap text that is not meant for the template engine in {% raw %} … {% endraw %}"

func (s *scanner) scan() error {
	variable := "${{"
	if s.syntax.Cookiecutter {
		variable = "{{"
	}
	// where the next of each marker is; looked up again when it was passed
	next := marker{text: variable}
	block, comment, commentEnd := marker{text: "{%"}, marker{text: "{#"}, marker{text: "#}"}
	for s.at < len(s.source) {
		kind, start := variableSegment, next.find(s)
		opener := variable
		if at := block.find(s); at < start {
			kind, start, opener = blockSegment, at, "{%"
		}
		isComment := false
		if at := comment.find(s); at < start {
			start, opener, isComment = at, "{#", true
		}
		if at := commentEnd.find(s); at < start {
			return s.fail(at, "Unexpected end of comment", rawRemedy)
		}
		if start >= len(s.source) {
			s.addText(s.source[s.at:], s.at)
			break
		}
		s.addText(s.source[s.at:start], s.at)
		if kind == blockSegment && !isComment && s.syntax.LstripBlocks {
			s.stripIndent(start)
		}
		s.at = start + len(opener)
		if strings.HasPrefix(s.source[s.at:], "-") {
			s.at++
			s.pending = strings.TrimRight(s.pending, spaces)
		}
		s.flush()
		if n := int64(len(s.segments)); n > s.limit {
			return &LimitError{Phase: PhaseParse, Limit: "Nodes", Max: s.limit, Observed: n}
		}
		var err error
		if isComment {
			err = s.comment(start)
		} else {
			err = s.code(kind, start)
		}
		if err != nil {
			return err
		}
	}
	s.flush()
	return nil
}

// marker remembers where it occurs next.
type marker struct {
	text string
	at   int
	seen bool
}

func (m *marker) find(s *scanner) int {
	if !m.seen || m.at < s.at {
		m.seen = true
		if i := strings.Index(s.source[s.at:], m.text); i >= 0 {
			m.at = s.at + i
		} else {
			m.at = len(s.source)
		}
	}
	return m.at
}

func (s *scanner) addText(text string, start int) {
	if s.pending == "" {
		s.pending, s.pendingStart = text, start
		return
	}
	s.pending += text
}

func (s *scanner) flush() {
	if s.pending != "" {
		s.segments = append(s.segments, segment{kind: textSegment, text: s.pending, start: s.pendingStart})
		s.pending = ""
	}
}

// stripIndent removes white space before a tag that begins its line.
func (s *scanner) stripIndent(tag int) {
	line := s.source[strings.LastIndexByte(s.source[:tag], '\n')+1 : tag]
	if strings.TrimLeft(line, spaces) != "" {
		return
	}
	if cut := strings.LastIndexByte(s.pending, '\n') + 1; strings.TrimLeft(s.pending[cut:], spaces) == "" {
		s.pending = s.pending[:cut]
	}
}

func (s *scanner) comment(start int) error {
	end := strings.Index(s.source[s.at:], "#}")
	if end < 0 {
		return s.fail(start, "Unterminated comment tag", "close it with #}, or "+rawRemedy)
	}
	end += s.at
	trim := s.source[end-1] == '-'
	s.at = end + 2
	if trim {
		s.skipSpace()
	}
	return nil
}

func (s *scanner) skipSpace() {
	s.at = len(s.source) - len(strings.TrimLeft(s.source[s.at:], spaces))
}

func (s *scanner) skipLineEnd() {
	if strings.HasPrefix(s.source[s.at:], "\r\n") {
		s.at += 2
	} else if strings.HasPrefix(s.source[s.at:], "\n") {
		s.at++
	}
}

// code reads an expression or a tag up to its closing delimiter.
func (s *scanner) code(kind segmentKind, start int) error {
	closer, what := "}}", "variable"
	if kind == blockSegment {
		closer, what = "%}", "block"
	}
	end, err := findCode(s.source, s.at, closer)
	if err != nil {
		return err
	}
	if end < 0 {
		return s.fail(start, "Unterminated "+what+" tag", "close it with "+closer+", or "+rawRemedy)
	}
	trim := s.source[end-1] == '-'
	to := end
	if trim && to > s.at {
		to--
	}
	from, to := trimCode(s.source, s.at, to)
	s.at = end + len(closer)
	seg := segment{kind: kind, start: start, from: from, to: to}
	if kind == blockSegment {
		if name := tagName(s.source[from:to]); name == "raw" || name == "verbatim" {
			return s.raw(seg, name, trim)
		}
	}
	s.segments = append(s.segments, seg)
	switch {
	case trim:
		s.skipSpace()
	case kind == blockSegment && s.syntax.TrimBlocks:
		s.skipLineEnd()
	}
	return nil
}

// raw takes everything up to the matching end tag as text.
func (s *scanner) raw(tag segment, name string, trim bool) error {
	if tag.to-tag.from > len(name) {
		return s.fail(tag.start, name+" tag does not accept trailing content", "")
	}
	if s.syntax.TrimBlocks {
		s.skipLineEnd()
	}
	depth, at := 1, s.at
	for {
		i := strings.Index(s.source[at:], "{%")
		if i < 0 {
			return s.fail(tag.start, "Missing "+quote("end"+name)+" tag", "")
		}
		opening := at + i
		end, closes, ok := rawTag(s.source, opening, name)
		if !ok {
			at = opening + 2
			continue
		}
		at = end
		if closes {
			depth--
		} else {
			depth++
		}
		if depth > 0 {
			continue
		}
		if strings.Contains(s.source[opening:end], "\n") {
			return s.fail(opening, name+" closing tag cannot contain a line break", "")
		}
		s.addText(s.source[s.at:opening], s.at)
		s.at = end
		if trim {
			s.skipSpace()
		}
		return nil
	}
}

// rawTag reads a tag within raw text, if it has the name that matters there.
func rawTag(source string, at int, name string) (end int, closes, ok bool) {
	rest := strings.TrimLeft(source[at+2:], spaces)
	rest, closes = strings.CutPrefix(rest, "end")
	if rest, ok = strings.CutPrefix(rest, name); !ok {
		return 0, false, false
	}
	rest, ok = strings.CutPrefix(strings.TrimLeft(rest, spaces), "%}")
	return len(source) - len(rest), closes, ok
}

const codeSpace = " \t\n\r\u00a0"

func trimCode(source string, from, to int) (int, int) {
	code := strings.TrimLeft(source[from:to], codeSpace)
	from = to - len(code)
	return from, from + len(strings.TrimRight(code, codeSpace))
}

// tagName returns the name that code begins with.
func tagName(code string) string {
	if code == "" || !isNameStart(code[0]) {
		return ""
	}
	return code[:nameEnd(code, 0)]
}

func isNameStart(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool     { return c >= '0' && c <= '9' }

// nameEnd returns where the name that begins at an index ends.
func nameEnd(code string, at int) int {
	for at < len(code) && (isNameStart(code[at]) || isDigit(code[at])) {
		at++
	}
	return at
}

// findCode finds a delimiter outside of strings, names and regular expressions.
func findCode(source string, at int, delimiter string) (int, error) {
	for at+len(delimiter) <= len(source) {
		end, err := skipToken(source, at)
		switch {
		case err != nil:
			return 0, err
		case end > at:
			at = end
		case strings.HasPrefix(source[at:], delimiter):
			return at, nil
		default:
			at++
		}
	}
	return -1, nil
}

// skipToken returns the end of the string, name, number or regular expression
// that begins at an index, or the index if something else is there.
func skipToken(source string, at int) (int, error) {
	c := source[at]
	if c == '"' || c == '\'' {
		for i := at + 1; i < len(source); i++ {
			if source[i] == '\\' {
				i++
			} else if source[i] == c {
				return i + 1, nil
			}
		}
		return len(source), nil
	}
	if !isNameStart(c) && !isDigit(c) {
		return at, nil
	}
	end := nameEnd(source, at)
	if c == 'r' && end == at+1 && end < len(source) && source[end] == '/' {
		_, end, err := scanRegexp(source, at)
		return end, err
	}
	return end, nil
}

// maxRegexp is the longest pattern of a regular expression, in bytes.
const maxRegexp = 16384

// scanRegexp reads r/pattern/flags.
func scanRegexp(source string, at int) (*ecmaregexp.Regexp, int, error) {
	pattern := make([]byte, 0, 32)
	slashes := 0 // backslashes directly before
	for i := at + 2; i < len(source); i++ {
		c := source[i]
		if c == '/' && slashes == 0 {
			return finishRegexp(source, at, i, string(pattern))
		}
		if len(pattern) >= maxRegexp {
			return nil, 0, &syntaxError{at, "Regular-expression literal exceeds the maximum length", ""}
		}
		if c == '/' && slashes%2 == 0 {
			return nil, 0, &syntaxError{at, "Ambiguous regular-expression delimiter escape", `write \/ for a slash`}
		}
		pattern = append(pattern, c)
		if c == '\\' {
			slashes++
		} else {
			slashes = 0
		}
	}
	return nil, 0, &syntaxError{at, "Unterminated regular-expression literal", ""}
}

func finishRegexp(source string, at, end int, pattern string) (*ecmaregexp.Regexp, int, error) {
	flags := end + 1
	for end = flags; end < len(source) && strings.IndexByte("gimy", source[end]) >= 0; end++ {
		if strings.IndexByte(source[flags:end], source[end]) >= 0 {
			return nil, 0, &syntaxError{at, "Duplicate regular-expression flag", ""}
		}
	}
	if end < len(source) && unicode.IsLetter(rune(source[end])) && source[end] < 0x80 {
		return nil, 0, &syntaxError{at, "Unsupported regular-expression flag", "there are g, i, m and y"}
	}
	re, err := ecmaregexp.Compile(pattern, source[flags:end])
	if err != nil {
		return nil, 0, &syntaxError{at, "Invalid regular-expression literal", err.Error()}
	}
	return re, end, nil
}
