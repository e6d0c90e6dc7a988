package scaffoldermodulegitlab

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// group is what the API says of a group.
type group struct {
	ID       int64         `json:"id"`
	Name     string        `json:"name"`
	FullPath string        `json:"full_path"`
	ParentID *int64        `json:"parent_id"`
	Shared   []sharedGroup `json:"shared_with_groups"`
}

// sharedGroup is a group that has access to another one.
type sharedGroup struct {
	ID    int64 `json:"group_id"`
	Level int   `json:"group_access_level"`
}

// findGroup returns the group of a number or a whole path, nil if there is
// none.
func (a *api) findGroup(ctx context.Context, id string) (*group, error) {
	var found group
	err := a.get(ctx, urlPath("groups", id), nil, &found)
	if is(err, 404) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &found, nil
}

type groupEnsureExistsInput struct {
	target
	Path        []json.RawMessage `json:"path" description:"The groups from the outermost inwards: texts, which may have several separated by slashes, or objects with name and slug"`
	Description string            `json:"description,omitempty" description:"The description of the innermost group, if it is created"`
}

type groupEnsureExistsOutput struct {
	GroupID int64 `json:"groupId,omitempty" description:"The number of the innermost group"`
}

// groupPart is a group on the path.
type groupPart struct {
	Name string `json:"name"`
	Slug string `json:"slug"`
}

func groupParts(items []json.RawMessage) (all []groupPart, err error) {
	for _, item := range items {
		var text string
		if json.Unmarshal(item, &text) == nil {
			for part := range strings.SplitSeq(text, "/") {
				all = append(all, groupPart{part, part})
			}
			continue
		}
		var part groupPart
		if err := json.Unmarshal(item, &part); err != nil {
			return nil, apierr.Input("a group of the path has to be a text, or an object with name and slug")
		}
		all = append(all, part)
	}
	return all, nil
}

func (g *gitlab) ensureGroup() scaffoldernode.Action {
	return refine(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "gitlab:group:ensureExists", Description: "Creates a group, and the groups that it is in, unless they are there", SupportsDryRun: true,
		Examples: example("A group in a group", `
- id: group
  name: Make sure that the group exists
  action: gitlab:group:ensureExists
  input:
    repoUrl: gitlab.com
    path:
      - acme
      - name: The shop team
        slug: shop
    description: Everything of the shop
`),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in groupEnsureExistsInput) (out groupEnsureExistsOutput, err error) {
		if c.DryRun {
			return groupEnsureExistsOutput{42}, nil
		}
		parts, err := groupParts(in.Path)
		if err != nil {
			return out, err
		}
		a, err := g.at(in.target)
		if err != nil {
			return out, err
		}
		full := ""
		for i, part := range parts {
			full = strings.TrimPrefix(full+"/"+part.Slug, "/")
			found, err := a.findGroup(ctx, full)
			if err != nil {
				return out, err
			}
			if found == nil {
				c.Logger.InfoContext(ctx, "creating missing group "+full)
				description := ""
				if i == len(parts)-1 {
					description = in.Description
				}
				if found, err = a.createGroup(ctx, part, full, out.GroupID, description); err != nil {
					return out, err
				}
			}
			out.GroupID = found.ID
		}
		return out, nil
	}), map[string]string{
		"path":  `"minItems":1`,
		"items": `"anyOf":[{"type":"string"},{"type":"object","properties":{"name":{"type":"string"},"slug":{"type":"string"}},"required":["name","slug"],"additionalProperties":false}]`,
	})
}

// createGroup creates a group; one that somebody created meanwhile is taken.
func (a *api) createGroup(ctx context.Context, part groupPart, full string, parent int64, description string) (*group, error) {
	request := map[string]any{"name": part.Name, "path": part.Slug}
	if parent != 0 {
		request["parent_id"] = parent
	}
	if description != "" {
		request["description"] = description
	}
	created := &group{}
	err := a.post(ctx, "/groups", request, created)
	if !isTaken(err) {
		return created, err
	}
	found, finding := a.findGroup(ctx, full)
	if finding == nil && found == nil {
		finding = err
	}
	return found, finding
}

// accessLevels are the names of access levels.
var accessLevels = []struct {
	name  string
	level int
}{
	{"no_access", 0}, {"minimal_access", 5}, {"guest", 10}, {"planner", 15}, {"reporter", 20}, {"developer", 30}, {"maintainer", 40}, {"owner", 50},
}

// accessLevel reads an access level, a number or a name; developer if there is
// none.
func accessLevel(v json.RawMessage) (int, error) {
	if v == nil {
		return 30, nil
	}
	var number int
	if json.Unmarshal(v, &number) == nil {
		return number, nil
	}
	var name string
	if json.Unmarshal(v, &name) != nil {
		name = string(v)
	}
	var names []string
	for _, l := range accessLevels {
		if l.name == strings.ToLower(name) {
			return l.level, nil
		}
		names = append(names, l.name)
	}
	return 0, apierr.Input(`Invalid access level: "%s". Valid values are: %s or a numeric GitLab access level`, name, strings.Join(names, ", "))
}

