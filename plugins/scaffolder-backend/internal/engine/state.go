package engine

import (
	"encoding/json"
	"fmt"
)

// sealedState is state with secrets in it as it is kept.
type sealedState struct {
	Sealed string `json:"$sealed"`
}

// seal returns state as it is kept: what has secrets in it is sealed, and so is
// what looks as if it were.
func (x *execution) seal(value json.RawMessage) (json.RawMessage, error) {
	if x.run.Box == nil || x.redact(string(value)) == string(value) && !isSealed(value) {
		return value, nil
	}
	sealed, err := json.Marshal(sealedState{x.run.Box.Seal(x.run.ID, string(value))})
	if err != nil {
		return nil, fmt.Errorf("seal the state of the task: %w", err)
	}
	return sealed, nil
}

// load returns what earlier runs of the task kept.
func (x *execution) load(kind string) (map[string]json.RawMessage, error) {
	state := map[string]json.RawMessage{}
	if x.run.State == nil {
		return state, nil
	}
	kept, err := x.run.State.Load(x.ctx, kind)
	if err != nil {
		return nil, err
	}
	for key, value := range kept {
		if x.run.Box == nil || !isSealed(value) {
			state[key] = value
			continue
		}
		var s sealedState
		if err := json.Unmarshal(value, &s); err != nil {
			return nil, fmt.Errorf("read the state of the task: %w", err)
		}
		text, err := x.run.Box.Open(x.run.ID, s.Sealed)
		if err != nil {
			return nil, fmt.Errorf("read the state of the task: %w", err)
		}
		state[key] = json.RawMessage(text)
	}
	return state, nil
}

// isSealed reports whether a value has the form of sealed state.
func isSealed(value json.RawMessage) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(value, &members) != nil || len(members) != 1 {
		return false
	}
	_, ok := members["$sealed"]
	return ok
}
