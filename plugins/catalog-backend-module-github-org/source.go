package catalogmodulegithuborg

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration/githubapi"
)

// source reads one organization after the other.
type source struct {
	settings
	api *githubapi.API
	// verified asks for verified addresses.
	verified bool
}

// userFields returns what is asked for of users. Fields that not every host
// or credential has are asked for only where they count: a query with them
// fails as a whole.
func (s source) userFields(ctx context.Context, org string) (string, error) {
	fields := "login id name bio avatarUrl"
	asApp, err := s.api.AsApp(ctx, org)
	if err != nil {
		return "", err
	}
	if !asApp {
		fields += " email"
	}
	if s.verified {
		fields += " organizationVerifiedDomainEmails(login: $org)"
	}
	if s.excludeSuspended {
		fields += " suspendedAt"
	}
	return fields, nil
}

type userNode struct {
	Login, ID, Name, Email, Bio, AvatarURL string
	OrganizationVerifiedDomainEmails       []string
	SuspendedAt                            *string
	Organization                           *struct{ Login string }
}

func (n *userNode) user(org string) (User, error) {
	if n.Login == "" || n.ID == "" {
		return User{}, apierr.ServiceUnavailable("a user in the answer lacks login or id")
	}
	return User{
		Org: org, Login: n.Login, ID: n.ID, Name: n.Name, Email: n.Email, Bio: n.Bio, AvatarURL: n.AvatarURL,
		VerifiedEmails: n.OrganizationVerifiedDomainEmails,
	}, nil
}

func noOrganization(org, host string) error {
	return apierr.NotFound("there is no organization %q at %s that the credential may see", org, host)
}

// users visits the members of the organization.
func (s source) users(ctx context.Context, org string, visit func(User) error) error {
	fields, err := s.userFields(ctx, org)
	if err != nil {
		return err
	}
	type page struct {
		Organization *struct{ MembersWithRole *githubapi.Nodes[userNode] }
	}
	q := githubapi.Query{Name: "users", Owner: org, Variables: map[string]any{"org": org}, Text: `query users($org: String!, $size: Int!, $cursor: String) {
  organization(login: $org) {
    membersWithRole(first: $size, after: $cursor) {
      nodes { ` + fields + ` }
      pageInfo { hasNextPage endCursor }
    }
  }
}`}
	return githubapi.Each(ctx, s.api, q, githubapi.Paging{PageSize: s.membersPage}, func(p *page) (githubapi.PageInfo, error) {
		if p.Organization == nil {
			return githubapi.PageInfo{}, noOrganization(org, s.host)
		}
		nodes, err := p.Organization.MembersWithRole.All()
		if err != nil {
			return githubapi.PageInfo{}, err
		}
		for _, n := range nodes {
			if n.SuspendedAt != nil && s.excludeSuspended {
				continue
			}
			u, err := n.user(org)
			if err == nil {
				err = visit(u)
			}
			if err != nil {
				return githubapi.PageInfo{}, err
			}
		}
		return p.Organization.MembersWithRole.PageInfo, nil
	})
}

// user returns a user if it is a member of the organization.
func (s source) user(ctx context.Context, org, login string) (u User, ok bool, err error) {
	fields, err := s.userFields(ctx, org)
	if err != nil {
		return User{}, false, err
	}
	var out struct{ User *userNode }
	err = s.api.Query(ctx, githubapi.Query{
		Name: "user", Owner: org, Variables: map[string]any{"org": org, "login": login}, Text: `query user($org: String!, $login: String!) {
  user(login: $login) { ` + fields + ` organization(login: $org) { login } }
}`}, &out)
	switch {
	case apierr.KindOf(err) == apierr.KindNotFound:
		return User{}, false, nil
	case err != nil:
		return User{}, false, err
	case out.User == nil || out.User.Organization == nil, s.excludeSuspended && out.User.SuspendedAt != nil:
		return User{}, false, nil
	}
	u, err = out.User.user(org)
	return u, err == nil, err
}

const teamFragment = `fragment fields on Team {
  slug
  combinedSlug
  name
  description
  avatarUrl
  editTeamUrl
  parentTeam { slug }
  members(first: $members, membership: IMMEDIATE) { nodes { login } pageInfo { hasNextPage endCursor } }
}`

type teamNode struct {
	Slug, CombinedSlug, Name, Description, AvatarURL, EditTeamURL string

	ParentTeam *struct{ Slug string }
	Members    *githubapi.Nodes[memberNode]
}

type memberNode struct{ Login string }

