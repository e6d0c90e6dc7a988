package catalogmoduleincrementalingestion

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend-module-incremental-ingestion/internal/state"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	"github.com/flytower/flytower/plugins/catalog-node/incremental"
)

// provider runs an incremental provider. It implements
// [catalognode.EntityProvider].
type provider struct {
	addition
	state     *state.Store
	scheduler core.SchedulerService
	events    core.EventsService
	observed  gauges
	log       *slog.Logger

	connection catalognode.ProviderConnection

	// applying is held while something is handed in, so that a page and an
	// event do not overtake each other.
	applying sync.Mutex
	// fresh are the refs that events changed since the page that is being read
	// was asked for; what the page says of them is older.
	fresh map[string]bool
}

// ProviderName implements [catalognode.EntityProvider].
func (p *provider) ProviderName() string { return p.provider.ProviderName() }

// beyond is how long a burst may take for its last page.
const beyond = time.Minute

// Connect begins the bursts, and to listen to events.
func (p *provider) Connect(ctx context.Context, c catalognode.ProviderConnection) error {
	p.connection = c
	if handler, ok := p.provider.(incremental.EventHandler); ok {
		if topics := handler.EventTopics(); len(topics) > 0 {
			err := p.events.Subscribe(ctx, core.Subscription{
				ID:     "catalog-backend-module-incremental-ingestion:" + p.ProviderName(),
				Topics: topics, OnEvent: func(ctx context.Context, e core.Event) error { return p.onEvent(ctx, handler, e) },
			})
			if err != nil {
				return err
			}
		}
	}
	return p.scheduler.Schedule(ctx, core.Task{
		ID: p.ProviderName(), Run: p.tick,
		Schedule: core.Schedule{Frequency: core.Frequency{Every: p.options.BurstInterval}, Timeout: p.options.BurstLength + beyond},
	})
}

// tick does what comes next.
func (p *provider) tick(ctx context.Context, _ core.TaskRun) error {
	for {
		run, created, err := p.state.Claim(ctx, p.ProviderName())
		if err != nil {
			return err
		}
		if created {
			p.log.InfoContext(ctx, "an incremental ingestion begins", "ingestion", run.ID)
			p.observed.started(ctx, p.ProviderName())
		}
		switch run.NextAction {
		case state.ActionIngest:
			err = p.burst(ctx, run)
			if errors.Is(err, state.ErrSuperseded) {
				p.log.InfoContext(ctx, "the burst of an incremental ingestion ended, since the ingestion was changed", "ingestion", run.ID)
				return nil
			}
			return err
		case state.ActionCancel:
			err = p.state.Complete(ctx, run)
		case state.ActionBackoff:
			if time.Now().Before(run.NextActionAt) {
				return nil
			}
			err = p.state.Ingesting(ctx, run)
		case state.ActionRest, state.ActionDone:
			if time.Now().Before(run.NextActionAt) {
				return nil
			}
			err = p.state.Complete(ctx, run)
		default:
			err = fmt.Errorf("the ingestion %s is to do %q, which this version does not know", run.ID, run.NextAction)
		}
		if err != nil && !errors.Is(err, state.ErrSuperseded) {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
}

// burst reads pages for as long as a burst lasts, and stores how that went.
func (p *provider) burst(ctx context.Context, run state.Ingestion) error {
	if err := p.state.Bursting(ctx, run); err != nil {
		return err
	}
	r := &reading{provider: p, run: run, began: time.Now()}
	err := r.do(ctx)
	if errors.Is(err, state.ErrSuperseded) {
		return err
	}
	stopped := ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second) // what was done is told also if the time is over
	defer cancel()
	switch {
	case err == nil && !r.done:
		p.log.DebugContext(ctx, "the burst of an incremental ingestion ended", "ingestion", run.ID, "pages", r.pages)
		return p.state.Interstitial(ctx, run)
	case err == nil:
		p.log.InfoContext(ctx, "an incremental ingestion is complete", "ingestion", run.ID, "rest", p.options.RestLength)
		p.observed.completed(ctx, p.ProviderName(), "completed")
		return p.state.Resting(ctx, run, time.Now().Add(p.options.RestLength), r.refused)
	case errors.Is(err, incremental.ErrCancel):
		p.log.InfoContext(ctx, "the provider gave up an incremental ingestion; it begins anew", "ingestion", run.ID, "error", err)
		return p.state.Canceling(ctx, run, problem(err))
	case stopped:
		return p.state.Interstitial(ctx, run) // the next burst asks for the page again
	}
	attempts := run.Attempts
	if r.pages > 0 {
		attempts = 0
	}
	wait := p.options.Backoff[min(attempts, len(p.options.Backoff)-1)]
	p.log.ErrorContext(ctx, "the burst of an incremental ingestion failed; the page will be asked for again", "ingestion", run.ID, "wait", wait, "error", err)
	p.observed.completed(ctx, p.ProviderName(), "failed")
	return p.state.BackingOff(ctx, run, time.Now().Add(wait), attempts+1, problem(err))
}

// problem returns the text of an error, of a bounded length.
func problem(err error) string {
	const most = 10_000
	text := err.Error()
	if len(text) > most {
		text = text[:most]
	}
	return string(bytes.ToValidUTF8([]byte(text), nil))
}

// reading is a burst under way.
type reading struct {
	*provider
	run   state.Ingestion
	began time.Time

	pages   int    // that were stored
	done    bool   // the last page is among them
	refused string // why nothing was removed
}

func (r *reading) do(ctx context.Context) error {
	last, begun, err := r.state.LastMark(ctx, r.run)
	if err != nil {
		return err
	}
	r.done = begun && last.Cursor == nil // and the process ended before the removal did
	if !r.done {
		called := false
		err := r.provider.provider.Burst(ctx, func(ctx context.Context, next incremental.NextFunc) error {
			if called {
				return errors.New("the provider called read twice in a burst")
			}
			called = true
			sequence := 0
			if begun {
				sequence = last.Sequence + 1
			}
			return r.read(ctx, next, last.Cursor, sequence)
		})
		if err != nil {
			return err
		}
		if !called {
			return errors.New("the provider returned from Burst and did not call read")
		}
	}
	if !r.done {
		return nil
	}
	return r.remove(ctx)
}

// read reads and stores pages until the time is over.
func (r *reading) read(ctx context.Context, next incremental.NextFunc, cursor json.RawMessage, sequence int) error {
	for {
		r.applying.Lock()
		r.fresh = map[string]bool{}
		r.applying.Unlock()
		page, err := next(ctx, cursor)
		if err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err // the page may be what is left of one that was cut short
		}
		switch {
		case page.Next == nil:
		case !json.Valid(page.Next):
			return fmt.Errorf("the cursor of page %d is no JSON: %q", sequence+1, page.Next)
		case bytes.Equal(page.Next, cursor):
			return fmt.Errorf("the page at %s says that it is followed by itself", cursor)
		}
		if err := r.store(ctx, page, sequence); err != nil {
			return err
		}
		r.pages++
		sequence++
		cursor = page.Next
		if cursor == nil {
			r.done = true
			return nil
		}
		if time.Since(r.began) >= r.options.BurstLength {
			return nil
		}
	}
}

