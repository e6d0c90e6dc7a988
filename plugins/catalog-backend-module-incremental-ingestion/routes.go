package catalogmoduleincrementalingestion

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend-module-incremental-ingestion/internal/state"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

type routes struct {
	state *state.Store
	// providers are those that run here; others may have left a state.
	providers   []string
	httpAuth    core.HTTPAuthService
	permissions core.PermissionsService
}

func (s routes) register(router core.Router) {
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /incremental/health":                        s.health,
		"POST /incremental/cleanup":                      s.cleanup,
		"GET /incremental/providers":                     s.list,
		"GET /incremental/providers/{provider}":          s.provider,
		"DELETE /incremental/providers/{provider}":       s.reset,
		"POST /incremental/providers/{provider}/trigger": s.trigger,
		"POST /incremental/providers/{provider}/start":   s.start,
		"POST /incremental/providers/{provider}/cancel":  s.cancel,
		"GET /incremental/providers/{provider}/marks":    s.marks,
		"DELETE /incremental/providers/{provider}/marks": s.clear,
	} {
		router.HandleErr(pattern, func(w http.ResponseWriter, r *http.Request) error {
			if err := s.allowed(r); err != nil {
				return err
			}
			return handle(w, r)
		})
	}
}

// allowed is a not-allowed error unless the caller may read, or change.
func (s routes) allowed(r *http.Request) error {
	permission := catalognode.PermissionIngestionManage
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		permission = catalognode.PermissionIngestionRead
	}
	who, err := s.httpAuth.Credentials(r, core.Allow{User: true, Service: true})
	if err != nil {
		return err
	}
	results, err := s.permissions.Authorize(r.Context(), who, core.AuthorizeRequest{Permission: permission})
	if err != nil {
		return err
	}
	if results[0] != core.Allowed {
		return apierr.NotAllowed("Unauthorized")
	}
	return nil
}

// current finds the open ingestion of the provider in the path. Without one,
// it has answered already: with what idle makes of the provider if it is
// known, and that it is not otherwise.
func (s routes) current(w http.ResponseWriter, r *http.Request, unknown, idle func(name string) any) (i state.Ingestion, ok bool, err error) {
	name := r.PathValue("provider")
	i, ok, err = s.state.Current(r.Context(), name)
	if ok || err != nil {
		return i, ok, err
	}
	all, err := s.all(r)
	if err != nil {
		return i, false, err
	}
	if slices.Contains(all, name) {
		apierr.WriteJSON(w, http.StatusOK, idle(name))
	} else {
		apierr.WriteJSON(w, http.StatusNotFound, unknown(name))
	}
	return i, false, nil
}

// all returns the names of all providers, sorted.
func (s routes) all(r *http.Request) ([]string, error) {
	names, err := s.state.Providers(r.Context())
	if err != nil {
		return nil, err
	}
	names = append(names, s.providers...)
	slices.Sort(names)
	return slices.Compact(names), nil
}

// outcome answers what changes something.
type outcome struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
}

func done(message string) func(string) any {
	return func(string) any { return outcome{true, message} }
}

func notFound(name string) any { return outcome{false, "Provider '" + name + "' not found"} }

// condition answers what shows something.
type condition struct {
	Success   bool      `json:"success"`
	Status    situation `json:"status"`
	LastError *string   `json:"last_error,omitempty"`
}

type situation struct {
	Action string     `json:"current_action,omitempty"`
	At     *timestamp `json:"next_action_at,omitempty"`
}

// timestamp is a time in the form of JavaScript.
type timestamp time.Time

// MarshalJSON writes milliseconds in UTC.
func (t timestamp) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Time(t).UTC().Format("2006-01-02T15:04:05.000Z"))
}

func strange(name string) any {
	text := "Provider '" + name + "' not found"
	return condition{LastError: &text}
}

func (s routes) health(w http.ResponseWriter, r *http.Request) error {
	duplicates, err := s.state.Duplicates(r.Context())
	if err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, struct {
		Healthy    bool     `json:"healthy"`
		Duplicates []string `json:"duplicateIngestions,omitempty"`
	}{len(duplicates) == 0, duplicates})
	return nil
}

func (s routes) list(w http.ResponseWriter, r *http.Request) error {
	all, err := s.all(r)
	if err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, struct {
		Success   bool     `json:"success"`
		Providers []string `json:"providers"`
	}{true, all})
	return nil
}

