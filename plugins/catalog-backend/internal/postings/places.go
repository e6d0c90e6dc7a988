package postings

import (
	"math/bits"

	"github.com/RoaringBitmap/roaring/v2"
)

// places is a set of places of a ranking, a bit for each. The lists that clients
// ask for most are those of a kind, and in the order of refs or names the
// entities of a kind may lie behind thousands of others: the bits lead to them.
type places []uint64

// placesKept are those of the sets that belong to the index itself, while
// neither they nor the ranking change.
type placesKept struct {
	asOf  uint64
	of    *ranking
	sets  map[*roaring.Bitmap]places
	order []*roaring.Bitmap // oldest first
}

// maxPlaces bounds how many sets are kept for a ranking, each of a bit per
// entity.
const maxPlaces = 8

// places returns where the entities of a bitmap that belongs to the index are.
func (k *kept) places(r *ranking, b *roaring.Bitmap, changes uint64) places {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := &k.placed
	if p.asOf != changes || p.of != r {
		*p = placesKept{asOf: changes, of: r, sets: map[*roaring.Bitmap]places{}}
	}
	if have, ok := p.sets[b]; ok {
		return have
	}
	if len(p.order) == maxPlaces {
		delete(p.sets, p.order[0])
		p.order = append(p.order[:0], p.order[1:]...)
	}
	out := make(places, (len(r.order)+63)/64)
	var room [256]uint32
	for it := b.ManyIterator(); ; {
		n := it.NextMany(room[:])
		for _, ordinal := range room[:n] {
			place := r.rank[ordinal]
			out[place/64] |= 1 << (place % 64)
		}
		if n < len(room) {
			break
		}
	}
	p.sets[b] = out
	p.order = append(p.order, b)
	return out
}

// page returns up to limit places from..to in their order, without the first
// skip of them.
func (p places) page(from, to, skip, limit int) []uint32 {
	var out []uint32
	for at := from; at < to; at = (at/64 + 1) * 64 {
		word := p[at/64] >> (at % 64) << (at % 64)
		if end := at/64*64 + 64; end > to {
			word &= 1<<(to%64) - 1
		}
		if n := bits.OnesCount64(word); n <= skip {
			skip -= n
			continue
		}
		for ; word != 0; word &= word - 1 {
			if skip > 0 {
				skip--
				continue
			}
			if out == nil {
				out = make([]uint32, 0, min(limit, to-from))
			}
			if out = append(out, uint32(at/64*64+bits.TrailingZeros64(word))); len(out) == limit {
				return out
			}
		}
	}
	return out
}

// count returns how many places there are in from..to.
func (p places) count(from, to int) (n int) {
	for at := from; at < to; at = (at/64 + 1) * 64 {
		word := p[at/64] >> (at % 64)
		if end := at/64*64 + 64; end > to {
			word = (p[at/64] & (1<<(to%64) - 1)) >> (at % 64)
		}
		n += bits.OnesCount64(word)
	}
	return n
}

// pickPlaces cuts the page out of the places of those that were found.
func pickPlaces(r *ranking, p places, from, to, offset, limit int, before bool) []uint32 {
	if before { // the last ones, without the very last
		n := p.count(from, to) - offset
		offset, limit = max(n-limit, 0), min(n, limit)
	}
	if limit <= 0 {
		return nil
	}
	out := p.page(from, to, offset, limit)
	for i, place := range out {
		out[i] = r.order[place]
	}
	return out
}
