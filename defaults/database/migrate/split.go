package migrate

import (
	"fmt"
	"strings"
)

// statement is one statement of a file.
type statement struct {
	text string // without the semicolon at its end
	line int    // of its first word, from 1
}

// split cuts a file at the semicolons between statements. It knows what may
// hide a semicolon: quotes, dollar quotes, comments, and the body of a
// SQLite trigger.
func split(text string) ([]statement, error) {
	var (
		out     []statement
		start   = -1 // of the current statement's first word
		words   int  // of the current statement
		trigger bool // it creates a trigger
		// ended counts how far ";END;" was seen in the body of a trigger.
		ended int
	)
	for i := 0; i < len(text); {
		n, kind, err := token(text, i)
		if err != nil {
			return nil, err
		}
		piece := text[i : i+n]
		switch kind {
		case blank:
		case semicolon:
			if start >= 0 && trigger && ended < 2 {
				ended = 1
				break
			}
			if start >= 0 {
				out = append(out, statement{text: text[start:i], line: lineAt(text, start)})
			}
			start, words, trigger, ended = -1, 0, false, 0
		default:
			if start < 0 {
				start = i
			}
			if kind == word {
				words++
				switch upper := strings.ToUpper(piece); {
				case upper == "TRIGGER" && (words == 2 || words == 3) && strings.EqualFold(firstWord(text[start:]), "CREATE"):
					trigger = triggerHasBody(text[i:])
				case upper == "END" && ended == 1:
					ended = 2
				default:
					ended = 0
				}
			} else {
				ended = 0
			}
		}
		i += n
	}
	if start >= 0 {
		out = append(out, statement{text: strings.TrimRight(text[start:], " \t\r\n"), line: lineAt(text, start)})
	}
	return out, nil
}

// triggerHasBody tells SQLite's triggers, which have BEGIN ... END, from those
// of PostgreSQL, which execute a function.
func triggerHasBody(text string) bool {
	for i := 0; i < len(text); {
		n, kind, err := token(text, i)
		if err != nil || kind == semicolon {
			return false
		}
		if kind == word && strings.EqualFold(text[i:i+n], "BEGIN") {
			return true
		}
		i += n
	}
	return false
}

type tokenKind int

const (
	blank tokenKind = iota // white space and comments
	semicolon
	word
	other
)

// token returns the length and kind of what begins at i.
func token(s string, i int) (int, tokenKind, error) {
	rest := s[i:]
	unended := func(what string) (int, tokenKind, error) {
		return 0, other, fmt.Errorf("line %d: this %s has no end", lineAt(s, i), what)
	}
	switch c := s[i]; {
	case c == ';':
		return 1, semicolon, nil
	case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
		return 1, blank, nil
	case strings.HasPrefix(rest, "--"):
		if n := strings.IndexByte(rest, '\n'); n >= 0 {
			return n + 1, blank, nil
		}
		return len(rest), blank, nil
	case strings.HasPrefix(rest, "/*"):
		if n := comment(rest); n > 0 {
			return n, blank, nil
		}
		return unended("comment")
	case c == '\'' || c == '"' || c == '`':
		if n := quoted(rest, false); n > 0 {
			return n, other, nil
		}
		return unended("quote")
	case c == '$':
		tag := dollarTag(rest)
		if tag == "" {
			return 1, other, nil
		}
		if n := strings.Index(rest[len(tag):], tag); n >= 0 {
			return n + 2*len(tag), other, nil
		}
		return unended("dollar quote")
	case isWord(c):
		n := 1
		for n < len(rest) && (isWord(rest[n]) || rest[n] == '$') {
			n++
		}
		if n == 1 && (c == 'e' || c == 'E') && len(rest) > 1 && rest[1] == '\'' {
			if m := quoted(rest[1:], true); m > 0 {
				return m + 1, other, nil
			}
			return unended("quote")
		}
		return n, word, nil
	default:
		return 1, other, nil
	}
}

// quoted returns the length of the quotation at the begin of s, 0 if it has no
// end. A doubled quote stands for itself; a backslash escapes if it may.
func quoted(s string, backslash bool) int {
	for i := 1; i < len(s); i++ {
		switch {
		case backslash && s[i] == '\\':
			i++
		case s[i] == s[0] && i+1 < len(s) && s[i+1] == s[0]:
			i++
		case s[i] == s[0]:
			return i + 1
		}
	}
	return 0
}

// comment returns the length of the comment at the begin of s. Comments nest
// in PostgreSQL; in SQLite they do not, and nobody nests them there.
func comment(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); {
		switch s[i : i+2] {
		case "/*":
			depth++
			i += 2
		case "*/":
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return 0
}

// dollarTag returns "$$" or "$name$" at the begin of s.
func dollarTag(s string) string {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '$':
			return s[:i+1]
		case !isWord(s[i]) || i == 1 && s[i] >= '0' && s[i] <= '9':
			return ""
		}
	}
	return ""
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func firstWord(s string) string {
	n := 0
	for n < len(s) && isWord(s[n]) {
		n++
	}
	return s[:n]
}

func lineAt(s string, i int) int { return 1 + strings.Count(s[:i], "\n") }
