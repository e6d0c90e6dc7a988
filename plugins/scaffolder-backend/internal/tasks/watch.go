package tasks

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// maxTail and maxTailBytes bound what of the newest events of a watched task
	// is kept in memory.
	maxTail      = 512
	maxTailBytes = 1 << 20
	// maxTaken is how many events a watcher is given at once.
	maxTaken = 128
	// lookAgain is how often events are looked for that nobody told of.
	lookAgain = 5 * time.Second
	// readAgain is the pause after events could not be read.
	readAgain = time.Second
)

// Watcher reads the events of a task as they happen. All watchers of a task in
// this process share one reader and its newest events, so that what happens is
// read once for all of them. One that is slow falls behind alone: it reads from
// the database until it has caught up. A watcher is used by one goroutine.
type Watcher struct {
	store       *Store
	feed        *feed
	recoverable bool
	began       bool
	after       int64
}

// Watch returns a watcher of the events that [Store.Events] would return, and
// of those that follow, each once. Close it at the end.
func (s *Store) Watch(id string, after int64, recoverable bool) *Watcher {
	return &Watcher{store: s, feed: s.feeds.open(id, recoverable), recoverable: recoverable, after: after}
}

// Close ends the watcher.
func (w *Watcher) Close() { w.store.feeds.close(w.feed) }

// Next returns the next events; it waits until there are some, or until the
// context ends.
func (w *Watcher) Next(ctx context.Context) ([]Event, error) {
	if !w.began {
		ends, from, err := w.store.before(ctx, w.feed.id, w.after, w.recoverable)
		if err != nil {
			return nil, err
		}
		w.began, w.after = true, from
		if len(ends) > 0 {
			return ends, nil
		}
	}
	for {
		events, base, grown := w.feed.take(w.after)
		if base > w.after {
			// It is behind what the feed has.
			var err error
			if events, err = w.store.later(ctx, w.feed.id, w.after, w.recoverable); err != nil {
				return nil, err
			}
			if len(events) == 0 {
				w.after = base // what was there is deleted
				continue
			}
		}
		if len(events) > 0 {
			w.after = events[len(events)-1].ID
			return events, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// feeds are the readers of watched tasks.
type feeds struct {
	store *Store
	mu    sync.Mutex
	byID  map[string]*feed
}

func newFeeds(s *Store) *feeds { return &feeds{store: s, byID: map[string]*feed{}} }

// feed reads the events of a task for its watchers.
type feed struct {
	id    string
	users int // guarded by the mutex of feeds
	stop  context.CancelFunc
	done  chan struct{} // closed when its goroutine has ended

	mu    sync.Mutex
	base  int64         // tail has, or will have, all events after it
	tail  []Event       // what is in it never changes
	size  int           // of the frames in tail, in bytes
	grown chan struct{} // closed when tail changes
}

func (f *feeds) open(id string, recoverable bool) *feed {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.byID[id]
	if one == nil {
		ctx, stop := context.WithCancel(context.Background())
		one = &feed{id: id, base: math.MinInt64, stop: stop, done: make(chan struct{}), grown: make(chan struct{})}
		f.byID[id] = one
		go one.run(ctx, f.store, recoverable)
	}
	one.users++
	return one
}

// close ends a use of a feed; the last one ends the feed, and waits for that.
func (f *feeds) close(one *feed) {
	f.mu.Lock()
	one.users--
	last := one.users == 0
	if last {
		delete(f.byID, one.id)
	}
	f.mu.Unlock()
	if last {
		one.stop()
		<-one.done
	}
}

// take returns events after an id, or else what to wait for. If base is after
// the id, there may be events that are not in memory any more.
func (f *feed) take(after int64) (events []Event, base int64, grown <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.base > after {
		return nil, f.base, f.grown
	}
	from, _ := slices.BinarySearchFunc(f.tail, after+1, func(e Event, id int64) int { return cmp.Compare(e.ID, id) })
	to := min(len(f.tail), from+maxTaken)
	return f.tail[from:to:to], f.base, f.grown
}

func (f *feed) run(ctx context.Context, s *Store, recoverable bool) {
	defer close(f.done)
	changed, stop := s.Follow(f.id) // before the first look
	defer stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	last, begun := int64(0), false
	for {
		more, err := true, error(nil)
		if !begun {
			var newest []Event
			if newest, err = s.newest(ctx, f.id, recoverable); err == nil {
				begun = true
				f.begin(newest)
				if len(newest) > 0 {
					last = newest[len(newest)-1].ID
				}
			}
		}
		for err == nil && more {
			var events []Event
			if events, err = s.later(ctx, f.id, last, recoverable); err != nil {
				break
			}
			if len(events) > 0 {
				last = events[len(events)-1].ID
				f.add(events)
			}
			more = full(events)
		}
		var failed <-chan time.Time
		if err != nil {
			failed = time.After(readAgain)
		}
		select {
		case <-changed:
		case <-again.C:
		case <-failed:
		case <-ctx.Done():
			return
		}
	}
}

// full reports whether a page of events has as much as a page may have.
func full(events []Event) bool {
	size := 0
	for _, e := range events {
		size += len(e.Body)
	}
	return len(events) == maxEvents || size >= maxBytes
}

// newest returns the newest events of a task, in order; at most maxTail.
func (s *Store) newest(ctx context.Context, id string, recoverable bool) ([]Event, error) {
	events, err := s.read(ctx, Event{TaskID: id, Recoverable: recoverable}, `id > 0 ORDER BY id DESC LIMIT `+strconv.Itoa(maxTail))
	slices.Reverse(events)
	return events, err
}

// begin is told the newest events, which may be all that there are.
func (f *feed) begin(newest []Event) {
	f.mu.Lock()
	if len(newest) == maxTail || full(newest) {
		f.base = newest[0].ID - 1
	}
	f.mu.Unlock()
	f.add(newest)
}

func (f *feed) add(events []Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		if frame, err := e.Frame(); err == nil {
			e.frame = frame
		}
		f.size += len(e.frame)
		f.tail = append(f.tail, e)
	}
	drop := 0
	for drop < len(f.tail)-1 && (len(f.tail)-drop > maxTail || f.size > maxTailBytes) {
		f.size -= len(f.tail[drop].frame)
		f.base = f.tail[drop].ID
		drop++
	}
	if drop > 0 {
		f.tail = slices.Clone(f.tail[drop:])
	}
	close(f.grown)
	f.grown = make(chan struct{})
}
