package postings

import (
	"slices"
	"strings"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
)

// parents are the ids of the entities that emitted an entity. Most have one, or
// none where providers hand them in; parents may come into the index later.
type parents struct {
	one  []int64 // by ordinal, as far as any has one; 0 for none
	more map[uint32][]int64
}

func (p *parents) set(ordinal uint32, ids []int64) {
	delete(p.more, ordinal)
	if len(ids) == 0 {
		if int(ordinal) < len(p.one) {
			p.one[ordinal] = 0
		}
		return
	}
	if n := int(ordinal) + 1; n > len(p.one) {
		p.one = append(p.one, make([]int64, n-len(p.one))...)
	}
	p.one[ordinal] = ids[0]
	if len(ids) > 1 {
		if p.more == nil {
			p.more = map[uint32][]int64{}
		}
		p.more[ordinal] = slices.Clone(ids[1:])
	}
}

// appendTo appends the parents of an entity.
func (p *parents) appendTo(dst []int64, ordinal uint32) []int64 {
	if int(ordinal) >= len(p.one) || p.one[ordinal] == 0 {
		return dst
	}
	return append(append(dst, p.one[ordinal]), p.more[ordinal]...)
}

func (p *parents) memory() int {
	n := 8 * cap(p.one)
	for _, ids := range p.more {
		n += 48 + 8*cap(ids)
	}
	return n
}

// Ancestry returns an entity and, behind it, those that it descends from, as
// read.Reader.Ancestry does, without their texts; false if there are too many.
func (x *Index) Ancestry(ref string) ([]Hit, []read.Node, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	id, ok := x.refs.find(&x.dict, ref)
	if !ok {
		return nil, nil, true
	}
	type ancestor struct {
		ref     string
		ordinal uint32
	}
	first := ancestor{ref, uint32(x.dict.term(id).members)}
	var hits []Hit
	var nodes []read.Node
	var ids []int64
	var above []ancestor
	seen := map[uint32]bool{first.ordinal: true}
	for stack := []ancestor{first}; len(stack) > 0; {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		above = above[:0]
		ids = x.parents.appendTo(ids[:0], at.ordinal)
		for _, id := range ids {
			if ordinal, ok := x.ordinal(id); ok { // else it has no final form yet
				ref, _, _ := x.describe(ordinal, nil)
				above = append(above, ancestor{ref, ordinal})
			}
		}
		slices.SortFunc(above, func(a, b ancestor) int { return strings.Compare(a.ref, b.ref) })
		refs := make([]string, len(above))
		for i, a := range above {
			if refs[i] = a.ref; !seen[a.ordinal] {
				seen[a.ordinal] = true
				stack = append(stack, a)
			}
		}
		hits = append(hits, Hit{ID: x.ids[at.ordinal], Mark: x.marks[at.ordinal], Ordinal: at.ordinal, Position: query.Position{Ref: at.ref}})
		if nodes = append(nodes, read.Node{Ref: at.ref, Parents: refs}); len(nodes) > read.MaxAncestors {
			return nil, nil, false
		}
	}
	return hits, nodes, true
}