// team returns the team with all of its members.
func (s source) team(ctx context.Context, org string, n *teamNode) (Team, error) {
	if n.Slug == "" || n.CombinedSlug == "" {
		return Team{}, apierr.ServiceUnavailable("a team in the answer lacks its slug")
	}
	t := Team{
		Org: org, Slug: n.Slug, CombinedSlug: n.CombinedSlug, Name: n.Name, Description: n.Description, AvatarURL: n.AvatarURL,
		EditURL: n.EditTeamURL, Namespace: s.namespace(org),
	}
	if n.ParentTeam != nil {
		t.Parent = n.ParentTeam.Slug
	}
	add := func(members *githubapi.Nodes[memberNode]) (githubapi.PageInfo, error) {
		nodes, err := members.All()
		if err != nil {
			return githubapi.PageInfo{}, fmt.Errorf("members of the team %s: %w", n.CombinedSlug, err)
		}
		for _, m := range nodes {
			t.Members = append(t.Members, m.Login)
		}
		return members.PageInfo, nil
	}
	first, err := add(n.Members)
	if err != nil || !first.HasNextPage {
		return t, err
	}
	type page struct {
		Organization *struct {
			Team *struct{ Members *githubapi.Nodes[memberNode] }
		}
	}
	q := githubapi.Query{Name: "members", Owner: org, Variables: map[string]any{"org": org, "team": n.Slug}, Text: `query members($org: String!, $team: String!, $size: Int!, $cursor: String) {
  organization(login: $org) {
    team(slug: $team) { members(first: $size, after: $cursor, membership: IMMEDIATE) { nodes { login } pageInfo { hasNextPage endCursor } } }
  }
}`}
	err = githubapi.Each(ctx, s.api, q, githubapi.Paging{PageSize: s.teamMembersPage, After: first.EndCursor}, func(p *page) (githubapi.PageInfo, error) {
		if p.Organization == nil || p.Organization.Team == nil {
			return githubapi.PageInfo{}, apierr.NotFound("the team %s went away while its members were read", n.CombinedSlug)
		}
		return add(p.Organization.Team.Members)
	})
	return t, err
}

// teams visits the teams of the organization; only those of a user if login
// is not empty.
func (s source) teams(ctx context.Context, org, login string, visit func(Team) error) error {
	type page struct {
		Organization *struct{ Teams *githubapi.Nodes[teamNode] }
	}
	variables, declare, filter := map[string]any{"org": org, "members": s.teamMembersPage}, "", ""
	if login != "" {
		variables["logins"], declare, filter = []string{login}, ", $logins: [String!]", ", userLogins: $logins"
	}
	q := githubapi.Query{Name: "teams", Owner: org, Variables: variables, Text: `query teams($org: String!, $size: Int!, $cursor: String, $members: Int!` + declare + `) {
  organization(login: $org) {
    teams(first: $size, after: $cursor` + filter + `) {
      nodes { ...fields }
      pageInfo { hasNextPage endCursor }
    }
  }
}
` + teamFragment}
	return githubapi.Each(ctx, s.api, q, githubapi.Paging{PageSize: s.teamsPage}, func(p *page) (githubapi.PageInfo, error) {
		if p.Organization == nil {
			return githubapi.PageInfo{}, noOrganization(org, s.host)
		}
		nodes, err := p.Organization.Teams.All()
		if err != nil {
			return githubapi.PageInfo{}, err
		}
		for _, n := range nodes {
			t, err := s.team(ctx, org, n)
			if err == nil {
				err = visit(t)
			}
			if err != nil {
				return githubapi.PageInfo{}, err
			}
		}
		return p.Organization.Teams.PageInfo, nil
	})
}

// teamBySlug returns a team if it is there.
func (s source) teamBySlug(ctx context.Context, org, slug string) (t Team, ok bool, err error) {
	var out struct{ Organization *struct{ Team *teamNode } }
	err = s.api.Query(ctx, githubapi.Query{
		Name: "team", Owner: org, Variables: map[string]any{"org": org, "slug": slug, "members": s.teamMembersPage},
		Text: `query team($org: String!, $slug: String!, $members: Int!) {
  organization(login: $org) { team(slug: $slug) { ...fields } }
}
` + teamFragment}, &out)
	if err != nil {
		return Team{}, false, err
	}
	if out.Organization == nil {
		return Team{}, false, noOrganization(org, s.host)
	}
	if out.Organization.Team == nil {
		return Team{}, false, nil
	}
	t, err = s.team(ctx, org, out.Organization.Team)
	return t, err == nil, err
}

// installationsFor is how long the installations of apps are believed when a
// webhook arrives. A run always reads them.
const installationsFor = 10 * time.Minute

// organizations returns whose members and teams count, as it was no longer
// than maxAge ago.
func (s source) organizations(ctx context.Context, maxAge time.Duration) ([]string, error) {
	if len(s.orgs) > 0 {
		return s.orgs, nil
	}
	installations, err := s.api.Installations(ctx, 0, maxAge)
	if err != nil {
		return nil, err
	}
	var orgs []string
	seen := map[string]bool{}
	for _, in := range installations {
		if login := strings.ToLower(in.Owner); in.OwnerType != "User" && !seen[login] {
			seen[login] = true
			orgs = append(orgs, in.Owner)
		}
	}
	return orgs, nil
}
