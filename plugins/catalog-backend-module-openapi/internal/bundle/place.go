package bundle

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/flytower/flytower/apierr"
)

// placement puts everything that references lead to into the result.
type placement struct {
	result *slot
	placed map[string]*place // by key of a target
	copies map[string][]*place
	count  int // occurrences

	plain, extended queue
	deferred, names []*occurrence
}

// occurrence is a reference in the result.
type occurrence struct {
	found
	at    *slot
	self  *mapping
	where *place
	hops  int // from the root to here
	// within are the merged copies that it is in.
	within *merged
	serial int
}

// merged is a copy of a target that has been changed by what stood beside the
// reference to it, so that it can stand for the target in itself only.
type merged struct {
	parent *merged
	key    string
	where  *place
}

// maxCopies is how often a target is copied since only references with
// something beside them lead to it. Further ones point to the first copy.
const maxCopies = 20

// queue has the occurrence that is nearest to the root on top.
type queue []*occurrence

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return compare(q[i], q[j]) < 0 }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(*occurrence)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	o := (*q)[last]
	*q = (*q)[:last]
	return o
}

func compare(a, b *occurrence) int {
	depth := func(o *occurrence) int {
		if o.where == nil {
			return 0
		}
		return o.where.depth
	}
	return cmp.Or(cmp.Compare(a.hops, b.hops), cmp.Compare(depth(a), depth(b)), cmp.Compare(definitions(b), definitions(a)),
		cmp.Compare(a.where.len(), b.where.len()), cmp.Compare(a.serial, b.serial))
}

// definitions prefers places that are meant for what others refer to.
func definitions(o *occurrence) int {
	for p := o.where; p != nil; p = p.parent {
		if p.token == "definitions" || p.token == "$defs" {
			return 1
		}
	}
	return 0
}

// children yields what is in a mapping or a sequence.
func children(value any) iter.Seq2[string, *slot] {
	return func(yield func(string, *slot) bool) {
		switch v := value.(type) {
		case *mapping:
			for _, m := range v.members {
				if !yield(m.key, &m.slot) {
					return
				}
			}
		case *sequence:
			for i, item := range v.items {
				if !yield(strconv.Itoa(i), item) {
					return
				}
			}
		}
	}
}

// names are the places of references that are names in AsyncAPI 3. A star is
// any one token.
var nameplates = [][]string{
	{"channels", "*", "servers"},
	{"operations", "*", "channel"},
	{"operations", "*", "messages"},
	{"operations", "*", "reply", "channel"},
	{"operations", "*", "reply", "messages"},
}

// isName reports whether a reference at the place is a name.
func isName(at []string) bool {
	if len(at) > 0 && at[0] == "components" {
		at = at[1:]
	}
	return slices.ContainsFunc(nameplates, func(plate []string) bool {
		if len(at) < len(plate) {
			return false
		}
		for i, token := range plate {
			if token != "*" && token != at[i] {
				return false
			}
		}
		return true
	})
}

