package template

import (
	"errors"
	"slices"
	"strings"

	"github.com/flytower/flytower/internal/utf16text"
)

// Template is a parsed template. It does not change, and is safe for
// concurrent use.
type Template struct {
	name   string
	source string
	syntax Syntax
	body   body
	nodes  int64
}

// Name returns the name that errors mention.
func (t *Template) Name() string { return t.name }

// WithName returns the same template under another name.
func (t *Template) WithName(name string) *Template {
	renamed := *t
	renamed.name = name
	return &renamed
}

// Parse parses a template with the default limits. The name appears in errors;
// it may be empty. The error is an [*Error], or a [*LimitError].
//
// Bytes of the source that are not UTF-8 are read as U+FFFD.
func Parse(name, source string, syntax Syntax) (*Template, error) {
	return ParseWithin(name, source, syntax, Limits{})
}

// ParseWithin is [Parse] with limits of its own: SourceBytes, Nodes and Depth
// count.
func ParseWithin(name, source string, syntax Syntax, limits Limits) (*Template, error) {
	p := &parser{source: source, syntax: syntax, limits: limits.withDefaults(), blocks: map[string]int{}}
	b, err := p.parse()
	var syntaxErr *syntaxError
	if errors.As(err, &syntaxErr) {
		e := &Error{Code: CodeSyntax, Phase: PhaseParse, Detail: syntaxErr.detail, Remedy: syntaxErr.remedy}
		return nil, placed(e, name, p.source, syntaxErr.offset)
	}
	if err != nil {
		return nil, placed(err, name, p.source, p.failedAt)
	}
	return &Template{name: name, source: p.source, syntax: syntax, body: b, nodes: p.nodes}, nil
}

// parser parses one template.
type parser struct {
	source   string
	syntax   Syntax
	limits   Limits
	segments []segment
	next     int
	buffer   []token
	nodes    int64
	depth    int64
	blocks   map[string]int // where each block begins
	// loops and macros count what was seen so far
	loops, macros int
	failedAt      int
}

func (p *parser) exceeded(limit string, maximum, observed int64, offset int) error {
	p.failedAt = offset
	return &LimitError{Phase: PhaseParse, Limit: limit, Max: maximum, Observed: observed}
}

func (p *parser) count(offset int) error {
	if p.nodes++; p.nodes > p.limits.Nodes {
		return p.exceeded("Nodes", p.limits.Nodes, p.nodes, offset)
	}
	return nil
}

func (p *parser) checkDepth(offset int) error {
	if p.depth > p.limits.Depth {
		return p.exceeded("Depth", p.limits.Depth, p.depth, offset)
	}
	return nil
}

func (p *parser) fail(offset int, detail, remedy string) error {
	return &syntaxError{offset, detail, remedy}
}

func (p *parser) parse() (body, error) {
	if size := int64(len(p.source)); size > p.limits.SourceBytes {
		return nil, p.exceeded("SourceBytes", p.limits.SourceBytes, size, 0)
	}
	p.source = utf16text.Valid(p.source)
	s := scanner{source: p.source, syntax: p.syntax, limit: p.limits.Nodes}
	if err := s.scan(); err != nil {
		p.failedAt = s.at
		return nil, err
	}
	p.segments = s.segments
	p.buffer = make([]token, 0, 64)
	b, _, err := p.body()
	return b, err
}

// tag is a tag that ends a body.
type tag struct {
	name string
	segment
}

// ends is the tags that end a body.
var (
	ifEnds     = []string{"elif", "elseif", "else", "endif"}
	forEnds    = []string{"else", "endfor"}
	switchEnds = []string{"case", "default", "endswitch"}
)

func isEnd(name string) bool {
	switch name {
	case "elif", "elseif", "else", "case", "default":
		return true
	}
	return strings.HasPrefix(name, "end") && isStatement(name[3:])
}

var statements = []string{"if", "for", "set", "macro", "call", "filter", "block", "switch", "raw", "verbatim"}

func isStatement(name string) bool { return slices.Contains(statements, name) }

