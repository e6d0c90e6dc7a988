package command

import "slices"
import "maps"

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

type newCommand struct{}