// store hands a page in and leaves a mark. Whatever ends it half way, the page
// is asked for again, and all that is in the catalog is known to be.
func (r *reading) store(ctx context.Context, page incremental.Page, sequence int) error {
	r.applying.Lock()
	defer r.applying.Unlock()
	refs := make([]string, 0, len(page.Entities))
	added := make([]catalognode.DeferredEntity, 0, len(page.Entities))
	for _, e := range page.Entities {
		ref := e.Entity.Ref().String()
		present, changed := r.fresh[ref]
		if !changed {
			added = append(added, e)
		}
		if !changed || present {
			refs = append(refs, ref)
		}
	}
	r.fresh = nil
	if err := r.state.Expect(ctx, r.run, refs); err != nil {
		return err
	}
	if len(added) > 0 {
		if _, err := r.connection.ApplyDelta(ctx, catalognode.Delta{Added: added}); err != nil {
			return fmt.Errorf("handing in page %d: %w", sequence, err)
		}
	}
	return r.state.Page(ctx, r.run, refs, sequence, page.Next)
}

// removals is how many entities are removed at a time.
const removals = 1000

// remove takes back what the ingestion did not find.
func (r *reading) remove(ctx context.Context) error {
	found, stale, err := r.state.Count(ctx, r.run)
	if err != nil || stale == 0 {
		return err
	}
	percent := 100.0
	if found > 0 {
		percent = float64(stale) / float64(found) * 100
	}
	limit := r.options.RejectRemovalsAbovePercentage
	switch {
	case found == 0 && r.options.RejectEmptySourceCollections:
		r.refused = fmt.Sprintf("REMOVAL_THRESHOLD exceeded: the source has nothing at all, which would remove all %d entities", stale)
	case limit > 0 && percent > limit:
		r.refused = fmt.Sprintf("REMOVAL_THRESHOLD exceeded: the source lacks %d entities, which is %.1f%% of the %d that it has, and more than %g%%", stale, percent, found, limit)
	}
	if r.refused != "" {
		r.log.ErrorContext(ctx, "an incremental ingestion removes nothing; the catalog keeps what it has", "ingestion", r.run.ID, "reason", r.refused)
		return nil
	}
	r.log.InfoContext(ctx, "an incremental ingestion removes what is no longer in the source", "ingestion", r.run.ID, "entities", stale)
	for {
		more, err := r.removeSome(ctx)
		if err != nil || !more {
			return err
		}
	}
}

func (r *reading) removeSome(ctx context.Context) (more bool, err error) {
	r.applying.Lock()
	defer r.applying.Unlock()
	refs, err := r.state.Stale(ctx, r.run, removals)
	if err != nil || len(refs) == 0 {
		return false, err
	}
	if _, err := r.connection.ApplyDelta(ctx, catalognode.Delta{Removed: refs}); err != nil {
		return false, fmt.Errorf("removing what is no longer in the source: %w", err)
	}
	return true, r.state.Forget(ctx, r.ProviderName(), refs)
}

// onEvent hands in what an event changes.
func (p *provider) onEvent(ctx context.Context, handler incremental.EventHandler, e core.Event) error {
	d, err := handler.OnEvent(ctx, e)
	if err != nil || len(d.Added) == 0 && len(d.Removed) == 0 {
		return err
	}
	var added, removed []string
	for _, a := range d.Added {
		added = append(added, a.Entity.Ref().String())
	}
	for _, text := range d.Removed {
		ref, err := catalogcommon.ParseRef(text, catalogcommon.RefDefaults{})
		if err != nil {
			return fmt.Errorf("the provider %s says that an event of topic %s removes %q: %w", p.ProviderName(), e.Topic, text, err)
		}
		removed = append(removed, ref.String())
	}
	d.Removed = removed
	p.applying.Lock()
	defer p.applying.Unlock()
	if err := p.state.Found(ctx, p.ProviderName(), added); err != nil {
		return err
	}
	if _, err := p.connection.ApplyDelta(ctx, d); err != nil {
		return err
	}
	if p.fresh != nil {
		for _, ref := range removed {
			p.fresh[ref] = false
		}
		for _, ref := range added {
			p.fresh[ref] = true
		}
	}
	return p.state.Forget(ctx, p.ProviderName(), removed)
}
