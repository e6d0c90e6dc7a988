package postings

import "slices"

// sorted is a sequence of numbers in an order that its user knows, in blocks,
// so that an insertion moves a block's worth of numbers and not all.
type sorted struct {
	blocks [][]uint32
	len    int
}

const maxBlock = 512

// at is a place in the sequence.
type at struct{ block, index int }

// search returns the first place whose number is not before what is searched.
func (s *sorted) search(before func(n uint32) bool) at {
	lo, hi := 0, len(s.blocks)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		block := s.blocks[mid]
		if before(block[len(block)-1]) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(s.blocks) {
		return at{block: lo}
	}
	block := s.blocks[lo]
	i, j := 0, len(block)
	for i < j {
		mid := int(uint(i+j) >> 1)
		if before(block[mid]) {
			i = mid + 1
		} else {
			j = mid
		}
	}
	return at{lo, i}
}

// get returns the number at a place, false at the end.
func (s *sorted) get(p at) (uint32, bool) {
	if p.block >= len(s.blocks) {
		return 0, false
	}
	return s.blocks[p.block][p.index], true
}

// next returns the place behind p.
func (s *sorted) next(p at) at {
	if p.index+1 < len(s.blocks[p.block]) {
		return at{p.block, p.index + 1}
	}
	return at{block: p.block + 1}
}

// insert puts a number at a place that search returned.
func (s *sorted) insert(p at, n uint32) {
	s.len++
	if p.block == len(s.blocks) {
		last := p.block - 1
		if last < 0 || len(s.blocks[last]) == maxBlock {
			s.blocks = append(s.blocks, []uint32{n})
			return
		}
		p = at{last, len(s.blocks[last])}
	}
	block := s.blocks[p.block]
	if len(block) == maxBlock {
		const half = maxBlock / 2
		right := append(make([]uint32, 0, half+half/2), block[half:]...)
		left := append(make([]uint32, 0, half+half/2), block[:half]...)
		s.blocks[p.block] = left
		s.blocks = slices.Insert(s.blocks, p.block+1, right)
		if p.index > half {
			p = at{p.block + 1, p.index - half}
		}
		block = s.blocks[p.block]
	}
	s.blocks[p.block] = slices.Insert(block, p.index, n)
}

// remove takes the number at a place out.
func (s *sorted) remove(p at) {
	s.len--
	block := slices.Delete(s.blocks[p.block], p.index, p.index+1)
	s.blocks[p.block] = block
	if len(block) == 0 {
		s.blocks = slices.Delete(s.blocks, p.block, p.block+1)
	}
}

func (s *sorted) memory() int {
	n := cap(s.blocks) * 24
	for _, b := range s.blocks {
		n += cap(b) * 4
	}
	return n
}
