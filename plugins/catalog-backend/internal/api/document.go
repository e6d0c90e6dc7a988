package api

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// openAPI describes the routes, with paths below the mount of the plugin.
//
//go:embed openapi.json
var openAPI []byte

// mount is where the plugin is if a request does not tell.
const mount = "/api/catalog"

// document answers the OpenAPI document, with paths as clients outside see
// them.
func (h *Handler) document(w http.ResponseWriter, r *http.Request) error {
	if _, err := parseParams(r); err != nil {
		return err
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		return err
	}
	var paths map[string]json.RawMessage
	if err := json.Unmarshal(doc["paths"], &paths); err != nil {
		return err
	}
	base := mountOf(r)
	below := make(map[string]json.RawMessage, len(paths))
	for path, item := range paths {
		below[base+path] = item
	}
	var err error
	if doc["paths"], err = json.Marshal(below); err != nil {
		return err
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

// mountOf returns the part of the requested path before the document's.
func mountOf(r *http.Request) string {
	const name = "/openapi.json"
	u, err := url.ParseRequestURI(r.RequestURI)
	if err != nil || len(u.Path) <= len(name) {
		return mount
	}
	path := strings.TrimSuffix(u.Path, "/")
	if cut := len(path) - len(name); cut > 0 && strings.EqualFold(path[cut:], name) {
		return path[:cut]
	}
	return mount
}