func (s routes) provider(w http.ResponseWriter, r *http.Request) error {
	i, ok, err := s.current(w, r, strange, func(string) any {
		return condition{Success: true, Status: situation{Action: "rest complete, waiting to start"}}
	})
	if !ok || err != nil {
		return err
	}
	at := timestamp(i.NextActionAt)
	answer := struct {
		condition
		LastError *string `json:"last_error"` // null, not absent
	}{condition: condition{Success: true, Status: situation{i.Status, &at}}}
	if i.LastError != "" {
		answer.LastError = &i.LastError
	}
	apierr.WriteJSON(w, http.StatusOK, answer)
	return nil
}

func (s routes) trigger(w http.ResponseWriter, r *http.Request) error {
	i, ok, err := s.current(w, r, notFound, done("Unable to trigger next action (provider is restarting)"))
	if !ok || err != nil {
		return err
	}
	if err := s.state.Hurry(r.Context(), i.Provider); err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, outcome{true, i.Provider + ": Next action triggered."})
	return nil
}

func (s routes) start(w http.ResponseWriter, r *http.Request) error {
	i, ok, err := s.current(w, r, notFound, done("Provider is already restarting"))
	if !ok || err != nil {
		return err
	}
	if err := s.state.Restart(r.Context(), i); err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, outcome{true, i.Provider + ": Next cycle triggered."})
	return nil
}

func (s routes) cancel(w http.ResponseWriter, r *http.Request) error {
	i, ok, err := s.current(w, r, notFound, done("Provider is currently restarting, please wait."))
	if !ok || err != nil {
		return err
	}
	if err := s.state.Stop(r.Context(), i.Provider); err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, outcome{true, i.Provider + ": Current ingestion canceled."})
	return nil
}

func (s routes) reset(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("provider")
	all, err := s.all(r)
	if err != nil {
		return err
	}
	if !slices.Contains(all, name) {
		apierr.WriteJSON(w, http.StatusNotFound, notFound(name))
		return nil
	}
	d, err := s.state.Reset(r.Context(), name)
	if err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, struct {
		Provider   string `json:"provider"`
		Ingestions int64  `json:"ingestionsDeleted"`
		Marks      int64  `json:"marksDeleted"`
		Refs       int64  `json:"markEntitiesDeleted"`
	}{name, d.Ingestions, d.Marks, d.Refs})
	return nil
}

func (s routes) cleanup(w http.ResponseWriter, r *http.Request) error {
	names, err := s.state.Providers(r.Context())
	if err != nil {
		return err
	}
	var sum state.Deleted
	for _, name := range names {
		d, err := s.state.Reset(r.Context(), name)
		if err != nil {
			return err
		}
		sum.Ingestions, sum.Marks, sum.Refs = sum.Ingestions+d.Ingestions, sum.Marks+d.Marks, sum.Refs+d.Refs
	}
	apierr.WriteJSON(w, http.StatusOK, struct {
		Ingestions int64 `json:"ingestionsDeleted"`
		Marks      int64 `json:"ingestionMarksDeleted"`
		Refs       int64 `json:"markEntitiesDeleted"`
	}{sum.Ingestions, sum.Marks, sum.Refs})
	return nil
}

// mark is a page as clients know it.
type mark struct {
	ID          string          `json:"id"`
	IngestionID string          `json:"ingestion_id"`
	Cursor      json.RawMessage `json:"cursor"`
	Sequence    int             `json:"sequence"`
	Created     timestamp       `json:"created_at"`
}

func (s routes) marks(w http.ResponseWriter, r *http.Request) error {
	i, ok, err := s.current(w, r, strange, done("No records yet (provider is restarting)"))
	if !ok || err != nil {
		return err
	}
	all, err := s.state.Marks(r.Context(), i)
	if err != nil {
		return err
	}
	records := make([]mark, 0, len(all))
	for _, m := range all {
		records = append(records, mark{m.ID, m.IngestionID, m.Cursor, m.Sequence, timestamp(m.Created)})
	}
	apierr.WriteJSON(w, http.StatusOK, struct {
		Success bool   `json:"success"`
		Records []mark `json:"records"`
	}{true, records})
	return nil
}

func (s routes) clear(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("provider")
	d, err := s.state.ClearFinished(r.Context(), name)
	if err != nil {
		return err
	}
	type counts struct {
		Refs       int64 `json:"markEntitiesDeleted"`
		Marks      int64 `json:"marksDeleted"`
		Ingestions int64 `json:"ingestionsDeleted"`
	}
	type deletions struct {
		Deletions counts `json:"deletions"`
	}
	apierr.WriteJSON(w, http.StatusOK, struct {
		outcome
		Deletions deletions `json:"deletions"`
	}{outcome{true, "Expired marks for provider '" + name + "' removed."}, deletions{counts{d.Refs, d.Marks, d.Ingestions}}})
	return nil
}
