// Package permissions has the permissions of the scaffolder, the rules with
// which policies restrict them, and the questions that the plugin asks.
package permissions

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Types of resources.
const (
	TemplateResource = "scaffolder-template"
	ActionResource   = "scaffolder-action"
	TaskResource     = "scaffolder-task"
)

// The permissions of the scaffolder.
var (
	DryRun        = core.NewPermission("scaffolder.template.dry-run", "")
	ReadParameter = core.NewResourcePermission("scaffolder.template.parameter.read", "read", TemplateResource)
	ReadStep      = core.NewResourcePermission("scaffolder.template.step.read", "read", TemplateResource)
	Execute       = core.NewResourcePermission("scaffolder.action.execute", "", ActionResource)
	CancelTask    = core.NewResourcePermission("scaffolder.task.cancel", "", TaskResource)
	CreateTask    = core.NewPermission("scaffolder.task.create", "create")
	ReadTask      = core.NewResourcePermission("scaffolder.task.read", "read", TaskResource)
	// Manage is asked for by the frontend only.
	Manage = core.NewPermission("scaffolder.template.management", "")
)

// All returns the permissions, in the order in which they are published.
func All() []core.Permission {
	return []core.Permission{DryRun, ReadParameter, ReadStep, Execute, CancelTask, CreateTask, ReadTask, Manage}
}

// Use is the use of an action, of which rules decide.
type Use struct {
	Action string
	Input  template.Value
}

// Register publishes permissions and rules.
func Register(registry core.PermissionsRegistryService, get func(ctx context.Context, id string) (tasks.Task, error)) error {
	if err := registry.AddPermissions(All()...); err != nil {
		return err
	}
	rules := Rules()
	of := func(resource string) (own []core.PermissionRule) {
		for _, r := range rules {
			if r.ResourceType == resource {
				own = append(own, r)
			}
		}
		return own
	}
	for _, t := range []core.ResourceType{
		{Type: TemplateResource, Permissions: []core.Permission{ReadParameter, ReadStep}, Rules: of(TemplateResource)},
		{Type: ActionResource, Permissions: []core.Permission{Execute}, Rules: of(ActionResource)},
		{
			Type: TaskResource, Permissions: []core.Permission{CancelTask, ReadTask}, Rules: of(TaskResource),
			GetResources: func(ctx context.Context, refs []string) ([]any, error) {
				found := make([]any, len(refs))
				for i, ref := range refs {
					switch task, err := get(ctx, ref); {
					case err == nil:
						found[i] = task
					case apierr.KindOf(err) != apierr.KindNotFound:
						return nil, err
					}
				}
				return found, nil
			},
		},
	} {
		if err := registry.AddResourceType(t); err != nil {
			return err
		}
	}
	return nil
}

const draft = `"additionalProperties":false,"$schema":"http://json-schema.org/draft-07/schema#"}`

// Rules returns the rules, in the order in which they are published.
func Rules() []core.PermissionRule {
	having := func(kind string) json.RawMessage {
		return json.RawMessage(`{"type":"object","properties":{"key":{"type":"string","description":"Property within the action parameters to match on"},"value":{"type":"` + kind + `","description":"Value of the given property to match on"}},"required":["key"],` + draft)
	}
	return []core.PermissionRule{
		rule("HAS_TAG", "Match parameters or steps with the given tag", TemplateResource,
			json.RawMessage(`{"type":"object","properties":{"tag":{"type":"string","description":"Name of the tag to match on"}},"required":["tag"],`+draft),
			func(part template.Value, p params) bool {
				tags, _ := template.Member(template.Member(part, "backstage:permissions"), "tags").(*template.Array)
				if tags == nil {
					return false
				}
				for _, tag := range tags.All() {
					if tag == template.String(p.Tag) {
						return true
					}
				}
				return false
			}),
		rule("HAS_ACTION_ID", "Match actions with the given actionId", ActionResource,
			json.RawMessage(`{"type":"object","properties":{"actionId":{"type":"string","description":"Name of the actionId to match on"}},"required":["actionId"],`+draft),
			func(u Use, p params) bool { return u.Action == p.ActionID }),
		rule("HAS_BOOLEAN_PROPERTY", "Allow actions with the specified property", ActionResource, having("boolean"), hasProperty[template.Bool]),
		rule("HAS_NUMBER_PROPERTY", "Allow actions with the specified property", ActionResource, having("number"), hasProperty[template.Number]),
		rule("HAS_STRING_PROPERTY", "Allow actions with the specified property", ActionResource, having("string"), hasProperty[template.String]),
		ownerRule(),
	}
}

type params struct {
	Tag       string          `json:"tag"`
	ActionID  string          `json:"actionId"`
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	CreatedBy []string        `json:"createdBy"`
}

func rule[R any](name, description, resource string, schema json.RawMessage, holds func(R, params) bool) core.PermissionRule {
	return core.PermissionRule{
		Name: name, Description: description, ResourceType: resource, ParamsSchema: schema,
		Apply: func(v any, raw json.RawMessage) (bool, error) {
			var p params
			if err := json.Unmarshal(raw, &p); err != nil {
				return false, fmt.Errorf("read the parameters of the rule %s: %w", name, err)
			}
			r, ok := v.(R)
			return ok && holds(r, p), nil
		},
	}
}

func ownerRule() core.PermissionRule {
	r := rule("IS_TASK_OWNER", "Allows tasks created by certain users to be accessible", TaskResource,
		json.RawMessage(`{"type":"object","properties":{"createdBy":{"type":"array","items":{"type":"string"},"description":"List of creator entity refs; only tasks created by these users will be viewable"}},"required":["createdBy"],`+draft),
		func(t tasks.Task, p params) bool {
			return t.CreatedBy != "" && slices.Contains(p.CreatedBy, t.CreatedBy)
		})
	r.Query = func(raw json.RawMessage) (any, error) {
		var p params
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, fmt.Errorf("read the parameters of the rule IS_TASK_OWNER: %w", err)
		}
		return tasks.CreatedBy(p.CreatedBy), nil
	}
	return r
}

// hasProperty compares what a path leads to in the input of an action.
func hasProperty[T template.Value](u Use, p params) bool {
	pick := scaffoldernode.TemplateFilters(nil)["pick"]
	found, err := pick(context.Background(), u.Input, template.String(p.Key))
	if err != nil {
		return false
	}
	got, ok := found.(T)
	if !ok || len(p.Value) == 0 {
		return ok
	}
	want, err := template.ParseJSON(p.Value)
	if err != nil {
		return false
	}
	if text, ok := want.(template.String); ok && ignoresCase(u.Action, p.Key) {
		other, ok := found.(template.String)
		return ok && strings.EqualFold(string(text), string(other))
	}
	return template.Value(got) == want
}

// ignoresCase reports whether a host does not tell names apart by their case.
func ignoresCase(action, key string) bool {
	parts, key := splitAction(action), property(key)
	host := slices.ContainsFunc(parts, func(part string) bool {
		return slices.Contains([]string{"gitlab", "github", "bitbucket", "bitbucketCloud", "bitbucketServer"}, part)
	})
	return host && (slices.Contains([]string{"owner", "repoName", "projectId", "repoUrl"}, key) || key == "path" && slices.Contains(parts, "group"))
}

// property is a path in one spelling: path, ['path'] and ["path"] are the same.
func property(key string) string { return strings.Join(scaffoldernode.SplitPath(key), ".") }

func splitAction(id string) []string { return strings.Split(id, ":") }
