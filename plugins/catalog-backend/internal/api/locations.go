package api

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

func splitCommas(values []string) []string {
	var out []string
	for _, v := range values {
		out = append(out, strings.Split(v, ",")...)
	}
	return out
}

// mayReadLocations reports whether the caller may see locations at all.
func (h *Handler) mayReadLocations(r *http.Request) (bool, error) {
	err := h.allowed(r, catalognode.PermissionLocationRead, "")
	if err != nil && apierr.KindOf(err) == apierr.KindNotAllowed {
		return false, nil
	}
	return err == nil, err
}

func (h *Handler) locations(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "location-fetch", "", map[string]any{"queryType": "all"}, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		may, err := h.mayReadLocations(r)
		if err != nil {
			return err
		}
		type data struct {
			Data Location `json:"data"`
		}
		out := []data{}
		if may {
			all, err := h.Locations.List(r.Context())
			if err != nil {
				return err
			}
			for _, l := range all {
				out = append(out, data{l})
			}
		}
		apierr.WriteJSON(w, http.StatusOK, out)
		return nil
	})
}

func (h *Handler) location(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "location-fetch", "", map[string]any{"queryType": "by-id"}, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		id := r.PathValue("id")
		may, err := h.mayReadLocations(r)
		if err != nil {
			return err
		}
		if !may {
			return apierr.NotFound("Found no location with ID %s", id)
		}
		l, err := h.Locations.ByID(r.Context(), id)
		if err != nil {
			return err
		}
		apierr.WriteJSON(w, http.StatusOK, l)
		return nil
	})
}

func (h *Handler) locationByEntity(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "location-fetch", "", map[string]any{"queryType": "by-entity"}, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		ref := pathRef(r).String()
		may, err := h.mayReadLocations(r)
		if err != nil {
			return err
		}
		if !may {
			return apierr.NotFound("found no entity for ref %s", ref)
		}
		found, err := h.Read.ByRefs(r.Context(), []string{ref}, nil)
		if err != nil {
			return err
		}
		if found[0] == nil {
			return apierr.NotFound("found no entity for ref %s", ref)
		}
		entity, err := catalogcommon.ParseEntity(found[0])
		if err != nil {
			return err
		}
		origin, err := entity.OriginLocation()
		if err != nil {
			return apierr.NotFound("found no origin annotation for ref %s", ref)
		}
		l, err := h.Locations.ByTarget(r.Context(), origin.Type, origin.Target)
		if err != nil {
			return err
		}
		apierr.WriteJSON(w, http.StatusOK, l)
		return nil
	})
}

// maxLocationPage bounds a page of locations.
const (
	defaultLocationPage = 1000
	maxLocationPage     = 10_000
)

type locationCursor struct {
	Limit   int    `json:"limit"`
	AfterID string `json:"afterId"`
	Query   any    `json:"query,omitempty"`
}

func (h *Handler) locationsByQuery(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "location-fetch", "", map[string]any{"queryType": "by-query"}, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		body, err := parseBody(w, r, true)
		if err != nil {
			return err
		}
		c := locationCursor{Limit: defaultLocationPage}
		if text, ok, err := member[string](body, "cursor", "string"); err != nil {
			return err
		} else if ok {
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil || json.Unmarshal(raw, &c) != nil {
				return apierr.Input("Malformed cursor, unknown encoding")
			}
		} else {
			if c.Limit, err = wholeMember(body, "limit", defaultLocationPage); err != nil {
				return err
			}
			if raw, ok := body["query"]; ok {
				c.Query = raw
			}
		}
		if c.Limit < 1 {
			return apierr.Input("Limit must be a positive integer >= 1")
		}
		q := LocationQuery{AfterID: c.AfterID, Limit: min(c.Limit, maxLocationPage) + 1}
		if m, ok := c.Query.(map[string]any); ok && len(m) == 0 {
			c.Query = nil // unlike {"$all": []}, it holds for everything
		}
		if c.Query != nil {
			if q.Filter, err = query.Parse(c.Query); err != nil {
				return err
			}
			if err := checkLocationKeys(q.Filter); err != nil {
				return err
			}
		}
		return h.writeLocations(w, r, q, c)
	})
}

