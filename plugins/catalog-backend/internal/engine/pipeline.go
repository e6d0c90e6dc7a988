package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
)

const (
	// lease is how long a claim lasts without renewal: the time after which
	// the work of a killed instance is taken over.
	lease = 20 * time.Second
	// renewal is how often claims are renewed.
	renewal = 5 * time.Second
	// retry is how soon what failed for the first time is tried again.
	retry = 5 * time.Second
	// poll is how often work is looked for that nobody announced.
	poll = time.Second
	// batch bounds how many entities are saved at a time, and how many urgent
	// ones are in flight.
	batch = 250
	// fewest and most bound how many others are in flight.
	fewest, most = 64, 2 * batch
	// ahead is how much work is claimed: what takes about that long.
	ahead = 500 * time.Millisecond
	// savers is how many batches are saved at a time.
	savers = 2
	// urgentWorkers are kept free for urgent entities.
	urgentWorkers = 4
	// giveBack bounds how long stopping may take to return claims.
	giveBack = 5 * time.Second
)

// Run processes until the context ends, then gives back what it claimed.
func (e *Engine) Run(ctx context.Context) error {
	changed, err := e.c.Store.Fingerprint(ctx, e.c.Fingerprint, e.c.Interval)
	if err != nil {
		return fmt.Errorf("catalog engine: %w", err)
	}
	if changed {
		e.c.Logger.InfoContext(ctx, "processors or their configuration changed: all entities will be processed again", "within", e.c.Interval)
	}
	p := &pipeline{
		e: e, urgent: newLane(batch), others: newLane(most), inFlight: map[int64]*lane{},
		room: make(chan struct{}, 1), marked: make(chan struct{}, 1),
	}
	var workers, rest sync.WaitGroup
	for i := range e.c.Workers + urgentWorkers {
		workers.Go(func() { p.process(ctx, i < e.c.Workers) })
	}
	for range savers {
		rest.Go(func() { p.save(ctx, p.others.results) })
	}
	rest.Go(func() { p.save(ctx, p.urgent.results) })
	rest.Go(func() { p.renew(ctx) })
	rest.Go(func() { p.stitch(ctx) })
	rest.Go(func() { p.writeRows(ctx) })
	p.claim(ctx)
	close(p.urgent.work)
	close(p.others.work)
	workers.Wait()
	close(p.urgent.results)
	close(p.others.results)
	rest.Wait()
	return p.release()
}

// lane is claimed work on its way.
type lane struct {
	work    chan store.Work
	results chan store.Result
	count   int // in flight; guarded by the pipeline
}

func newLane(size int) *lane {
	return &lane{work: make(chan store.Work, size), results: make(chan store.Result, size)}
}

// pipeline is all work on its way. Urgent work has a lane of its own, with
// workers and a transaction that do not wait for the rest.
type pipeline struct {
	e              *Engine
	urgent, others *lane
	room           chan struct{} // receives when work was settled
	marked         chan struct{} // receives when final forms may have to be built

	mu       sync.Mutex
	inFlight map[int64]*lane
	settled  int       // others, since the time
	since    time.Time // of the measurement
	wanted   int       // others in flight
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is on its way already
	}
}

func (p *pipeline) ids() []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]int64, 0, len(p.inFlight))
	for id := range p.inFlight {
		ids = append(ids, id)
	}
	return ids
}

// claim takes work while there is room, until the context ends.
func (p *pipeline) claim(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(poll)
		case <-p.e.c.Woken:
			signal(p.marked)
		case <-p.room:
		}
		for ctx.Err() == nil {
			urgent, others := p.rooms()
			n := p.take(ctx, store.LaneInteractive, urgent, p.urgent)
			if others > 0 {
				n += p.take(ctx, store.LanePeriodic, others, p.others)
			}
			if n == 0 {
				break
			}
		}
	}
}

