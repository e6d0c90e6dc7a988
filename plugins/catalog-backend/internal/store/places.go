package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

// maxUrgent is how many entities one event may make due before all others;
// more come in turn.
const maxUrgent = 100

// RefreshPlaces makes due now what depends on one of the locations
// ("url:https://…"), or was read there, and the same for all that is below one
// of the prefixes, which end in a slash. Where an entity was read is compared
// without regard to case, as source hosts do for the names of repositories; what
// it depends on is compared exactly, in the form in which it is kept. It
// returns how many entities that are.
func (s *Store) RefreshPlaces(ctx context.Context, locations, prefixes []string) (n int, err error) {
	for _, p := range prefixes {
		if p == "" || p[len(p)-1] != '/' {
			return 0, fmt.Errorf("the prefix %q does not end in a slash", p)
		}
	}
	err = s.write(ctx, func(t *tx) error {
		n = 0
		var ids []int64
		find := func(condition func(b *sqltext.Builder, column string, fold func(string) string)) error {
			found, err := t.placed(condition)
			ids = append(ids, found...)
			return err
		}
		for part := range slices.Chunk(locations, chunk) {
			if err := find(func(b *sqltext.Builder, column string, fold func(string) string) {
				folded := make([]string, len(part))
				for i, l := range part {
					folded[i] = fold(l)
				}
				b.Write(column, " IN (", b.List(folded), ")")
			}); err != nil {
				return err
			}
		}
		for _, p := range prefixes {
			// A range, so that an index finds the rows: from "…/" to "…0", as that
			// is the next character.
			if err := find(func(b *sqltext.Builder, column string, fold func(string) string) {
				b.Write(column, " > ", b.Arg(fold(p)), " AND ", column, " < ", b.Arg(fold(p[:len(p)-1])+"0"))
			}); err != nil {
				return err
			}
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
		if n = len(ids); n > maxUrgent {
			return t.due(ids, LaneNew, t.now)
		}
		return t.forceDue(ids)
	})
	if err != nil {
		return 0, fmt.Errorf("refreshing by location: %w", err)
	}
	return n, nil
}

// placed returns the entities whose refresh keys, or whose locations, fulfil a
// condition.
func (t *tx) placed(condition func(b *sqltext.Builder, column string, fold func(string) string)) ([]int64, error) {
	b := t.build()
	b.Write("SELECT r.entity_id FROM refresh_key r WHERE ")
	condition(b, "r.key", func(s string) string { return s })
	keyed, err := t.ids(b)
	if err != nil {
		return nil, err
	}
	for _, table := range []string{"entity_search", "search_behind_row"} {
		b = t.build()
		b.Write("SELECT x.entity_id FROM ", table, " x JOIN search_key k ON k.id = x.key_id WHERE k.key IN (",
			b.List([]string{annotationKey(catalogcommon.AnnotationLocation), annotationKey(catalogcommon.AnnotationOriginLocation)}), ") AND ")
		condition(b, "x.value", entitysearch.Fold)
		read, err := t.ids(b)
		if err != nil {
			return nil, err
		}
		keyed = append(keyed, read...)
	}
	return keyed, nil
}

func annotationKey(name string) string { return "metadata.annotations." + entitysearch.Fold(name) }
