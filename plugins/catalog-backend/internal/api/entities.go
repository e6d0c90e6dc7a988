package api

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// noLimit is the page size where a client names none but pages all the same:
// all that is left.
const noLimit = 1 << 30

func (h *Handler) entities(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "entity-fetch", "", map[string]any{"queryType": "all"}, func() error {
		p, err := parseParams(r, text("fields"), text("filter"), text("order"), integer("limit"), integer("offset"), text("after"))
		if err != nil {
			return err
		}
		q, err := entitiesRequest(p)
		if err != nil {
			return err
		}
		paged := p.has("limit") || p.has("offset") || p.has("after")
		seen, ok, err := h.visible(r, catalognode.PermissionEntityRead)
		if err != nil {
			return err
		}
		if !ok {
			writeJSON(w, http.StatusOK, []byte("[]"))
			return nil
		}
		q.Filter = query.Both(seen, q.Filter)
		if !paged {
			return h.stream(w, r, q)
		}
		return h.page(w, r, q)
	})
}

func entitiesRequest(p params) (q read.Request, err error) {
	if q.Filter, err = query.ParseFilters(p["filter"]); err != nil {
		return q, err
	}
	if q.Fields, err = query.ParseFields(p["fields"]); err != nil {
		return q, err
	}
	for _, text := range p["order"] {
		o, err := query.ParseOrder(text)
		if err != nil {
			return q, err
		}
		q.Order = append(q.Order, o)
	}
	if p.has("limit") {
		if q.Limit = p.int("limit", 0); q.Limit == 0 {
			return q, apierr.Input("Invalid limit, must be greater than zero")
		}
	}
	q.Offset = p.int("offset", 0)
	if p.has("after") {
		raw, err := base64.StdEncoding.DecodeString(p.first("after"))
		var after struct {
			Limit  *int `json:"limit"`
			Offset *int `json:"offset"`
		}
		if err != nil || json.Unmarshal(raw, &after) != nil || negative(after.Limit) || negative(after.Offset) {
			return q, apierr.Input("Malformed after cursor, could not be parsed")
		}
		if after.Limit != nil {
			q.Limit = *after.Limit
		}
		if after.Offset != nil {
			q.Offset = *after.Offset
		}
	}
	// No catalog has as many entities; sums of the two must not run over.
	q.Limit, q.Offset = min(q.Limit, noLimit), min(q.Offset, noLimit)
	return q, nil
}

func negative(n *int) bool { return n != nil && *n < 0 }

// page answers one page of the list, with a link to the next.
func (h *Handler) page(w http.ResponseWriter, r *http.Request, q read.Request) error {
	q.KeepUnordered, q.Bare = true, true
	limit := q.Limit
	if limit == 0 {
		limit = noLimit
	}
	linkNext := func() error {
		after, err := json.Marshal(struct {
			Limit  int `json:"limit"`
			Offset int `json:"offset"`
		}{limit, q.Offset + limit})
		if err != nil {
			return err
		}
		w.Header().Set("Link", "<"+r.URL.EscapedPath()+"?"+nextPage(r.URL.RawQuery, base64.StdEncoding.EncodeToString(after))+`>; rel="next"`)
		return nil
	}
	if limit > longList {
		if limit < noLimit {
			behind := q
			behind.Offset, behind.Limit, behind.Once = q.Offset+limit, 1, true
			next, err := h.Read.List(r.Context(), behind)
			if err == nil && len(next) > 0 {
				err = linkNext()
			}
			if err != nil {
				return err
			}
		}
		return newFeed(h.Read, q, limit, true).send(w, r, "[", func(written) (string, error) { return "]", nil })
	}
	q.Limit = limit + 1 // one more tells whether there is a next page
	items, err := h.Read.List(r.Context(), q)
	if err != nil {
		return err
	}
	if len(items) > limit {
		items = items[:limit]
		if err := linkNext(); err != nil {
			return err
		}
	}
	text := newTextBuffer()
	defer text.free()
	text.grow(items)
	text.b = append(text.b, '[')
	for i, it := range items {
		text.b = appendItem(text.b, i, it.Entity)
	}
	text.b = append(text.b, ']')
	writeEntities(w, text.b, q.Fields)
	return nil
}