// body parses statements up to one of the ends, or to the end of the template.
func (p *parser) body(ends ...string) (body, tag, error) {
	p.depth++
	defer func() { p.depth-- }()
	var list body
	for p.next < len(p.segments) {
		seg := p.segments[p.next]
		p.next++
		if err := p.count(seg.start); err != nil {
			return nil, tag{}, err
		}
		if err := p.checkDepth(seg.start); err != nil {
			return nil, tag{}, err
		}
		switch seg.kind {
		case textSegment:
			list = append(list, &textStmt{at(seg.start), seg.text})
			continue
		case variableSegment:
			value, err := p.expression(seg.from, seg.to)
			if err != nil {
				return nil, tag{}, err
			}
			list = append(list, &outputStmt{at(seg.start), value})
			continue
		}
		name := tagName(p.source[seg.from:seg.to])
		rest := seg
		rest.from, _ = trimCode(p.source, seg.from+len(name), seg.to)
		if isEnd(name) {
			return list, tag{name, rest}, p.checkEnd(name, rest, ends)
		}
		s, err := p.statement(name, rest)
		if err != nil {
			return nil, tag{}, err
		}
		list = append(list, s)
	}
	return list, tag{}, nil
}

func (p *parser) checkEnd(name string, seg segment, ends []string) error {
	switch {
	case len(ends) == 0:
		return p.fail(seg.start, "Unexpected "+quote(name)+" tag without a matching opening tag", "")
	case !slices.Contains(ends, name):
		return p.fail(seg.start, "Unexpected "+quote(name)+" tag; expected "+strings.Join(ends, " or "), "")
	case name != "elif" && name != "elseif" && name != "case" && name != "endblock" && seg.from < seg.to:
		return p.fail(seg.start, name+" tag does not accept trailing content", "")
	}
	return nil
}

// closed parses the body of a statement, which has to be ended.
func (p *parser) closed(opening segment, ends ...string) (body, tag, error) {
	b, end, err := p.body(ends...)
	if err == nil && end.name == "" {
		err = p.fail(opening.start, "Missing "+ends[len(ends)-1]+" tag", "")
	}
	return b, end, err
}

func (p *parser) statement(name string, seg segment) (stmt, error) {
	switch name {
	case "if":
		return p.ifStatement(seg)
	case "for":
		return p.forStatement(seg)
	case "set":
		return p.setStatement(seg)
	case "macro":
		return p.macroStatement(seg)
	case "call":
		return p.callStatement(seg)
	case "filter":
		return p.filterStatement(seg)
	case "block":
		return p.blockStatement(seg)
	case "switch":
		return p.switchStatement(seg)
	case "include", "import", "from", "extends":
		return nil, p.fail(seg.start, "Unsupported template-loading tag "+quote(name), "a template cannot read other files; define macros in the file that uses them")
	case "":
		return nil, p.fail(seg.start, "Template block tag cannot be empty", rawRemedy)
	}
	return nil, p.fail(seg.start, unknown("template tag", name, statements), rawRemedy)
}

func (p *parser) ifStatement(seg segment) (stmt, error) {
	s := &ifStmt{at: at(seg.start)}
	opening := seg
	for {
		condition, err := p.expression(seg.from, seg.to)
		if err != nil {
			return nil, err
		}
		b, end, err := p.closed(opening, ifEnds...)
		if err != nil {
			return nil, err
		}
		s.branches = append(s.branches, branch{condition, b})
		if end.name == "elif" || end.name == "elseif" {
			seg = end.segment
			continue
		}
		if end.name == "else" {
			s.otherwise, _, err = p.closed(opening, "endif")
		}
		return s, err
	}
}

