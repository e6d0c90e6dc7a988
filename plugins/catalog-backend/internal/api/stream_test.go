package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
)

// shelf has entities of all sizes, and says how much of them was taken at once.
type shelf struct {
	Reader
	n               int
	most            int // bytes
	failAt, panicAt int
}

func (s *shelf) item(i int) read.Item {
	size := i % 500
	if i%97 == 0 {
		size = 50_000
	}
	return read.Item{
		Position: query.Position{Ref: fmt.Sprintf("component:default/%06d", i)},
		Entity:   fmt.Appendf(nil, `{"i":%d,"text":%q}`, i, strings.Repeat("x", size)),
	}
}

func (s *shelf) List(_ context.Context, q read.Request) (items []read.Item, err error) {
	from := q.Offset
	if q.After != nil {
		if _, err := fmt.Sscanf(q.After.Ref, "component:default/%d", &from); err != nil {
			return nil, err
		}
		from += 1 + q.Offset
	}
	size := 0
	items = q.Into[:0] // what was there before is overwritten
	for i := from; i < min(from+q.Limit, s.n); i++ {
		if s.panicAt > 0 && i >= s.panicAt {
			panic("the reader is broken")
		}
		if s.failAt > 0 && i >= s.failAt {
			return nil, errors.New("the database is gone")
		}
		items = append(items, s.item(i))
		size += len(items[len(items)-1].Entity)
	}
	s.most = max(s.most, size)
	return items, nil
}

func (s *shelf) Page(ctx context.Context, q read.Request) ([]read.Item, int, error) {
	items, err := s.List(ctx, q)
	return items, s.n, err
}

func (s *shelf) ByRefs(_ context.Context, refs []string, _ query.Predicate) ([][]byte, error) {
	out := make([][]byte, len(refs))
	for i, ref := range refs {
		n := 0
		if _, err := fmt.Sscanf(ref, "component:default/%d", &n); err == nil && n < s.n {
			out[i] = s.item(n).Entity
		}
	}
	return out, nil
}

func (s *shelf) want(from, to int) []byte {
	var b bytes.Buffer
	for i := from; i < to; i++ {
		b.Write(appendItem(nil, i-from, s.item(i).Entity))
	}
	return b.Bytes()
}

// atOnce is more than what a page of pageBytes comes to, given that it is
// guessed from the one before.
const atOnce = 8 << 20

func TestStream(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 99, 100, 101, 4000} {
		s := &shelf{n: n}
		w := httptest.NewRecorder()
		if err := (&Handler{Read: s}).stream(w, httptest.NewRequest(http.MethodGet, "/entities", nil), read.Request{}); err != nil {
			t.Fatal(err)
		}
		if want := "[" + string(s.want(0, n)) + "]"; w.Body.String() != want {
			t.Errorf("%d entities: got %d bytes, want %d", n, w.Body.Len(), len(want))
		}
		if s.most > atOnce {
			t.Errorf("%d entities: %d bytes of them were read at once", n, s.most)
		}
	}
}

func TestStreamFails(t *testing.T) {
	t.Parallel()
	h := &Handler{Read: &shelf{n: 1000, failAt: 1}}
	if err := h.stream(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/entities", nil), read.Request{}); err == nil {
		t.Error("an error of the first page is not returned")
	}
	defer func() {
		if recover() != http.ErrAbortHandler { //nolint:errorlint // the value is compared as net/http does
			t.Error("an error behind the first page does not cut the connection")
		}
	}()
	h = &Handler{Read: &shelf{n: 1000, failAt: 500}}
	_ = h.stream(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/entities", nil), read.Request{})
	t.Error("an error behind the first page went unnoticed")
}

// TestStreamPanics panics while a page is read ahead: that must reach whoever
// called, and not end the process.
func TestStreamPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if v := recover(); v != "the reader is broken" {
			t.Errorf("recovered %v", v)
		}
	}()
	h := &Handler{Read: &shelf{n: 1000, panicAt: 500}}
	err := h.stream(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/entities", nil), read.Request{})
	t.Errorf("a panic went unnoticed: %v", err)
}

// gone is a client that went away.
type gone struct{ *httptest.ResponseRecorder }

func (gone) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestStreamToNobody(t *testing.T) {
	t.Parallel()
	h := &Handler{Read: &shelf{n: 4000}}
	if err := h.stream(gone{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/entities", nil), read.Request{}); err != nil {
		t.Error(err)
	}
}

func TestLongPages(t *testing.T) {
	t.Parallel()
	const n = 6500
	for _, c := range []struct{ limit, offset, from, to int }{
		{6000, 0, 0, 6000}, {n - 1, 0, 0, n - 1}, {1_000_000, 0, 0, n}, {6000, 1000, 1000, n}, {6000, n, n, n},
	} {
		s := &shelf{n: n}
		h := &Handler{Read: s}
		w := httptest.NewRecorder()
		q := listQuery{limit: c.limit, offset: c.offset, count: true}
		if err := h.longQuery(w, httptest.NewRequest(http.MethodGet, "/entities/by-query", nil), q, read.Request{Offset: c.offset}); err != nil {
			t.Fatal(err)
		}
		var page struct {
			Items      []json.RawMessage
			TotalItems int
			PageInfo   struct{ NextCursor, PrevCursor string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if len(page.Items) != c.to-c.from || page.TotalItems != n || (page.PageInfo.NextCursor != "") != (c.to < n) || page.PageInfo.PrevCursor != "" {
			t.Errorf("by-query %+v: %d items of %d, %+v", c, len(page.Items), page.TotalItems, page.PageInfo)
		}
		if page.PageInfo.NextCursor != "" {
			next, err := query.ParseCursor(page.PageInfo.NextCursor)
			if err != nil || next.Position != s.item(c.to-1).Position || next.First != s.item(c.from).Position {
				t.Errorf("by-query %+v: the cursor is %+v (%v)", c, next, err)
			}
		}

		w = httptest.NewRecorder()
		if err := h.page(w, httptest.NewRequest(http.MethodGet, "/entities", nil), read.Request{Limit: c.limit, Offset: c.offset}); err != nil {
			t.Fatal(err)
		}
		if w.Body.String() != "["+string(s.want(c.from, c.to))+"]" || (w.Header().Get("Link") != "") != (c.to < n) {
			t.Errorf("entities %+v: %d bytes, link %q", c, w.Body.Len(), w.Header().Get("Link"))
		}
		if s.most > atOnce {
			t.Errorf("%+v: %d bytes were read at once", c, s.most)
		}
	}
}

func TestManyRefs(t *testing.T) {
	t.Parallel()
	s := &shelf{n: 3000}
	for _, n := range []int{0, 1, 1000, 5000} {
		var refs []string
		var want bytes.Buffer
		for i := range n {
			refs = append(refs, fmt.Sprintf("component:default/%06d", i))
			item := []byte("null")
			if i < s.n {
				item = s.item(i).Entity
			}
			want.Write(appendItem(nil, i, item))
		}
		w := httptest.NewRecorder()
		err := writeFound(w, refs, func(refs []string) ([][]byte, error) { return s.ByRefs(t.Context(), refs, nil) }, nil)
		if got := w.Body.String(); err != nil || got != `{"items":[`+want.String()+"]}" {
			t.Errorf("%d refs: %d bytes, want %d (%v)", n, len(got), want.Len()+12, err)
		}
	}
}
