package catalogmoduleunprocessed

import (
	"bufio"
	"encoding/json"
	"iter"
	"net/http"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

type routes struct {
	state       catalognode.UnprocessedExtensionPoint
	httpAuth    core.HTTPAuthService
	permissions core.PermissionsService
	auditor     core.AuditorService
}

// allowed is a not-allowed error unless the caller has the permission.
func (s routes) allowed(r *http.Request, permission core.Permission) error {
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

func (s routes) failed(w http.ResponseWriter, r *http.Request) error {
	if err := s.allowed(r, catalognode.PermissionUnprocessedRead); err != nil {
		return err
	}
	return list(w, "failed", s.state.Failed(r.Context(), owner(r)), entityRow)
}

func (s routes) pending(w http.ResponseWriter, r *http.Request) error {
	if err := s.allowed(r, catalognode.PermissionUnprocessedRead); err != nil {
		return err
	}
	return list(w, "pending", s.state.Pending(r.Context(), owner(r)), entityRow)
}

func (s routes) conflicts(w http.ResponseWriter, r *http.Request) error {
	if err := s.allowed(r, catalognode.PermissionUnprocessedRead); err != nil {
		return err
	}
	return list(w, "conflicts", s.state.Conflicts(r.Context()), conflictRow)
}

func (s routes) delete(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("entity_id")
	record := s.auditor.Begin(r.Context(), core.AuditEvent{
		ID: "entity-mutate", Severity: core.SeverityMedium, Request: r,
		Meta: map[string]any{"actionType": "delete-unprocessed", "uid": id},
	})
	err := s.allowed(r, catalognode.PermissionUnprocessedDelete)
	if err == nil {
		_, err = s.state.Delete(r.Context(), id) // what is gone already is fine
	}
	if err != nil {
		record.Fail(r.Context(), err, nil)
		return err
	}
	record.Success(r.Context(), nil)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// owner returns the parameter if it is there once; as a list it means nothing.
func owner(r *http.Request) string {
	if values := r.URL.Query()["owner"]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// list writes {"type": kind, "entities": […]} while it reads the items. The
// router ends the connection if an error comes when the answer was begun.
func list[T, R any](w http.ResponseWriter, kind string, items iter.Seq2[T, error], row func(T) R) error {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	out := bufio.NewWriterSize(w, 32<<10)
	_, _ = out.WriteString(`{"type":"` + kind + `","entities":[`) // the writer keeps its first error
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	first := true
	for item, err := range items {
		if err != nil {
			return err
		}
		if !first {
			_ = out.WriteByte(',')
		}
		first = false
		if err := encoder.Encode(row(item)); err != nil {
			return err
		}
	}
	_, _ = out.WriteString("]}")
	return out.Flush()
}

// An entity as the reference's table refresh_state has it.
type entity struct {
	ID              string          `json:"entity_id"`
	Ref             string          `json:"entity_ref"`
	Unprocessed     json.RawMessage `json:"unprocessed_entity"`
	UnprocessedHash *string         `json:"unprocessed_hash"`
	Processed       json.RawMessage `json:"processed_entity"`
	ResultHash      *string         `json:"result_hash"`
	Cache           json.RawMessage `json:"cache"`
	Errors          json.RawMessage `json:"errors"`
	LocationKey     *string         `json:"location_key"`
	// NextUpdate is null for what only a change of its source makes due.
	NextUpdate    *string `json:"next_update_at"`
	LastDiscovery *string `json:"last_discovery_at"`
}

func entityRow(u catalognode.UnprocessedEntity) entity {
	row := entity{
		ID: u.ID, Ref: u.Ref, Unprocessed: u.Unprocessed, UnprocessedHash: text(u.UnprocessedHash), Processed: u.Processed,
		ResultHash: text(u.ResultHash), Cache: u.Cache, Errors: u.Errors, LocationKey: text(u.LocationKey),
		NextUpdate: instant(u.Next), LastDiscovery: instant(u.Discovered),
	}
	if len(row.Errors) == 0 {
		row.Errors = json.RawMessage(`""`) // clients take the empty string for "never failed"
	}
	return row
}

// A hand-in that was refused.
type conflict struct {
	Ref               string          `json:"entity_ref"`
	Source            source          `json:"source"`
	NewLocationKey    *string         `json:"new_location_key"`
	ExistingKey       *string         `json:"existing_location_key"`
	ExistingSources   []source        `json:"existing_sources"`
	UnprocessedEntity json.RawMessage `json:"unprocessed_entity"`
	Reason            string          `json:"reason"`
	// Where it was read: a location, a document of the file there (from 1), and
	// the line where that begins. Null where it is not known.
	Location         *string `json:"location"`
	Document         *int    `json:"document"`
	Line             *int    `json:"line"`
	ExistingDocument *int    `json:"existing_document"`
	Since            *string `json:"since"`
}

type source struct {
	Provider string `json:"provider,omitempty"`
	Parent   string `json:"parent_entity_ref,omitempty"`
}

func conflictRow(c catalognode.Conflict) conflict {
	row := conflict{
		Ref: c.Ref, Source: source(c.Source), NewLocationKey: text(c.Wanted), ExistingKey: text(c.Holder),
		ExistingSources: []source{}, UnprocessedEntity: c.Entity, Since: instant(c.Since),
		Reason: c.Reason, Location: text(c.Location), Document: number(c.Document), Line: number(c.Line), ExistingDocument: number(c.HeldDocument),
	}
	for _, h := range c.Holders {
		row.ExistingSources = append(row.ExistingSources, source(h))
	}
	return row
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func number(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

func instant(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return text(t.UTC().Format("2006-01-02T15:04:05.000Z"))
}
