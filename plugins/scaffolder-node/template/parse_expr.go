package template

import (
	"strconv"

	"github.com/flytower/flytower/internal/ecmaregexp"
)

type regexpSource = ecmaregexp.Regexp

// exprParser parses the tokens of one expression. Its first error sticks;
// after it the parser sees the end of the expression.
type exprParser struct {
	p      *parser
	tokens []token
	at     int
	err    error
}

// expression parses the code between two offsets.
func (p *parser) expression(from, to int) (expr, error) {
	e, err := p.tokens(from, to)
	if err != nil {
		return nil, err
	}
	x := e.inlineIf()
	e.end()
	return x, e.err
}

func (p *parser) tokens(from, to int) (*exprParser, error) {
	var err error
	p.buffer, err = lex(p.buffer[:0], p.source, from, to)
	return &exprParser{p: p, tokens: p.buffer}, err
}

func (e *exprParser) peek() token { return e.tokens[e.at] }

func (e *exprParser) peekNext() token { return e.tokens[min(e.at+1, len(e.tokens)-1)] }

func (e *exprParser) fail(offset int, detail, remedy string) {
	if e.err == nil {
		e.err = &syntaxError{offset, detail, remedy}
	}
	e.at = len(e.tokens) - 1 // nothing more to read
}

func (e *exprParser) operator(text string) bool {
	if t := e.peek(); t.kind != operatorToken || t.text != text {
		return false
	}
	e.at++
	return true
}

func (e *exprParser) oneOf(texts ...string) (string, bool) {
	for _, text := range texts {
		if e.operator(text) {
			return text, true
		}
	}
	return "", false
}

func (e *exprParser) word(text string) bool {
	if t := e.peek(); t.kind != nameToken || t.text != text {
		return false
	}
	e.at++
	return true
}

func (e *exprParser) expect(kind tokenKind) token {
	t := e.peek()
	switch {
	case t.kind == kind:
		if kind != eofToken {
			e.at++
		}
	case t.kind == eofToken:
		e.fail(t.at, "Expected "+kind.String()+", received end of input", "")
	default:
		e.fail(t.at, "Expected "+kind.String()+", received "+quote(t.text), "")
	}
	return t
}

func (e *exprParser) end() { e.expect(eofToken) }

func (e *exprParser) expectOperator(text string) {
	if !e.operator(text) {
		e.fail(e.peek().at, "Expected "+text, "")
	}
}

// nested guards what calls itself.
func (e *exprParser) nested() (leave func()) {
	e.p.depth++
	if err := e.p.checkDepth(e.peek().at); err != nil && e.err == nil {
		e.err = err
		e.at = len(e.tokens) - 1
	}
	return func() { e.p.depth-- }
}

// node counts a part of the template.
func (e *exprParser) node(offset int) at {
	if err := e.p.count(offset); err != nil && e.err == nil {
		e.err = err
		e.at = len(e.tokens) - 1
	}
	return at(offset)
}

func (e *exprParser) inlineIf() expr {
	defer e.nested()()
	then := e.or()
	if !e.word("if") {
		return then
	}
	c := &conditional{condition: e.or(), then: then}
	if e.word("else") {
		c.otherwise = e.or()
	}
	c.at = e.node(then.pos())
	return c
}

func (e *exprParser) or() expr {
	left := e.and()
	for e.word("or") {
		left = &logical{e.node(left.pos()), true, left, e.and()}
	}
	return left
}

func (e *exprParser) and() expr {
	left := e.not()
	for e.word("and") {
		left = &logical{e.node(left.pos()), false, left, e.not()}
	}
	return left
}

func (e *exprParser) not() expr {
	start := e.peek().at
	if !e.word("not") {
		return e.in()
	}
	defer e.nested()()
	return e.negate(e.not(), start)
}

// negate applies "not" to the leftmost operand of sums and comparisons, and to
// other expressions as a whole: so did the language that this one follows.
func (e *exprParser) negate(x expr, start int) expr {
	switch n := x.(type) {
	case *binary:
		if n.op != '^' {
			return &binary{e.node(start), n.op, e.negate(n.left, start), n.right}
		}
	case *comparison:
		return &comparison{e.node(start), e.negate(n.first, start), n.operands}
	}
	return &unary{e.node(start), '!', x}
}

func (e *exprParser) in() expr {
	left := e.is()
	for {
		negated := false
		if t := e.peek(); t.kind == nameToken && t.text == "not" && e.peekNext().text == "in" {
			e.at += 2
			negated = true
		} else if !e.word("in") {
			return left
		}
		var found expr = &membership{e.node(left.pos()), left, e.is()}
		if negated {
			found = &unary{e.node(left.pos()), '!', found}
		}
		left = found
	}
}

func (e *exprParser) is() expr {
	left := e.equality()
	if !e.word("is") {
		return left
	}
	negated := e.word("not")
	right := e.equality()
	t := &test{at: e.node(right.pos()), input: left}
	if c, ok := right.(*call); ok {
		t.args = c.args
		right = c.target
	}
	t.name = testName(right)
	if negated {
		return &unary{e.node(left.pos()), '!', t}
	}
	return t
}

