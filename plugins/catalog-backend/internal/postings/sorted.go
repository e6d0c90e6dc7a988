package postings

import (
	"iter"
	"slices"
)

// sorted is a sequence of numbers in an order that its user knows, in blocks,
// so that an insertion moves a block's worth of numbers and not all.
type sorted struct {
	blocks []block
	len    int
}

const maxBlock = 512

// block is a part of a sequence: the numbers, or, while they are consecutive,
// the first one and how many there are.
type block struct {
	numbers []uint32
	first   uint32
	run     int
	grams   *grams // of a run of terms whose texts are searched
}

func (b *block) len() int {
	if b.numbers != nil {
		return len(b.numbers)
	}
	return b.run
}

func (b *block) at(i int) uint32 {
	if b.numbers != nil {
		return b.numbers[i]
	}
	return b.first + uint32(i)
}

// expand writes the numbers out, which is to be done before a change.
func (b *block) expand() []uint32 {
	if b.numbers == nil {
		b.grams = nil
		b.numbers = make([]uint32, b.run, b.run+8)
		for i := range b.numbers {
			b.numbers[i] = b.first + uint32(i)
		}
	}
	return b.numbers
}

// place is a place in a sequence.
type place struct{ block, index int }

// search returns the first place whose number is not before what is searched.
func (s *sorted) search(before func(n uint32) bool) place {
	lo, hi := 0, len(s.blocks)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if b := &s.blocks[mid]; before(b.at(b.len() - 1)) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(s.blocks) {
		return place{block: lo}
	}
	b := &s.blocks[lo]
	i, j := 0, b.len()
	for i < j {
		mid := int(uint(i+j) >> 1)
		if before(b.at(mid)) {
			i = mid + 1
		} else {
			j = mid
		}
	}
	return place{lo, i}
}

// get returns the number at a place, false at the end.
func (s *sorted) get(p place) (uint32, bool) {
	if p.block >= len(s.blocks) {
		return 0, false
	}
	return s.blocks[p.block].at(p.index), true
}

// next returns the place behind p.
func (s *sorted) next(p place) place {
	if p.index+1 < s.blocks[p.block].len() {
		return place{p.block, p.index + 1}
	}
	return place{block: p.block + 1}
}

// all yields the numbers.
func (s *sorted) all() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for i := range s.blocks {
			b := &s.blocks[i]
			for j := range b.len() {
				if !yield(b.at(j)) {
					return
				}
			}
		}
	}
}

// backward yields the numbers from the last one on.
func (s *sorted) backward() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for i := len(s.blocks) - 1; i >= 0; i-- {
			b := &s.blocks[i]
			for j := b.len() - 1; j >= 0; j-- {
				if !yield(b.at(j)) {
					return
				}
			}
		}
	}
}

// insert puts a number at a place that search returned.
func (s *sorted) insert(p place, n uint32) {
	s.len++
	if p.block == len(s.blocks) {
		last := p.block - 1
		if last < 0 || s.blocks[last].len() >= maxBlock {
			s.blocks = append(s.blocks, block{numbers: []uint32{n}})
			return
		}
		p = place{last, s.blocks[last].len()}
	}
	numbers := s.blocks[p.block].expand()
	if len(numbers) >= maxBlock {
		const half = maxBlock / 2
		right := append(make([]uint32, 0, half+half/2), numbers[half:]...)
		numbers = append(make([]uint32, 0, half+half/2), numbers[:half]...)
		s.blocks[p.block].numbers = numbers
		s.blocks = slices.Insert(s.blocks, p.block+1, block{numbers: right})
		if p.index > half {
			p = place{p.block + 1, p.index - half}
			numbers = right
		}
	}
	s.blocks[p.block].numbers = slices.Insert(numbers, p.index, n)
}

// remove takes the number at a place out.
func (s *sorted) remove(p place) {
	s.len--
	numbers := slices.Delete(s.blocks[p.block].expand(), p.index, p.index+1)
	s.blocks[p.block].numbers = numbers
	if len(numbers) == 0 {
		s.blocks = slices.Delete(s.blocks, p.block, p.block+1)
	}
}

// setRun makes the sequence that of consecutive numbers.
func (s *sorted) setRun(first uint32, n int) {
	s.len = n
	s.blocks = make([]block, 0, (n+maxBlock-1)/maxBlock)
	for n > 0 {
		run := min(n, maxBlock)
		s.blocks = append(s.blocks, block{first: first, run: run})
		first, n = first+uint32(run), n-run
	}
}

func (s *sorted) memory() int {
	n := cap(s.blocks) * 48
	for i := range s.blocks {
		n += cap(s.blocks[i].numbers) * 4
		if s.blocks[i].grams != nil {
			n += gramBits / 8
		}
	}
	return n
}