// rooms returns how many entities may be claimed. Few are claimed of those
// that take long, so that other instances get their share and what is claimed
// is soon done.
func (p *pipeline) rooms() (urgent, others int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if took := time.Since(p.since); took >= ahead {
		if p.since.IsZero() {
			p.wanted = fewest
		} else if p.others.count > 0 || p.settled > 0 {
			p.wanted = min(max(int(float64(p.settled)*float64(ahead)/float64(took)), fewest), most)
		}
		p.since, p.settled = time.Now(), 0
	} else if p.settled >= p.wanted {
		p.wanted = min(2*p.wanted, most)
	}
	if others = p.wanted - p.others.count; others < p.wanted/2 {
		others = 0 // results are on their way
	}
	return batch - p.urgent.count, others
}

// take claims work for a lane, and returns how much there was.
func (p *pipeline) take(ctx context.Context, upTo, limit int, to *lane) int {
	if limit <= 0 {
		return 0
	}
	work, err := p.e.c.Store.ClaimUrgent(ctx, upTo, limit, lease)
	if err != nil {
		if ctx.Err() == nil {
			p.e.c.Logger.WarnContext(ctx, "claiming entities to process failed; trying again", "error", err)
		}
		return 0
	}
	if len(work) > 0 {
		p.e.claimed(ctx, len(work))
	}
	for _, w := range p.admit(work, to) {
		to.work <- w // has room
	}
	return len(work)
}

// process runs the processors for what is due, urgent work first.
func (p *pipeline) process(ctx context.Context, others bool) {
	urgent, rest := p.urgent.work, p.others.work
	if !others {
		rest = nil
	}
	for urgent != nil || rest != nil {
		select {
		case w, ok := <-urgent:
			if !ok {
				urgent = nil
				continue
			}
			p.urgent.results <- p.e.process(ctx, w)
			continue
		default:
		}
		select {
		case w, ok := <-urgent:
			if !ok {
				urgent = nil
				continue
			}
			p.urgent.results <- p.e.process(ctx, w)
		case w, ok := <-rest:
			if !ok {
				rest = nil
				continue
			}
			p.others.results <- p.e.process(ctx, w)
		}
	}
}

// admit notes what was claimed. What is in flight already, since its claim ran
// out before it could be renewed, goes on as it is.
func (p *pipeline) admit(work []store.Work, to *lane) []store.Work {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(work, func(w store.Work) bool {
		if p.inFlight[w.ID] != nil {
			return true
		}
		p.inFlight[w.ID] = to
		to.count++
		return false
	})
}

// done notes that work is on its way no more.
func (p *pipeline) done(rs []store.Result) {
	p.e.worked()
	p.mu.Lock()
	for _, r := range rs {
		if l := p.inFlight[r.Work.ID]; l != nil {
			l.count--
			if l == p.others {
				p.settled++
			}
		}
		delete(p.inFlight, r.Work.ID)
	}
	p.mu.Unlock()
	signal(p.room)
}

// renew keeps the claims of work in flight.
func (p *pipeline) renew(ctx context.Context) {
	ticker := time.NewTicker(renewal)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if ids := p.ids(); len(ids) > 0 {
				if err := p.e.c.Store.Renew(ctx, ids, lease); err != nil && ctx.Err() == nil {
					p.e.c.Logger.WarnContext(ctx, "renewing the claims of entities in processing failed", "error", err)
				}
			}
		}
	}
}

// save writes results, as many at a time as have come in.
func (p *pipeline) save(ctx context.Context, results <-chan store.Result) {
	for r := range results {
		rs := []store.Result{r}
	more:
		for len(rs) < batch {
			select {
			case r, ok := <-results:
				if !ok {
					break more
				}
				rs = append(rs, r)
			default:
				break more
			}
		}
		if ctx.Err() != nil {
			continue // what was interrupted is no result; release gives it back
		}
		p.saveBatch(ctx, rs)
	}
}

