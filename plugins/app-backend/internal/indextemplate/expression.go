package indextemplate

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// expr is an expression. Values are nil (null and undefined), string,
// float64, bool, []any, map[string]any and [level].
type expr interface {
	eval(d *Data) (any, error)
}

type literal struct{ value any }

func (l literal) eval(*Data) (any, error) { return l.value, nil }

type publicPath struct{}

func (publicPath) eval(d *Data) (any, error) { return d.PublicPath, nil }

type wholeConfig struct{}

func (wholeConfig) eval(d *Data) (any, error) { return level{value: d.Config}, nil }

// call calls a method of a level of the configuration.
type call struct {
	on     expr
	method string
	key    expr
}

func (c call) eval(d *Data) (any, error) {
	on, err := c.on.eval(d)
	if err != nil {
		return nil, err
	}
	l, ok := on.(level)
	if !ok {
		return nil, fmt.Errorf("the method %s is called on what is no configuration", c.method)
	}
	if c.key == nil {
		return l.call(c.method, "", true)
	}
	key, err := c.key.eval(d)
	if err != nil {
		return nil, err
	}
	text, ok := key.(string)
	if !ok {
		return nil, fmt.Errorf("the key that config.%s is given is no string", c.method)
	}
	return l.call(c.method, text, false)
}

type stringify struct{ value expr }

func (s stringify) eval(d *Data) (any, error) {
	v, err := s.value.eval(d)
	if err != nil || v == nil {
		return nil, err
	}
	if _, ok := v.(level); ok {
		return nil, errors.New("JSON.stringify cannot print config itself; print config.get(…)")
	}
	text, err := json.Marshal(v) // which also makes it safe within a script
	return string(text), err
}

type not struct{ value expr }

func (n not) eval(d *Data) (any, error) {
	v, err := n.value.eval(d)
	return !truthy(v), err
}

type conditional struct{ condition, yes, no expr }

func (c conditional) eval(d *Data) (any, error) {
	v, err := c.condition.eval(d)
	if err != nil {
		return nil, err
	}
	if truthy(v) {
		return c.yes.eval(d)
	}
	return c.no.eval(d)
}

type binary struct {
	sign        string
	left, right expr
}

func (b binary) eval(d *Data) (any, error) {
	left, err := b.left.eval(d)
	if err != nil {
		return nil, err
	}
	switch b.sign {
	case "??":
		if left != nil {
			return left, nil
		}
		return b.right.eval(d)
	case "||":
		if truthy(left) {
			return left, nil
		}
		return b.right.eval(d)
	case "&&":
		if !truthy(left) {
			return left, nil
		}
		return b.right.eval(d)
	}
	right, err := b.right.eval(d)
	if err != nil {
		return nil, err
	}
	switch b.sign {
	case "===", "==":
		return same(left, right), nil
	case "!==", "!=":
		return !same(left, right), nil
	default:
		return sum(left, right)
	}
}

// same compares scalars; nothing else is the same as anything.
func same(a, b any) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case string, float64, bool:
		return a == b
	default:
		return false
	}
}

func sum(a, b any) (any, error) {
	x, ok := a.(float64)
	y, okay := b.(float64)
	if ok && okay {
		return x + y, nil
	}
	left, err := joinable(a)
	if err != nil {
		return nil, err
	}
	right, err := joinable(b)
	if err != nil {
		return nil, err
	}
	const limit = 1 << 20
	if len(left)+len(right) > limit {
		return nil, fmt.Errorf("a joined string is longer than %d bytes", limit)
	}
	return left + right, nil
}

func joinable(v any) (string, error) {
	if v == nil {
		return "", errors.New("+ is given a value that is not there; use ?? to say what to print instead")
	}
	return textOf(v)
}

func truthy(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case string:
		return v != ""
	case float64:
		return v != 0 && !math.IsNaN(v)
	case bool:
		return v
	default:
		return true
	}
}

// textOf returns what a template prints of a value.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		text, err := json.Marshal(v) // as JavaScript writes numbers
		return string(text), err
	case []any:
		parts := make([]string, len(v))
		for i, x := range v {
			var err error
			if parts[i], err = textOf(x); err != nil {
				return "", err
			}
		}
		return strings.Join(parts, ","), nil
	default:
		return "", errors.New("an object cannot be printed; use JSON.stringify(…), or a key below it")
	}
}

// expressions reads expressions from tokens.
type expressions struct {
	tokens []token
	line   int // of the last token
	depth  int
}

// maxDepth bounds how deep expressions are nested.
const maxDepth = 100

func (e *expressions) done() bool { return len(e.tokens) == 0 }

func (e *expressions) at() int {
	if e.done() {
		return e.line
	}
	return e.tokens[0].line
}

// found names the next token, for messages.
func (e *expressions) found() string {
	if e.done() {
		return "the end of the tag"
	}
	return strconv.Quote(e.tokens[0].text)
}

func (e *expressions) next() token {
	t := e.tokens[0]
	e.tokens, e.line = e.tokens[1:], t.line
	return t
}

// accept takes the next token if it is the given sign or word.
func (e *expressions) accept(text string) bool {
	if e.done() || e.tokens[0].text != text || e.tokens[0].kind > wordToken {
		return false
	}
	e.next()
	return true
}

