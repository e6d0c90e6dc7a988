package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/formschema"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// maxEntity bounds an entity that the catalog gives, in bytes.
const maxEntity = 10 << 20

// entity reads an entity as text from the catalog, since the order of its keys
// counts. It is Undefined if the caller may not see one.
func (h *Handler) entity(ctx context.Context, who core.Credentials, ref catalogcommon.Ref) (template.Value, error) {
	var raw json.RawMessage
	err := h.Peers.Call(ctx, core.PluginRequest{
		Plugin: "catalog", As: who,
		Path: "/entities/by-name/" + url.PathEscape(ref.Kind) + "/" + url.PathEscape(ref.Namespace) + "/" + url.PathEscape(ref.Name),
	}, &raw)
	if apierr.Status(err) == http.StatusNotFound || apierr.KindOf(err) == apierr.KindNotFound {
		return template.Undefined{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s from the catalog: %w", ref, err)
	}
	if len(raw) > maxEntity {
		return nil, apierr.Input("the entity %s is larger than %d bytes", ref, maxEntity)
	}
	return template.ParseJSON(raw)
}

// source is a template as the caller may see it.
type source struct {
	ref    string
	entity *template.Record
	// parameters are the pages that the caller may see, steps the steps.
	parameters []template.Value
	steps      []template.Value
	// dropped are the steps that the caller may not see, by id or action. A
	// task runs without them.
	dropped []string
}

// template reads a template that the caller may use.
func (h *Handler) template(ctx context.Context, who core.Credentials, text string) (*source, error) {
	ref, err := catalogcommon.ParseRef(text, catalogcommon.RefDefaults{Kind: "template"})
	if err != nil {
		return nil, apierr.Input("%v", err)
	}
	if !strings.EqualFold(ref.Kind, "template") {
		return nil, apierr.Input("Invalid kind, only 'Template' kind is supported")
	}
	found, err := h.entity(ctx, who, ref)
	if err != nil {
		return nil, err
	}
	entity, ok := found.(*template.Record)
	if !ok {
		return nil, apierr.NotFound("Template %s not found", strings.ToLower(ref.String()))
	}
	if version := template.Text(template.Member(entity, "apiVersion")); version != scaffoldercommon.APIVersion {
		return nil, apierr.Input("Unsupported apiVersion field in schema entity, %s", version)
	}
	s := &source{ref: strings.ToLower(ref.String()), entity: entity}
	parameter, step, err := h.Ask.Parts(ctx, who)
	if err != nil {
		return nil, err
	}
	if s.parameters, _, err = keep(s.spec("parameters"), parameter); err != nil {
		return nil, err
	}
	var dropped []template.Value
	if s.steps, dropped, err = keep(s.spec("steps"), step); err != nil {
		return nil, err
	}
	for _, step := range dropped {
		name := template.Member(step, "id")
		if name == (template.Undefined{}) {
			name = template.Member(step, "action")
		}
		s.dropped = append(s.dropped, template.Text(name))
	}
	return s, nil
}

// keep returns the items for which a decision holds, and those for which it
// does not. What is no list is one.
func keep(v template.Value, allowed func(template.Value) (bool, error)) (kept, dropped []template.Value, err error) {
	var items []template.Value
	switch v := v.(type) {
	case *template.Array:
		for _, item := range v.All() {
			items = append(items, item)
		}
	case *template.Record:
		items = append(items, v)
	}
	kept = []template.Value{}
	for _, item := range items {
		ok, err := allowed(item)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			kept = append(kept, item)
		} else {
			dropped = append(dropped, item)
		}
	}
	return kept, dropped, nil
}

func (s *source) spec(key string) template.Value {
	return template.Member(template.Member(s.entity, "spec"), key)
}

func (s *source) metadata(key string) template.Value {
	return template.Member(template.Member(s.entity, "metadata"), key)
}

// untitled is the title of pages that have none.
const untitled = "Please enter the following information"

// form is what the frontend makes the form of.
func (s *source) form() *template.Record {
	title := s.metadata("title")
	if title == (template.Undefined{}) {
		title = s.metadata("name")
	}
	pages := make([]template.Value, len(s.parameters))
	for i, page := range s.parameters {
		name := template.Member(page, "title")
		if name == (template.Undefined{}) {
			name = template.String(untitled)
		}
		pages[i] = template.NewRecord(template.Entry{Key: "title", Value: name}, template.Entry{Key: "description", Value: template.Member(page, "description")}, template.Entry{Key: "schema", Value: page})
	}
	decorators := s.spec("formDecorators")
	if decorators == (template.Undefined{}) {
		decorators = s.spec("EXPERIMENTAL_formDecorators")
	}
	return template.NewRecord(
		template.Entry{Key: "title", Value: title},
		template.Entry{Key: "presentation", Value: s.spec("presentation")},
		template.Entry{Key: "description", Value: s.metadata("description")},
		template.Entry{Key: "ui:options", Value: s.metadata("ui:options")},
		template.Entry{Key: "steps", Value: template.NewArray(pages...)},
		template.Entry{Key: "formDecorators", Value: decorators},
	)
}

