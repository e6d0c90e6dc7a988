// Package postings is an inverted index in memory: it answers which entities
// meet a condition, in which order, how many, and with which values, without
// a database.
//
//	x := postings.New()
//	kind := x.Field("kind")
//	err := x.Apply([]postings.Document{{ID: 1, Ref: "component:default/a", Rows: []postings.Row{{Field: kind, Value: "component"}}}}, nil)
//	n, ok := x.Count(read.Request{Filter: query.In{Key: "kind", Values: []string{"component"}}})
//
// An entity is a number (its ordinal), a term is a value of a key, and each
// term has the set of entities that have it: the number itself for one entity,
// a short list for a few, a roaring bitmap for many. Conditions are algebra of
// these sets. A list is a walk over entities that were sorted beforehand, or,
// where few qualify, a sort of those few.
//
// Any number of goroutines may read; changes exclude readers for the time of
// one batch.
package postings
