package api

import (
	"net/http"
	"strconv"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// defaultPage is the page size of by-query where the client names none.
const defaultPage = 200

// listQuery is what a client asks of by-query, by any of its forms.
type listQuery struct {
	list   query.Cursor // the list, and the place in it
	paging bool         // list came from a cursor
	limit  int
	offset int
	count  bool
	fields *query.Projection
}

func (h *Handler) byQueryGet(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "entity-fetch", "", map[string]any{"queryType": "by-query"}, func() error {
		p, err := parseParams(r, text("fields"), integer("limit"), integer("offset"), text("orderField"), text("cursor"),
			text("filter"), enum("totalItems", "include", "exclude"), text("fullTextFilterTerm"), text("fullTextFilterFields"))
		if err != nil {
			return err
		}
		q := listQuery{limit: p.int("limit", defaultPage), offset: p.int("offset", 0), count: p.first("totalItems") != "exclude"}
		if q.fields, err = query.ParseFields(p["fields"]); err != nil {
			return err
		}
		if p.has("cursor") {
			q.paging = true
			if q.list, err = query.ParseCursor(p.first("cursor")); err != nil {
				return err
			}
			return h.byQuery(w, r, q)
		}
		if q.list.Query, err = query.ParseFilters(p["filter"]); err != nil {
			return err
		}
		for _, text := range p["orderField"] {
			o, err := query.ParseOrderField(text)
			if err != nil {
				return err
			}
			q.list.Order = append(q.list.Order, o)
		}
		q.list.FullText = query.NewFullText(p.first("fullTextFilterTerm"), splitCommas(p["fullTextFilterFields"]))
		return h.byQuery(w, r, q)
	})
}

func (h *Handler) byQueryPost(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "entity-fetch", "", map[string]any{"queryType": "by-query"}, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		body, err := parseBody(w, r, true)
		if err != nil {
			return err
		}
		q, err := postedQuery(body)
		if err != nil {
			return err
		}
		return h.byQuery(w, r, q)
	})
}

func postedQuery(body map[string]any) (q listQuery, err error) {
	q = listQuery{limit: defaultPage, count: true}
	if q.limit, err = wholeMember(body, "limit", defaultPage); err != nil {
		return q, err
	}
	if q.offset, err = wholeMember(body, "offset", 0); err != nil {
		return q, err
	}
	names, _, err := stringsMember(body, "fields")
	if err != nil {
		return q, err
	}
	if q.fields, err = query.ParseFields(names); err != nil {
		return q, err
	}
	if cursor, ok, err := member[string](body, "cursor", "string"); err != nil {
		return q, err
	} else if ok {
		q.paging = true
		q.list, err = query.ParseCursor(cursor)
		return q, err
	}
	totals, ok, err := member[string](body, "totalItems", "string")
	if err != nil {
		return q, err
	}
	if ok && totals != "include" && totals != "exclude" {
		return q, apierr.Input("request/body/totalItems must be equal to one of the allowed values: include, exclude")
	}
	q.count = totals != "exclude"
	if q.list.Query, err = bodyQuery(body); err != nil {
		return q, err
	}
	orders, _, err := member[[]any](body, "orderBy", "array")
	if err != nil {
		return q, err
	}
	for i, raw := range orders {
		o, err := postedOrder(i, raw)
		if err != nil {
			return q, err
		}
		q.list.Order = append(q.list.Order, o)
	}
	fullText, ok, err := member[map[string]any](body, "fullTextFilter", "object")
	if err != nil || !ok {
		return q, err
	}
	term, _, err := member[string](fullText, "term", "string")
	if err != nil {
		return q, err
	}
	fields, _, err := stringsMember(fullText, "fields")
	q.list.FullText = query.NewFullText(term, fields)
	return q, err
}

func postedOrder(i int, raw any) (query.Order, error) {
	m, ok := raw.(map[string]any)
	if !ok {
		return query.Order{}, apierr.Input("request/body/orderBy/%d must be object", i)
	}
	field, err := mustMember[string](m, "field", "string")
	if err != nil {
		return query.Order{}, err
	}
	dir, err := mustMember[string](m, "order", "string")
	if err != nil {
		return query.Order{}, err
	}
	if dir != "asc" && dir != "desc" {
		return query.Order{}, apierr.Input("request/body/orderBy/%d/order must be equal to one of the allowed values: asc, desc", i)
	}
	return query.ParseOrderField(field + "," + dir)
}

