package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

const (
	// DefaultMaxRemovedPercentage is that of [Options].
	DefaultMaxRemovedPercentage = 50
	// fewEntities is the number of entities of a kind up to which any may be
	// removed.
	fewEntities = 10
	// maxJournal bounds the changes that are kept during a full run.
	maxJournal = 10_000
)

// Options configure a [Provider].
type Options struct {
	// Provider is the name of the entity provider, LocationKey what its
	// entities are claimed with.
	Provider, LocationKey string
	Connection            catalognode.ProviderConnection
	// Database is that of the catalog plugin.
	Database core.DatabaseService
	Logger   *slog.Logger
	// Fingerprint stands for the settings that choose what the source has.
	// After a change of it, any number of entities may be removed once.
	Fingerprint string
	// MaxRemovedPercentage is the part of the entities of one kind, from 0 to
	// 100, by which the source may shrink from one full run to the next. A run
	// with fewer is refused, and the catalog keeps what it has. Kinds with up
	// to 10 entities may shrink by any number. 100 refuses nothing.
	MaxRemovedPercentage float64
	// ConfigKey names the setting of MaxRemovedPercentage in messages.
	ConfigKey string
}

// Provider hands in what one entity provider has. It is safe for concurrent
// use; full runs wait for each other.
type Provider struct {
	o        Options
	baseline baseline

	full sync.Mutex // held by a full run

	mu      sync.Mutex
	running bool // a full run reads or applies
	journal []change
	dropped bool // journal is not complete
}

// change is a delta.
type change struct {
	added   []catalogcommon.Entity
	removed []string
}

// New returns a provider. It prepares its table in the database.
func New(ctx context.Context, o Options) (*Provider, error) {
	p := &Provider{o: o, baseline: baseline{o.Database, o.Provider}}
	if err := p.baseline.migrate(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// AddFunc takes an entity of the source. The caller may change it afterwards.
type AddFunc func(catalogcommon.Entity) error

// RefusedError tells that a full run would remove too much.
type RefusedError struct {
	Provider, Kind, ConfigKey string
	Had, Found                int
	MaxRemovedPercentage      float64
}

// Error says what to do.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("provider %s: the source has %d entities of kind %s where it had %d, which would remove more than %g %%; the catalog keeps what it has."+
		" If that is right, set %s to 100 for one run", e.Provider, e.Found, e.Kind, e.Had, e.MaxRemovedPercentage, e.ConfigKey)
}

// Full replaces all that the provider has by what collect adds. Nothing
// changes if collect fails or if it added far fewer entities than the last
// time, which is a [*RefusedError].
func (p *Provider) Full(ctx context.Context, collect func(ctx context.Context, add AddFunc) error) (catalognode.MutationReport, error) {
	p.full.Lock()
	defer p.full.Unlock()
	p.setRunning(true)
	defer p.setRunning(false)
	began := time.Now()

	var read time.Duration
	counts := map[string]int{}
	// The catalog takes the whole sequence before it changes anything, so an
	// error at its end is early enough.
	report, err := p.o.Connection.ApplyFull(ctx, func(yield func(catalognode.DeferredEntity, error) bool) {
		err := p.collect(ctx, collect, counts, yield)
		if read = time.Since(began); err == nil {
			err = p.check(ctx, counts)
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(catalognode.DeferredEntity{}, err)
		}
	})
	if err != nil {
		return report, err
	}
	if err := p.baseline.record(ctx, p.o.Fingerprint, counts); err != nil {
		return report, err
	}
	p.o.Logger.InfoContext(ctx, "read the source and applied it to the catalog", "provider", p.o.Provider, "seen", report.Seen, "added", report.Added,
		"changed", report.Changed, "removed", report.Removed, "conflicts", report.Conflicts, "read", read, "applied", time.Since(began)-read)
	return report, p.replay(ctx)
}

// errEnough tells a source that nobody wants more of it.
var errEnough = errors.New("the catalog takes no more entities")

