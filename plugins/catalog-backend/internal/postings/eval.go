package postings

import (
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

// result is a set of entities. A shared bitmap must not be changed; that of ours
// is one that the index keeps.
type result struct {
	bitmap       *roaring.Bitmap
	shared, ours bool
}

func none() result { return result{bitmap: roaring.New()} }

func (x *Index) all() result { return result{bitmap: x.live, shared: true, ours: true} }

// eval returns the entities that meet a predicate.
func (x *Index) eval(p query.Predicate) result {
	switch p := p.(type) {
	case nil:
		return x.all()
	case query.All:
		return x.evalAll(p)
	case query.Any:
		u := union{index: x}
		for _, m := range p {
			u.add(x.eval(m).bitmap)
		}
		return u.result()
	case query.Not:
		return result{bitmap: roaring.AndNot(x.live, x.eval(p.Predicate).bitmap)}
	case query.Exists:
		u := union{index: x}
		if f, ok := x.names[p.Key]; ok {
			u.add(x.field[f].has)
		}
		x.addItems(&u, p.Key)
		return u.ours()
	case query.In:
		u := union{index: x}
		if f, ok := x.names[p.Key]; ok {
			for _, v := range p.Values {
				x.eachValue(x.field[f], f, v, func(id uint32, _ record) { u.addSet(x.dict.term(id).members) })
			}
		}
		if slices.Contains(p.Values, "true") {
			x.addItems(&u, p.Key)
		}
		return u.ours()
	case query.HasPrefix:
		u := union{index: x}
		if f, ok := x.names[p.Key]; ok {
			x.eachFrom(x.field[f], f, p.Prefix, func(id uint32, r record) bool {
				if !strings.HasPrefix(r.value, p.Prefix) {
					return false
				}
				u.addSet(x.dict.term(id).members)
				return true
			})
		}
		if strings.HasPrefix("true", p.Prefix) {
			x.addItems(&u, p.Key)
		}
		return u.ours()
	default:
		panic("postings: a predicate of an unknown type")
	}
}

// evalAll intersects positive members first, the smallest first, and takes
// the others away from that.
func (x *Index) evalAll(ps query.All) result {
	var with, without []*roaring.Bitmap
	var only result
	for _, p := range ps {
		if not, ok := p.(query.Not); ok {
			without = append(without, x.eval(not.Predicate).bitmap)
			continue
		}
		r := x.eval(p)
		if r.bitmap.IsEmpty() {
			return none()
		}
		with, only = append(with, r.bitmap), r
	}
	var out result
	switch {
	case len(with) == 0:
		out = x.all()
	case len(with) == 1:
		out = only
		out.shared = true
	default:
		sizes := make(map[*roaring.Bitmap]uint64, len(with))
		for _, b := range with {
			sizes[b] = b.GetCardinality()
		}
		slices.SortFunc(with, func(a, b *roaring.Bitmap) int { return int(sizes[a]) - int(sizes[b]) })
		both := roaring.And(with[0], with[1])
		for _, b := range with[2:] {
			both.And(b)
		}
		out = result{bitmap: both}
	}
	for _, b := range without {
		if out.shared {
			out = result{bitmap: roaring.AndNot(out.bitmap, b)}
		} else {
			out.bitmap.AndNot(b)
		}
	}
	return out
}

// union collects sets.
type union struct {
	index   *Index
	few     []uint32
	bitmaps []*roaring.Bitmap
}

func (u *union) add(b *roaring.Bitmap) {
	if !b.IsEmpty() {
		u.bitmaps = append(u.bitmaps, b)
	}
}

func (u *union) addSet(p set) {
	if p&tagMask == tagBitmap {
		u.add(u.index.sets.bitmap(p))
	} else {
		u.few = u.index.sets.appendTo(u.few, p)
	}
}

// ours is result for a union of sets that the index keeps.
func (u *union) ours() result {
	r := u.result()
	r.ours = r.shared
	return r
}

func (u *union) result() result {
	switch {
	case len(u.few) == 0 && len(u.bitmaps) == 0:
		return none()
	case len(u.few) == 0 && len(u.bitmaps) == 1:
		return result{bitmap: u.bitmaps[0], shared: true}
	case len(u.few) > 0:
		slices.Sort(u.few)
		b := roaring.New()
		b.AddMany(u.few)
		if len(u.bitmaps) == 0 {
			return result{bitmap: b}
		}
		u.bitmaps = append(u.bitmaps, b)
	}
	return result{bitmap: roaring.FastOr(u.bitmaps...)}
}

// eachFrom visits the terms of a key from a value on, while visit says so.
func (x *Index) eachFrom(f *field, number uint32, value string, visit func(id uint32, r record) bool) {
	at := x.placeOfTerm(f, record{field: number, value: value})
	for {
		id, ok := f.terms.get(at)
		if !ok || !visit(id, x.dict.record(id)) {
			return
		}
		at = f.terms.next(at)
	}
}

// eachValue visits the terms of a key that have a value: as often as there are
// ways in which it is written.
func (x *Index) eachValue(f *field, number uint32, value string, visit func(id uint32, r record)) {
	x.eachFrom(f, number, value, func(id uint32, r record) bool {
		if r.value != value {
			return false
		}
		visit(id, r)
		return true
	})
}

// addItems adds the entities that have the key because they have the item of
// an array: the string s at the key k stands for k.s = true, too.
func (x *Index) addItems(u *union, key string) {
	if entitysearch.TooLong(key) {
		return // there are no rows with such a key
	}
	for i := len(key) - 1; i > 0; i-- {
		if key[i] != '.' {
			continue
		}
		if f, ok := x.names[key[:i]]; ok {
			x.eachValue(x.field[f], f, key[i+1:], func(id uint32, r record) {
				if r.item {
					u.addSet(x.dict.term(id).members)
				}
			})
		}
	}
}

// hasItems reports whether the key stands for items of arrays. Filters know
// them; values to list and to order by are left to the database.
func (x *Index) hasItems(key string) bool {
	u := union{index: x}
	x.addItems(&u, key)
	return len(u.few)+len(u.bitmaps) > 0
}
