package api

import (
	"context"
	"net/http"
	"sync"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
)

// Long lists are read in pages of about pageBytes: entities differ in size a
// great deal, and an answer must not take more memory because they are large,
// or because a client asks for a million of them.
const (
	pageBytes = 1 << 20
	firstPage = 100
	minPage   = 8
	maxPage   = 4000
	// longList is from how many entities on a list that a client limits itself
	// is read in pages, too. Up to that it is one answer as of one time.
	longList = 5000
)

// feed reads a list in pages.
type feed struct {
	read Reader
	q    read.Request
	// left is how many entities are wanted, and then how many still are.
	left int
	// spare has room for the next page.
	spare []read.Item
	// reading is done when page is the one that ahead was to read.
	reading sync.WaitGroup
	page    fetched
	// byOffset goes from page to page by numbers and not by places, which lists
	// that keep entities without a value need.
	byOffset bool
}

func newFeed(r Reader, q read.Request, limit int, byOffset bool) *feed {
	q.Bare, q.Once, q.Limit = true, true, min(firstPage, limit)
	return &feed{read: r, q: q, left: limit, byOffset: byOffset}
}

// next returns a page; more is false for the last one.
func (f *feed) next(ctx context.Context) (items []read.Item, more bool, err error) {
	f.q.Into, f.spare = f.spare, nil
	items, err = f.read.List(ctx, f.q)
	f.left -= len(items)
	if err != nil || len(items) < f.q.Limit || f.left <= 0 {
		return items, false, err
	}
	size := 0
	for _, it := range items {
		size += len(it.Entity) + 1
	}
	if f.byOffset {
		f.q.Offset += len(items)
	} else {
		last := items[len(items)-1].Position
		f.q.After, f.q.Before, f.q.Offset = &last, false, 0
	}
	f.q.Limit = min(max(pageBytes*len(items)/size, minPage), maxPage, f.left)
	return items, true, nil
}

// fetched is what next returned, or the panic that it ended with.
type fetched struct {
	items    []read.Item
	more     bool
	err      error
	panicked any
}

// ahead reads the next page while the caller writes one, who waits for reading
// before it touches the feed again, and before it returns.
func (f *feed) ahead(ctx context.Context) {
	f.reading.Go(func() {
		var got fetched
		defer func() {
			got.panicked = recover()
			f.page = got
		}()
		got.items, got.more, got.err = f.next(ctx)
	})
}

// written is what send tells of the entities that it sent.
type written struct {
	n           int
	first, last read.Item
}

// send answers a list between begin and what end returns. An error behind the
// first page cuts the connection, so that the client notices.
func (f *feed) send(w http.ResponseWriter, r *http.Request, begin string, end func(written) (string, error)) error {
	t := newTextBuffer()
	defer t.free()
	t.b = append(t.b, begin...)
	ctx, cancel := context.WithCancel(r.Context())
	var done written
	var spare []read.Item // of the page that was written last
	defer func() {
		cancel()
		f.reading.Wait()
	}()
	for started := false; ; started = true {
		var page fetched
		if started {
			f.reading.Wait()
			if page = f.page; page.panicked != nil {
				panic(page.panicked)
			}
		} else {
			page.items, page.more, page.err = f.next(ctx)
		}
		items, more, err := page.items, page.more, page.err
		text := ""
		if len(items) > 0 && err == nil {
			if !started {
				done.first = items[0]
			}
			done.last = items[len(items)-1]
		}
		if err == nil && !more {
			text, err = end(written{done.n + len(items), done.first, done.last})
		}
		if err != nil {
			if started {
				panic(http.ErrAbortHandler)
			}
			return err
		}
		if more {
			if !started {
				w.Header().Set("Content-Type", jsonType)
				w.WriteHeader(http.StatusOK)
				if r.Method == http.MethodHead {
					return nil // nobody reads the rest
				}
			}
			f.spare, spare = spare, nil
			f.ahead(ctx)
		}
		for _, it := range items {
			t.b = appendItem(t.b, done.n, it.Entity)
			done.n++
		}
		t.b = append(t.b, text...)
		if !started && !more { // small enough to answer in one piece
			writeEntities(w, t.b, f.q.Fields)
			return nil
		}
		if _, err := w.Write(t.b); err != nil || !more {
			return nil // the client has it all, or went away
		}
		t.b = t.b[:0]
		spare = items[:0]
	}
}

// stream answers all entities.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, q read.Request) error {
	if len(q.Order) > 1 {
		q.Order = q.Order[:1]
	}
	return newFeed(h.Read, q, noLimit, false).send(w, r, "[", func(written) (string, error) { return "]", nil })
}