// collect yields what the source has, and counts it.
func (p *Provider) collect(ctx context.Context, collect func(ctx context.Context, add AddFunc) error, counts map[string]int, yield func(catalognode.DeferredEntity, error) bool) error {
	enough := false
	err := collect(ctx, func(e catalogcommon.Entity) error {
		if enough {
			return errEnough
		}
		e, err := catalogcommon.NormalizeEntity(e) // a copy
		if err != nil {
			return err
		}
		counts[e.Kind()]++
		if enough = !yield(catalognode.DeferredEntity{Entity: e, LocationKey: p.o.LocationKey}, nil); enough {
			return errEnough
		}
		return nil
	})
	switch {
	case enough:
		return errEnough
	case err != nil:
		return err
	default:
		// A source that stopped early without saying so is not read whole.
		return context.Cause(ctx)
	}
}

// check refuses a source that shrank too much.
func (p *Provider) check(ctx context.Context, found map[string]int) error {
	had, err := p.baseline.known(ctx, p.o.Fingerprint)
	if err != nil {
		return err
	}
	for _, kind := range slices.Sorted(maps.Keys(had)) {
		before, now := had[kind], found[kind]
		if before > fewEntities && float64(before-now)*100 > p.o.MaxRemovedPercentage*float64(before) {
			return apierr.Wrap(apierr.KindConflict, &RefusedError{
				Provider: p.o.Provider, Kind: kind, ConfigKey: p.o.ConfigKey,
				Had: before, Found: now, MaxRemovedPercentage: p.o.MaxRemovedPercentage,
			}, "the full mutation was refused")
		}
	}
	return nil
}

func (p *Provider) setRunning(running bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = running
	if !running {
		p.journal, p.dropped = nil, false
	}
}

// Delta adds (or changes) entities and removes refs.
func (p *Provider) Delta(ctx context.Context, added []catalogcommon.Entity, removed []string) error {
	if len(added) == 0 && len(removed) == 0 {
		return nil
	}
	c := change{removed: removed}
	for _, e := range added {
		e, err := catalogcommon.NormalizeEntity(e)
		if err != nil {
			return err
		}
		c.added = append(c.added, e)
	}
	p.mu.Lock()
	if p.running {
		if len(p.journal) < maxJournal {
			p.journal = append(p.journal, c)
		} else {
			p.dropped = true
		}
	}
	p.mu.Unlock()
	return p.apply(ctx, c)
}

func (p *Provider) apply(ctx context.Context, c change) error {
	d := catalognode.Delta{Removed: c.removed}
	for _, e := range c.added {
		d.Added = append(d.Added, catalognode.DeferredEntity{Entity: e, LocationKey: p.o.LocationKey})
	}
	report, err := p.o.Connection.ApplyDelta(ctx, d)
	if err != nil {
		return err
	}
	if report.Removed > 0 {
		if err := p.baseline.removed(ctx, report.Removed); err != nil {
			return err
		}
	}
	if report.Added > 0 && len(c.added) > 0 {
		return p.baseline.added(ctx, c.added[0].Kind(), report.Added)
	}
	return nil
}

// replay applies what came during the full run once more, and ends the time
// in which changes are kept.
func (p *Provider) replay(ctx context.Context) error {
	for {
		p.mu.Lock()
		todo, dropped := p.journal, p.dropped
		p.journal, p.dropped = nil, false
		if len(todo) == 0 {
			p.running = false
		}
		p.mu.Unlock()
		if dropped {
			p.o.Logger.WarnContext(ctx, "more changes came during the full run than are kept; the next full run has the rest", "provider", p.o.Provider, "kept", maxJournal)
		}
		if len(todo) == 0 {
			return nil
		}
		for _, c := range todo {
			if err := p.apply(ctx, c); err != nil {
				return err
			}
		}
	}
}

// Refresh processes soon what depends on the keys.
func (p *Provider) Refresh(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	return p.o.Connection.Refresh(ctx, keys...)
}

// Fingerprint joins settings to the text that stands for them.
func Fingerprint(settings ...string) string {
	return catalogcommon.HashJSON([]byte(strings.Join(settings, "\x00")))
}
