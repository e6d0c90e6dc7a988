// Package catalogmodulelogs logs what goes wrong when entities are processed,
// one line for each error, with the entity and where it comes from.
//
//	b.Add(catalogbackend.Plugin, catalogmodulelogs.Module)
//
// An error is logged each time that the entity is processed, until its source
// is mended.
package catalogmodulelogs

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Topic is where the catalog publishes the errors of processing.
const Topic = "experimental.catalog.errors"

// Module logs errors of processing.
var Module = backend.NewModule("catalog", "logs", func(env *backend.ModuleEnv) backend.InitFunc {
	log, events := core.Logger.From(env), core.Events.From(env)
	return func(ctx context.Context) error {
		return events().Subscribe(ctx, core.Subscription{
			ID: "catalog", Topics: []string{Topic},
			OnEvent: func(ctx context.Context, e core.Event) error {
				var found struct {
					Entity, Location string
					Errors           []struct{ Name, Message string }
				}
				if err := json.Unmarshal(e.Payload, &found); err != nil {
					return fmt.Errorf("an event of topic %s is malformed: %w", e.Topic, err)
				}
				for _, problem := range found.Errors {
					log().WarnContext(ctx, problem.Message, "entity", found.Entity, "location", found.Location)
				}
				return nil
			},
		})
	}
}, backend.WithDescription("Logs the errors of entities"))
