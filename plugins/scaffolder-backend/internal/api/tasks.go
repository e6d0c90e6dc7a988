package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/engine"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/permissions"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// answered writes problems with values as the answer.
func answered(w http.ResponseWriter, err error) error {
	var problems invalid
	if errors.As(err, &problems) {
		problems.write(w)
		return nil
	}
	return err
}

func (h *Handler) create(w http.ResponseWriter, r *http.Request) error {
	in, err := body(r, member{name: "templateRef", kind: "string"}, member{name: "values", kind: "object"}, member{name: "secrets", kind: "strings", optional: true})
	if err != nil {
		return err
	}
	ref := text(in, "templateRef")
	if strings.TrimSpace(ref) == "" {
		return apierr.Input("Entity reference must not be empty")
	}
	return answered(w, h.audited(r, "task", core.SeverityMedium, map[string]any{"actionType": "create", "templateRef": ref}, func() (map[string]any, error) {
		who, err := h.credentials(r)
		if err != nil {
			return nil, err
		}
		if err := h.Ask.Allowed(r.Context(), who, permissions.CreateTask); err != nil {
			return nil, err
		}
		user, err := h.user(r.Context(), who)
		if err != nil {
			return nil, err
		}
		t, err := h.template(r.Context(), who, ref)
		if err != nil {
			return nil, err
		}
		values, secrets := template.Member(in, "values"), template.Member(in, "secrets")
		if err := t.check(values, secrets); err != nil {
			return nil, err
		}
		id := tasks.NewID()
		sealedText, err := engine.Seal(h.Box, id, texts(secrets), who.Token())
		if err != nil {
			return nil, err
		}
		spec, err := t.task(values, user, t.info()).MarshalJSON()
		if err != nil {
			return nil, err
		}
		if err := h.Store.Create(r.Context(), tasks.New{ID: id, Spec: spec, Template: t.ref, CreatedBy: who.Principal.UserEntityRef, Secrets: sealedText}); err != nil {
			return nil, err
		}
		apierr.WriteJSON(w, http.StatusCreated, map[string]string{"id": id})
		meta := map[string]any{"taskId": id}
		if len(t.dropped) > 0 {
			meta["droppedSteps"] = t.dropped
		}
		return meta, nil
	}))
}

func (h *Handler) list(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "createdBy", "status", "limit", "offset", "order")
	if err != nil {
		return err
	}
	filter := tasks.Filter{CreatedBy: values["createdBy"], Statuses: values["status"]}
	if limit, ok, err := count(values, "limit"); err != nil {
		return err
	} else if ok {
		filter.Limit = &limit
	}
	if filter.Offset, _, err = count(values, "offset"); err != nil {
		return err
	}
	for _, text := range values["order"] {
		order, err := tasks.ParseOrder(text)
		if err != nil {
			return err
		}
		filter.Order = append(filter.Order, order)
	}
	return h.audited(r, "task", core.SeverityLow, map[string]any{"actionType": "list"}, func() (map[string]any, error) {
		who, err := h.credentials(r)
		if err != nil {
			return nil, err
		}
		if filter.Condition, err = h.Ask.Visible(r.Context(), who); err != nil {
			return nil, err
		}
		page, total, err := h.Store.List(r.Context(), filter)
		if err != nil {
			return nil, err
		}
		apierr.WriteJSON(w, http.StatusOK, struct {
			Tasks []tasks.Task `json:"tasks"`
			Total int          `json:"totalTasks"`
		}{page, total})
		return nil, nil
	})
}

// with finds the task of a route on which the caller has the permissions, and
// audits what fn does with it.
func (h *Handler) with(r *http.Request, action string, severity core.Severity, needed []core.Permission, fn func(who core.Credentials, t tasks.Task) error) error {
	id := r.PathValue("task")
	return h.audited(r, "task", severity, map[string]any{"actionType": action, "taskId": id}, func() (map[string]any, error) {
		who, err := h.credentials(r)
		if err != nil {
			return nil, err
		}
		t, err := h.Store.Get(r.Context(), id)
		if err != nil {
			return nil, err
		}
		if err := h.Ask.AllowedOn(r.Context(), who, t, needed...); err != nil {
			return nil, err
		}
		return nil, fn(who, t)
	})
}

func (h *Handler) get(w http.ResponseWriter, r *http.Request) error {
	return h.with(r, "get", core.SeverityLow, []core.Permission{permissions.ReadTask}, func(_ core.Credentials, t tasks.Task) error {
		apierr.WriteJSON(w, http.StatusOK, t)
		return nil
	})
}

func (h *Handler) cancel(w http.ResponseWriter, r *http.Request) error {
	return h.with(r, "cancel", core.SeverityMedium, []core.Permission{permissions.CancelTask, permissions.ReadTask}, func(_ core.Credentials, t tasks.Task) error {
		if err := h.Store.Cancel(r.Context(), t.ID); err != nil {
			return err
		}
		apierr.WriteJSON(w, http.StatusOK, map[string]string{"status": "cancelled"})
		return nil
	})
}

func (h *Handler) retry(w http.ResponseWriter, r *http.Request) error {
	secrets := template.Value(template.Undefined{})
	if r.ContentLength != 0 {
		in, err := body(r, member{name: "secrets", kind: "strings", optional: true})
		if err != nil {
			return err
		}
		secrets = template.Member(in, "secrets")
	}
	return answered(w, h.with(r, "retry", core.SeverityMedium, []core.Permission{permissions.ReadTask}, func(who core.Credentials, t tasks.Task) error {
		if err := h.Ask.Allowed(r.Context(), who, permissions.CreateTask); err != nil {
			return err
		}
		var spec scaffoldercommon.TaskSpec
		if err := json.Unmarshal(t.Spec, &spec); err != nil || spec.Template == nil {
			return errors.Join(apierr.Conflict("the task %s does not say of which template it is", t.ID), err)
		}
		from, err := h.template(r.Context(), who, spec.Template.EntityRef)
		if err != nil {
			return err
		}
		if err := from.checkSecrets(secrets); err != nil {
			return err
		}
		text, err := engine.Seal(h.Box, t.ID, texts(secrets), who.Token())
		if err != nil {
			return err
		}
		strategy := scaffoldercommon.RecoverNone
		if spec.Recoverable() {
			strategy = scaffoldercommon.RecoverStartOver
		}
		if err := h.Store.Retry(r.Context(), t.ID, text, strategy); err != nil {
			return err
		}
		apierr.WriteJSON(w, http.StatusCreated, map[string]string{"id": t.ID})
		return nil
	}))
}