// whole reads an expression that all tokens belong to.
func (e *expressions) whole() (expr, *mistake) {
	x, err := e.expression()
	if err != nil {
		return nil, err
	}
	e.accept(";")
	if !e.done() {
		return nil, mistakeAt(e.at(), "%s cannot stand here", e.found())
	}
	return x, nil
}

func (e *expressions) expression() (expr, *mistake) {
	if e.depth++; e.depth > maxDepth {
		return nil, mistakeAt(e.at(), "the expression is nested more than %d deep", maxDepth)
	}
	defer func() { e.depth-- }()
	condition, err := e.binary(0)
	if err != nil || !e.accept("?") {
		return condition, err
	}
	yes, err := e.expression()
	if err != nil {
		return nil, err
	}
	if !e.accept(":") {
		return nil, mistakeAt(e.at(), "expected : after ?, found %s", e.found())
	}
	no, err := e.expression()
	return conditional{condition, yes, no}, err
}

// levels of binary operators, those that bind least first.
var operators = [][]string{{"??", "||"}, {"&&"}, {"===", "!==", "==", "!="}, {"+"}}

func (e *expressions) binary(precedence int) (expr, *mistake) {
	if precedence == len(operators) {
		return e.unary()
	}
	left, err := e.binary(precedence + 1)
	if err != nil {
		return nil, err
	}
	for length := 0; ; length++ {
		sign := ""
		for _, s := range operators[precedence] {
			if e.accept(s) {
				sign = s
				break
			}
		}
		if sign == "" {
			return left, nil
		}
		if length >= maxDepth {
			return nil, mistakeAt(e.at(), "the expression has more than %d parts", maxDepth)
		}
		right, err := e.binary(precedence + 1)
		if err != nil {
			return nil, err
		}
		left = binary{sign, left, right}
	}
}

func (e *expressions) unary() (expr, *mistake) {
	negated := 0
	for e.accept("!") {
		if negated++; negated > maxDepth {
			return nil, mistakeAt(e.at(), "the expression has more than %d negations", maxDepth)
		}
	}
	x, err := e.primary()
	if err != nil {
		return nil, err
	}
	for range negated {
		x = not{x}
	}
	return x, nil
}

func (e *expressions) primary() (expr, *mistake) {
	if e.done() {
		return nil, mistakeAt(e.line, "an expression is missing")
	}
	line, found := e.at(), e.found()
	switch t := e.next(); {
	case t.kind == stringToken:
		return literal{t.text}, nil
	case t.kind == numberToken:
		return literal{t.value}, nil
	case t.text == "-" && !e.done() && e.tokens[0].kind == numberToken:
		return literal{-e.next().value}, nil
	case t.text == "(":
		x, err := e.expression()
		if err != nil {
			return nil, err
		}
		if !e.accept(")") {
			return nil, mistakeAt(e.at(), "expected ), found %s", e.found())
		}
		return x, nil
	case t.text == "true" || t.text == "false":
		return literal{t.text == "true"}, nil
	case t.text == "null" || t.text == "undefined":
		return literal{}, nil
	case t.text == "publicPath":
		return publicPath{}, nil
	case t.text == "config":
		return e.calls(wholeConfig{})
	case t.text == "JSON" && e.accept("."):
		if !e.accept("stringify") {
			return nil, mistakeAt(line, "of JSON, only JSON.stringify can be used here")
		}
		x, err := e.arguments("JSON.stringify")
		if err == nil && x == nil {
			err = mistakeAt(line, "JSON.stringify needs a value")
		}
		return stringify{x}, err
	default:
		return nil, mistakeAt(line, "%s cannot be evaluated; templates can use config, publicPath, JSON.stringify and literals", found)
	}
}

// calls reads the methods that are called on a configuration.
func (e *expressions) calls(x expr) (expr, *mistake) {
	for range maxDepth {
		if !e.accept(".") {
			return x, nil
		}
		line := e.at()
		if e.done() {
			return nil, mistakeAt(line, "the name of a method is missing after the dot")
		}
		method := e.next().text
		if !knownMethod(method) {
			return nil, mistakeAt(line, "config.%s cannot be used here; use has, get, getString, getNumber, getBoolean, getStringArray, getConfig or one of their getOptional forms", method)
		}
		key, err := e.arguments("config." + method)
		if err != nil {
			return nil, err
		}
		if key == nil && needsKey(method) {
			return nil, mistakeAt(line, "config.%s needs a key", method)
		}
		x = call{x, method, key}
	}
	return nil, mistakeAt(e.at(), "more than %d methods are called on each other", maxDepth)
}

// arguments reads "()" or "(expression)".
func (e *expressions) arguments(function string) (expr, *mistake) {
	if !e.accept("(") {
		return nil, mistakeAt(e.at(), "expected ( after %s, found %s", function, e.found())
	}
	if e.accept(")") {
		return nil, nil
	}
	x, err := e.expression()
	if err != nil {
		return nil, err
	}
	if !e.accept(")") {
		return nil, mistakeAt(e.at(), "expected ) after the argument of %s, found %s", function, e.found())
	}
	return x, nil
}