// invalid is an answer that lists what is wrong with values.
type invalid []formschema.Problem

func (invalid) Error() string { return "the values are not what the template asks for" }

// write answers with the problems.
func (p invalid) write(w http.ResponseWriter) {
	apierr.WriteJSON(w, http.StatusBadRequest, map[string]any{"errors": []formschema.Problem(p)})
}

// check compares values and secrets with what the template asks for.
func (s *source) check(values, secrets template.Value) error {
	for _, page := range s.parameters {
		problems, err := formschema.Check(page, values)
		if err != nil {
			return apierr.Input("the parameters of the template cannot be checked: %v", err)
		}
		if len(problems) > 0 {
			return invalid(problems)
		}
	}
	return s.checkSecrets(secrets)
}

// checkSecrets never tells a secret.
func (s *source) checkSecrets(secrets template.Value) error {
	schema, ok := template.Member(s.spec("secrets"), "schema").(*template.Record)
	if !ok {
		return nil
	}
	if secrets == (template.Undefined{}) {
		secrets = template.NewRecord()
	}
	problems, err := formschema.Check(schema, secrets)
	if err != nil {
		return apierr.Input("the secrets of the template cannot be checked: %v", err)
	}
	for i := range problems {
		p := &problems[i]
		p.Property = "secrets" + strings.TrimPrefix(p.Property, "instance")
		if name, ok := p.Argument.(template.String); ok && p.Name == "required" {
			p.Message = "secrets." + string(name) + " is required"
		} else {
			p.Message = p.Property + " " + p.Message
		}
		p.Instance = template.NewRecord()
	}
	if len(problems) > 0 {
		return invalid(problems)
	}
	return nil
}

// task makes the specification of a task, in the order of keys that clients
// see.
func (s *source) task(values template.Value, user template.Value, info *template.Record) *template.Record {
	steps := make([]template.Value, len(s.steps))
	for i, step := range s.steps {
		record, ok := step.(*template.Record)
		if !ok {
			record = template.NewRecord()
		}
		if id := template.Member(record, "id"); id == (template.Undefined{}) || id == (template.Null{}) {
			record = record.With(template.String("step-"+strconv.Itoa(i+1)), "id")
		}
		if name := template.Member(record, "name"); name == (template.Undefined{}) || name == (template.Null{}) {
			record = record.With(template.Member(record, "action"), "name")
		}
		steps[i] = record
	}
	output := s.spec("output")
	if output == (template.Undefined{}) || output == (template.Null{}) {
		output = template.NewRecord()
	}
	return template.NewRecord(
		template.Entry{Key: "apiVersion", Value: template.String(scaffoldercommon.APIVersion)},
		template.Entry{Key: "steps", Value: template.NewArray(steps...)},
		template.Entry{Key: "EXPERIMENTAL_recovery", Value: s.spec("EXPERIMENTAL_recovery")},
		template.Entry{Key: "output", Value: output},
		template.Entry{Key: "parameters", Value: values},
		template.Entry{Key: "user", Value: user},
		template.Entry{Key: "templateInfo", Value: info},
	)
}

// info says where the template is from.
func (s *source) info() *template.Record {
	return template.NewRecord(
		template.Entry{Key: "entityRef", Value: template.String(s.ref)},
		template.Entry{Key: "baseUrl", Value: s.baseURL()},
		template.Entry{Key: "entity", Value: template.NewRecord(template.Entry{Key: "metadata", Value: template.Member(s.entity, "metadata")})},
	)
}

func (s *source) baseURL() template.Value {
	annotations := s.metadata("annotations")
	for _, key := range []string{"backstage.io/source-location", "backstage.io/managed-by-location"} {
		location := template.Text(template.Member(annotations, key))
		if target, ok := strings.CutPrefix(location, "url:"); ok {
			return template.String(target)
		}
		if target, ok := strings.CutPrefix(location, "file:"); ok {
			return template.String("file://" + target)
		}
		if template.Member(annotations, key) != (template.Undefined{}) {
			break
		}
	}
	return template.Undefined{}
}

// user is who asks, with the entity that the catalog has of it.
func (h *Handler) user(ctx context.Context, who core.Credentials) (template.Value, error) {
	if !who.IsUser() {
		return template.NewRecord(), nil
	}
	ref, err := catalogcommon.ParseRef(who.Principal.UserEntityRef, catalogcommon.RefDefaults{Kind: "user"})
	if err != nil {
		return nil, err
	}
	entity, err := h.entity(ctx, who, ref)
	if err != nil {
		return nil, err
	}
	return template.NewRecord(template.Entry{Key: "entity", Value: entity}, template.Entry{Key: "ref", Value: template.String(who.Principal.UserEntityRef)}), nil
}
