package permissionsregistry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonbody"
)

const prefix = "/.well-known/backstage/permissions"

// Mount registers the routes.
func (r *Registry) Mount(router core.Router, auth core.HTTPAuthService) {
	router.HandleErr("GET "+prefix+"/metadata", func(w http.ResponseWriter, req *http.Request) error {
		if _, err := auth.Credentials(req, core.Allow{User: true, Service: true}); err != nil {
			return err
		}
		apierr.WriteJSON(w, http.StatusOK, r.metadata())
		return nil
	})
	router.HandleErr("POST "+prefix+"/apply-conditions", func(w http.ResponseWriter, req *http.Request) error {
		who, err := auth.Credentials(req, core.Allow{User: true, Service: true})
		if err != nil {
			return err
		}
		if who.IsUser() && who.Principal.Actor == "" || who.Principal.Restrictions.Limit() {
			// Users who could ask directly would learn about resources that
			// they may not see, and so would services that are held to some
			// permissions.
			return apierr.NotAllowed("")
		}
		var body applyRequest
		if err := jsonbody.Decode(req, &body, r.bodyLimit); err != nil {
			return err
		}
		answer, err := r.applyConditions(req.Context(), body)
		if err != nil {
			return err
		}
		apierr.WriteJSON(w, http.StatusOK, answer)
		return nil
	})
}

type metadata struct {
	Permissions []core.Permission `json:"permissions"`
	Rules       []ruleMetadata    `json:"rules"`
}

type ruleMetadata struct {
	Name         string          `json:"name"`
	Description  string          `json:"description"`
	ResourceType string          `json:"resourceType"`
	ParamsSchema json.RawMessage `json:"paramsSchema"`
}

func (r *Registry) metadata() metadata {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m := metadata{Permissions: append([]core.Permission{}, r.permissions...), Rules: []ruleMetadata{}}
	for _, rule := range r.ruleOrder {
		m.Rules = append(m.Rules, ruleMetadata{rule.Name, rule.Description, rule.ResourceType, rule.params.JSON()})
	}
	return m
}

type applyRequest struct {
	Items []applyItem `json:"items"`
}

type applyItem struct {
	ID           string                  `json:"id"`
	ResourceRef  refs                    `json:"resourceRef"`
	ResourceType string                  `json:"resourceType"`
	Conditions   core.PermissionCriteria `json:"conditions"`
}

// refs is a string or a list of strings on the wire.
type refs struct {
	list   []string
	single bool
}

// UnmarshalJSON reads either form.
func (r *refs) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte(`"`)) {
		r.single, r.list = true, make([]string, 1)
		return json.Unmarshal(text, &r.list[0])
	}
	return json.Unmarshal(text, &r.list)
}

type applyAnswer struct {
	Items []applyResult `json:"items"`
}

type applyResult struct {
	ID string `json:"id"`
	// Result is one decision, or a list where the item had a list of refs.
	Result any `json:"result"`
}

func (r *Registry) applyConditions(ctx context.Context, body applyRequest) (applyAnswer, error) {
	if body.Items == nil {
		return applyAnswer{}, apierr.Input("the request body has no list of items")
	}
	for i, item := range body.Items {
		err := item.Conditions.Validate()
		switch {
		case item.ID == "":
			err = fmt.Errorf("id is missing")
		case len(item.ResourceRef.list) == 0:
			err = fmt.Errorf("resourceRef is missing")
		case item.ResourceType == "":
			err = fmt.Errorf("resourceType is missing")
		}
		if err != nil {
			return applyAnswer{}, apierr.Input("items[%d]: %v", i, err)
		}
	}
	types, err := r.typesOf(body.Items)
	if err != nil {
		return applyAnswer{}, err
	}
	found, err := loadResources(ctx, types, body.Items)
	if err != nil {
		return applyAnswer{}, err
	}
	evaluations := map[string]*evaluation{}
	for name, t := range types {
		evaluations[name] = newEvaluation(t)
	}
	answer := applyAnswer{Items: make([]applyResult, 0, len(body.Items))}
	for _, item := range body.Items {
		decisions := make([]core.AuthorizeResult, len(item.ResourceRef.list))
		decided := make(map[string]core.AuthorizeResult, len(item.ResourceRef.list))
		for i, ref := range item.ResourceRef.list {
			// A short request can have many refs and many conditions: it is not
			// worth more work than somebody waits for, and none of it twice.
			if err := ctx.Err(); err != nil {
				return applyAnswer{}, err
			}
			if decision, again := decided[ref]; again {
				decisions[i] = decision
				continue
			}
			decided[ref] = core.Denied
			decisions[i] = core.Denied
			resource := found[resourceKey{item.ResourceType, ref}]
			if resource == nil {
				continue // whatever the criteria say, also below not
			}
			ok, err := evaluations[item.ResourceType].apply(item.Conditions, resource)
			if err != nil {
				return applyAnswer{}, err
			}
			if ok {
				decisions[i], decided[ref] = core.Allowed, core.Allowed
			}
		}
		result := applyResult{ID: item.ID, Result: decisions}
		if item.ResourceRef.single {
			result.Result = decisions[0]
		}
		answer.Items = append(answer.Items, result)
	}
	return answer, nil
}

// typesOf returns the resource types of the items, as they are now.
func (r *Registry) typesOf(items []applyItem) (map[string]*resourceType, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	types, unknown := map[string]*resourceType{}, []string(nil)
	for _, item := range items {
		name := item.ResourceType
		if t := r.types[name]; t != nil {
			if !r.frozen {
				snapshot := *t
				snapshot.rules = maps.Clone(t.rules)
				t = &snapshot
			}
			types[name] = t
		} else if !slices.Contains(unknown, name) {
			unknown = append(unknown, name)
		}
	}
	if unknown != nil {
		return nil, apierr.Input("Unexpected resource types: %s.", strings.Join(unknown, ", "))
	}
	return types, nil
}

type resourceKey struct{ resourceType, ref string }

// loadResources loads each resource once, with one call per type.
func loadResources(ctx context.Context, types map[string]*resourceType, items []applyItem) (map[resourceKey]any, error) {
	found, wanted := map[resourceKey]any{}, map[string][]string{}
	var order []string
	for _, item := range items {
		if types[item.ResourceType].get == nil {
			return nil, apierr.NotImplemented("resource type %q has no GetResources function: its conditions cannot be applied remotely", item.ResourceType)
		}
		if wanted[item.ResourceType] == nil {
			order = append(order, item.ResourceType)
		}
		for _, ref := range item.ResourceRef.list {
			key := resourceKey{item.ResourceType, ref}
			if _, seen := found[key]; !seen {
				found[key] = nil
				wanted[item.ResourceType] = append(wanted[item.ResourceType], ref)
			}
		}
	}
	for _, name := range order {
		list := wanted[name]
		resources, err := types[name].get(ctx, list)
		if err != nil {
			return nil, apierr.Forward(err, fmt.Sprintf("loading resources of type %s", name))
		}
		if len(resources) != len(list) {
			return nil, fmt.Errorf("resource type %s: %w: %d for %d refs", name, errWrongCount, len(resources), len(list))
		}
		for i, ref := range list {
			found[resourceKey{name, ref}] = resources[i]
		}
	}
	return found, nil
}
