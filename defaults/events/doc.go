// Package events is the default events.service: it passes events between the
// plugins of a backend and, through the plugin "events" where there is one,
// between backends.
//
//	events().Subscribe(ctx, core.Subscription{
//		ID: "refresh", Topics: []string{"github.push"},
//		OnEvent: func(ctx context.Context, e core.Event) error { return refresh(ctx, e.Payload) },
//	})
//	events().Publish(ctx, core.Event{Topic: "github.push", Payload: payload})
//
// # Delivery
//
// In this process each subscriber of the topic gets the event, all at the
// same time, and Publish returns when they have handled it. A handler that
// fails, panics or exceeds its time has had the event: nothing is delivered
// twice here. A panic is the subscriber's, not the publisher's.
//
// After that the event goes to the bus, with the names of those who have had
// it. Of the replicas of a subscription one receives it.
//
// # Order
//
// A subscriber handles the events that one goroutine publishes one after the
// other in that order. Events that are published at the same time are handled
// at the same time. Events from the bus are handled one at a time, in the
// order of the bus.
//
// # Limits
//
// A handler has [DefaultHandlerTimeout], and a subscriber handles at most
// [DefaultConcurrency] events at once: publishers wait for their turn.
// Handlers may publish; events that cause each other in a circle are refused.
package events
