package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/sealed"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Kinds of state that are stored sealed: what actions keep with
// SecretCheckpoint, and the steps that are finished from the first of them on.
const (
	secretCheckpointState = "secret-checkpoint"
	secretStepState       = "secret-step"
)

// sealedStep is what is sealed of a finished step.
type sealedStep struct {
	Output json.RawMessage `json:"output"`
	// Created are the secrets that actions created so far.
	Created []string `json:"created"`
}

// hideCreated makes a secret known that an action created: it is hidden in the
// log, and the outputs of steps are sealed from now on.
func (x *execution) hideCreated(secrets ...string) {
	x.secrets.Add(secrets...)
	x.created = append(x.created, secrets...)
}

// keepStep keeps the output of a finished step for later runs.
func (x *execution) keepStep(id string, output *template.Record) error {
	if x.run.State == nil {
		return nil
	}
	text := template.AppendJSON(nil, output)
	if len(x.created) == 0 {
		return x.run.State.Keep(x.ctx, stepState, id, text)
	}
	value, err := json.Marshal(sealedStep{text, x.created})
	if err != nil {
		return fmt.Errorf("keep the output of the step %s: %w", id, err)
	}
	return x.run.State.Keep(x.ctx, secretStepState, id, value)
}

// finishedSteps returns the outputs of the steps that earlier runs finished.
func (x *execution) finishedSteps() (map[string]json.RawMessage, error) {
	done, err := x.run.State.Load(x.ctx, stepState)
	if err != nil {
		return nil, err
	}
	secret, err := x.run.State.Load(x.ctx, secretStepState)
	if err != nil {
		return nil, err
	}
	done = maps.Clone(done)
	for id, value := range secret {
		var step sealedStep
		if err := json.Unmarshal(value, &step); err != nil {
			return nil, fmt.Errorf("the kept output of the step %s cannot be read", id) // without the text
		}
		x.hideCreated(step.Created...)
		done[id] = step.Output
	}
	return done, nil
}

// SecretCheckpoint implements [scaffoldernode.ActionHost].
func (h *host) SecretCheckpoint(ctx context.Context, key string, fn func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
	h.mu.Lock()
	value, ok := h.secretCheckpoints[key]
	h.mu.Unlock()
	if !ok && h.x.run.State != nil {
		all, err := h.x.run.State.Load(ctx, secretCheckpointState)
		if err != nil {
			return nil, err
		}
		value, ok = all[h.step.ID+"."+key]
	}
	fresh := !ok
	if fresh {
		var err error
		if value, err = fn(ctx); err != nil {
			return nil, err
		}
	}
	var secret string
	if err := json.Unmarshal(value, &secret); err != nil {
		return nil, fmt.Errorf("the checkpoint %q of the step %s is no text", key, h.step.ID) // without it
	}
	h.mu.Lock()
	h.x.hideCreated(secret)
	if h.secretCheckpoints == nil {
		h.secretCheckpoints = map[string]json.RawMessage{}
	}
	h.secretCheckpoints[key] = value
	h.mu.Unlock()
	if fresh && h.x.run.State != nil {
		return value, h.x.run.State.Keep(h.x.ctx, secretCheckpointState, h.step.ID+"."+key, value)
	}
	return value, nil
}

// sealState seals a value of a kind that is stored sealed.
func sealState(box *sealed.Box, task, kind string, value json.RawMessage) (json.RawMessage, error) {
	if !strings.HasPrefix(kind, "secret-") {
		return value, nil
	}
	return json.Marshal(box.Seal(task, string(value)))
}

// openState opens what sealState made.
func openState(box *sealed.Box, task, kind string, values map[string]json.RawMessage) error {
	if !strings.HasPrefix(kind, "secret-") {
		return nil
	}
	for key, value := range values {
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return errors.New("the sealed state of the task cannot be read")
		}
		opened, err := box.Open(task, text)
		if err != nil {
			return fmt.Errorf("open what the step behind %q kept: %w", key, err)
		}
		values[key] = json.RawMessage(opened)
	}
	return nil
}
