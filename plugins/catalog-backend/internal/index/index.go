package index

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/postings"
)

// Options make an index.
type Options struct {
	Logger *slog.Logger
	// MaxMemory is up to how many bytes the index may take; more make it give
	// up. Default: 1 GiB.
	MaxMemory int64
	// Poll is how often it looks for changes that nobody told it of. Default:
	// 1 second.
	Poll time.Duration
	// Changed, if not nil, tells that another process may have changed entities:
	// the index then looks at once. It does not replace polling.
	Changed <-chan struct{}
	// Wait bounds how long a reader waits for the changes of this process: behind
	// many of them the tables take longer than the index takes to get in step.
	// Default: 500 milliseconds.
	Wait time.Duration
	// MaxLag is after how long without a successful look at the database the
	// index is not asked any more. Default: 10 seconds.
	MaxLag time.Duration
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = 1 << 30
	}
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	if o.Wait == 0 {
		o.Wait = 500 * time.Millisecond
	}
	if o.MaxLag == 0 {
		o.MaxLag = 10 * time.Second
	}
	return o
}

// Index is the index of a catalog, in step with its database while Run runs.
type Index struct {
	database core.DatabaseService
	options  Options
	woken    chan struct{}

	mu       sync.Mutex
	terms    *postings.Index // nil while it cannot be asked
	held     bool            // it can be asked again in a moment
	wanted   uint64          // calls of Wake
	seen     uint64          // of which the index has the changes
	advanced chan struct{}   // closed when seen or terms change
	asOf     time.Time       // begin of the last successful look at the database
	version  int64
	gaps     int
	problem  string
}

// New returns an index that is empty until Run has loaded it.
func New(database core.DatabaseService, o Options) *Index {
	return &Index{database: database, options: o.withDefaults(), woken: make(chan struct{}, 1), advanced: make(chan struct{})}
}

// Wake tells that this process changed entities. It does not block.
func (x *Index) Wake() {
	x.mu.Lock()
	x.wanted++
	x.mu.Unlock()
	select {
	case x.woken <- struct{}{}:
	default: // a wake-up is on its way already
	}
}

// Status tells how an index is.
type Status struct {
	// InSync says that it can be asked.
	InSync bool
	// Problem is why not, if there is a reason beyond its being loaded.
	Problem string
	// Version is that of the last change that it has.
	Version int64
	// Gaps is how many ranges of versions before that may still appear.
	Gaps   int
	Memory postings.Memory
}

// Status returns how the index is.
func (x *Index) Status() Status {
	x.mu.Lock()
	terms := x.terms
	s := Status{InSync: terms != nil, Problem: x.problem, Version: x.version, Gaps: x.gaps}
	x.mu.Unlock()
	if terms != nil {
		s.Memory = terms.Memory()
	}
	return s
}

// current returns the terms once they have what this process changed so far;
// nil if that takes too long, or if there are none to ask.
func (x *Index) current(ctx context.Context) *postings.Index {
	x.mu.Lock()
	terms, target, advanced := x.terms, x.wanted, x.advanced
	fresh := x.seen >= target && !x.held
	usable := terms != nil && time.Since(x.asOf) <= x.options.MaxLag
	x.mu.Unlock()
	if !usable {
		return nil
	}
	if fresh {
		return terms
	}
	timeout := time.NewTimer(x.options.Wait)
	defer timeout.Stop()
	for {
		select {
		case <-advanced:
		case <-timeout.C:
			return nil
		case <-ctx.Done():
			return nil
		}
		x.mu.Lock()
		terms, advanced = x.terms, x.advanced
		fresh = x.seen >= target && !x.held
		x.mu.Unlock()
		if fresh || terms == nil {
			return terms
		}
	}
}

// publish lets readers ask the terms of a follower, which has the changes of
// the first calls of Wake.
func (x *Index) publish(f *follower, seen uint64, asOf time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.held = false
	x.terms, x.seen, x.asOf, x.version, x.gaps, x.problem = f.terms, seen, asOf, f.cursor, len(f.gaps), ""
	x.tell()
}

// hold has readers wait for the next call of publish.
func (x *Index) hold() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.held = true
}

// withdraw takes the terms away from the readers.
func (x *Index) withdraw(problem error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.terms, x.held, x.problem = nil, false, ""
	if problem != nil {
		x.problem = problem.Error()
	}
	x.tell()
}

func (x *Index) tell() {
	close(x.advanced)
	x.advanced = make(chan struct{})
}

func (x *Index) wakes() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.wanted
}

var (
	// errBehind says that changes which the index lacks are not listed any more.
	errBehind = errors.New("the index is too far behind")
	// errTooLarge says that the catalog does not fit into the allowed memory.
	errTooLarge = errors.New("the index outgrew catalog.index.maxMemory; the catalog answers from the database")
)

const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// Run loads the index and keeps it in step until the context ends. It returns
// no error: without an index the database answers.
func (x *Index) Run(ctx context.Context) error {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		began := time.Now()
		err := x.follow(ctx)
		if ctx.Err() != nil {
			x.withdraw(nil)
			return nil
		}
		x.withdraw(err)
		if errors.Is(err, errTooLarge) {
			x.options.Logger.WarnContext(ctx, err.Error(), "maxMemory", x.options.MaxMemory)
			return nil
		}
		if errors.Is(err, errBehind) {
			x.options.Logger.InfoContext(ctx, "the index of the catalog is loaded anew", "reason", err)
			retry = firstRetry
			continue
		}
		x.options.Logger.WarnContext(ctx, "the index of the catalog failed and will be loaded anew; the database answers", "error", err, "after", time.Since(began), "retryIn", retry)
		if !sleep(ctx, retry) {
			return nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// follow loads the index and follows the changes until something fails that
// another look at them does not mend.
func (x *Index) follow(ctx context.Context) error {
	f := &follower{database: x.database, terms: postings.New(), fields: map[int64]uint32{}, maxMemory: x.options.MaxMemory}
	began := time.Now()
	if err := f.load(ctx); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	published := false
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-x.woken:
		case <-x.options.Changed:
		case <-timer.C:
		}
		wakes, asOf := x.wakes(), time.Now()
		err := f.poll(ctx)
		switch {
		case err == nil:
			failures = 0
			if !published {
				published = true
				f.compact()
				m := f.terms.Memory()
				x.options.Logger.InfoContext(ctx, "the index of the catalog is in step with the database",
					"entities", m.Entities, "terms", m.Terms, "bytes", m.Bytes, "took", time.Since(began).Round(time.Millisecond))
			}
			if f.wasteful() {
				x.hold() // readers wait for that as long as for changes
				f.compact()
			}
			x.publish(f, wakes, asOf)
		case errors.Is(err, errBehind), errors.Is(err, errTooLarge), errors.Is(err, errBroken), ctx.Err() != nil:
			return err
		default:
			// A lost connection, most likely; what was applied stays right, and
			// readers turn away when it lasts.
			if failures++; failures > maxFailures {
				return err
			}
		}
		timer.Reset(x.options.Poll)
	}
}

// maxFailures is how many looks in a row may fail before the index begins
// again.
const maxFailures = 30