func wholeMember(body map[string]any, name string, absent int) (int, error) {
	f, ok, err := member[float64](body, name, "number")
	if err != nil || !ok {
		return absent, err
	}
	if f < 0 || f != float64(int(f)) {
		return 0, apierr.Input("request/body/%s must be a whole number >= 0", name)
	}
	return int(f), nil
}

func (h *Handler) byQuery(w http.ResponseWriter, r *http.Request, q listQuery) error {
	if len(q.list.Order) > 1 {
		q.list.Order = q.list.Order[:1] // only the first counts
	}
	q.limit, q.offset = min(q.limit, noLimit), min(q.offset, noLimit) // see entitiesRequest
	seen, ok, err := h.visible(r, catalognode.PermissionEntityRead)
	if err != nil {
		return err
	}
	if !ok {
		writeJSON(w, http.StatusOK, []byte(`{"items":[],"totalItems":0,"pageInfo":{}}`))
		return nil
	}
	req := read.Request{
		Filter: query.Both(seen, q.list.Query), FullText: q.list.FullText, Order: q.list.Order,
		Limit: q.limit + 1, Offset: q.offset, Fields: q.fields, Bare: true,
	}
	if q.limit == 0 {
		req.Limit = 0
	}
	if q.paging {
		req.After, req.Before, req.Offset = &q.list.Position, q.list.Previous, 0
		if q.list.Previous {
			req.Limit = q.limit // there is a next page: the one that the client came from
		}
	}
	if q.limit > longList && !req.Before {
		return h.longQuery(w, r, q, req)
	}
	var items []read.Item
	if !q.paging && q.count {
		items, q.list.Total, err = h.Read.Page(r.Context(), req)
	} else {
		items, err = h.Read.List(r.Context(), req)
	}
	if err != nil {
		return err
	}
	more := q.list.Previous
	if len(items) > q.limit {
		items, more = items[:q.limit], true
	}
	text := newTextBuffer()
	defer text.free()
	text.grow(items)
	text.b = append(text.b, `{"items":[`...)
	for i, it := range items {
		text.b = appendItem(text.b, i, it.Entity)
	}
	text.b = append(text.b, `],"totalItems":`...)
	text.b = strconv.AppendInt(text.b, int64(q.list.Total), 10)
	text.b = append(text.b, `,"pageInfo":{`...)
	text.b = append(text.b, pageInfo(q, items, more)...)
	text.b = append(text.b, "}}"...)
	writeEntities(w, text.b, q.fields)
	return nil
}

// longQuery answers a page that may be too long for one piece.
func (h *Handler) longQuery(w http.ResponseWriter, r *http.Request, q listQuery, req read.Request) error {
	if !q.paging && q.count {
		counted := req
		counted.Limit = 0
		var err error
		if _, q.list.Total, err = h.Read.Page(r.Context(), counted); err != nil {
			return err
		}
	}
	return newFeed(h.Read, req, q.limit, false).send(w, r, `{"items":[`, func(sent written) (string, error) {
		more := false
		if sent.n == q.limit {
			behind, err := h.Read.List(r.Context(), read.Request{
				Filter: req.Filter, FullText: req.FullText, Order: req.Order, After: &sent.last.Position, Limit: 1, Bare: true, Fields: req.Fields, Once: true,
			})
			if err != nil {
				return "", err
			}
			more = len(behind) > 0
		}
		ends := []read.Item{sent.first, sent.last}
		if sent.n == 0 {
			ends = nil
		}
		return `],"totalItems":` + strconv.Itoa(q.list.Total) + `,"pageInfo":{` + pageInfo(q, ends, more) + "}}", nil
	})
}

// pageInfo returns the members of the cursors to the neighbouring pages.
func pageInfo(q listQuery, items []read.Item, more bool) string {
	if len(items) == 0 {
		return ""
	}
	first, last := items[0].Position, items[len(items)-1].Position
	list := q.list
	if !q.paging {
		list.First = first
	}
	out := ""
	if more {
		list.Previous, list.Position = false, last
		out = `"nextCursor":"` + list.String() + `"`
	}
	if q.paging && first != list.First {
		list.Previous, list.Position = true, first
		if out != "" {
			out += ","
		}
		out += `"prevCursor":"` + list.String() + `"`
	}
	return out
}
