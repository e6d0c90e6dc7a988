package permissionbackend

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

// authorizeRequest is the body of POST /authorize.
type authorizeRequest struct {
	Items []requestItem `json:"items"`
}

type requestItem struct {
	ID         *string            `json:"id"`
	Permission *requestPermission `json:"permission"`
	Refs       refs               `json:"resourceRef"`
}

type requestPermission struct {
	Type       string  `json:"type"`
	Name       *string `json:"name"`
	Attributes *struct {
		Action *string `json:"action"`
	} `json:"attributes"`
	ResourceType *string `json:"resourceType"`
}

// refs are the resources of an item: one, or a list.
type refs struct {
	list    []string
	present bool
	isList  bool
}

// UnmarshalJSON reads either form.
func (r *refs) UnmarshalJSON(text []byte) error {
	r.present = true
	switch {
	case bytes.HasPrefix(text, []byte(`"`)):
		r.list = make([]string, 1)
		return json.Unmarshal(text, &r.list[0])
	case bytes.HasPrefix(text, []byte("[")):
		r.isList = true
		var list []*string
		if err := json.Unmarshal(text, &list); err != nil {
			return apierr.Input("resourceRef must be a string or a list of strings")
		}
		r.list = make([]string, len(list))
		for i, ref := range list {
			if ref == nil {
				return apierr.Input("resourceRef must be a string or a list of strings, found null in the list")
			}
			r.list[i] = *ref
		}
		return nil
	default:
		return apierr.Input("resourceRef must be a string or a list of strings")
	}
}

// MarshalJSON writes the form that was read.
func (r refs) MarshalJSON() ([]byte, error) {
	if r.isList {
		return json.Marshal(r.list)
	}
	return json.Marshal(r.list[0])
}

// given reports whether the item names a resource. An empty ref names none.
func (r refs) given() bool { return r.present && (r.isList || r.list[0] != "") }

// item is a checked item of a request.
type item struct {
	id         string
	permission core.Permission
	refs       refs
}

// actions are those that permissions may have.
var actions = []string{"create", "read", "update", "delete"}

// items checks the request.
func (q authorizeRequest) items() ([]item, error) {
	if q.Items == nil {
		return nil, apierr.Input("the request has no list of items")
	}
	out := make([]item, len(q.Items))
	for i, from := range q.Items {
		p, problem := from.Permission.check()
		switch {
		case from.ID == nil:
			problem = "id is missing"
		case problem != "":
		case p.Type == typeBasic && from.Refs.present:
			problem = "resourceRef is for resource permissions, and this is a basic one"
		case from.Refs.isList && len(from.Refs.list) == 0:
			problem = "resourceRef is an empty list"
		}
		if problem != "" {
			return nil, apierr.Input("items[%d]: %s", i, problem)
		}
		out[i] = item{id: *from.ID, permission: p, refs: from.Refs}
	}
	return out, nil
}

const (
	typeBasic    = "basic"
	typeResource = "resource"
)

// check returns the permission without what the wire format does not know, or
// says what is wrong with it.
func (p *requestPermission) check() (out core.Permission, problem string) {
	switch {
	case p == nil:
		return out, "permission is missing"
	case p.Type != typeBasic && p.Type != typeResource:
		return out, "permission.type must be basic or resource"
	case p.Name == nil:
		return out, "permission.name is missing"
	case p.Attributes == nil:
		return out, "permission.attributes is missing"
	case p.Type == typeResource && p.ResourceType == nil:
		return out, "permission.resourceType is missing"
	}
	out = core.Permission{Type: p.Type, Name: *p.Name}
	if action := p.Attributes.Action; action != nil {
		if !slices.Contains(actions, *action) {
			return out, "permission.attributes.action must be create, read, update or delete"
		}
		out.Attributes.Action = *action
	}
	if p.Type == typeResource {
		out.ResourceType = *p.ResourceType
	}
	return out, ""
}

// answerItem is an item of the answer. Result is one result, or a list of
// them for a list of resources.
type answerItem struct {
	ID           string                   `json:"id"`
	Result       any                      `json:"result"`
	PluginID     string                   `json:"pluginId,omitempty"`
	ResourceType string                   `json:"resourceType,omitempty"`
	Conditions   *core.PermissionCriteria `json:"conditions,omitempty"`
}