type groupAccessInput struct {
	target
	Path        json.RawMessage `json:"path" description:"The group that is opened to others: its number, or its whole path"`
	UserIDs     []int64         `json:"userIds,omitempty" description:"The numbers of users"`
	GroupIDs    []int64         `json:"groupIds,omitempty" description:"The numbers of groups"`
	Action      string          `json:"action,omitempty" enum:"add,remove" description:"Whether they get access, or lose it; add by default"`
	AccessLevel json.RawMessage `json:"accessLevel,omitempty" description:"The access: a number, or no_access (0), minimal_access (5), guest (10), planner (15), reporter (20), developer (30, the default), maintainer (40), owner (50)"`
}

type groupAccessOutput struct {
	UserIDs     []int64         `json:"userIds,omitempty" description:"The users"`
	GroupIDs    []int64         `json:"groupIds,omitempty" description:"The groups"`
	Path        json.RawMessage `json:"path,omitempty" description:"The group that they have access to, or lost it"`
	AccessLevel *int            `json:"accessLevel,omitempty" description:"The access that was given"`
}

func (g *gitlab) groupAccess() scaffoldernode.Action {
	return refine(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "gitlab:group:access", Description: "Gives users and groups access to a group, or takes it from them", SupportsDryRun: true,
		Examples: example("Two developers", `
- id: access
  name: Add developers
  action: gitlab:group:access
  input:
    repoUrl: gitlab.com
    path: acme/shop
    userIds: [21, 22]
    accessLevel: developer
`),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in groupAccessInput) (out groupAccessOutput, err error) {
		if len(in.UserIDs) == 0 && len(in.GroupIDs) == 0 {
			return out, apierr.Input("At least one of userIds or groupIds must be provided and non-empty")
		}
		level, err := accessLevel(in.AccessLevel)
		if err != nil {
			return out, err
		}
		out = groupAccessOutput{UserIDs: in.UserIDs, GroupIDs: in.GroupIDs, Path: in.Path}
		if in.Action != "remove" {
			out.AccessLevel = &level
		}
		if c.DryRun {
			return out, nil
		}
		a, err := g.at(in.target)
		if err != nil {
			return groupAccessOutput{}, err
		}
		m := members{a, ref(in.Path), level}
		for _, who := range []struct {
			kind        string
			ids         []int64
			add, remove func(context.Context, int64) error
		}{
			{"user", in.UserIDs, m.addUser, m.removeUser},
			{"group", in.GroupIDs, m.addGroup, m.removeGroup},
		} {
			for _, id := range who.ids {
				if in.Action == "remove" {
					c.Logger.InfoContext(ctx, "Removing "+who.kind+" "+idText(id)+" from group "+m.group)
					err = who.remove(ctx, id)
				} else {
					c.Logger.InfoContext(ctx, "Adding "+who.kind+" "+idText(id)+" to group "+m.group)
					err = who.add(ctx, id)
				}
				if err != nil {
					return groupAccessOutput{}, err
				}
			}
		}
		return out, nil
	}), map[string]string{"path": numberOrText, "accessLevel": numberOrText})
}

// members changes who has access to a group. All of it can be done twice.
type members struct {
	api   *api
	group string
	level int
}

func (m members) addUser(ctx context.Context, id int64) error {
	err := m.api.post(ctx, urlPath("groups", m.group, "members"), map[string]any{"user_id": id, "access_level": m.level}, nil)
	if is(err, 409) {
		return m.api.put(ctx, urlPath("groups", m.group, "members", id), map[string]any{"access_level": m.level}, nil)
	}
	return err
}

func (m members) removeUser(ctx context.Context, id int64) error {
	return m.gone(ctx, m.api.remove(ctx, urlPath("groups", m.group, "members", id)))
}

func (m members) addGroup(ctx context.Context, id int64) error {
	share := func() error {
		return m.api.post(ctx, urlPath("groups", m.group, "share"), map[string]any{"group_id": id, "group_access": m.level}, nil)
	}
	err := share()
	if !is(err, 409) {
		return err
	}
	// It is shared. The level cannot be changed, so it is shared again, unless
	// that would only take the access away for a moment.
	if found, err := m.api.findGroup(ctx, m.group); err != nil {
		return err
	} else if found != nil {
		for _, s := range found.Shared {
			if s.ID == id && s.Level == m.level {
				return nil
			}
		}
	}
	if err := m.removeGroup(ctx, id); err != nil {
		return err
	}
	return share()
}

func (m members) removeGroup(ctx context.Context, id int64) error {
	return m.gone(ctx, m.api.remove(ctx, urlPath("groups", m.group, "share", id)))
}

// gone takes it well that who is to lose access had none, if the group itself
// is there.
func (m members) gone(ctx context.Context, err error) error {
	if !is(err, 404) {
		return err
	}
	found, finding := m.api.findGroup(ctx, m.group)
	if finding == nil && found == nil {
		return err
	}
	return finding
}
