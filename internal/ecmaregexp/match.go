package ecmaregexp

import "errors"

// ErrBudget reports that matching was given up because it took too long.
var ErrBudget = errors.New("matching a regular expression takes too many steps")

// Budget bounds the work of one or more matches. It is for one goroutine.
type Budget struct {
	left int64
	// Check is called from time to time and ends matching with its error. It
	// may be nil.
	Check func() error
}

// NewBudget returns a budget of steps: characters that are read, and ways back
// that are tried. A processor does some ten million of them in a second.
func NewBudget(steps int64) *Budget { return &Budget{left: steps} }

// Left returns the steps that are left.
func (b *Budget) Left() int64 { return max(b.left, 0) }

const checkEvery = 1 << 14

func (b *Budget) spend(steps int64) error {
	before := b.left
	if b.left -= steps; b.left < 0 {
		return ErrBudget
	}
	if b.Check != nil && before/checkEvery != b.left/checkEvery {
		return b.Check()
	}
	return nil
}

// maxTrail bounds the memory of one match: some 100 MB.
const maxTrail = 2 << 20

// entry of the trail is a way back, or what to restore on the way.
type entry struct {
	kind entryKind
	pc   int
	// pos is where to go on, index what to restore
	pos int
	// value to restore; for runs: how many characters may still be given back,
	// or taken
	value int
}

type entryKind uint8

const (
	wayBack entryKind = iota
	giveBack
	takeMore
	restoreCapture
	restoreRegister
)

// machine is one match in progress.
type machine struct {
	*program
	in        []rune
	fold      bool
	unicode   bool
	dotAll    bool
	multiline bool
	captured  []int
	regs      []int
	trail     []entry
	budget    *Budget
	err       error
	ticks     int64
}

// at tries to match at one place.
func (m *machine) at(pos int) bool {
	for i := range m.captured {
		m.captured[i] = -1
	}
	m.trail = m.trail[:0]
	_, ok := m.run(0, pos)
	return ok
}

func (m *machine) push(e entry) {
	if len(m.trail) >= maxTrail {
		m.err = ErrBudget
		return
	}
	m.trail = append(m.trail, e)
}

func (m *machine) tick(n int64) {
	if m.ticks += n; m.ticks >= 1<<10 {
		if err := m.budget.spend(m.ticks); err != nil {
			m.err = err
		}
		m.ticks = 0
	}
}

func (m *machine) setCapture(slot, pos int) {
	m.push(entry{kind: restoreCapture, pos: slot, value: m.captured[slot]})
	m.captured[slot] = pos
}

func (m *machine) setRegister(reg, value int) {
	m.push(entry{kind: restoreRegister, pos: reg, value: m.regs[reg]})
	m.regs[reg] = value
}

// run executes the program from pc until it matches, or a look-around ends, or
// no way back is left that was found since it began.
func (m *machine) run(pc, pos int) (end int, ok bool) {
	base := len(m.trail)
	for m.err == nil {
		m.tick(1)
		in := &m.code[pc]
		matched := true
		switch in.op {
		case opChar, opAny, opClass:
			if matched = m.one(in, pos); matched {
				pos = step(pos, in.back)
			}
			pc++
		case opRun:
			pos, matched = m.runOf(pc, pos)
			pc += 2
		case opSplit:
			m.push(entry{kind: wayBack, pc: in.x, pos: pos})
			pc++
		case opJump:
			pc = in.x
		case opSave:
			m.setCapture(in.x, pos)
			pc++
		case opReset:
			for i := 2 * in.x; i < 2*in.y; i++ {
				if m.captured[i] >= 0 {
					m.setCapture(i, -1)
				}
			}
			pc++
		case opAssert:
			matched = m.assert(in.kind, pos)
			pc++
		case opBack:
			pos, matched = m.back(in, pos)
			pc++
		case opLook:
			matched = m.look(in, pc+1, pos)
			pc = in.x
		case opCount:
			m.setRegister(in.x, 0)
			pc++
		case opLoop:
			pc = m.loop(in, pc, pos)
		case opMark:
			m.setRegister(in.reg, pos)
			pc++
		case opLoopEnd:
			count := m.regs[in.reg]
			// an optional iteration that read nothing does not count
			matched = count < in.min || m.regs[in.y] != pos
			m.setRegister(in.reg, min(count+1, maxRepeat))
			pc = in.x
		case opLookEnd, opMatch:
			return pos, true
		}
		if !matched {
			if pc, pos, ok = m.backtrack(base); !ok {
				return 0, false
			}
		}
	}
	return 0, false
}

func step(pos int, back bool) int {
	if back {
		return pos - 1
	}
	return pos + 1
}

