package template

// expr is an expression. Expressions do not change after they were parsed, so
// renders may share them.
type expr interface {
	// pos is the place that errors name, as an offset into the source.
	pos() int
	eval(ev *evaluator, sc *scope) Value
}

// at is the place of a node.
type at int

func (a at) pos() int { return int(a) }

type (
	literal struct {
		at
		value Value
	}
	regexpLiteral struct {
		at
		re *regexpSource
	}
	name struct {
		at
		name string
	}
	arrayLiteral struct {
		at
		items []expr
	}
	dictLiteral struct {
		at
		keys   []string
		values []expr
	}
	// group is a list in parentheses, of which the last item counts.
	group struct {
		at
		items []expr
	}
	// lookup reads a member. Key is nil if the name is constant.
	lookup struct {
		at
		target expr
		key    expr
		name   string
	}
	// slicing is target[start:stop:step]; missing bounds are nil.
	slicing struct {
		at
		target            expr
		start, stop, step expr
	}
	conditional struct {
		at
		condition, then, otherwise expr
	}
	logical struct {
		at
		isOr        bool
		left, right expr
	}
	unary struct {
		at
		op      byte // ! - + or / for rounding down
		operand expr
	}
	binary struct {
		at
		op          byte // + - ~ * / % or ^ for powers
		left, right expr
	}
	comparison struct {
		at
		first    expr
		operands []operand
	}
	operand struct {
		op    string
		value expr
	}
	membership struct {
		at
		needle, container expr
	}
	test struct {
		at
		name  string
		input expr
		args  arguments
	}
	filter struct {
		at
		name  string
		input expr
		args  arguments
	}
	call struct {
		at
		target expr
		args   arguments
	}
	// capture is the text that statements write.
	capture struct {
		at
		body body
	}
)

// arguments of a call.
type arguments struct {
	positional []expr
	keywords   []keyword
}

type keyword struct {
	name  string
	value expr
}

// stmt is a statement.
type stmt interface {
	pos() int
	exec(ev *evaluator, sc *scope)
}

type body []stmt

type (
	textStmt struct {
		at
		text string
	}
	outputStmt struct {
		at
		value expr
	}
	ifStmt struct {
		at
		branches  []branch
		otherwise body
	}
	branch struct {
		condition expr
		body      body
	}
	forStmt struct {
		at
		targets   []string
		list      expr
		body      body
		otherwise body
		hasElse   bool
		usesLoop  bool
	}
	setStmt struct {
		at
		targets []string
		value   expr
		body    body // captured if value is nil
	}
	macroStmt struct {
		at
		name string
		callable
	}
	callStmt struct {
		at
		call   *call
		caller callable
	}
	blockStmt struct {
		at
		body body
	}
	switchStmt struct {
		at
		value      expr
		cases      []branch
		fallback   body
		hasDefault bool
	}
)

// callable is what a macro, and the body of a call block, consist of.
type callable struct {
	params []param
	body   body
}

// param is a parameter; fallback is nil if it has no default.
type param struct {
	name     string
	fallback expr
}
