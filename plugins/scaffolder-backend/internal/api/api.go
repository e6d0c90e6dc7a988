// Package api has the routes of the scaffolder.
package api

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonbody"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/engine"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/permissions"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/registry"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/sealed"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/templating"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// maxBody bounds the bodies of requests, in bytes.
const maxBody = 10 << 20

// Handler answers the requests.
type Handler struct {
	Store      *tasks.Store
	Actions    *registry.Registry
	Published  *registry.Published
	Templating *templating.Templating
	Runner     *engine.Runner
	// Isolated, if not nil, executes dry runs in place of the runner.
	Isolated   engine.Executor
	Box        *sealed.Box
	Completers map[string]scaffoldernode.AutocompleteFunc

	Ask      permissions.Asker
	HTTPAuth core.HTTPAuthService
	Auth     core.AuthService
	Peers    core.PluginClientService
	Auditor  core.AuditorService
	// Stop is closed when the plugin begins to stop: open streams end then.
	Stop <-chan struct{}
}

// Register adds the routes.
func (h *Handler) Register(router core.Router) {
	router.HandleErr("GET /v2/templates/{namespace}/{kind}/{name}/parameter-schema", h.parameterSchema)
	router.HandleErr("GET /v2/actions", h.actions)
	router.HandleErr("POST /v2/tasks", h.create)
	router.HandleErr("GET /v2/tasks", h.list)
	router.HandleErr("GET /v2/tasks/{task}", h.get)
	router.HandleErr("POST /v2/tasks/{task}/cancel", h.cancel)
	router.HandleErr("POST /v2/tasks/{task}/retry", h.retry)
	router.HandleErr("GET /v2/tasks/{task}/events", h.events)
	router.HandleErr("GET /v2/tasks/{task}/eventstream", h.stream)
	router.HandleErr("POST /v2/dry-run", h.dryRun)
	router.HandleErr("POST /v2/autocomplete/{provider}/{resource}", h.autocomplete)
	router.HandleErr("GET /v2/templating-extensions", h.extensions)
}

func (h *Handler) credentials(r *http.Request) (core.Credentials, error) {
	return h.HTTPAuth.Credentials(r, core.Allow{User: true, Service: true})
}

// audited runs fn between two records of the audit log. meta, if not nil, is
// added when it went well.
func (h *Handler) audited(r *http.Request, id string, severity core.Severity, meta map[string]any, fn func() (more map[string]any, err error)) error {
	record := h.Auditor.Begin(r.Context(), core.AuditEvent{ID: id, Severity: severity, Request: r, Meta: meta})
	more, err := fn()
	if err != nil {
		record.Fail(r.Context(), err, nil)
		return err
	}
	record.Success(r.Context(), more)
	return nil
}

// query returns the parameters of a request, of which only some are known.
func query(r *http.Request, known ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, apierr.Input("Malformed query string: %v", err)
	}
	for name := range values {
		if !slices.Contains(known, name) {
			return nil, apierr.Input("Unknown query parameter '%s'", name)
		}
	}
	return values, nil
}

// integer reads a number of the query; ok is false if it is not there.
func integer(values url.Values, name string) (n int64, ok bool, err error) {
	if !values.Has(name) {
		return 0, false, nil
	}
	n, err = strconv.ParseInt(values.Get(name), 10, 64)
	if err != nil || len(values[name]) > 1 {
		return 0, false, apierr.Input("request/query/%s must be integer", name)
	}
	return n, true, nil
}

func count(values url.Values, name string) (n int, ok bool, err error) {
	long, ok, err := integer(values, name)
	if err == nil && (long < 0 || long > 1<<31) {
		return 0, false, apierr.Input("request/query/%s must be >= 0", name)
	}
	return int(long), ok, err
}

// member is a part of a body.
type member struct {
	name, kind string
	optional   bool
}

// body reads a JSON object and checks its members.
func body(r *http.Request, members ...member) (*template.Record, error) {
	var raw json.RawMessage
	if err := jsonbody.Require(r, &raw, maxBody); err != nil {
		if apierr.KindOf(err) == apierr.KindPayloadTooLarge {
			return nil, apierr.Input("request entity too large")
		}
		return nil, err
	}
	v, err := template.ParseJSON(raw)
	if err != nil {
		return nil, apierr.Input("the body cannot be read: %v", err)
	}
	record, ok := v.(*template.Record)
	if !ok {
		return nil, apierr.Input("request/body must be object")
	}
	for _, m := range members {
		value, there := record.Get(m.name)
		if !there {
			if !m.optional {
				return nil, apierr.Input("request/body must have required property '%s'", m.name)
			}
			continue
		}
		if err := checkKind("request/body/"+m.name, value, m.kind); err != nil {
			return nil, err
		}
	}
	return record, nil
}

func checkKind(at string, v template.Value, kind string) error {
	ok := true
	switch kind {
	case "string":
		_, ok = v.(template.String)
	case "array":
		_, ok = v.(*template.Array)
	case "object":
		_, ok = v.(*template.Record)
	case "strings":
		record, isRecord := v.(*template.Record)
		if !isRecord {
			return apierr.Input("%s must be object", at)
		}
		for key, value := range record.All() {
			if _, isText := value.(template.String); !isText {
				return apierr.Input("%s/%s must be string", at, key)
			}
		}
	}
	if !ok {
		return apierr.Input("%s must be %s", at, kind)
	}
	return nil
}

func text(r *template.Record, key string) string {
	s, _ := template.Member(r, key).(template.String)
	return string(s)
}

// texts returns an object of texts as a map.
func texts(v template.Value) map[string]string {
	out := map[string]string{}
	if record, ok := v.(*template.Record); ok {
		for key, value := range record.All() {
			if s, ok := value.(template.String); ok {
				out[key] = string(s)
			}
		}
	}
	return out
}
