package template

// scope holds the variables of a part of the render.
type scope struct {
	parent *scope
	vars   []variable
	// isolated scopes keep what is set in them
	isolated bool
	// macros is where macros are defined that begin to exist here
	macros *scope
	// exportsMacros and exportsSets say what macros see of this scope
	exportsMacros, exportsSets bool
}

type variable struct {
	name  string
	value Value
}

// root returns the scope of a whole template. Macros see its parent, which has
// what is set outside of loops.
func (ev *evaluator) root() *scope {
	exported := &scope{isolated: true}
	return &scope{parent: exported, isolated: true, macros: exported, exportsMacros: true, exportsSets: true}
}

// loop returns the scope of a loop, in which variables of the scope around it
// can be set.
func (sc *scope) loop() *scope { return &scope{parent: sc, macros: sc.macros} }

// block returns the scope of a block.
func (sc *scope) block() *scope {
	return &scope{parent: sc, isolated: true, macros: sc.macros, exportsMacros: true}
}

func (sc *scope) find(name string) *variable {
	for i := range sc.vars {
		if sc.vars[i].name == name {
			return &sc.vars[i]
		}
	}
	return nil
}

// define sets a variable in this very scope.
func (sc *scope) define(name string, value Value) {
	if v := sc.find(name); v != nil {
		v.value = value
		return
	}
	sc.vars = append(sc.vars, variable{name, value})
}

// set sets a variable where it is, or here if it is nowhere.
func (sc *scope) set(name string, value Value) {
	for s := sc; s != nil; s = s.parent {
		if v := s.find(name); v != nil {
			v.value = value
			return
		}
		if s.isolated {
			break
		}
	}
	sc.define(name, value)
}

// get finds a variable of the template.
func (sc *scope) get(name string) (Value, bool) {
	for ; sc != nil; sc = sc.parent {
		if v := sc.find(name); v != nil {
			return v.value, true
		}
	}
	return nil, false
}
