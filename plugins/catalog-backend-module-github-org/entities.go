package catalogmodulegithuborg

import (
	"context"
	"strings"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// User is a member of an organization.
type User struct {
	// Org is the login of the organization in which the user was found.
	Org string
	// Login and ID (the node id) are never empty.
	Login, ID string
	// Name, Bio and AvatarURL are empty where the user gave none. Email is the
	// public address; GitHub Apps do not see it.
	Name, Email, Bio, AvatarURL string
	// VerifiedEmails are addresses in verified domains of the organization.
	// They are there if the configuration or a transformer asks for them; see
	// [WithVerifiedEmails].
	VerifiedEmails []string
}

// Team is a team of an organization.
type Team struct {
	Org string
	// Slug and CombinedSlug ("<org>/<slug>") are never empty.
	Slug, CombinedSlug string
	Name, Description  string
	AvatarURL          string
	EditURL            string
	// Parent is the slug of the parent; empty at the top.
	Parent string
	// Members are the logins of the immediate members.
	Members []string
	// Namespace is that of the group.
	Namespace string
}

// UserTransformer makes the entity of a user; nil leaves the user out. The
// provider adds where the entity comes from and spec.memberOf. To find the
// entity of a user who left, it is called with Org and Login only.
type UserTransformer func(ctx context.Context, u User) (catalogcommon.Entity, error)

// TeamTransformer makes the entity of a team; nil leaves the team out. The
// provider adds where the entity comes from. To find the entity of a team that
// is gone, it is called with what names the team only.
type TeamTransformer func(ctx context.Context, t Team) (catalogcommon.Entity, error)

const (
	annotationLogin = "github.com/user-login"
	annotationID    = "github.com/user-id"
	annotationSlug  = "github.com/team-slug"
)

// DefaultUser returns the entity of a user as it is without a transformer.
func DefaultUser(u User) catalogcommon.Entity {
	metadata := map[string]any{
		"name":        u.Login,
		"annotations": map[string]any{annotationLogin: u.Login, annotationID: u.ID},
	}
	setIf(metadata, "description", u.Bio)
	profile := map[string]any{}
	setIf(profile, "displayName", u.Name)
	setIf(profile, "email", u.Email)
	setIf(profile, "picture", u.AvatarURL)
	return catalogcommon.Entity{
		"apiVersion": catalogcommon.APIVersionV1alpha1,
		"kind":       "User",
		"metadata":   metadata,
		"spec":       map[string]any{"profile": profile, "memberOf": []any{}},
	}
}

// DefaultTeam returns the entity of a team as it is without a transformer.
func DefaultTeam(t Team) catalogcommon.Entity {
	annotations := map[string]any{annotationSlug: t.CombinedSlug}
	setIf(annotations, catalogcommon.AnnotationEditURL, t.EditURL)
	metadata := map[string]any{"name": t.Slug, "annotations": annotations}
	if t.Namespace != catalogcommon.DefaultNamespace {
		metadata["namespace"] = t.Namespace
	}
	setIf(metadata, "description", t.Description)
	profile := map[string]any{}
	setIf(profile, "displayName", t.Name)
	setIf(profile, "picture", t.AvatarURL)
	// Refs without a namespace would be looked for in that of the group.
	prefix := ""
	if t.Namespace != catalogcommon.DefaultNamespace {
		prefix = catalogcommon.DefaultNamespace + "/"
	}
	members := make([]any, len(t.Members))
	for i, login := range t.Members {
		members[i] = prefix + login
	}
	spec := map[string]any{"type": "team", "profile": profile, "children": []any{}, "members": members}
	setIf(spec, "parent", t.Parent)
	return catalogcommon.Entity{"apiVersion": catalogcommon.APIVersionV1alpha1, "kind": "Group", "metadata": metadata, "spec": spec}
}

func setIf(m map[string]any, key, value string) {
	if value != "" {
		m[key] = value
	}
}

// located adds where the entity comes from, unless a transformer did.
func located(e catalogcommon.Entity, at string) catalogcommon.Entity {
	metadata := e.Metadata()
	if metadata == nil {
		metadata = map[string]any{}
		e["metadata"] = metadata
	}
	annotations, ok := metadata["annotations"].(map[string]any)
	if !ok {
		annotations = map[string]any{}
		metadata["annotations"] = annotations
	}
	for _, a := range []string{catalogcommon.AnnotationLocation, catalogcommon.AnnotationOriginLocation} {
		if _, ok := annotations[a]; !ok {
			annotations[a] = "url:" + at
		}
	}
	return e
}

func refOf(e catalogcommon.Entity) string { return strings.ToLower(e.Ref().String()) }

// groupRef returns how users name a group that they are members of: by its
// name alone in the default namespace.
func groupRef(e catalogcommon.Entity) string {
	if ns := e.Namespace(); ns != catalogcommon.DefaultNamespace {
		return ns + "/" + e.Name()
	}
	return e.Name()
}

// memberships collects which users are in which groups.
type memberships map[string][]string // refs of groups by ref of user

func (m memberships) add(group catalogcommon.Entity) {
	name := groupRef(group)
	for _, member := range group.SpecStrings("members") {
		ref, err := catalogcommon.ParseRef(member, catalogcommon.RefDefaults{Kind: "User", Namespace: group.Namespace()})
		if err != nil {
			continue // the catalog reports it when it processes the group
		}
		user := strings.ToLower(ref.String())
		m[user] = append(m[user], name)
	}
}

// assign adds the groups of the user to its entity.
func (m memberships) assign(user catalogcommon.Entity) {
	spec := user.Spec()
	if spec == nil {
		spec = map[string]any{}
		user["spec"] = spec
	}
	have := user.SpecStrings("memberOf")
	all, _ := spec["memberOf"].([]any)
	seen := map[string]bool{}
	for _, g := range have {
		seen[g] = true
	}
	out := append([]any{}, all...)
	for _, g := range m[refOf(user)] {
		if !seen[g] {
			seen[g] = true
			out = append(out, g)
		}
	}
	spec["memberOf"] = out
}