// assemble returns the bundle.
func (b *bundler) assemble(ctx context.Context) (*slot, error) {
	b.placed, b.copies = map[string]*place{key(b.root, nil): nil}, map[string][]*place{}
	b.result = &slot{}
	if err := b.fill(b.result, &target{file: b.root, slot: b.root.tree}, nil, 0, nil); err != nil {
		return nil, err
	}
	for {
		var err error
		switch {
		case len(b.plain) > 0:
			err = b.settle(ctx, heap.Pop(&b.plain).(*occurrence), false)
		case len(b.extended) > 0:
			err = b.merge(ctx, heap.Pop(&b.extended).(*occurrence))
		case len(b.deferred) > 0:
			err = b.settleDeferred(ctx)
		case len(b.names) > 0:
			o := b.names[0]
			b.names = b.names[1:]
			err = b.name(ctx, o)
		default:
			return b.result, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// locate returns where the value of a target is in the result, once it is.
func (b *bundler) locate(t *target) ([]string, bool) {
	for n := len(t.tokens); n >= 0; n-- {
		if at, ok := b.placed[key(t.file, t.tokens[:n])]; ok {
			return append(at.tokens(), t.tokens[n:]...), true
		}
	}
	return nil, false
}

// point makes the occurrence a reference to a place.
func (o *occurrence) point(to []string) {
	if _, fragment, isLocal := strings.Cut(o.ref, "#"); isLocal && o.ref[0] == '#' {
		if own, err := tokens(fragment); err == nil && slices.Equal(own, to) {
			return // it is right as it was written
		}
	}
	o.self.get("$ref").value = scalar{text: pointer(to), string: true}
}

// settle decides about a plain reference. force puts what it leads to here
// even if that is a part of something that has no place yet.
func (b *bundler) settle(ctx context.Context, o *occurrence, force bool) error {
	to, err := b.resolve(ctx, o.found)
	if errors.Is(err, errCircular) {
		return nil
	} else if err != nil {
		return err
	}
	if place, ok := b.locate(&to.target); ok {
		o.point(place)
		return nil
	}
	if !force && b.isPart(&to.target) {
		b.deferred = append(b.deferred, o)
		return nil
	}
	b.placed[to.key()] = o.where
	return b.fill(o.at, &to.target, o.where, o.hops+to.hops+1, o.within)
}

// isPart reports whether a reference leads to something that the target is in.
func (b *bundler) isPart(t *target) bool {
	for n := range t.tokens {
		if whole := b.targets[key(t.file, t.tokens[:n])]; whole != nil && whole.exact {
			return true
		}
	}
	return false
}

// settleDeferred decides about references to parts when all wholes that can be
// reached have a place.
func (b *bundler) settleDeferred(ctx context.Context) error {
	waiting := b.deferred
	b.deferred = nil
	slices.SortFunc(waiting, compare)
	before := len(waiting)
	for _, o := range waiting {
		if err := b.settle(ctx, o, false); err != nil {
			return err
		}
	}
	if len(b.deferred) < before {
		return nil
	}
	// The wholes are only inside of their own parts.
	first := b.deferred[0]
	b.deferred = b.deferred[1:]
	return b.settle(ctx, first, true)
}

// name decides about a reference that is a name: it should lead to where the
// author said, even if that is a reference.
func (b *bundler) name(ctx context.Context, o *occurrence) error {
	if o.file == b.root && o.ref[0] == '#' && b.leads(o.ref) {
		return nil
	}
	to, err := b.resolve(ctx, o.found)
	switch {
	case err != nil && o.file == b.root && o.ref[0] == '#':
		return nil // nothing that could be mended here
	case errors.Is(err, errCircular):
		return apierr.Input("the reference %q in %s leads nowhere: %w", o.ref, o.file.url, err)
	case err != nil:
		return err
	}
	for _, t := range []*target{&to.near, &to.target} {
		if place, ok := b.locate(t); ok {
			o.point(place)
			return nil
		}
	}
	return b.settle(ctx, o, true)
}

// leads reports whether a local reference leads somewhere in the result
// without passing through another one.
func (b *bundler) leads(ref string) bool {
	parts, err := tokens(ref[1:])
	if err != nil {
		return false
	}
	at := b.result
	for _, token := range parts {
		next, ok := step(at.value, token)
		if !ok {
			return false
		}
		at = next
	}
	return true
}

// merge decides about a reference with something beside it.
func (b *bundler) merge(ctx context.Context, o *occurrence) error {
	to, err := b.resolve(ctx, o.found)
	if errors.Is(err, errCircular) {
		return nil
	} else if err != nil {
		return err
	}
	if place, ok := b.locate(&to.target); ok {
		o.point(place)
		return nil
	}
	key := to.key()
	for outer := o.within; outer != nil; outer = outer.parent {
		if outer.key == key {
			o.point(outer.where.tokens())
			return nil
		}
	}
	if there := b.copies[key]; len(there) >= maxCopies {
		o.point(there[0].tokens())
		return nil
	}
	b.copies[key] = append(b.copies[key], o.where)
	within := &merged{parent: o.within, key: key, where: o.where}
	from, isMapping := to.slot.value.(*mapping)
	if !isMapping {
		return b.fill(o.at, &to.target, o.where, o.hops+to.hops+1, within)
	}
	o.self.members = slices.DeleteFunc(o.self.members, func(m *member) bool { return m.key == "$ref" })
	if err := b.mergeMembers(o.self, &target{file: to.file, slot: &slot{from}}, o.where, o.hops+to.hops+1, within); err != nil {
		return err
	}
	if ref, _, isRef := reference(o.self); isRef { // what it leads to extends something itself
		b.note(&occurrence{found: found{ref, to.file}, at: o.at, self: o.self, where: o.where, hops: o.hops + to.hops + 1, within: within})
	}
	return nil
}

// mergeMembers copies the members of a target that are missing; objects on
// both sides merge.
func (b *bundler) mergeMembers(self *mapping, t *target, at *place, hops int, within *merged) error {
	for _, m := range t.slot.value.(*mapping).members {
		next := &target{file: t.file, slot: &m.slot}
		own := self.get(m.key)
		if own == nil {
			added := &member{key: m.key}
			self.members = append(self.members, added)
			if err := b.fill(&added.slot, next, at.child(m.key), hops, within); err != nil {
				return err
			}
			continue
		}
		ours, isMapping := own.value.(*mapping)
		_, theirsIsMapping := m.value.(*mapping)
		_, _, oursIsRef := reference(own.value)
		_, _, theirsIsRef := reference(m.value)
		if isMapping && theirsIsMapping && !oursIsRef && !theirsIsRef {
			if err := b.mergeMembers(ours, next, at.child(m.key), hops, within); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill copies a target into a place of the result, and notes the references
// in it.
func (b *bundler) fill(into *slot, t *target, at *place, hops int, within *merged) error {
	if b.left--; b.left < 0 {
		return apierr.Input("the bundle of %s has more than %d values", b.root.url, b.limits.Nodes)
	}
	if at != nil && at.depth > b.limits.Depth {
		return apierr.Input("the bundle of %s nests deeper than %d levels", b.root.url, b.limits.Depth)
	}
	switch v := t.slot.value.(type) {
	case *sequence:
		items := &sequence{items: make([]*slot, len(v.items))}
		into.value = items
		for i, item := range v.items {
			items.items[i] = &slot{}
			if err := b.fill(items.items[i], &target{file: t.file, slot: item}, at.child(strconv.Itoa(i)), hops, within); err != nil {
				return err
			}
		}
	case *mapping:
		members := &mapping{members: make([]*member, len(v.members))}
		into.value = members
		for i, m := range v.members {
			members.members[i] = &member{key: m.key}
			if err := b.fill(&members.members[i].slot, &target{file: t.file, slot: &m.slot}, at.child(m.key), hops, within); err != nil {
				return err
			}
		}
		if ref, _, ok := reference(v); ok {
			b.note(&occurrence{found: found{ref, t.file}, at: into, self: members, where: at, hops: hops, within: within})
		}
	default:
		into.value = v
	}
	return nil
}

func (b *bundler) note(o *occurrence) {
	b.count++
	o.serial = b.count
	switch {
	case b.async && isName(o.where.tokens()):
		b.names = append(b.names, o)
	case o.self.plain():
		heap.Push(&b.plain, o)
	default:
		heap.Push(&b.extended, o)
	}
}