func (p *parser) forStatement(seg segment) (stmt, error) {
	split, ok, err := splitAt(p.source, seg.from, seg.to, "in")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, p.fail(seg.start, "For tag requires an in expression", "write {% for item in list %}")
	}
	s := &forStmt{at: at(seg.start)}
	if s.targets, err = p.targets(seg.from, split); err != nil {
		return nil, err
	}
	if len(s.targets) == 1 && s.targets[0] == "loop" {
		return nil, p.fail(seg.start, "A single loop target cannot be named loop", "")
	}
	if s.list, err = p.expression(split+len("in"), seg.to); err != nil {
		return nil, err
	}
	loops := p.loops
	var end tag
	if s.body, end, err = p.closed(seg, forEnds...); err != nil {
		return nil, err
	}
	if end.name == "else" {
		s.hasElse = true
		s.otherwise, _, err = p.closed(seg, "endfor")
	}
	s.usesLoop = p.loops > loops
	return s, err
}

func (p *parser) targets(from, to int) ([]string, error) {
	e, err := p.tokens(from, to)
	if err != nil {
		return nil, err
	}
	names := e.targets()
	return names, e.err
}

func (p *parser) setStatement(seg segment) (stmt, error) {
	assign, err := topLevel(p.source, seg.from, seg.to, '=')
	if err != nil {
		return nil, err
	}
	s := &setStmt{at: at(seg.start)}
	if assign >= 0 {
		if s.targets, err = p.targets(seg.from, assign); err != nil {
			return nil, err
		}
		s.value, err = p.expression(assign+1, seg.to)
		return s, err
	}
	if s.targets, err = p.targets(seg.from, seg.to); err != nil {
		return nil, err
	}
	s.body, err = p.captured(seg, "set")
	return s, err
}

// captured parses a body whose text is not written but kept; macros cannot be
// defined there.
func (p *parser) captured(seg segment, statement string) (body, error) {
	macros := p.macros
	b, _, err := p.closed(seg, "end"+statement)
	if err == nil && p.macros > macros {
		err = p.fail(seg.start, "Macro declarations are not supported inside "+statement+" captures", "define the macro before it")
	}
	return b, err
}

func (p *parser) macroStatement(seg segment) (stmt, error) {
	code := p.source[seg.from:seg.to]
	name := tagName(code)
	open := seg.from + len(name)
	open, _ = trimCode(p.source, open, seg.to)
	if name == "" || open >= seg.to || p.source[open] != '(' || p.source[seg.to-1] != ')' {
		return nil, p.fail(seg.start, "Invalid macro signature", "write {% macro name(parameter, other=default) %}")
	}
	if isReserved(name) || isLiteralName(name) {
		return nil, p.fail(seg.start, "Macro name must be an identifier", "")
	}
	s := &macroStmt{at: at(seg.start), name: name}
	p.macros++
	var err error
	if s.params, err = p.parameters(open+1, seg.to); err != nil {
		return nil, err
	}
	s.body, _, err = p.closed(seg, "endmacro")
	return s, err
}

func (p *parser) parameters(from, to int) ([]param, error) {
	e, err := p.tokens(from, to)
	if err != nil {
		return nil, err
	}
	params := e.parameters()
	e.end()
	return params, e.err
}

func (p *parser) callStatement(seg segment) (stmt, error) {
	s := &callStmt{at: at(seg.start)}
	from := seg.from
	if from < seg.to && p.source[from] == '(' {
		end, err := matching(p.source, from, seg.to)
		if err != nil {
			return nil, err
		}
		if end < 0 {
			return nil, p.fail(seg.start, "Invalid call-block arguments", "")
		}
		if s.caller.params, err = p.parameters(from+1, end+1); err != nil {
			return nil, err
		}
		from, _ = trimCode(p.source, end+1, seg.to)
	}
	x, err := p.expression(from, seg.to)
	if err != nil {
		return nil, err
	}
	c, ok := x.(*call)
	if !ok {
		return nil, p.fail(seg.start, "Call block requires a function call", "write {% call macro() %}")
	}
	s.call = c
	s.caller.body, _, err = p.closed(seg, "endcall")
	return s, err
}

func (p *parser) filterStatement(seg segment) (stmt, error) {
	b, err := p.captured(seg, "filter")
	if err != nil {
		return nil, err
	}
	e, err := p.tokens(seg.from, seg.to)
	if err != nil {
		return nil, err
	}
	f := e.filter(&capture{at(seg.start), b})
	e.end()
	return &outputStmt{at(seg.start), f}, e.err
}

