package catalogbackend

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/engine"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Topics that the catalog publishes to.
const (
	topicErrors    = "experimental.catalog.errors"
	topicConflicts = "experimental.catalog.conflict"
)

// announcer tells others what went wrong with entities.
type announcer struct {
	events   core.EventsService
	log      *slog.Logger
	handlers []func(context.Context, catalognode.ProcessingError)
	turn     *sync.Mutex // handlers are called one at a time
	// refused returns the text of an entity that was refused, "" if it is not
	// known any more.
	refused func(ctx context.Context, ref, locationKey string) (string, error)
}

func (a announcer) errors(ctx context.Context, e catalognode.ProcessingError, location string, news bool) {
	if news && len(a.handlers) > 0 {
		a.turn.Lock()
		defer a.turn.Unlock()
		for _, handle := range a.handlers {
			handle(ctx, e)
		}
	}
	list := make([]map[string]any, len(e.Errors))
	for i, err := range e.Errors {
		list[i] = engine.Describe(err)
	}
	a.publish(ctx, topicErrors, map[string]any{"entity": e.EntityRef, "location": location, "errors": list})
}

func (a announcer) conflict(ctx context.Context, c store.Conflict) {
	payload := map[string]any{
		"entityRef": c.Ref, "newLocationKey": c.Wanted, "existingLocationKey": c.Holder,
		"lastConflictAt": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
	}
	body, err := a.refused(ctx, c.Ref, c.Wanted)
	if err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, "an entity that was refused could not be read for its event", "entity", c.Ref, "error", err)
	}
	if body != "" {
		payload["unprocessedEntity"] = json.RawMessage(body)
	}
	a.publish(ctx, topicConflicts, payload)
}

func (a announcer) publish(ctx context.Context, topic string, payload any) {
	raw, err := json.Marshal(payload)
	if err == nil {
		err = a.events.Publish(ctx, core.Event{Topic: topic, Payload: raw})
	}
	if err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, "publishing an event of the catalog failed", "topic", topic, "error", err)
	}
}
