package api

import (
	"context"
	"net/http"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
)

// A streamed list reads pages of about pageBytes: entities differ in size a
// great deal, and an answer must not take more memory because they are large.
const (
	pageBytes = 1 << 20
	firstPage = 100
	minPage   = 8
	maxPage   = 4000
)

// stream answers all entities, a page at a time. An error behind the first page
// cuts the connection, so that the client notices.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, q read.Request) error {
	if len(q.Order) > 1 {
		q.Order = q.Order[:1]
	}
	q.Bare, q.Once, q.Limit = true, true, firstPage
	t := newTextBuffer()
	defer t.free()
	t.b = append(t.b, '[')
	for n := 0; ; {
		items, more, err := h.nextPage(r.Context(), &q)
		if err != nil {
			if n > 0 {
				panic(http.ErrAbortHandler)
			}
			return err
		}
		if n == 0 && more {
			w.Header().Set("Content-Type", jsonType)
			w.WriteHeader(http.StatusOK)
		}
		answered := n > 0 || more
		for _, it := range items {
			t.b = appendItem(t.b, n, it.Entity)
			n++
		}
		if !more {
			t.b = append(t.b, ']')
		}
		if !answered { // small enough to answer in one piece
			writeEntities(w, t.b, q.Fields)
			return nil
		}
		if _, err := w.Write(t.b); err != nil || !more {
			return nil // the client has it all, or went away
		}
		t.b = t.b[:0]
	}
}

// nextPage reads a page, and makes q ask for the one behind it.
func (h *Handler) nextPage(ctx context.Context, q *read.Request) (items []read.Item, more bool, err error) {
	items, err = h.Read.List(ctx, *q)
	if err != nil || len(items) < q.Limit {
		return items, false, err
	}
	size := 0
	for _, it := range items {
		size += len(it.Entity) + 1
	}
	q.After = &items[len(items)-1].Position
	q.Limit = min(max(pageBytes*len(items)/size, minPage), maxPage)
	return items, true, nil
}
