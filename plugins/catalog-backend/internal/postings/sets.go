package postings

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// set is a set of ordinals: two bits that say how it is kept, and the rest.
// Most terms of a catalog belong to one entity or to a few, and a bitmap for
// each would weigh more than the terms.
type set uint32

const (
	tagShift     = 30
	tagMask  set = 3 << tagShift

	tagOne    set = 0 << tagShift // the ordinal
	tagList   set = 1 << tagShift // the address of a list
	tagBitmap set = 2 << tagShift // the number of a bitmap
	emptySet  set = 3 << tagShift
)

// maxOrdinals is how many entities an index can hold.
const maxOrdinals = 1 << tagShift

// Lists are blocks of words; the first word has the length of the list and the
// class of the block.
const (
	maxList      = 63
	classShift   = 16
	lengthMask   = 1<<classShift - 1
	chunkWords   = 1 << 14
	demoteBitmap = maxList / 2 // shrinking back later than growing avoids going to and fro
)

// listClasses are the sizes of blocks, in words.
var listClasses = [...]uint32{3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, maxList + 1}

// sets keeps the members of sets.
type sets struct {
	chunks     [][]uint32
	next       uint32 // first unused word
	freeLists  [len(listClasses)][]uint32
	bitmaps    []*roaring.Bitmap
	freeBitmap []uint32
	bytes      int // of bitmaps
}

func (s *sets) list(p set) []uint32 {
	word := uint32(p &^ tagMask)
	block := s.chunks[word/chunkWords][word%chunkWords:]
	return block[:listClasses[block[0]>>classShift]]
}

// newList returns an empty list for n members or more.
func (s *sets) newList(n int) set {
	class := uint32(0)
	for int(listClasses[class]) < n+1 {
		class++
	}
	if free := s.freeLists[class]; len(free) > 0 {
		p := set(free[len(free)-1])
		s.freeLists[class] = free[:len(free)-1]
		s.list(p)[0] = class << classShift
		return p
	}
	words := listClasses[class]
	if s.next/chunkWords != (s.next+words-1)/chunkWords { // does not fit into the chunk
		s.next = (s.next/chunkWords + 1) * chunkWords
	}
	if int(s.next/chunkWords) == len(s.chunks) {
		s.chunks = append(s.chunks, make([]uint32, chunkWords))
	}
	p := tagList | set(s.next)
	s.chunks[s.next/chunkWords][s.next%chunkWords] = class << classShift
	s.next += words
	return p
}

// copyList returns a list with the same members, in a block of the least size.
func (s *sets) copyList(members []uint32) set {
	p := s.newList(len(members))
	block := s.list(p)
	copy(block[1:], members)
	block[0] += uint32(len(members))
	return p
}

func (s *sets) freeList(p set) {
	class := s.list(p)[0] >> classShift
	s.freeLists[class] = append(s.freeLists[class], uint32(p))
}

func (s *sets) bitmap(p set) *roaring.Bitmap { return s.bitmaps[p&^tagMask] }

func (s *sets) newBitmap(members []uint32) set {
	b := roaring.New()
	b.AddMany(members)
	s.bytes += bitmapBytes(b)
	if n := len(s.freeBitmap); n > 0 {
		i := s.freeBitmap[n-1]
		s.freeBitmap = s.freeBitmap[:n-1]
		s.bitmaps[i] = b
		return tagBitmap | set(i)
	}
	s.bitmaps = append(s.bitmaps, b)
	return tagBitmap | set(len(s.bitmaps)-1)
}

// bitmapBytes estimates the memory of a bitmap.
func bitmapBytes(b *roaring.Bitmap) int { return 128 + int(b.GetSizeInBytes()) }

// add returns the set with one more member, which is not in it yet.
func (s *sets) add(p set, ordinal uint32) set {
	switch p & tagMask {
	case emptySet:
		return tagOne | set(ordinal)
	case tagOne:
		return s.copyList([]uint32{uint32(p), ordinal})
	case tagList:
		block := s.list(p)
		n := int(block[0] & lengthMask)
		if n+1 < len(block) {
			block[n+1] = ordinal
			block[0]++
			return p
		}
		var room [maxList + 1]uint32
		members := append(append(room[:0], block[1:]...), ordinal)
		s.freeList(p)
		if len(members) <= maxList {
			return s.copyList(members)
		}
		slices.Sort(members)
		return s.newBitmap(members)
	default:
		b := s.bitmap(p)
		before := bitmapBytes(b)
		b.Add(ordinal)
		s.bytes += bitmapBytes(b) - before
		return p
	}
}

// remove returns the set without a member.
func (s *sets) remove(p set, ordinal uint32) set {
	switch p & tagMask {
	case tagOne:
		if p == tagOne|set(ordinal) {
			return emptySet
		}
	case tagList:
		block := s.list(p)
		n := int(block[0] & lengthMask)
		i := slices.Index(block[1:n+1], ordinal)
		if i < 0 {
			return p
		}
		block[i+1] = block[n]
		block[0]--
		if n == 2 {
			last := block[1]
			s.freeList(p)
			return tagOne | set(last)
		}
	case tagBitmap:
		b := s.bitmap(p)
		before := bitmapBytes(b)
		b.Remove(ordinal)
		s.bytes += bitmapBytes(b) - before
		if n := b.GetCardinality(); n <= demoteBitmap {
			return s.demote(p, b.ToArray())
		}
	}
	return p
}

// demote replaces a bitmap that became small by a list.
func (s *sets) demote(p set, members []uint32) set {
	s.bytes -= bitmapBytes(s.bitmap(p))
	i := uint32(p &^ tagMask)
	s.bitmaps[i] = nil
	s.freeBitmap = append(s.freeBitmap, i)
	return s.copyList(members)
}

// compact moves all lists to new blocks, each of the least size; move is to be
// called for each set and returns what replaces it.
func (s *sets) compact() (move func(set) set) {
	old := *s
	s.chunks, s.next, s.freeLists = nil, 0, [len(listClasses)][]uint32{}
	return func(p set) set {
		if p&tagMask != tagList {
			return p
		}
		var room [maxList]uint32
		return s.copyList(old.appendTo(room[:0], p))
	}
}

func (s *sets) size(p set) int {
	switch p & tagMask {
	case emptySet:
		return 0
	case tagOne:
		return 1
	case tagList:
		return int(s.list(p)[0] & lengthMask)
	default:
		return int(s.bitmap(p).GetCardinality())
	}
}

// appendTo appends the members of a set that is not a bitmap.
func (s *sets) appendTo(dst []uint32, p set) []uint32 {
	switch p & tagMask {
	case tagOne:
		return append(dst, uint32(p))
	case tagList:
		block := s.list(p)
		return append(dst, block[1:1+block[0]&lengthMask]...)
	default:
		return dst
	}
}

// memory returns the bytes that the sets take.
func (s *sets) memory() int {
	n := len(s.chunks)*chunkWords*4 + s.bytes + cap(s.bitmaps)*8 + cap(s.freeBitmap)*4
	for _, free := range s.freeLists {
		n += cap(free) * 4
	}
	return n
}

// dense is a set of ordinals in which membership is one look.
type dense []uint64

func newDense(b *roaring.Bitmap) dense {
	if b.IsEmpty() {
		return nil
	}
	return b.ToDense()
}

func (b dense) has(ordinal uint32) bool {
	i := int(ordinal >> 6)
	return i < len(b) && b[i]>>(ordinal&63)&1 != 0
}