func (h *Handler) writeLocations(w http.ResponseWriter, r *http.Request, q LocationQuery, c locationCursor) error {
	may, err := h.mayReadLocations(r)
	if err != nil {
		return err
	}
	items, total := []Location{}, 0
	if may {
		found, n, err := h.Locations.Query(r.Context(), q)
		if err != nil {
			return err
		}
		items, total = append(items, found...), n
	}
	info := map[string]string{}
	if limit := q.Limit - 1; len(items) > limit {
		items = items[:limit]
		c.AfterID = items[limit-1].ID
		next, err := json.Marshal(c)
		if err != nil {
			return err
		}
		info["nextCursor"] = base64.StdEncoding.EncodeToString(next)
	}
	apierr.WriteJSON(w, http.StatusOK, map[string]any{"items": items, "totalItems": total, "pageInfo": info})
	return nil
}

func checkLocationKeys(p query.Predicate) error {
	key := ""
	switch p := p.(type) {
	case query.All:
		return checkAllLocationKeys(p)
	case query.Any:
		return checkAllLocationKeys(p)
	case query.Not:
		return checkLocationKeys(p.Predicate)
	case query.Exists:
		key = p.Key
	case query.In:
		key = p.Key
	case query.HasPrefix:
		key = p.Key
	}
	if !slices.Contains([]string{"id", "type", "target", "entityref"}, key) {
		return apierr.Input("Invalid filter predicate, expected key to be 'id', 'type', 'target', or 'entityRef', got '%s'", key)
	}
	return nil
}

func checkAllLocationKeys(ps []query.Predicate) error {
	for _, p := range ps {
		if err := checkLocationKeys(p); err != nil {
			return err
		}
	}
	return nil
}

// postedLocation reads {type, target} and refuses members not named.
func postedLocation(w http.ResponseWriter, r *http.Request, also ...string) (typ, target string, err error) {
	body, err := parseBody(w, r, false)
	if err != nil {
		return "", "", err
	}
	if typ, err = mustMember[string](body, "type", "string"); err != nil {
		return "", "", err
	}
	if target, err = mustMember[string](body, "target", "string"); err != nil {
		return "", "", err
	}
	if typ == "" || target == "" {
		return "", "", apierr.Input("Malformed request: type and target must not be empty")
	}
	for k := range body {
		if k != "type" && k != "target" && !slices.Contains(also, k) {
			return "", "", apierr.Input("Malformed request: unrecognized key '%s'", k)
		}
	}
	if presence, ok := body["presence"]; ok && presence != "required" && presence != "optional" {
		return "", "", apierr.Input("request/body/presence must be equal to one of the allowed values: required, optional")
	}
	return typ, target, nil
}

// truthy reads the words by which clients say yes.
func truthy(text string) bool {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "y", "yes", "true", "1", "on":
		return true
	default:
		return false
	}
}

func (h *Handler) createLocation(w http.ResponseWriter, r *http.Request) error {
	dryRun, severity := truthy(r.URL.Query().Get("dryRun")), core.SeverityMedium
	if dryRun {
		severity = core.SeverityLow
	}
	return h.audited(r, "location-mutate", severity, map[string]any{"actionType": "create", "isDryRun": dryRun}, func() error {
		p, err := parseParams(r, text("dryRun"), enum("onConflict", "refresh", "reject"))
		if err != nil {
			return err
		}
		typ, target, err := postedLocation(w, r, "presence")
		if err != nil {
			return err
		}
		if err := h.allowed(r, catalognode.PermissionLocationCreate, ""); err != nil {
			return err
		}
		if !dryRun {
			if err := h.writable(); err != nil {
				return err
			}
		}
		if err := h.registrable(typ, target); err != nil {
			return err
		}
		if dryRun {
			return h.dryRun(w, r, typ, target)
		}
		refresh := h.RefreshOnConflict
		if p.has("onConflict") {
			refresh = p.first("onConflict") == "refresh"
		}
		l, err := h.Locations.Create(r.Context(), typ, target, refresh)
		if err != nil {
			return err
		}
		apierr.WriteJSON(w, http.StatusCreated, map[string]any{"location": l, "entities": []any{}})
		return nil
	})
}

