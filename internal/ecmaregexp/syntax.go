package ecmaregexp

import "fmt"

// A SyntaxError says what is wrong with an expression.
type SyntaxError struct {
	Pattern string
	// Offset is the place in the expression, in characters (flag u) or units.
	Offset  int
	Problem string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("regular expression /%s/: %s at offset %d", e.Pattern, e.Problem, e.Offset)
}

// node is a part of a parsed expression.
type node interface{}

type (
	empty    struct{}
	sequence struct{ items []node }
	choice   struct{ alternatives []node }
	// literal is one unit or character.
	literal struct{ r rune }
	anyChar struct{}
	// class matches one unit or character of a set.
	class struct{ set *charSet }
	group struct {
		body node
		// index of the capture, from 1; 0 does not capture
		index int
	}
	repeat struct {
		body     node
		min, max int // max < 0: no limit
		lazy     bool
		// captures within the body, from (included) to (excluded)
		from, to int
	}
	// assertion is one of ^ $ b B.
	assertion struct{ kind byte }
	look      struct {
		body             node
		behind, negative bool
		from, to         int
	}
	backReference struct {
		index int
		name  string
	}
)

const (
	// maxPattern is the longest expression, in units.
	maxPattern = 16384
	// maxNesting is how deep groups may nest.
	maxNesting = 200
	// maxRepeat is what larger counts are cut to; texts are shorter.
	maxRepeat = 1 << 30
)

// nullable reports whether n may match the empty text.
func nullable(n node) bool {
	switch n := n.(type) {
	case literal, anyChar, class:
		return false
	case sequence:
		for _, item := range n.items {
			if !nullable(item) {
				return false
			}
		}
		return true
	case choice:
		for _, a := range n.alternatives {
			if nullable(a) {
				return true
			}
		}
		return false
	case group:
		return nullable(n.body)
	case repeat:
		return n.min == 0 || nullable(n.body)
	default:
		return true
	}
}