// nextPage returns the query of a request with another place to begin at, and
// everything else in its order.
func nextPage(rawQuery, after string) string {
	var parts []string
	placed := false
	for part := range strings.SplitSeq(rawQuery, "&") {
		rawName, rawValue, _ := strings.Cut(part, "=")
		name, errName := url.QueryUnescape(rawName)
		value, errValue := url.QueryUnescape(rawValue)
		switch {
		case part == "" || errName != nil || errValue != nil || name == "offset" || name == "after" && placed:
			continue
		case name == "after":
			value, placed = after, true
		}
		parts = append(parts, url.QueryEscape(name)+"="+url.QueryEscape(value))
	}
	if !placed {
		parts = append(parts, "after="+url.QueryEscape(after))
	}
	return strings.Join(parts, "&")
}

func (h *Handler) byRefs(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "entity-fetch", "", map[string]any{"queryType": "by-refs"}, func() error {
		p, err := parseParams(r, text("filter"))
		if err != nil {
			return err
		}
		filter, err := query.ParseFilters(p["filter"])
		if err != nil {
			return err
		}
		raw, err := readBody(w, r, false)
		if err != nil {
			return err
		}
		refs, fields, asked, err := refsRequest(raw)
		if err != nil {
			return err
		}
		seen, ok, err := h.visible(r, catalognode.PermissionEntityRead)
		if err != nil {
			return err
		}
		find := func(refs []string) ([][]byte, error) { return make([][]byte, len(refs)), nil }
		if may := query.Both(seen, query.Both(filter, asked)); ok {
			find = func(refs []string) ([][]byte, error) { return h.Read.ByRefs(r.Context(), refs, may) }
		}
		for i, ref := range refs {
			refs[i] = strings.ToLower(ref)
		}
		return writeFound(w, refs, find, fields)
	})
}

// refsRequest reads what is asked for by refs.
func refsRequest(raw []byte) (refs []string, fields *query.Projection, filter query.Predicate, err error) {
	if refs, ok := plainStrings(raw, "entityRefs"); ok {
		return refs, nil, nil, nil
	}
	body, err := parseObject(raw)
	if err != nil {
		return nil, nil, nil, err
	}
	refs, ok, err := stringsMember(body, "entityRefs")
	if err != nil {
		return nil, nil, nil, err
	}
	if !ok {
		return nil, nil, nil, apierr.Input("request/body must have required property 'entityRefs'")
	}
	names, _, err := stringsMember(body, "fields")
	if err != nil {
		return nil, nil, nil, err
	}
	if fields, err = query.ParseFields(names); err != nil {
		return nil, nil, nil, err
	}
	filter, err = bodyQuery(body)
	return refs, fields, filter, err
}

// bodyQuery reads the member query of a body.
func bodyQuery(body map[string]any) (query.Predicate, error) {
	raw, ok, err := member[map[string]any](body, "query", "object")
	if err != nil || !ok {
		return nil, err
	}
	return query.Parse(raw)
}

func (h *Handler) byUID(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "entity-fetch", "", map[string]any{"queryType": "by-uid"}, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		uid := r.PathValue("uid")
		seen, ok, err := h.visible(r, catalognode.PermissionEntityRead)
		if err != nil {
			return err
		}
		var entity []byte
		if ok {
			if entity, err = h.Read.ByUID(r.Context(), uid, seen); err != nil {
				return err
			}
		}
		if entity == nil {
			return apierr.NotFound("No entity with uid %s", uid)
		}
		writeStored(w, entity)
		return nil
	})
}