// loop decides about one more iteration.
func (m *machine) loop(in *instruction, pc, pos int) int {
	count := m.regs[in.reg]
	switch {
	case count < in.min:
		return pc + 1
	case in.max >= 0 && count >= in.max:
		return in.x
	case in.lazy:
		m.push(entry{kind: wayBack, pc: pc + 1, pos: pos})
		return in.x
	default:
		m.push(entry{kind: wayBack, pc: in.x, pos: pos})
		return pc + 1
	}
}

// backtrack returns to the last way back above base.
func (m *machine) backtrack(base int) (pc, pos int, ok bool) {
	for len(m.trail) > base {
		m.tick(1)
		last := len(m.trail) - 1
		e := &m.trail[last]
		switch e.kind {
		case restoreCapture:
			m.captured[e.pos] = e.value
		case restoreRegister:
			m.regs[e.pos] = e.value
		case wayBack:
			pc, pos = e.pc, e.pos
			m.trail = m.trail[:last]
			return pc, pos, true
		case giveBack:
			// pos is where the run ended; it gives one character back
			pc, pos = e.pc, step(e.pos, !m.code[e.pc-1].back)
			if e.value--; e.value == 0 {
				m.trail = m.trail[:last]
			} else {
				e.pos = pos
			}
			return pc, pos, true
		case takeMore:
			single := &m.code[e.pc-1]
			if e.value != 0 && m.one(single, e.pos) {
				e.value--
				e.pos = step(e.pos, single.back)
				return e.pc, e.pos, true
			}
		}
		m.trail = m.trail[:last]
	}
	return 0, 0, false
}

// one reports whether the next character is what a single-character
// instruction wants.
func (m *machine) one(in *instruction, pos int) bool {
	if in.back {
		pos--
	}
	if pos < 0 || pos >= len(m.in) {
		return false
	}
	r := m.in[pos]
	switch in.op {
	case opChar:
		return r == in.r || m.fold && canonical(r, m.unicode) == in.r
	case opAny:
		return m.dotAll || !isLineEnd(r)
	default:
		return in.set.has(r, m.fold, m.unicode)
	}
}

// runOf matches a repeated single character without a trail entry for each.
func (m *machine) runOf(pc, pos int) (int, bool) {
	in, single := &m.code[pc], &m.code[pc+1]
	limit := in.max
	if in.lazy {
		limit = in.min
	}
	count := 0
	for ; count != limit && m.one(single, pos) && m.err == nil; count++ {
		pos = step(pos, single.back)
		m.tick(1)
	}
	switch {
	case count < in.min:
		return pos, false
	case in.lazy && in.max != in.min:
		more := -1
		if in.max >= 0 {
			more = in.max - in.min
		}
		m.push(entry{kind: takeMore, pc: pc + 2, pos: pos, value: more})
	case count > in.min:
		m.push(entry{kind: giveBack, pc: pc + 2, pos: pos, value: count - in.min})
	}
	return pos, true
}

func (m *machine) assert(kind byte, pos int) bool {
	switch kind {
	case '^':
		return pos == 0 || m.multiline && isLineEnd(m.in[pos-1])
	case '$':
		return pos == len(m.in) || m.multiline && isLineEnd(m.in[pos])
	}
	before := pos > 0 && m.word(m.in[pos-1])
	after := pos < len(m.in) && m.word(m.in[pos])
	return (before != after) == (kind == 'b')
}

func (m *machine) word(r rune) bool {
	return isWord(r) || m.fold && m.unicode && (r == 0x17F || r == 0x212A)
}

func (m *machine) back(in *instruction, pos int) (int, bool) {
	from, to := m.captured[2*in.x], m.captured[2*in.x+1]
	if from < 0 || to < 0 {
		return pos, true
	}
	length := to - from
	start := pos
	if in.back {
		start = pos - length
	}
	if start < 0 || start+length > len(m.in) {
		return pos, false
	}
	m.tick(int64(length))
	for i := range length {
		a, b := m.in[from+i], m.in[start+i]
		if a != b && !(m.fold && canonical(a, m.unicode) == canonical(b, m.unicode)) {
			return pos, false
		}
	}
	if in.back {
		return start, true
	}
	return start + length, true
}

// look runs the body of a look-around. Of one that matches the captures stay,
// the ways back do not.
func (m *machine) look(in *instruction, pc, pos int) bool {
	base := len(m.trail)
	_, found := m.run(pc, pos)
	negative := in.kind&lookNegative != 0
	if found && !negative {
		kept := m.trail[:base]
		for _, e := range m.trail[base:] {
			if e.kind == restoreCapture || e.kind == restoreRegister {
				kept = append(kept, e)
			}
		}
		m.trail = kept
		return true
	}
	for len(m.trail) > base {
		last := m.trail[len(m.trail)-1]
		m.trail = m.trail[:len(m.trail)-1]
		switch last.kind {
		case restoreCapture:
			m.captured[last.pos] = last.value
		case restoreRegister:
			m.regs[last.pos] = last.value
		}
	}
	return found != negative
}
