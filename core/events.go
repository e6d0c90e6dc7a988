package core

import (
	"context"
	"encoding/json"

	"github.com/flytower/flytower/backend"
)

// Event is a message to whoever subscribed to its topic.
type Event struct {
	Topic   string          `json:"topic"`
	Payload json.RawMessage `json:"payload"`
	// Metadata stays in the process.
	Metadata map[string]any `json:"-"`
}

// Subscription receives the events of some topics. Of several replicas that
// subscribe with the same plugin and id, one receives each event.
type Subscription struct {
	ID     string
	Topics []string
	// OnEvent handles one event. An error, or a panic, is logged, and the
	// event counts as delivered.
	OnEvent func(ctx context.Context, e Event) error
}

// EventsService passes events between plugins.
type EventsService interface {
	// Publish delivers the event to the subscribers in this process, which
	// have handled it when Publish returns, and hands it to the event bus for
	// the others, where there is one.
	Publish(ctx context.Context, e Event) error
	// Subscribe begins to deliver; it ends when the plugin stops.
	Subscribe(ctx context.Context, s Subscription) error
}

// Events passes events between plugins.
var Events = backend.NewServiceRef[EventsService]("events.service")