func (h *Handler) byName(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "entity-fetch", "", map[string]any{"queryType": "by-name"}, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		ref := pathRef(r)
		seen, ok, err := h.visible(r, catalognode.PermissionEntityRead)
		if err != nil {
			return err
		}
		found := [][]byte{nil}
		if ok {
			if found, err = h.Read.ByRefs(r.Context(), []string{ref.String()}, seen); err != nil {
				return err
			}
		}
		if found[0] == nil {
			return apierr.NotFound("No entity named '%s' found, with kind '%s' in namespace '%s'", ref.Name, ref.Kind, ref.Namespace)
		}
		writeStored(w, found[0])
		return nil
	})
}

func (h *Handler) deleteByUID(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "entity-mutate", core.SeverityMedium, map[string]any{"actionType": "delete"}, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		uid := r.PathValue("uid")
		may, ok, err := h.visible(r, catalognode.PermissionEntityDelete)
		if err != nil {
			return err
		}
		if ok && may != nil {
			entity, err := h.Read.ByUID(r.Context(), uid, may)
			if err != nil {
				return err
			}
			ok = entity != nil
		}
		if !ok {
			return apierr.NotAllowed("Unauthorized: permission %s is needed", catalognode.PermissionEntityDelete.Name)
		}
		if err := h.Engine.Delete(r.Context(), uid); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

func (h *Handler) ancestry(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "entity-fetch", "", map[string]any{"actionType": "ancestry"}, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		ref := pathRef(r).String()
		if err := h.allowed(r, catalognode.PermissionEntityRead, ref); err != nil {
			return err
		}
		nodes, err := h.Read.Ancestry(r.Context(), ref)
		if err != nil {
			return err
		}
		if len(nodes) == 0 {
			return apierr.NotFound("No such entity %s", ref)
		}
		if nodes, err = h.visibleAncestors(r, nodes); err != nil {
			return err
		}
		writeAncestry(w, ref, nodes)
		return nil
	})
}

// visibleAncestors drops what the caller may not see, and what is reached
// only through that.
func (h *Handler) visibleAncestors(r *http.Request, nodes []read.Node) ([]read.Node, error) {
	who, err := h.credentials(r)
	if err != nil {
		return nil, err
	}
	requests := make([]core.AuthorizeRequest, len(nodes))
	for i, n := range nodes {
		requests[i] = core.AuthorizeRequest{Permission: catalognode.PermissionEntityRead, ResourceRef: n.Ref}
	}
	results, err := h.Permissions.Authorize(r.Context(), who, requests...)
	if err != nil {
		return nil, err
	}
	allowed := map[string]read.Node{}
	for i, n := range nodes {
		if results[i] == core.Allowed {
			allowed[n.Ref] = n
		}
	}
	var out []read.Node
	seen := map[string]bool{nodes[0].Ref: true}
	for stack := []string{nodes[0].Ref}; len(stack) > 0; {
		n, ok := allowed[stack[len(stack)-1]]
		stack = stack[:len(stack)-1]
		if !ok {
			continue
		}
		parents := []string{}
		for _, p := range n.Parents {
			if _, ok := allowed[p]; !ok {
				continue
			}
			parents = append(parents, p)
			if !seen[p] {
				seen[p] = true
				stack = append(stack, p)
			}
		}
		n.Parents = parents
		out = append(out, n)
	}
	return out, nil
}

func (h *Handler) facetsGet(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "entity-facets", "", nil, func() error {
		p, err := parseParams(r, required("facet"), text("filter"))
		if err != nil {
			return err
		}
		filter, err := query.ParseFilters(p["filter"])
		if err != nil {
			return err
		}
		return h.facets(w, r, p["facet"], filter)
	})
}