// registrable reports what speaks against registering a location.
func (h *Handler) registrable(typ, target string) error {
	if !slices.Contains(h.LocationTypes, typ) {
		allowed, err := json.Marshal(h.LocationTypes)
		if err != nil {
			return err
		}
		return apierr.Input("Registered locations must be of an allowed type %s", allowed)
	}
	if _, err := (catalogcommon.LocationRef{Type: typ, Target: target}).Format(); err != nil {
		return apierr.Input("%w", err)
	}
	if len(target) > maxTarget || !catalogcommon.IsStorable(target) {
		return apierr.Input("the target of a location has at most %d bytes of UTF-8, without the character U+0000", maxTarget)
	}
	return nil
}

// maxTarget bounds the target of a location, in bytes: PostgreSQL has an index
// of it.
const maxTarget = 1900

func (h *Handler) dryRun(w http.ResponseWriter, r *http.Request, typ, target string) error {
	l, exists, entities, err := h.Locations.DryRun(r.Context(), typ, target)
	if err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusCreated, map[string]any{"exists": exists, "location": l, "entities": entities})
	return nil
}

func (h *Handler) writable() error {
	if h.Readonly {
		return apierr.NotAllowed("This operation not allowed in readonly mode")
	}
	return nil
}

func (h *Handler) updateLocation(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "location-mutate", core.SeverityMedium, map[string]any{"actionType": "update"}, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		typ, target, err := postedLocation(w, r)
		if err != nil {
			return err
		}
		if err := h.allowed(r, catalognode.PermissionLocationCreate, ""); err != nil {
			return err
		}
		if err := h.writable(); err != nil {
			return err
		}
		if err := h.registrable(typ, target); err != nil {
			return err
		}
		l, err := h.Locations.Update(r.Context(), r.PathValue("id"), typ, target)
		if err != nil {
			return err
		}
		apierr.WriteJSON(w, http.StatusOK, l)
		return nil
	})
}

func (h *Handler) deleteLocation(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "location-mutate", core.SeverityMedium, map[string]any{"actionType": "delete"}, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		if err := h.allowed(r, catalognode.PermissionLocationDelete, ""); err != nil {
			return err
		}
		if err := h.writable(); err != nil {
			return err
		}
		if err := h.Locations.Delete(r.Context(), r.PathValue("id")); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

func (h *Handler) analyze(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "location-analyze", "", nil, func() error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		body, err := parseBody(w, r, false)
		if err != nil {
			return err
		}
		location, err := mustMember[map[string]any](body, "location", "object")
		if err != nil {
			return err
		}
		if err := onlyMembers("request/body/location", location, "type", "target"); err != nil {
			return err
		}
		if _, err := mustMember[string](location, "type", "string"); err != nil {
			return err
		}
		target, err := mustMember[string](location, "target", "string")
		if err != nil {
			return err
		}
		filename, ok, err := member[string](body, "catalogFilename", "string")
		if err == nil && !ok {
			filename, _, err = member[string](body, "catalogFileName", "string")
		}
		if err != nil {
			return err
		}
		if err := h.allowed(r, catalognode.PermissionLocationAnalyze, ""); err != nil {
			return err
		}
		result, err := h.Analyzer.Analyze(r.Context(), target, filename)
		if err != nil {
			return err
		}
		apierr.WriteJSON(w, http.StatusOK, result)
		return nil
	})
}
