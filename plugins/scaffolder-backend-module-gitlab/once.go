package scaffoldermodulegitlab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// creation is how something is created of which there may be several with the
// same name.
type creation[T any] struct {
	// candidates lists what may be it.
	candidates func(context.Context) ([]T, error)
	id         func(T) int64
	create     func(context.Context) (T, error)
}

// createOnce creates something once per step. An earlier run that was cut off
// left it as the candidate that was not there before.
func createOnce[T any](ctx context.Context, c *scaffoldernode.ActionContext, key string, o creation[T]) (T, error) {
	known, again, err := scaffoldernode.Before(ctx, c, key, func(ctx context.Context) ([]int64, error) {
		found, err := o.candidates(ctx)
		return ids(found, o.id), err
	})
	if err != nil {
		return *new(T), err
	}
	return scaffoldernode.Checkpoint(ctx, c, key, func(ctx context.Context) (T, error) {
		if again {
			found, err := o.candidates(ctx)
			if err != nil {
				return *new(T), err
			}
			if found = unknown(found, o.id, known); len(found) > 0 {
				return found[0], nil
			}
		}
		return o.create(ctx)
	})
}

// unknown returns what is not among the known ids, in the order of the ids.
func unknown[T any](found []T, id func(T) int64, known []int64) []T {
	found = slices.DeleteFunc(slices.Clone(found), func(v T) bool { return slices.Contains(known, id(v)) })
	slices.SortFunc(found, func(a, b T) int { return int(id(a) - id(b)) })
	return found
}

func ids[T any](found []T, id func(T) int64) []int64 {
	all := make([]int64, len(found))
	for i, v := range found {
		all[i] = id(v)
	}
	return all
}

// key makes the key of a checkpoint of what it is about; credentials are no
// part of it, as they may differ when a task is tried again.
func key(what string, about ...any) string {
	text, err := json.Marshal(about)
	if err != nil {
		panic("a key of a checkpoint: " + err.Error()) // inputs came from JSON
	}
	sum := sha256.Sum256(text)
	return what + "." + hex.EncodeToString(sum[:12])
}
