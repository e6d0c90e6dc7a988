package actionsregistry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonbody"
	"github.com/flytower/flytower/core/jsonschema"
)

const prefix = "/.backstage/actions"

// Mount registers the routes.
func (r *Registry) Mount(router core.Router) {
	router.HandleErr("GET "+prefix+"/v1/actions", r.list)
	router.HandleErr("POST "+prefix+"/v1/actions/{id}/invoke", func(w http.ResponseWriter, req *http.Request) error {
		return r.invoke(w, req, func(body json.RawMessage) (json.RawMessage, json.RawMessage, error) { return body, nil, nil })
	})
	router.HandleErr("POST "+prefix+"/v2/actions/{id}/invoke", func(w http.ResponseWriter, req *http.Request) error {
		return r.invoke(w, req, func(body json.RawMessage) (json.RawMessage, json.RawMessage, error) {
			var call struct{ Input, Secrets json.RawMessage }
			if err := json.Unmarshal(body, &call); err != nil {
				return nil, nil, apierr.Input("the request body is not an object with input and secrets")
			}
			if call.Input == nil {
				call.Input = json.RawMessage(`{}`)
			}
			return call.Input, call.Secrets, nil
		})
	})
}

func (r *Registry) list(w http.ResponseWriter, req *http.Request) error {
	who, err := r.services.Auth.Credentials(req, core.Allow{})
	if err != nil {
		return err
	}
	actions, err := r.visible(req.Context(), who, "")
	if err != nil {
		return err
	}
	infos := make([]core.ActionInfo, len(actions))
	for i, a := range actions {
		infos[i] = a.info(r.services.Plugin)
	}
	apierr.WriteJSON(w, http.StatusOK, map[string]any{"actions": infos})
	return nil
}

// invoke runs the action of a request; split takes the input and the secrets
// out of the body.
func (r *Registry) invoke(w http.ResponseWriter, req *http.Request, split func(json.RawMessage) (input, secrets json.RawMessage, err error)) error {
	ctx := req.Context()
	who, err := r.services.Auth.Credentials(req, core.Allow{})
	if err != nil {
		return err
	}
	if who.IsNone() {
		return apierr.NotAllowed("actions are invoked by users and services only")
	}
	id := req.PathValue("id")
	found, err := r.visible(ctx, who, id)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return apierr.NotFound("Action %q not found", id)
	}
	body := json.RawMessage(`{}`)
	if err := jsonbody.Decode(req, &body, r.bodyLimit); err != nil {
		return err
	}
	input, secrets, err := split(body)
	if err != nil {
		return err
	}

	a := found[0]
	event := core.AuditEvent{ID: "action-invoke", Request: req, Meta: map[string]any{"actionId": id}}
	if a.attributes["destructive"] {
		event.Severity = core.SeverityMedium
	}
	record := r.services.Auditor.Begin(ctx, event)
	output, err := a.call(ctx, who, input, secrets)
	if err != nil {
		record.Fail(ctx, err, nil)
		return err
	}
	record.Success(ctx, nil)
	apierr.WriteJSON(w, http.StatusOK, map[string]any{"output": output})
	return nil
}

func (a *action) call(ctx context.Context, who core.Credentials, input, secrets json.RawMessage) (json.RawMessage, error) {
	input, err := a.input.Check(input)
	if err != nil {
		return nil, apierr.Wrap(apierr.KindInput, wire(err), fmt.Sprintf("Invalid input to action %q", a.id))
	}
	call := core.ActionCall{Input: input, As: who}
	if call.Secrets, err = a.checkSecrets(secrets); err != nil {
		return nil, err
	}
	value, err := a.Run(ctx, call)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, fmt.Errorf("action %s: encoding the output: %w", a.id, err)
	}
	output, err := a.output.Check(bytes.TrimSpace(buf.Bytes()))
	if err != nil {
		// The caller cannot mend this, so it is no input error.
		return nil, &apierr.Error{Kind: apierr.KindError, Message: fmt.Sprintf("Invalid output from action %q", a.id), Cause: wire(err)}
	}
	return output, nil
}

// checkSecrets decodes the secrets. Its errors name members, never values.
func (a *action) checkSecrets(secrets json.RawMessage) (map[string]string, error) {
	absent := len(secrets) == 0 || string(secrets) == "null"
	switch {
	case a.secrets == nil && absent:
		return nil, nil
	case a.secrets == nil:
		return nil, apierr.Input("Action %q does not take secrets", a.id)
	case absent:
		return nil, apierr.Input("Action %q requires secrets", a.id)
	}
	checked, err := a.secrets.Check(secrets)
	if err != nil {
		var invalid *jsonschema.ValidationError
		if !errors.As(err, &invalid) {
			return nil, err
		}
		names := &jsonschema.ValidationError{}
		for _, issue := range invalid.Issues {
			if issue.Code != "invalid_type" {
				issue.Message = "Invalid value"
			}
			names.Issues = append(names.Issues, issue)
		}
		return nil, apierr.Wrap(apierr.KindInput, names.Wire(), fmt.Sprintf("Invalid secrets for action %q", a.id))
	}
	var out map[string]string
	if json.Unmarshal(checked, &out) != nil {
		return nil, apierr.Input("Invalid secrets for action %q: each must be a string", a.id)
	}
	return out, nil
}

func wire(err error) error {
	var invalid *jsonschema.ValidationError
	if errors.As(err, &invalid) {
		return invalid.Wire()
	}
	return err
}
