package indextemplate

import (
	"fmt"
	"strings"
)

// Data is what a template may print.
type Data struct {
	// Config is the configuration that the frontend sees.
	Config map[string]any
	// PublicPath is the path of the app's URL, without a slash at the end.
	PublicPath string
}

// Error is a mistake in a template.
type Error struct {
	File    string
	Line    int // counts from 1
	Problem string
}

// Error returns one line.
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem) }

// Render fills in a template. The name is for errors, which are of type
// [*Error].
func Render(name, text string, data Data) (string, error) {
	p := parser{file: name, text: text}
	nodes, err := p.parse()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.Grow(len(text))
	r := renderer{file: name, data: data, out: &out}
	if err := r.nodes(nodes); err != nil {
		return "", err
	}
	return out.String(), nil
}

// node is a part of a template: a text, an output or a choice.
type node interface{ isNode() }

type textNode string

type outputNode struct {
	line   int
	value  expr
	escape bool
}

// choiceNode is an if with all that follows it: the first branch whose
// condition holds is rendered. The condition of an else is nil.
type choiceNode struct{ branches []branch }

type branch struct {
	line      int
	condition expr
	body      []node
}

func (textNode) isNode()    {}
func (outputNode) isNode()  {}
func (*choiceNode) isNode() {}

// maxNesting bounds how deep conditions are nested in each other.
const maxNesting = 50

// parser reads a template.
type parser struct {
	file, text string
	nodes      []node        // outside of all conditions
	open       []*choiceNode // the conditions that are open, outermost first
}

func (p *parser) fail(line int, format string, args ...any) error {
	return &Error{File: p.file, Line: line, Problem: fmt.Sprintf(format, args...)}
}

// add appends a node to the innermost open condition.
func (p *parser) add(n node) {
	if len(p.open) == 0 {
		p.nodes = append(p.nodes, n)
		return
	}
	choice := p.open[len(p.open)-1]
	last := &choice.branches[len(choice.branches)-1]
	last.body = append(last.body, n)
}

func (p *parser) parse() ([]node, error) {
	rest, line := p.text, 1
	for {
		before, after, found := strings.Cut(rest, "<%")
		// The shortest tag has one character in it; what is not closed is text.
		end := -1
		if found && len(after) > 0 {
			if end = strings.Index(after[1:], "%>"); end >= 0 {
				end++
			}
		}
		if end < 0 {
			if rest != "" {
				p.add(textNode(rest))
			}
			break
		}
		if before != "" {
			p.add(textNode(before))
		}
		line += strings.Count(before, "\n")
		if err := p.tag(after[:end], line); err != nil {
			return nil, err
		}
		line += strings.Count(after[:end], "\n")
		rest = after[end+len("%>"):]
	}
	if len(p.open) > 0 {
		b := p.open[len(p.open)-1].branches
		return nil, p.fail(b[len(b)-1].line, "the block that begins here is not closed; add <%% } %%>")
	}
	return p.nodes, nil
}

// tag reads what stands between the delimiters.
func (p *parser) tag(text string, line int) error {
	kind := text[0]
	output := (kind == '=' || kind == '-') && len(text) > 1
	if output {
		text = text[1:]
	}
	tokens, err := scan(text, line)
	if err != nil {
		return p.fail(err.line, "%s", err.problem)
	}
	e := &expressions{tokens: tokens, line: line}
	if output {
		value, err := e.whole()
		if err != nil {
			return p.fail(err.line, "%s", err.problem)
		}
		p.add(outputNode{line: line, value: value, escape: kind == '-'})
		return nil
	}
	for !e.done() {
		if err := p.statement(e); err != nil {
			return err
		}
	}
	return nil
}

// statement reads "if (…) {", "} else if (…) {", "} else {" or "}".
func (p *parser) statement(e *expressions) error {
	line := e.at()
	switch {
	case e.accept(";"):
		return nil
	case e.accept("if"):
		if len(p.open) >= maxNesting {
			return p.fail(line, "conditions are nested more than %d deep", maxNesting)
		}
		b, err := p.condition(e, line)
		if err != nil {
			return err
		}
		choice := &choiceNode{branches: []branch{b}}
		p.add(choice)
		p.open = append(p.open, choice)
		return nil
	case e.accept("}"):
		if len(p.open) == 0 {
			return p.fail(line, "a block is closed here that was not opened")
		}
		choice := p.open[len(p.open)-1]
		if !e.accept("else") {
			p.open = p.open[:len(p.open)-1]
			return nil
		}
		if choice.branches[len(choice.branches)-1].condition == nil {
			return p.fail(line, "there is another else after an else")
		}
		b := branch{line: line}
		if e.accept("if") {
			var err error
			if b, err = p.condition(e, line); err != nil {
				return err
			}
		} else if !e.accept("{") {
			return p.fail(e.at(), "expected { after else, found %s", e.found())
		}
		choice.branches = append(choice.branches, b)
		return nil
	default:
		return p.fail(line, "only if, else if and else can stand here, found %s; other JavaScript is not run", e.found())
	}
}

// condition reads "(…) {".
func (p *parser) condition(e *expressions, line int) (branch, error) {
	if !e.accept("(") {
		return branch{}, p.fail(e.at(), "expected ( after if, found %s", e.found())
	}
	value, err := e.expression()
	if err != nil {
		return branch{}, p.fail(err.line, "%s", err.problem)
	}
	for _, want := range []string{")", "{"} {
		if !e.accept(want) {
			return branch{}, p.fail(e.at(), "expected %s after the condition, found %s", want, e.found())
		}
	}
	return branch{line: line, condition: value}, nil
}

// renderer evaluates a template.
type renderer struct {
	file string
	data Data
	out  *strings.Builder
}

func (r *renderer) nodes(nodes []node) error {
	for _, n := range nodes {
		switch n := n.(type) {
		case textNode:
			r.out.WriteString(string(n))
		case outputNode:
			text, err := r.output(n)
			if err != nil {
				return err
			}
			r.out.WriteString(text)
		case *choiceNode:
			if err := r.choice(n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *renderer) output(n outputNode) (string, error) {
	v, err := n.value.eval(&r.data)
	if err != nil {
		return "", &Error{r.file, n.line, err.Error()}
	}
	text, err := textOf(v)
	if err != nil {
		return "", &Error{r.file, n.line, err.Error()}
	}
	if n.escape {
		text = htmlEscaper.Replace(text)
	}
	return text, nil
}

var htmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;")

func (r *renderer) choice(n *choiceNode) error {
	for _, b := range n.branches {
		if b.condition != nil {
			v, err := b.condition.eval(&r.data)
			if err != nil {
				return &Error{r.file, b.line, err.Error()}
			}
			if !truthy(v) {
				continue
			}
		}
		return r.nodes(b.body)
	}
	return nil
}
