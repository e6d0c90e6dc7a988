package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/flytower/flytower/internal/redact"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/sealed"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
)

// sealingState is the state of a task that seals what has secrets in it.
type sealingState struct {
	State
	task    string
	box     *sealed.Box
	secrets redact.Redactor
}

// sealedValue is a value of the state as it is kept.
type sealedValue struct {
	Sealed string `json:"$sealed"`
}

func newSealingState(inner State, task string, box *sealed.Box, secrets ...map[string]string) *sealingState {
	s := &sealingState{State: inner, task: task, box: box}
	for _, some := range secrets {
		for _, secret := range some {
			hideText(&s.secrets, secret)
		}
	}
	return s
}

// Keep implements [State].
func (s *sealingState) Keep(ctx context.Context, all ...tasks.Kept) error {
	kept := make([]tasks.Kept, len(all))
	for i, k := range all {
		// What only looks as if it were sealed is sealed, too.
		if !bytes.Equal(s.secrets.Redact(k.Value), k.Value) || isSealed(k.Value) {
			value, err := json.Marshal(sealedValue{s.box.Seal(s.task, string(k.Value))})
			if err != nil {
				return fmt.Errorf("seal the state of the task: %w", err)
			}
			k.Value = value
		}
		kept[i] = k
	}
	return s.State.Keep(ctx, kept...)
}

// Load implements [State].
func (s *sealingState) Load(ctx context.Context, kind string) (map[string]json.RawMessage, error) {
	kept, err := s.State.Load(ctx, kind)
	if err != nil {
		return nil, err
	}
	all := make(map[string]json.RawMessage, len(kept))
	for key, value := range kept {
		if isSealed(value) {
			var v sealedValue
			err := json.Unmarshal(value, &v)
			var text string
			if err == nil {
				text, err = s.box.Open(s.task, v.Sealed)
			}
			if err != nil {
				return nil, fmt.Errorf("read the state of the task: %w", err)
			}
			value = json.RawMessage(text)
		}
		all[key] = value
	}
	return all, nil
}

// isSealed reports whether a value has the form of a sealed one.
func isSealed(value json.RawMessage) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(value, &members) != nil || len(members) != 1 {
		return false
	}
	_, ok := members["$sealed"]
	return ok
}

// load returns what earlier runs of the task kept.
func (x *execution) load(kind string) (map[string]json.RawMessage, error) {
	if x.run.State == nil {
		return map[string]json.RawMessage{}, nil
	}
	kept, err := x.run.State.Load(x.ctx, kind)
	if kept == nil {
		kept = map[string]json.RawMessage{}
	}
	return kept, err
}
