package roothttprouter

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/thismachine"
)

const (
	healthPrefix = "/.backstage/health/v1/"
	healthKey    = "backend.health"
)

// healthRoutes answer for the health service.
type healthRoutes struct {
	service core.HealthService
	headers []fixedHeader
	detail  string // off, loopback or public
}

func newHealthRoutes(config core.Config, service core.HealthService) (*healthRoutes, error) {
	h := &healthRoutes{service: service}
	c := config.Sub(healthKey)
	if v, ok := c.Value("headers"); ok {
		members, ok := v.(map[string]any)
		if !ok {
			return nil, configError(c, "headers", "must be an object of header names and values", "")
		}
		for name, v := range members {
			value, ok := v.(string)
			if !ok || value == "" || !isHeaderText(value) {
				return nil, configError(c, "headers."+name, "must be a text that a header can have", "")
			}
			if !isToken(name) {
				return nil, configError(c, "headers."+name, "is no name of a header", "")
			}
			h.headers = append(h.headers, fixedHeader{http.CanonicalHeaderKey(name), []string{value}[:1:1]})
		}
	}
	var err error
	if h.detail, err = c.StringOr("detail", "loopback"); err != nil {
		return nil, err
	}
	switch h.detail {
	case "off", "loopback", "public":
		return h, nil
	default:
		return nil, configError(c, "detail", fmt.Sprintf("is %q", h.detail), "use off, loopback or public")
	}
}

func isToken(s string) bool {
	for _, c := range s {
		if c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c) {
			return false
		}
	}
	return s != ""
}

// serve answers if the request is one for a health route.
func (h *healthRoutes) serve(w http.ResponseWriter, r *http.Request) bool {
	path := r.URL.Path
	if len(path) < len(healthPrefix) || !strings.EqualFold(path[:len(healthPrefix)], healthPrefix) {
		return false
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	var result core.Health
	switch strings.ToLower(strings.TrimSuffix(path[len(healthPrefix):], "/")) {
	case "liveness":
		result = h.service.Liveness(r.Context())
	case "readiness":
		result = h.service.Readiness(r.Context())
	case "detail":
		if h.detail == "off" || h.detail == "loopback" && !thismachine.AsksOutsidePages(r) {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		w.Header().Set("Cache-Control", "no-store")
		result = h.service.Detail(r.Context())
	default:
		return false
	}
	for _, header := range h.headers {
		w.Header()[header.key] = header.value
	}
	if result.Payload == nil {
		w.WriteHeader(result.Status)
		return true
	}
	apierr.WriteJSON(w, result.Status, result.Payload)
	return true
}
