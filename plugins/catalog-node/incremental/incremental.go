// Package incremental lets sources with very many entities into the catalog
// page by page: what was read is in the catalog at once, a restart goes on with
// the page behind the last one that was stored, and what the source no longer
// has is removed when the last page was read.
//
// It is the contract of the module
// plugins/catalog-backend-module-incremental-ingestion, which must be
// installed. A module with a provider:
//
//	var Module = backend.NewModule("catalog", "staff", func(env *backend.ModuleEnv) backend.InitFunc {
//		providers := incremental.Providers.From(env)
//		return func(context.Context) error {
//			return providers().AddProvider(staff{}, incremental.Options{
//				BurstInterval: 5 * time.Second, BurstLength: 30 * time.Second, RestLength: time.Hour,
//			})
//		}
//	})
//
//	func (staff) ProviderName() string { return "staff" }
//
//	func (s staff) Burst(ctx context.Context, read incremental.ReadFunc) error {
//		return read(ctx, func(ctx context.Context, cursor json.RawMessage) (incremental.Page, error) {
//			…
//			return incremental.Page{Entities: entities, Next: next}, nil
//		})
//	}
package incremental

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Provider reads a source in pages.
type Provider interface {
	// ProviderName is unique among all entity providers, and stable.
	ProviderName() string
	// Burst prepares what reading some pages needs, calls read once, cleans
	// up, and returns the error of read.
	Burst(ctx context.Context, read ReadFunc) error
}

// ReadFunc reads pages for as long as a burst lasts. The context that it gets
// reaches each call of next.
type ReadFunc func(ctx context.Context, next NextFunc) error

// NextFunc returns one page. The cursor is nil for the first page, and
// otherwise the Next of the page before, possibly from another process, as
// the same page may be asked for again. An error ends the burst; the page is
// asked for again after a while (see [Options.Backoff]). So an error is the
// answer to any doubt: what a page leaves out is removed in the end.
type NextFunc func(ctx context.Context, cursor json.RawMessage) (Page, error)

// Page is a part of what the source has.
type Page struct {
	Entities []catalognode.DeferredEntity
	// Next is where the next page begins, as JSON that means something to the
	// provider. Nil says that this is the last page.
	Next json.RawMessage
}

// ErrCancel is returned by a NextFunc, or wrapped, to give up what was read so
// far: the ingestion begins anew with the first page. Nothing is removed.
var ErrCancel = errors.New("CANCEL")

// EventHandler is implemented by providers that follow events of the source
// between the bursts.
type EventHandler interface {
	Provider
	// EventTopics are the topics to subscribe to.
	EventTopics() []string
	// OnEvent returns what an event changes. A zero Delta is nothing.
	OnEvent(ctx context.Context, e core.Event) (catalognode.Delta, error)
}

// Options say when a provider is read.
type Options struct {
	// BurstInterval is the time from the begin of a burst to that of the next,
	// at least 5 seconds.
	BurstInterval time.Duration
	// BurstLength is how long pages are read in a burst. The page that is
	// being read is finished; it has another minute for that.
	BurstLength time.Duration
	// RestLength is the time from the last page to the first page of the next
	// ingestion.
	RestLength time.Duration
	// Backoff are the waits after a first, second, … burst in a row that
	// failed; the last one repeats. Empty is 1 minute, 5 minutes, 30 minutes,
	// 3 hours.
	Backoff []time.Duration
	// RejectRemovalsAbovePercentage refuses to remove more than so many
	// percent, measured by the number of entities that the source has now. 0
	// refuses nothing. What was refused is decided upon anew at the end of
	// the next ingestion.
	RejectRemovalsAbovePercentage float64
	// RejectEmptySourceCollections refuses to remove anything if the source
	// had nothing at all.
	RejectEmptySourceCollections bool
}

// ProvidersExtensionPoint takes incremental providers.
type ProvidersExtensionPoint interface {
	// AddProvider adds a provider. It is an error if there is one with the
	// name, or if the options make no sense.
	AddProvider(p Provider, o Options) error
}

// Providers is the extension point of [ProvidersExtensionPoint]. The module
// for incremental ingestion offers it.
var Providers = backend.NewExtensionPoint[ProvidersExtensionPoint]("catalog", "incrementalIngestionProvider.providers")
