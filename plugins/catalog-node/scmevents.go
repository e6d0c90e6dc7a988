package catalognode

import (
	"context"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// SCMEventType says what happened at a source host.
type SCMEventType string

// The types of events. Those of locations are about one file, those of
// repositories about all that is in one.
const (
	SCMLocationCreated   SCMEventType = "location.created"
	SCMLocationUpdated   SCMEventType = "location.updated"
	SCMLocationDeleted   SCMEventType = "location.deleted"
	SCMLocationMoved     SCMEventType = "location.moved"
	SCMRepositoryCreated SCMEventType = "repository.created"
	SCMRepositoryUpdated SCMEventType = "repository.updated"
	SCMRepositoryDeleted SCMEventType = "repository.deleted"
	SCMRepositoryMoved   SCMEventType = "repository.moved"
)

// SCMEvent is something that happened at a source host, in terms that do not
// depend on the host.
type SCMEvent struct {
	Type SCMEventType
	// URL is the place, as a person opens it in a browser: of a file
	// ("https://github.com/acme/shop/blob/main/catalog-info.yaml") or of a
	// repository. It is empty for events of type moved.
	URL string
	// FromURL and ToURL are the places of events of type moved.
	FromURL, ToURL string
	// CommitURL is the commit behind the event; it may be empty.
	CommitURL string
}

// concerns returns "location" or "repository".
func (t SCMEventType) concerns() string {
	subject, _, _ := strings.Cut(string(t), ".")
	return subject
}

// check reports what is wrong with an event.
func (e SCMEvent) check() error {
	switch e.Type {
	case SCMLocationCreated, SCMLocationUpdated, SCMLocationDeleted, SCMRepositoryCreated, SCMRepositoryUpdated, SCMRepositoryDeleted:
		if e.URL == "" {
			return apierr.Input("an event of type %s needs a URL", e.Type)
		}
	case SCMLocationMoved, SCMRepositoryMoved:
		if e.FromURL == "" || e.ToURL == "" {
			return apierr.Input("an event of type %s needs the URLs from which and to which something moved", e.Type)
		}
	default:
		return apierr.Input("there is no type %q of events of source hosts", e.Type)
	}
	return nil
}

// SCMAction is what the catalog did because of events, for its metrics.
type SCMAction string

// The actions.
const (
	SCMActionCreate  SCMAction = "create"
	SCMActionDelete  SCMAction = "delete"
	SCMActionRefresh SCMAction = "refresh"
	SCMActionMove    SCMAction = "move"
)

// SCMEventsService passes what happened at source hosts from the modules that
// know the hosts to what in the catalog reacts: modules publish, providers
// subscribe. Which of the built-in reactions are on is said by the
// configuration catalog.scmEvents.
//
// Events stay in the process. Whoever reacts changes the database, so it is
// enough that one replica gets them.
type SCMEventsService interface {
	// Publish hands the events to all subscribers and returns when they have
	// handled them. That a subscriber failed is logged. A malformed event is an
	// input error, and none of the events is delivered; so is, as a conflict,
	// publishing from a handler. The end of ctx ends the waiting for
	// subscribers that are busy, with its error.
	Publish(ctx context.Context, events ...SCMEvent) error
	// Subscribe calls onEvents with events in the order in which they were
	// published, one batch of up to 1000 at a time, for up to five minutes
	// each. After cancel returned it is not called any more; cancel waits for
	// the call that runs, and may be called again. The name is for logs.
	Subscribe(name string, onEvents func(ctx context.Context, events []SCMEvent) error) (cancel func())
	// ActionTaken counts what was done because of events, for the metric
	// catalog.events.scm.actions.
	ActionTaken(ctx context.Context, action SCMAction, count int)
}

// SCMEvents is the service of [SCMEventsService]. It needs no factory to be
// added: by default events are passed on in the memory of the process.
var SCMEvents = backend.NewRootServiceRef[SCMEventsService]("catalog.scm-events.alpha").WithDefault(
	func(ref backend.RootServiceRef[SCMEventsService]) backend.ServiceFactory {
		return backend.NewRootServiceFactory(ref, func(env *backend.RootEnv) backend.MakeFunc[SCMEventsService] {
			log, telemetry := core.RootLogger.From(env), core.Telemetry.Optional(env)
			return func(context.Context) (SCMEventsService, error) {
				o := SCMEventsOptions{Logger: log().With("service", ref.ID())}
				if providers, ok := telemetry(); ok {
					o.Meter = providers.Meter.Meter("backstage-plugin-catalog")
				}
				return NewSCMEvents(o)
			}
		}, backend.Lazy())
	})
