package catalognode

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/flytower/flytower/backend"
)

// UnprocessedExtensionPoint shows what was handed in and is not, or not as its
// source wants it, in the catalog. It answers once the catalog has started;
// before, it fails with an apierr.KindServiceUnavailable error.
//
// The sequences read the database in pages, so nothing holds more than a page,
// and no connection is taken while the caller looks at one. What changes
// meanwhile may or may not be seen. A sequence ends at the first error.
type UnprocessedExtensionPoint interface {
	// Failed yields the entities that are not in the catalog since processing
	// them ended with errors each time. With an owner, a spec.owner such as
	// "team-a" or "group:default/team-a", it yields those of the owner only.
	Failed(ctx context.Context, owner string) iter.Seq2[UnprocessedEntity, error]
	// Pending yields all entities that are not in the catalog yet, with those
	// that failed.
	Pending(ctx context.Context, owner string) iter.Seq2[UnprocessedEntity, error]
	// Conflicts yields the hand-ins that were refused, since somebody else
	// holds the entity, or since the same source has another document with the
	// same ref, which counts.
	Conflicts(ctx context.Context) iter.Seq2[Conflict, error]
	// Delete removes the entity with the id, whatever state it is in, and
	// reports whether there was one. Parents that emitted it are processed
	// again, so that it comes back if its source still has it.
	Delete(ctx context.Context, entityID string) (bool, error)
}

// Unprocessed is the extension point of [UnprocessedExtensionPoint].
var Unprocessed = backend.NewExtensionPoint[UnprocessedExtensionPoint]("catalog", "unprocessed")

// UnprocessedEntity is an entity that is not in the catalog yet.
type UnprocessedEntity struct {
	// ID is what metadata.uid will be.
	ID, Ref string
	// Unprocessed is the entity as it was handed in, Processed what processing
	// made of it, or nil.
	Unprocessed, Processed      json.RawMessage
	UnprocessedHash, ResultHash string
	// Cache is what processors remember, or nil.
	Cache json.RawMessage
	// Errors is an array of the errors of the last processing, or nil.
	Errors      json.RawMessage
	LocationKey string
	// Next is when it will be processed; zero if only a change leads to that.
	Next       time.Time
	Discovered time.Time
}

// Conflict is a hand-in that was refused.
type Conflict struct {
	// Ref is the entity that two want.
	Ref string
	// Source wants it, under Wanted, and Holders have it, under Holder. Empty
	// location keys claim nothing.
	Source         EntitySource
	Wanted, Holder string
	Holders        []EntitySource
	// Entity is what was refused, and Location where it was read, if it says so.
	Entity   json.RawMessage
	Location string
	// Document is which document of the file at Location it is, from 1, Line
	// the line where it begins, and HeldDocument which document of Holder counts
	// instead; 0 if that is not known.
	Document, Line, HeldDocument int
	// Reason is a sentence that says why it was refused.
	Reason string
	Since  time.Time
}

// EntitySource hands an entity in: a provider, or the entity that emitted it.
type EntitySource struct {
	// Provider is a name, or empty; Parent is the ref of an entity, or empty.
	Provider, Parent string
}