// testName reads what stands on the right of "is". The literal none names the
// test null.
func testName(x expr) string {
	switch x := x.(type) {
	case *name:
		return x.name
	case *literal:
		switch v := x.value.(type) {
		case Null:
			return "null"
		case Bool:
			return strconv.FormatBool(bool(v))
		case Number:
			return formatNumber(float64(v))
		case String:
			return string(v)
		}
	}
	return "undefined"
}

func (e *exprParser) equality() expr {
	return e.chain(e.relation, "===", "!==", "==", "!=")
}

func (e *exprParser) relation() expr {
	return e.chain(e.sum, "<=", ">=", "<", ">")
}

func (e *exprParser) chain(next func() expr, ops ...string) expr {
	first := next()
	var operands []operand
	for {
		op, ok := e.oneOf(ops...)
		if !ok {
			break
		}
		right := next()
		e.node(right.pos())
		operands = append(operands, operand{op, right})
	}
	if operands == nil {
		return first
	}
	return &comparison{e.node(first.pos()), first, operands}
}

func (e *exprParser) sum() expr {
	left := e.product()
	for {
		op, ok := e.oneOf("+", "-", "~")
		if !ok {
			return left
		}
		left = &binary{e.node(left.pos()), op[0], left, e.product()}
	}
}

// factors is a product before its operations are put into an order.
type factors struct {
	first expr
	ops   []factor
}

type factor struct {
	op    byte
	right expr
}

func (f *factors) add(op byte, right factors) {
	f.ops = append(f.ops, factor{op, right.first})
	f.ops = append(f.ops, right.ops...)
}

// product parses * / // % on four levels, the first binding least, and then
// evaluates * / % from left to right regardless of them: only // cuts what was
// collected on its level so far.
func (e *exprParser) product() expr {
	f := e.products()
	return e.fold(f)
}

func (e *exprParser) products() factors {
	f := e.quotients()
	for e.operator("*") {
		f.add('*', e.quotients())
	}
	return f
}

func (e *exprParser) quotients() factors {
	f := e.floors()
	for e.operator("/") {
		f.add('/', e.floors())
	}
	return f
}

func (e *exprParser) floors() factors {
	f := e.remainders()
	for e.operator("//") {
		f.add('/', e.remainders())
		whole := e.fold(f)
		f = factors{first: &unary{e.node(whole.pos()), '/', whole}}
	}
	return f
}

func (e *exprParser) remainders() factors {
	f := factors{first: e.power()}
	for e.operator("%") {
		f.ops = append(f.ops, factor{'%', e.power()})
	}
	return f
}

func (e *exprParser) fold(f factors) expr {
	left := f.first
	for _, next := range f.ops {
		left = &binary{e.node(left.pos()), next.op, left, next.right}
	}
	return left
}

func (e *exprParser) power() expr {
	left := e.filtered()
	for e.operator("**") {
		left = &binary{e.node(left.pos()), '^', left, e.filtered()}
	}
	return left
}

func (e *exprParser) filtered() expr {
	x := e.unary()
	for e.operator("|") {
		x = e.filter(x)
	}
	return x
}

// filter parses the name and arguments of a filter.
func (e *exprParser) filter(input expr) expr {
	first := e.expect(nameToken)
	e.allowed(first.text, first.at)
	f := &filter{at: e.node(first.at), name: first.text, input: input}
	for e.operator(".") {
		part := e.expect(nameToken)
		e.allowed(part.text, part.at)
		f.name += "." + part.text
	}
	if e.operator("(") {
		f.args = e.arguments()
	}
	return f
}

func (e *exprParser) unary() expr {
	start := e.peek().at
	op, ok := e.oneOf("-", "+")
	if !ok {
		return e.postfix()
	}
	defer e.nested()()
	operand := e.unary()
	if u, ok := operand.(*unary); ok && u.op == op[0] {
		e.fail(operand.pos(), "Repeated unparenthesized unary "+op+" is not supported", "write parentheses between them")
	}
	return &unary{e.node(start), op[0], operand}
}

func (e *exprParser) postfix() expr {
	x := e.primary()
	for {
		switch {
		case e.operator("."):
			key := e.expect(nameToken)
			e.allowed(key.text, key.at)
			x = &lookup{at: e.node(key.at), target: x, name: key.text}
		case e.operator("["):
			x = e.subscript(x)
			e.expectOperator("]")
		case e.operator("("):
			x = &call{e.node(x.pos()), x, e.arguments()}
		default:
			return x
		}
	}
}

func (e *exprParser) subscript(target expr) expr {
	defer e.nested()()
	start := e.peek()
	ends := func() bool {
		t := e.peek()
		return t.kind == eofToken || t.kind == operatorToken && (t.text == ":" || t.text == "]")
	}
	var key expr
	if !ends() {
		key = e.inlineIf()
	}
	if !e.operator(":") {
		return e.member(target, key, start.at)
	}
	s := &slicing{at: e.node(start.at), target: target, start: key}
	if !ends() {
		s.stop = e.inlineIf()
	}
	if e.operator(":") && !ends() {
		s.step = e.inlineIf()
	}
	return s
}

