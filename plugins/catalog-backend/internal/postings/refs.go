package postings

import "hash/maphash"

// refTable finds the terms of refs without a search in their order: clients
// ask for entities by their refs more often than for anything else. It is a
// hash table of numbers of terms, with linear probing.
type refTable struct {
	seed maphash.Seed
	// slots hold numbers of terms, plus 1; 0 is empty.
	slots []uint32
	used  int
}

func newRefTable() refTable { return refTable{seed: maphash.MakeSeed(), slots: make([]uint32, 64)} }

// home returns the slot where a ref is, or should be looked for first.
func (t *refTable) home(ref string) int {
	return int(maphash.String(t.seed, ref) & uint64(len(t.slots)-1))
}

func (t *refTable) find(d *dictionary, ref string) (id uint32, ok bool) {
	for i := t.home(ref); ; i = (i + 1) & (len(t.slots) - 1) {
		n := t.slots[i]
		if n == 0 {
			return 0, false
		}
		if d.value(n-1) == ref {
			return n - 1, true
		}
	}
}

// add adds the term of a ref that the table does not have.
func (t *refTable) add(d *dictionary, id uint32) {
	if 4*(t.used+1) > 3*len(t.slots) {
		old := t.slots
		t.slots, t.used = make([]uint32, 2*len(old)), 0
		for _, n := range old {
			if n != 0 {
				t.place(d, n)
			}
		}
	}
	t.place(d, id+1)
}

func (t *refTable) place(d *dictionary, n uint32) {
	i := t.home(d.value(n - 1))
	for t.slots[i] != 0 {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = n
	t.used++
}

// remove removes a term while the dictionary still has it.
func (t *refTable) remove(d *dictionary, id uint32) {
	mask := len(t.slots) - 1
	i := t.home(d.value(id))
	for t.slots[i] != id+1 {
		if t.slots[i] == 0 {
			return
		}
		i = (i + 1) & mask
	}
	t.slots[i] = 0
	t.used--
	// What was put behind it, because the place was taken, moves up.
	for j := (i + 1) & mask; t.slots[j] != 0; j = (j + 1) & mask {
		if home := t.home(d.value(t.slots[j] - 1)); (j-home)&mask >= (j-i)&mask {
			t.slots[i], t.slots[j] = t.slots[j], 0
			i = j
		}
	}
}

// rebuild is for the time when the terms have new numbers.
func (t *refTable) rebuild(d *dictionary, ids func(yield func(uint32) bool)) {
	clear(t.slots)
	t.used = 0
	for id := range ids {
		t.add(d, id)
	}
}