func (p *pipeline) saveBatch(ctx context.Context, rs []store.Result) {
	saved, err := p.e.c.Store.Save(ctx, rs)
	switch {
	case err != nil && len(rs) > 1:
		// One bad result must not hold up the others.
		for i := range rs {
			rs[i].Entity = nil // it was changed
			p.saveBatch(ctx, rs[i:i+1])
		}
		return
	case err != nil:
		if ctx.Err() == nil {
			if p.e.c.Observe != nil {
				p.e.c.Observe(ctx, "failed", 0, rs[0].Work.Waited)
			}
			p.e.c.Logger.ErrorContext(ctx, "storing a processed entity failed; it will be tried again", "entity", rs[0].Work.Ref, "error", err)
		}
		if p.saveFailure(ctx, rs[0].Work) {
			break
		}
		if err := p.e.c.Store.Postpone(context.WithoutCancel(ctx), rs[0].Work.ID, renewal); err != nil {
			p.e.c.Logger.WarnContext(ctx, "postponing an entity failed", "entity", rs[0].Work.Ref, "error", err)
		}
	}
	p.e.stitched(ctx, saved.Stitched, 0, nil)
	p.done(rs)
	signal(p.marked)
	for _, c := range saved.Conflicts {
		p.e.c.Logger.WarnContext(ctx, "an entity is claimed from two places; the first stays", "entity", c.Ref, "holder", c.Holder, "refused", c.Wanted)
		if p.e.c.OnConflict != nil && c.Wanted != "" {
			p.e.c.OnConflict(ctx, c)
		}
	}
}

// saveFailure notes, for those who look at the entity, that its result could
// not be stored, and reports whether it could note that. What the database
// said is not for them.
func (p *pipeline) saveFailure(ctx context.Context, w store.Work) bool {
	failed := store.Result{Work: w, Cache: w.Cache, Next: time.Now().Add(retry)}
	failed.Errors = serialize([]error{errors.New("the result of processing could not be stored, and is tried again; the log of the backend says why")}, func() map[string]any { return nil })
	failed.Hash = hash(&failed)
	if failed.Hash == w.ResultHash {
		failed.Next = time.Now().Add(p.e.c.Interval)
	}
	_, err := p.e.c.Store.Save(ctx, []store.Result{failed})
	return err == nil
}

// release gives back what was claimed and not settled.
func (p *pipeline) release() error {
	ids := p.ids()
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), giveBack)
	defer cancel()
	if err := p.e.c.Store.Release(ctx, ids); err != nil {
		return fmt.Errorf("giving back %d claimed entities: %w", len(ids), err)
	}
	return nil
}

const (
	// stitchPoll is how often marks are looked for that nobody announced.
	stitchPoll = time.Second
	// settling is how old a mark has to be while much is processed: what many
	// entities are related to, such as a group, is not built anew for each.
	settling = 2 * time.Second
	// stitchMost is how many entities are built anew in a transaction.
	stitchMost = 200
)

// stitch builds final forms that are marked, until the context ends.
func (p *pipeline) stitch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.marked:
		case <-timer.C:
			if _, err := p.e.c.Store.CheckLoads(ctx); err != nil && ctx.Err() == nil {
				p.e.c.Logger.WarnContext(ctx, "looking for relations of new entities failed; trying again", "error", err)
			}
		}
		wait := stitchPoll
		for ctx.Err() == nil {
			age := time.Duration(0)
			if p.busy() {
				age, wait = settling, settling/4
			}
			began := time.Now()
			n, done, err := p.e.c.Store.Stitch(ctx, stitchMost, age)
			p.e.stitched(ctx, done, time.Since(began), err)
			if err != nil && ctx.Err() == nil {
				p.e.c.Logger.WarnContext(ctx, "building final entities failed; trying again", "error", err)
			}
			if err != nil || n == 0 {
				break
			}
		}
		timer.Reset(wait)
	}
}

// busy reports whether so much is on its way that marks are about to come.
func (p *pipeline) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.others.count > fewest/2
}
