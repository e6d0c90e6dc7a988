package ecmaregexp

type opcode uint8

const (
	opChar    opcode = iota // r
	opAny                   //
	opClass                 // set
	opRun                   // one single-character op follows; x, y: bounds; greedy
	opSplit                 // try the next instruction first, then x; or the reverse if lazy
	opJump                  // x
	opSave                  // x: slot of a capture
	opReset                 // x, y: captures to forget
	opAssert                // kind
	opBack                  // x: capture
	opLook                  // x: where it goes on; kind: bits of lookBehind, lookNegative
	opLookEnd               //
	opCount                 // x: register to set to zero
	opLoop                  // x: where it goes on, reg, min, max, lazy
	opMark                  // reg: remember where an iteration began
	opLoopEnd               // x: the opLoop; reg, min
	opMatch
)

const (
	lookBehind = 1 << iota
	lookNegative
)

// instruction is one step of a program. Back says that it reads to the left.
type instruction struct {
	op       opcode
	kind     byte
	back     bool
	lazy     bool
	r        rune
	set      *charSet
	x, y     int
	reg      int
	min, max int
}

// program is a compiled expression for the backtracking matcher.
type program struct {
	code      []instruction
	captures  int
	registers int
}

type compiler struct {
	program
	parser *parser
	fold   bool
}

// compile translates a parsed expression. Its size is linear in the size of
// the expression, since repetitions count in registers.
func compile(n node, p *parser, fold bool) *program {
	c := &compiler{parser: p, fold: fold}
	c.captures = p.captures
	c.emit(instruction{op: opSave, x: 0})
	c.node(n, false)
	c.emit(instruction{op: opSave, x: 1})
	c.emit(instruction{op: opMatch})
	return &c.program
}

func (c *compiler) emit(i instruction) int {
	c.code = append(c.code, i)
	return len(c.code) - 1
}

func (c *compiler) register() int {
	c.registers++
	return c.registers - 1
}

func (c *compiler) node(n node, back bool) {
	switch n := n.(type) {
	case literal:
		r := n.r
		if c.fold {
			r = canonical(r, c.parser.unicode)
		}
		c.emit(instruction{op: opChar, r: r, back: back})
	case anyChar:
		c.emit(instruction{op: opAny, back: back})
	case class:
		c.emit(instruction{op: opClass, set: n.set, back: back})
	case sequence:
		for i := range n.items {
			if back {
				i = len(n.items) - 1 - i
			}
			c.node(n.items[i], back)
		}
	case choice:
		c.choice(n, back)
	case group:
		c.group(n, back)
	case repeat:
		c.repeat(n, back)
	case assertion:
		c.emit(instruction{op: opAssert, kind: n.kind})
	case look:
		c.look(n)
	case backReference:
		index := n.index
		if n.name != "" {
			index = c.parser.names[n.name]
		}
		c.emit(instruction{op: opBack, x: index, back: back})
	}
}

func (c *compiler) choice(n choice, back bool) {
	var ends []int
	for i, a := range n.alternatives {
		if i == len(n.alternatives)-1 {
			c.node(a, back)
			break
		}
		split := c.emit(instruction{op: opSplit})
		c.node(a, back)
		ends = append(ends, c.emit(instruction{op: opJump}))
		c.code[split].x = len(c.code)
	}
	for _, end := range ends {
		c.code[end].x = len(c.code)
	}
}

func (c *compiler) group(n group, back bool) {
	if n.index == 0 {
		c.node(n.body, back)
		return
	}
	first, second := 2*n.index, 2*n.index+1
	if back {
		first, second = second, first
	}
	c.emit(instruction{op: opSave, x: first})
	c.node(n.body, back)
	c.emit(instruction{op: opSave, x: second})
}

func (c *compiler) repeat(n repeat, back bool) {
	switch n.body.(type) {
	case literal, anyChar, class:
		c.emit(instruction{op: opRun, min: n.min, max: n.max, lazy: n.lazy, back: back})
		c.node(n.body, back)
		return
	}
	count, mark := c.register(), c.register()
	c.emit(instruction{op: opCount, x: count})
	loop := c.emit(instruction{op: opLoop, reg: count, min: n.min, max: n.max, lazy: n.lazy})
	c.emit(instruction{op: opMark, reg: mark})
	if n.to > n.from {
		c.emit(instruction{op: opReset, x: n.from, y: n.to})
	}
	c.node(n.body, back)
	c.emit(instruction{op: opLoopEnd, x: loop, reg: count, y: mark, min: n.min})
	c.code[loop].x = len(c.code)
}

func (c *compiler) look(n look) {
	kind := byte(0)
	if n.behind {
		kind |= lookBehind
	}
	if n.negative {
		kind |= lookNegative
	}
	at := c.emit(instruction{op: opLook, kind: kind})
	c.node(n.body, n.behind)
	c.emit(instruction{op: opLookEnd})
	c.code[at].x = len(c.code)
}
