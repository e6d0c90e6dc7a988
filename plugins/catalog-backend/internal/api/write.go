package api

import (
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/flytower/flytower/internal/answer"
	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
)

const jsonType = "application/json; charset=utf-8"

// writeJSON answers a text that is JSON already. The text may be used again
// when it returns.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(status)
	_, _ = answer.Write(w, body) // a client that went away is not our error
}

// writeStored answers entities as they are stored. Like the original, it gives
// them no entity tag; with a length, the server sends the text as it is and
// computes none.
func writeStored(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Content-Type", jsonType)
	_, _ = w.Write(body) // a client that went away is not our error
}

// writeEntities answers a text with entities, of which some fields were asked
// for or all.
func writeEntities(w http.ResponseWriter, body []byte, fields *query.Projection) {
	if fields == nil {
		writeStored(w, body)
	} else {
		writeJSON(w, http.StatusOK, body)
	}
}

// textBuffer is where an answer is put together.
type textBuffer struct{ b []byte }

var textBuffers = sync.Pool{New: func() any { return new(textBuffer) }}

// maxPooledText is the largest text that is kept for the next answer, in bytes.
const maxPooledText = 4 << 20

func newTextBuffer() *textBuffer {
	t, _ := textBuffers.Get().(*textBuffer)
	t.b = t.b[:0]
	return t
}

func (t *textBuffer) free() {
	if cap(t.b) <= maxPooledText {
		textBuffers.Put(t)
	}
}

// frame is more than what an answer has around its items.
const frame = 1024

// grow makes room for items and what stands around them.
func (t *textBuffer) grow(items []read.Item) {
	n := frame
	for _, it := range items {
		n += len(it.Entity) + 1
	}
	if cap(t.b) < n {
		t.b = make([]byte, 0, n)
	}
}

func appendItem(dst []byte, i int, item []byte) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	return append(dst, item...)
}

// foundAtOnce is for how many refs entities are read at a time.
const foundAtOnce = 1000

// writeFound answers the entities of refs in their order, null for those that
// find does not find.
func writeFound(w http.ResponseWriter, refs []string, find func(refs []string) ([][]byte, error), fields *query.Projection) error {
	t := newTextBuffer()
	defer t.free()
	t.b = append(t.b, `{"items":[`...)
	n, started := 0, false
	for part := range slices.Chunk(refs, foundAtOnce) {
		found, err := find(part)
		if err != nil {
			if started {
				panic(http.ErrAbortHandler)
			}
			return err
		}
		for _, entity := range found {
			if len(t.b) >= pageBytes && len(refs) > len(part) {
				started = true
				w.Header().Set("Content-Type", jsonType)
				if _, err := w.Write(t.b); err != nil {
					return nil // the client went away
				}
				t.b = t.b[:0]
			}
			if t.b = appendItem(t.b, n, nil); entity == nil {
				t.b = append(t.b, "null"...)
			} else {
				t.b = fields.Append(t.b, entity)
			}
			n++
		}
	}
	t.b = append(t.b, "]}"...)
	if started {
		_, _ = w.Write(t.b) // a client that went away is not our error
		return nil
	}
	writeEntities(w, t.b, fields)
	return nil
}

// writeAncestry answers an entity with those that it descends from.
func writeAncestry(w http.ResponseWriter, root string, nodes []read.Node) {
	t := newTextBuffer()
	defer t.free()
	t.b = jsonvalue.AppendString(append(t.b, `{"rootEntityRef":`...), root)
	t.b = append(t.b, `,"items":[`...)
	for i, n := range nodes {
		t.b = append(appendItem(t.b, i, []byte(`{"entity":`)), n.Entity...)
		t.b = append(t.b, `,"parentEntityRefs":[`...)
		for j, p := range n.Parents {
			t.b = jsonvalue.AppendString(appendItem(t.b, j, nil), p)
		}
		t.b = append(t.b, "]}"...)
	}
	t.b = append(t.b, "]}"...)
	writeJSON(w, http.StatusOK, t.b)
}
