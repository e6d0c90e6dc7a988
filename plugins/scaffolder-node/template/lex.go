package template

import (
	"strings"

	"github.com/flytower/flytower/internal/ecmaregexp"
)

type tokenKind uint8

const (
	eofToken tokenKind = iota
	nameToken
	numberToken
	stringToken
	regexpToken
	operatorToken
)

func (k tokenKind) String() string {
	return [...]string{"eof", "name", "number", "string", "regex", "operator"}[k]
}

// token is a word of an expression.
type token struct {
	kind tokenKind
	at   int
	// text is the name, the number, the operator, or what a string means
	text string
	re   *ecmaregexp.Regexp
}

var operators = [...]string{"===", "!==", "**", "//", "==", "!=", "<=", ">="}

// lex splits the code between two offsets into tokens, which it appends.
func lex(tokens []token, source string, from, to int) ([]token, error) {
	first := len(tokens)
	code := source[:to]
	for at := from; at < to; {
		c := code[at]
		if strings.IndexByte(" \t\n\r", c) >= 0 {
			at++
			continue
		}
		if strings.HasPrefix(code[at:], "\u00a0") {
			at += len("\u00a0")
			continue
		}
		var previous token
		if len(tokens) > first {
			previous = tokens[len(tokens)-1]
		}
		t, end, err := lexToken(code, at, previous)
		if err != nil {
			return tokens, err
		}
		tokens = append(tokens, t)
		at = end
	}
	return append(tokens, token{kind: eofToken, at: to}), nil
}

func lexToken(code string, at int, previous token) (token, int, error) {
	c := code[at]
	afterDot := previous.kind == operatorToken && previous.text == "."
	if end, ok := lexName(code, at, afterDot); ok {
		if code[at:end] == "r" && end < len(code) && code[end] == '/' {
			re, end, err := scanRegexp(code, at)
			return token{kind: regexpToken, at: at, re: re, text: "r"}, end, err
		}
		return token{kind: nameToken, at: at, text: code[at:end]}, end, nil
	}
	switch {
	case isDigit(c):
		end := at
		for end < len(code) && isDigit(code[end]) {
			end++
		}
		if end < len(code) && code[end] == '.' {
			for end++; end < len(code) && isDigit(code[end]); end++ {
			}
		}
		if end < len(code) && isNameStart(code[end]) {
			return token{}, 0, &syntaxError{at, "Invalid numeric literal", "numbers are digits, with or without a point; put names that begin with a digit into brackets and quotes"}
		}
		return token{kind: numberToken, at: at, text: code[at:end]}, end, nil
	case c == '.' && at+1 < len(code) && isDigit(code[at+1]) && !endsOperand(previous):
		return token{}, 0, &syntaxError{at, "Invalid numeric literal", "write a digit before the point"}
	case c == '"' || c == '\'':
		text, end, ok := unquote(code, at)
		if !ok {
			return token{}, 0, &syntaxError{at, "Unterminated string literal", ""}
		}
		return token{kind: stringToken, at: at, text: text}, end, nil
	}
	for _, op := range operators {
		if strings.HasPrefix(code[at:], op) {
			return token{kind: operatorToken, at: at, text: op}, at + len(op), nil
		}
	}
	if strings.IndexByte("()[]{}.,:|~+-*/%<>=", c) < 0 {
		char := []rune(code[at:min(len(code), at+4)])[0]
		return token{}, 0, &syntaxError{at, "Unexpected character " + quote(string(char)), operatorRemedy(char)}
	}
	return token{kind: operatorToken, at: at, text: code[at : at+1]}, at + 1, nil
}

func operatorRemedy(c rune) string {
	switch c {
	case '!':
		return `write "not" for a negation`
	case '&':
		return `write "and"`
	case '?':
		return `write "a if condition else b"`
	}
	return ""
}

// lexName reads a name; after a dot it may begin with digits.
func lexName(code string, at int, afterDot bool) (end int, ok bool) {
	start := at
	if afterDot {
		for start < len(code) && isDigit(code[start]) {
			start++
		}
	}
	if start >= len(code) || !isNameStart(code[start]) {
		return 0, false
	}
	return nameEnd(code, start), true
}

func endsOperand(t token) bool {
	switch t.kind {
	case nameToken, numberToken, stringToken, regexpToken:
		return true
	case operatorToken:
		return t.text == ")" || t.text == "]" || t.text == "}"
	}
	return false
}

// unquote reads a string literal.
func unquote(code string, at int) (text string, end int, ok bool) {
	quote := code[at]
	rest := code[at+1:]
	i := strings.IndexAny(rest, `\`+string(rune(quote)))
	if i >= 0 && rest[i] == quote {
		return rest[:i], at + i + 2, true
	}
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		c := rest[i]
		if c == quote {
			return b.String(), at + i + 2, true
		}
		if c == '\\' {
			if i++; i >= len(rest) {
				break
			}
			switch c = rest[i]; c {
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			}
		}
		b.WriteByte(c)
	}
	return "", 0, false
}
