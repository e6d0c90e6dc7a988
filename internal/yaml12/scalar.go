package yaml12

import (
	"encoding/base64"
	"math"
	"math/big"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Scalar returns the JSON value of a scalar node under the YAML 1.2 core
// schema: nil, bool, float64 or string, and an object for !!binary.
func Scalar(n *yaml.Node) (any, error) { return scalarValue(n) }

func scalarValue(n *yaml.Node) (any, error) {
	v, err := Resolve(n)
	if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil, err
	}
	return v, err
}

const quotedOrBlock = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

// isPlain reports whether the text alone decides about the type.
func isPlain(n *yaml.Node) bool {
	return n.Style&(quotedOrBlock|yaml.TaggedStyle) == 0 && n.Tag != "!"
}

// isString reports whether a scalar is a string without any doubt, cheaply.
func isString(n *yaml.Node) bool {
	if n.Style&yaml.TaggedStyle != 0 {
		return false
	}
	return !isPlain(n) || !mayBeTyped(n.Value)
}

// mayBeTyped looks at the first byte: most plain scalars are words.
func mayBeTyped(text string) bool {
	if text == "" {
		return true
	}
	switch c := text[0]; c {
	case '~', 'n', 'N', 't', 'T', 'f', 'F', '+', '-', '.':
		return true
	default:
		return '0' <= c && c <= '9'
	}
}

// Resolve is [Scalar] with infinities and NaN kept.
func Resolve(n *yaml.Node) (any, error) {
	if n.Style&yaml.TaggedStyle == 0 {
		if isPlain(n) {
			return Plain(n.Value), nil
		}
		return n.Value, nil
	}
	typed := Plain(n.Value)
	matches := false
	switch n.Tag {
	case "!!null":
		matches = typed == nil
	case "!!bool":
		_, matches = typed.(bool)
	case "!!int":
		_, matches = typed.(float64)
		matches = matches && isInteger(n.Value)
	case "!!float":
		_, matches = typed.(float64)
		matches = matches && !isInteger(n.Value)
	case "!!binary":
		return binary(n)
	}
	if matches {
		return typed, nil
	}
	return n.Value, nil // !!str, an unknown tag, or one that does not fit
}

// Plain resolves a plain, untagged scalar, and keeps infinities and NaN; see
// the package comment for the rules.
func Plain(text string) any {
	if !mayBeTyped(text) {
		return text
	}
	switch text {
	case "", "~", "null", "Null", "NULL":
		return nil
	case "true", "True", "TRUE":
		return true
	case "false", "False", "FALSE":
		return false
	case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF":
		return math.Inf(1)
	case "-.inf", "-.Inf", "-.INF":
		return math.Inf(-1)
	case ".nan", ".NaN", ".NAN":
		return math.NaN()
	}
	if isInteger(text) || isFloat(text) {
		return number(text)
	}
	return text
}

// isInteger matches [-+]?[0-9]+, 0o[0-7]+ and 0x[0-9a-fA-F]+.
func isInteger(text string) bool {
	if digits, ok := strings.CutPrefix(text, "0o"); ok {
		return digits != "" && strings.Trim(digits, "01234567") == ""
	}
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		return digits != "" && strings.Trim(digits, "0123456789abcdefABCDEF") == ""
	}
	if text != "" && (text[0] == '-' || text[0] == '+') {
		text = text[1:]
	}
	return text != "" && skipDigits(text) == ""
}

// isFloat matches [-+]?(\.[0-9]+|[0-9]+\.[0-9]*) and, with an exponent,
// [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+.
func isFloat(text string) bool {
	if text != "" && (text[0] == '-' || text[0] == '+') {
		text = text[1:]
	}
	rest := skipDigits(text)
	whole := len(text) - len(rest)
	point, fraction := false, 0
	if strings.HasPrefix(rest, ".") {
		point = true
		after := skipDigits(rest[1:])
		fraction = len(rest) - 1 - len(after)
		rest = after
	}
	if whole == 0 && fraction == 0 {
		return false
	}
	if rest == "" {
		return point
	}
	if rest[0] != 'e' && rest[0] != 'E' {
		return false
	}
	rest = rest[1:]
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		rest = rest[1:]
	}
	return rest != "" && skipDigits(rest) == ""
}

func skipDigits(s string) string {
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	return s[i:]
}

func number(text string) float64 {
	base := 0
	switch {
	case strings.HasPrefix(text, "0o"):
		base = 8
	case strings.HasPrefix(text, "0x"):
		base = 16
	default:
		f, _ := strconv.ParseFloat(text, 64) // out of range gives an infinity, as wanted
		return f
	}
	if n, err := strconv.ParseUint(text[2:], base, 64); err == nil {
		return float64(n)
	}
	if n, ok := new(big.Int).SetString(text[2:], base); ok {
		f, _ := new(big.Float).SetInt(n).Float64()
		return f
	}
	return math.NaN()
}

// binary is the JSON form that Node.js gives to a buffer.
func binary(n *yaml.Node) (any, error) {
	text := strings.Map(func(r rune) rune {
		if r == ' ' || r == '\n' || r == '\t' {
			return -1
		}
		return r
	}, n.Value)
	bytes, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil, fail(n, "!!binary holds no base64: %v", err)
	}
	data := make([]any, len(bytes))
	for i, c := range bytes {
		data[i] = float64(c)
	}
	return map[string]any{"type": "Buffer", "data": data}, nil
}

// scalarIdentity is comparable and equal for equal scalars.
func scalarIdentity(n *yaml.Node) (any, error) {
	v, err := Resolve(n)
	if err != nil {
		return nil, err
	}
	switch v.(type) {
	case nil, bool, string, float64:
		return v, nil
	default:
		return n, nil // objects are equal to themselves only
	}
}
