package shape

import (
	"hash/maphash"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/kinds"
)

// Related returns for each type of relation how many entities have relations
// of that type when all of them are processed. A catalog that answers these
// numbers is complete.
func (c Catalog) Related() (map[string]int, error) {
	set := kinds.NewSet(append(kinds.Core(), kinds.Template())...)
	seed := maphash.MakeSeed()
	there := make(map[uint64]bool, c.Entities)
	sources := map[string]map[uint64]bool{}
	for e := range c.All() {
		there[hash(seed, e.Ref())] = true
		relations, err := set.Relations(e)
		if err != nil {
			return nil, err
		}
		for _, r := range relations {
			if sources[r.Type] == nil {
				sources[r.Type] = map[uint64]bool{}
			}
			sources[r.Type][hash(seed, r.Source)] = true
		}
	}
	out := map[string]int{}
	for typ, refs := range sources {
		for ref := range refs {
			if there[ref] {
				out[typ]++
			}
		}
	}
	return out, nil
}

func hash(seed maphash.Seed, ref catalogcommon.Ref) uint64 {
	return maphash.String(seed, ref.String())
}
