package indextemplate

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// token is a word, a string, a number or a sign.
type token struct {
	kind  tokenKind
	text  string  // of a string its value
	value float64 // of a number
	line  int
}

type tokenKind int

const (
	signToken tokenKind = iota
	wordToken
	stringToken
	numberToken
)

// mistake is a problem in the text of a tag.
type mistake struct {
	line    int
	problem string
}

func mistakeAt(line int, format string, args ...any) *mistake {
	return &mistake{line, fmt.Sprintf(format, args...)}
}

// signs, the longer before those that they begin with.
var signs = []string{"===", "!==", "==", "!=", "??", "||", "&&", "!", "?", ":", "(", ")", "{", "}", ".", ",", "+", "-", ";"}

// scan splits the text of a tag.
func scan(text string, line int) ([]token, *mistake) {
	var tokens []token
	for text != "" {
		c := text[0]
		switch {
		case c == '\n':
			line++
			text = text[1:]
		case c == ' ' || c == '\t' || c == '\r':
			text = text[1:]
		case strings.HasPrefix(text, "//"):
			_, after, found := strings.Cut(text, "\n")
			if found {
				line++
			}
			text = after
		case strings.HasPrefix(text, "/*"):
			comment, after, found := strings.Cut(text[2:], "*/")
			if !found {
				return nil, mistakeAt(line, "the comment that begins here is not closed")
			}
			line += strings.Count(comment, "\n")
			text = after
		case c == '"' || c == '\'' || c == '`':
			value, rest, err := scanString(text, line)
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, token{kind: stringToken, text: value, line: line})
			line += strings.Count(text[:len(text)-len(rest)], "\n")
			text = rest
		case '0' <= c && c <= '9':
			n := len(text) - len(strings.TrimLeft(text, "0123456789."))
			value, err := strconv.ParseFloat(text[:n], 64)
			if err != nil {
				return nil, mistakeAt(line, "%s is no number", text[:n])
			}
			tokens = append(tokens, token{kind: numberToken, text: text[:n], value: value, line: line})
			text = text[n:]
		case isWord(c):
			n := 1
			for n < len(text) && (isWord(text[n]) || '0' <= text[n] && text[n] <= '9') {
				n++
			}
			tokens = append(tokens, token{kind: wordToken, text: text[:n], line: line})
			text = text[n:]
		default:
			sign := ""
			for _, s := range signs {
				if strings.HasPrefix(text, s) {
					sign = s
					break
				}
			}
			if sign == "" {
				r, _ := utf8.DecodeRuneInString(text)
				return nil, mistakeAt(line, "%q cannot stand here", r)
			}
			tokens = append(tokens, token{kind: signToken, text: sign, line: line})
			text = text[len(sign):]
		}
	}
	return tokens, nil
}

func isWord(c byte) bool {
	return c == '_' || c == '$' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// scanString reads a string with its quotes.
func scanString(text string, line int) (value, rest string, _ *mistake) {
	quote := text[0]
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote:
			return b.String(), text[i+1:], nil
		case c == '\n' && quote != '`':
			return "", "", mistakeAt(line, "the string that begins here does not end on the same line")
		case c == '$' && quote == '`' && strings.HasPrefix(text[i:], "${"):
			return "", "", mistakeAt(line, "a string with ${…} in it cannot be evaluated; join its parts with +")
		case c == '\\' && i+1 < len(text):
			n, problem := unescape(&b, text[i+1:])
			if problem != "" {
				return "", "", mistakeAt(line, "%s", problem)
			}
			i += n
		default:
			b.WriteByte(c)
		}
	}
	return "", "", mistakeAt(line, "the string that begins here is not closed")
}

// unescape writes what an escape sequence stands for, without its backslash,
// and returns its length.
func unescape(b *strings.Builder, text string) (n int, problem string) {
	simple := map[byte]string{'n': "\n", 't': "\t", 'r': "\r", 'b': "\b", 'f': "\f", 'v': "\v", '0': "\x00", '\n': ""}
	switch c := text[0]; c {
	case 'u', 'x':
		digits := map[byte]int{'u': 4, 'x': 2}[c]
		if len(text) < 1+digits {
			return 0, "an escape sequence in a string is cut"
		}
		code, err := strconv.ParseUint(text[1:1+digits], 16, 32)
		if err != nil {
			return 0, fmt.Sprintf("\\%s is no escape sequence", text[:1+digits])
		}
		if utf16.IsSurrogate(rune(code)) {
			return 0, "a string has half a character in it; write the character itself"
		}
		b.WriteRune(rune(code))
		return 1 + digits, ""
	default:
		if s, ok := simple[c]; ok {
			b.WriteString(s)
		} else {
			b.WriteByte(c)
		}
		return 1, ""
	}
}