func (e *exprParser) member(target, key expr, start int) expr {
	if key == nil {
		e.fail(start, "Expected subscript expression", "")
		return target
	}
	l := &lookup{at: e.node(key.pos()), target: target, key: key}
	if c, ok := key.(*literal); ok {
		if text, ok := c.value.(String); ok {
			e.allowed(string(text), c.pos())
			l.key, l.name = nil, string(text)
		}
	}
	return l
}

func (e *exprParser) primary() expr {
	t := e.peek()
	switch t.kind {
	case numberToken:
		e.at++
		f, _ := strconv.ParseFloat(t.text, 64) // digits only; too large is Infinity
		return &literal{e.node(t.at), Number(f)}
	case stringToken:
		e.at++
		return &literal{e.node(t.at), String(t.text)}
	case regexpToken:
		e.at++
		return &regexpLiteral{e.node(t.at), t.re}
	case nameToken:
		e.at++
		return e.nameOrLiteral(t)
	case eofToken:
		e.fail(t.at, "Unexpected expression token at end of input", "")
		return &literal{at(t.at), Undefined{}}
	}
	switch {
	case e.operator("("):
		items := e.list(")")
		if len(items) == 0 {
			e.fail(t.at, "Parenthesized expression cannot be empty", "")
		}
		return &group{e.node(t.at), items}
	case e.operator("["):
		return &arrayLiteral{e.node(t.at), e.list("]")}
	case e.operator("{"):
		return e.dictionary(t)
	}
	e.fail(t.at, "Unexpected expression token "+quote(t.text), "")
	return &literal{at(t.at), Undefined{}}
}

func (e *exprParser) nameOrLiteral(t token) expr {
	switch t.text {
	case "true", "false":
		return &literal{e.node(t.at), Bool(t.text == "true")}
	case "none", "null":
		return &literal{e.node(t.at), Null{}}
	case "loop":
		e.p.loops++
	}
	e.allowed(t.text, t.at)
	return &name{e.node(t.at), t.text}
}

func (e *exprParser) dictionary(open token) expr {
	defer e.nested()()
	d := &dictLiteral{at: e.node(open.at)}
	if e.operator("}") {
		return d
	}
	for {
		key := e.peek()
		if key.kind != stringToken && (key.kind != nameToken || isLiteralName(key.text)) {
			e.fail(key.at, "Dictionary keys must be strings or names", "put the key into quotes")
			return d
		}
		e.at++
		e.allowed(key.text, key.at)
		e.expectOperator(":")
		e.node(key.at)
		d.keys = append(d.keys, key.text)
		d.values = append(d.values, e.inlineIf())
		if !e.operator(",") {
			break
		}
	}
	e.expectOperator("}")
	return d
}

func (e *exprParser) list(closer string) []expr {
	var items []expr
	if e.operator(closer) {
		return nil
	}
	for {
		items = append(items, e.inlineIf())
		if !e.operator(",") {
			break
		}
	}
	e.expectOperator(closer)
	return items
}

// arguments parses what follows an opening parenthesis.
func (e *exprParser) arguments() arguments {
	var args arguments
	if e.operator(")") {
		return args
	}
	for {
		next := e.peekNext()
		if t := e.peek(); t.kind == nameToken && next.kind == operatorToken && next.text == "=" {
			e.at += 2
			e.allowed(t.text, t.at)
			e.node(t.at)
			args.keywords = append(args.keywords, keyword{t.text, e.inlineIf()})
		} else {
			args.positional = append(args.positional, e.inlineIf())
		}
		if !e.operator(",") {
			break
		}
	}
	e.expectOperator(")")
	return args
}

// parameters parses the parameters of a macro, with the closing parenthesis.
func (e *exprParser) parameters() []param {
	start := e.peek().at
	args := e.arguments()
	var params []param
	for _, x := range args.positional {
		n, ok := x.(*name)
		if !ok {
			e.fail(start, "Formal parameters must be names", "")
			return nil
		}
		params = append(params, param{name: n.name})
	}
	for _, k := range args.keywords {
		params = append(params, param{name: k.name, fallback: k.value})
	}
	return params
}

// targets parses the names that for and set bind.
func (e *exprParser) targets() []string {
	var names []string
	for {
		t := e.expect(nameToken)
		if isLiteralName(t.text) {
			e.fail(t.at, "Binding targets must be ordinary names", "")
		}
		e.allowed(t.text, t.at)
		names = append(names, t.text)
		if !e.operator(",") {
			break
		}
	}
	e.end()
	return names
}

func isLiteralName(text string) bool {
	return text == "true" || text == "false" || text == "null" || text == "none"
}

// allowed refuses the names that reach into the objects of JavaScript. Nothing
// would be behind them here; templates shall not behave differently elsewhere.
func (e *exprParser) allowed(text string, offset int) {
	if isReserved(text) {
		e.fail(offset, "Template name "+quote(text)+" is reserved", "")
	}
}

func isReserved(text string) bool {
	return text == "constructor" || text == "prototype" || text == "__proto__"
}
