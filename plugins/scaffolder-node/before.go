package scaffoldernode

import (
	"context"
	"errors"
	"strconv"
)

// Before keeps what there was before an action creates something, and reports
// whether an earlier run of the step got that far: what it was about to create
// may be there although nobody heard of it. The key is unique within the step.
//
//	existed, again, err := scaffoldernode.Before(ctx, c, "repository", func(ctx context.Context) (bool, error) {
//		return repositoryExists(ctx, input)
//	})
//	// if again && !existed, a repository that is there now is the one of this step
//
// It belongs in front of the [Checkpoint] that creates. If the other side
// refused to, say so by [Refused].
func Before[T any](ctx context.Context, c *ActionContext, key string, look func(context.Context) (T, error)) (was T, again bool, err error) {
	attempt, err := attemptOf(ctx, c, key)
	if err != nil {
		return was, false, err
	}
	again = true
	was, err = Checkpoint(ctx, c, key+".before"+attempt, func(ctx context.Context) (T, error) {
		again = false
		return look(ctx)
	})
	return was, again, err
}

// Refused notes that nothing was created, for sure: [Before] looks again when
// the step is retried, so that what others created since is not taken for the
// step's own.
func Refused(ctx context.Context, c *ActionContext, key string) error {
	attempt, err := attemptOf(ctx, c, key)
	if err != nil {
		return err
	}
	_, err = Checkpoint(ctx, c, key+".refused"+attempt, func(context.Context) (bool, error) { return true, nil })
	return err
}

// attemptOf names the attempt after the last that was refused; the first has
// no name.
func attemptOf(ctx context.Context, c *ActionContext, key string) (name string, err error) {
	errUnknown := errors.New("not refused")
	for n := 2; ; n++ {
		_, err := Checkpoint(ctx, c, key+".refused"+name, func(context.Context) (bool, error) { return false, errUnknown })
		if errors.Is(err, errUnknown) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
		name = "." + strconv.Itoa(n)
	}
}