func (p *parser) blockStatement(seg segment) (stmt, error) {
	code := p.source[seg.from:seg.to]
	name := tagName(code)
	if name == "" || name != code || isLiteralName(name) || isReserved(name) {
		return nil, p.fail(seg.start, "Block name must be an identifier", "")
	}
	if _, taken := p.blocks[name]; taken {
		return nil, p.fail(seg.start, "Block "+quote(name)+" is declared more than once", "")
	}
	p.blocks[name] = seg.start
	b, end, err := p.closed(seg, "endblock")
	if err != nil {
		return nil, err
	}
	if closing := p.source[end.from:end.to]; closing != "" && closing != name {
		return nil, p.fail(end.start, "Endblock name must match its opening block", "")
	}
	return &blockStmt{at(seg.start), b}, nil
}

func (p *parser) switchStatement(seg segment) (stmt, error) {
	value, err := p.expression(seg.from, seg.to)
	if err != nil {
		return nil, err
	}
	s := &switchStmt{at: at(seg.start), value: value}
	before, end, err := p.closed(seg, switchEnds...)
	if err != nil {
		return nil, err
	}
	if len(before) > 0 {
		return nil, p.fail(seg.start, "Switch content must begin with case or default", "remove the text, or trim white space with -%}")
	}
	for end.name == "case" {
		condition, err := p.expression(end.from, end.to)
		if err != nil {
			return nil, err
		}
		var b body
		if b, end, err = p.closed(seg, switchEnds...); err != nil {
			return nil, err
		}
		s.cases = append(s.cases, branch{condition, b})
	}
	if end.name == "default" {
		s.hasDefault = true
		s.fallback, _, err = p.closed(seg, "endswitch")
	} else if len(s.cases) == 0 {
		err = p.fail(seg.start, "Switch requires at least one case or default", "")
	}
	return s, err
}

// topLevel finds a character outside of brackets, strings and expressions.
func topLevel(source string, from, to int, want byte) (int, error) {
	depth := 0
	for i := from; i < to; {
		end, err := skipToken(source[:to], i)
		if err != nil {
			return 0, err
		}
		if end > i {
			i = end
			continue
		}
		switch c := source[i]; {
		case c == '(' || c == '[' || c == '{':
			depth++
		case c == ')' || c == ']' || c == '}':
			depth--
		case c == want && depth == 0:
			return i, nil
		}
		i++
	}
	return -1, nil
}

// splitAt finds a word outside of brackets that has white space around it.
func splitAt(source string, from, to int, word string) (int, bool, error) {
	depth := 0
	for i := from; i < to; {
		end, err := skipToken(source[:to], i)
		if err != nil {
			return 0, false, err
		}
		if end > i {
			if depth == 0 && source[i:end] == word && spaceAround(source[from:to], i-from, end-from) {
				return i, true, nil
			}
			i = end
			continue
		}
		switch source[i] {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		}
		i++
	}
	return 0, false, nil
}

func spaceAround(code string, from, to int) bool {
	before, after := code[:from], code[to:]
	return (before == "" || strings.TrimRight(before, codeSpace) != before) &&
		(after == "" || strings.TrimLeft(after, codeSpace) != after)
}

// matching finds the bracket that closes the one at an offset.
func matching(source string, open, to int) (int, error) {
	var stack []byte
	for i := open; i < to; {
		end, err := skipToken(source[:to], i)
		if err != nil {
			return 0, err
		}
		if end > i {
			i = end
			continue
		}
		switch c := source[i]; c {
		case '(':
			stack = append(stack, ')')
		case '[', '{':
			stack = append(stack, c+2)
		case ')', ']', '}':
			if stack[len(stack)-1] == c {
				if stack = stack[:len(stack)-1]; len(stack) == 0 {
					return i, nil
				}
			}
		}
		i++
	}
	return -1, nil
}
