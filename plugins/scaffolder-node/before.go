package scaffoldernode

import "context"

// Before keeps what there was before an action creates something, and reports
// whether an earlier run of the step got that far: what it was about to create
// may be there although nobody heard of it. The key is unique within the step.
//
//	existed, again, err := scaffoldernode.Before(ctx, c, "repository", func(ctx context.Context) (bool, error) {
//		return repositoryExists(ctx, input)
//	})
//	// if again && !existed, a repository that is there now is the one of this step
//
// It belongs in front of the [Checkpoint] that creates.
func Before[T any](ctx context.Context, c *ActionContext, key string, look func(context.Context) (T, error)) (was T, again bool, err error) {
	again = true
	was, err = Checkpoint(ctx, c, key+".before", func(ctx context.Context) (T, error) {
		again = false
		return look(ctx)
	})
	return was, again, err
}
