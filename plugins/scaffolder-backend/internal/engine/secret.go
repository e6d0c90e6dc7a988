package engine

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
)

// secretKey begins the keys of checkpoints whose values are secrets that
// actions created.
const secretKey = "secret:"

// SecretCheckpoint implements [scaffoldernode.ActionHost]. What it returns is a
// secret of the run from then on: state with it is sealed, as that with any
// other secret.
func (h *host) SecretCheckpoint(ctx context.Context, key string, fn func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
	value, err := h.Checkpoint(ctx, secretKey+key, func(ctx context.Context) (json.RawMessage, error) {
		value, err := fn(ctx)
		if err == nil {
			err = h.x.hideSecret(value) // before it is kept
		}
		return value, err
	})
	if err != nil {
		return nil, err
	}
	return value, h.x.hideSecret(value)
}

func (x *execution) hideSecret(value json.RawMessage) error {
	var secret string
	if json.Unmarshal(value, &secret) != nil {
		return errors.New("what an action created as a secret is no text") // without it
	}
	x.secrets.Add(secret)
	return nil
}

// hideCreated makes the secrets known that actions created in earlier runs,
// whose steps do not run again.
func (x *execution) hideCreated() error {
	kept, err := x.load(checkpointState)
	if err != nil {
		return err
	}
	for key, value := range kept {
		var parts []string // see checkpointKey
		if json.Unmarshal([]byte(key), &parts) != nil || len(parts) == 0 || !strings.HasPrefix(parts[len(parts)-1], secretKey) {
			continue
		}
		if err := x.hideSecret(value); err != nil {
			return err
		}
	}
	return nil
}