func (h *Handler) facetsPost(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "entity-facets", "", nil, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		body, err := parseBody(w, r, false)
		if err != nil {
			return err
		}
		keys, _, err := stringsMember(body, "facets")
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			return apierr.Input("Missing or empty facets parameter")
		}
		filter, err := bodyQuery(body)
		if err != nil {
			return err
		}
		return h.facets(w, r, keys, filter)
	})
}

// maxFacets bounds how many facets a request may name: each may have as many
// values as there are entities.
const maxFacets = 1000

func (h *Handler) facets(w http.ResponseWriter, r *http.Request, keys []string, filter query.Predicate) error {
	if len(keys) > maxFacets {
		return apierr.Input("Too many facets: %d, and a request may name %d", len(keys), maxFacets)
	}
	seen, ok, err := h.visible(r, catalognode.PermissionEntityRead)
	if err != nil {
		return err
	}
	facets := map[string][]read.Facet{}
	if ok {
		if facets, err = h.Read.Facets(r.Context(), keys, query.Both(seen, filter)); err != nil {
			return err
		}
	} else {
		for _, k := range keys {
			facets[k] = []read.Facet{}
		}
	}
	apierr.WriteJSON(w, http.StatusOK, map[string]any{"facets": facets})
	return nil
}

func (h *Handler) refresh(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "entity-mutate", core.SeverityMedium, map[string]any{"queryType": "refresh"}, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		body, err := parseBody(w, r, false)
		if err != nil {
			return err
		}
		if err := onlyMembers("request/body", body, "entityRef", "authorizationToken"); err != nil {
			return err
		}
		text, err := mustMember[string](body, "entityRef", "string")
		if err != nil {
			return err
		}
		token, hasToken, err := member[string](body, "authorizationToken", "string")
		if err != nil {
			return err
		}
		ref := strings.ToLower(text)
		who, err := h.credentials(r)
		if err != nil {
			return err
		}
		if hasToken {
			if who, err = h.Auth.Authenticate(r.Context(), token, false); err != nil {
				return err
			}
		}
		results, err := h.Permissions.Authorize(r.Context(), who, core.AuthorizeRequest{Permission: catalognode.PermissionEntityRefresh, ResourceRef: ref})
		if err != nil {
			return err
		}
		if results[0] != core.Allowed {
			return apierr.NotAllowed("Unauthorized: permission %s is needed", catalognode.PermissionEntityRefresh.Name)
		}
		if err := h.Engine.Refresh(r.Context(), ref); err != nil {
			return err
		}
		w.WriteHeader(http.StatusOK)
		return nil
	})
}

func (h *Handler) validate(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "entity-validate", "", nil, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		body, err := parseBody(w, r, false)
		if err != nil {
			return err
		}
		entity, err := mustMember[map[string]any](body, "entity", "object")
		if err != nil {
			return err
		}
		text, err := mustMember[string](body, "location", "string")
		if err != nil {
			return err
		}
		if err := catalogcommon.ValidateEnvelope(entity); err != nil {
			writeErrors(w, err)
			return nil
		}
		location, err := catalogcommon.ParseLocationRef(text)
		if err == nil && location.Type != "url" {
			err = apierr.New("TypeError", "Invalid location ref %s, only 'url:<target>' is supported, e.g. url:https://host/path", text)
		}
		if err != nil {
			writeErrors(w, err)
			return nil
		}
		if err := h.allowed(r, catalognode.PermissionEntityValidate, ""); err != nil {
			return err
		}
		if errs := h.Engine.Validate(r.Context(), entity, location); len(errs) > 0 {
			writeErrors(w, errs...)
			return nil
		}
		w.WriteHeader(http.StatusOK)
		return nil
	})
}

// writeErrors answers what is wrong with an entity.
func writeErrors(w http.ResponseWriter, errs ...error) {
	list := make([]map[string]any, len(errs))
	for i, err := range errs {
		list[i] = apierr.Serialize(err)
	}
	apierr.WriteJSON(w, http.StatusBadRequest, map[string]any{"errors": list})
}
