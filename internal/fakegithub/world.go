package fakegithub

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// World is what a server has. Change it by [Server.Change] only.
type World struct {
	base         string
	created      int
	repositories []*Repository
	orgs         []*Organization

	// Unindexed makes searches tell that they do not know all files.
	Unindexed bool
	// FreePlan makes the server refuse to protect branches of private
	// repositories.
	FreePlan bool
}

// Repository is a repository. An empty DefaultBranch stays empty: nothing was
// pushed yet.
type Repository struct {
	Owner, Name    string
	Fork, Archived bool
	Visibility     string // "public" if empty
	Topics         []string
	DefaultBranch  string
	// Files are the contents of files by "<branch>:<path>".
	Files map[string]string
	// Commits are those that can be read by their SHA.
	Commits []Commit
	// ReadOnly says that the token may not push.
	ReadOnly bool
	// Setup is what the API changed.
	Setup Setup

	id  int
	git bool // it is served by git
}

// Organization is an organization with its members and teams. What is not in
// here is a user.
type Organization struct {
	Login string
	Users []*User
	Teams []*Team
}

// User is a member of an organization.
type User struct {
	Login, ID, Name, Email, Bio, AvatarURL string
	VerifiedEmails                         []string
	Suspended                              bool

	id int
}

// Team is a team of an organization.
type Team struct {
	Slug, Name, Description, AvatarURL, Parent string // Parent is a slug
	Members                                    []string

	id int
}

func (w *World) next() int { w.created++; return w.created }

// AddRepository adds a repository.
func (w *World) AddRepository(r Repository) *Repository {
	if r.Visibility == "" {
		r.Visibility = "public"
	}
	r.id = w.next()
	w.repositories = append(w.repositories, &r)
	return &r
}

// RemoveRepository removes a repository.
func (w *World) RemoveRepository(owner, name string) {
	w.repositories = slices.DeleteFunc(w.repositories, func(r *Repository) bool { return r.Owner == owner && r.Name == name })
}

// Repository returns a repository, nil if there is none.
func (w *World) Repository(owner, name string) *Repository {
	for _, r := range w.repositories {
		if strings.EqualFold(r.Owner, owner) && strings.EqualFold(r.Name, name) {
			return r
		}
	}
	return nil
}

// Repositories returns all repositories.
func (w *World) Repositories() []*Repository { return slices.Clone(w.repositories) }

// Organization returns the organization of the login, which it adds if there
// is none.
func (w *World) Organization(login string) *Organization {
	for _, o := range w.orgs {
		if strings.EqualFold(o.Login, login) {
			return o
		}
	}
	o := &Organization{Login: login}
	w.orgs = append(w.orgs, o)
	return o
}

// URL returns the address of the repository in a browser.
func (w *World) URL(r *Repository) string { return w.base + "/" + r.Owner + "/" + r.Name }

func (w *World) hasOwner(login string) bool {
	return slices.ContainsFunc(w.orgs, func(o *Organization) bool { return strings.EqualFold(o.Login, login) }) ||
		slices.ContainsFunc(w.repositories, func(r *Repository) bool { return strings.EqualFold(r.Owner, login) })
}

// query is the root of the schema.
func (w *World) query() object {
	return object{
		"__typename": "Query",
		"repositoryOwner": resolver(func(args map[string]any) (any, error) {
			login, _ := args["login"].(string)
			if !w.hasOwner(login) {
				return nil, nil // as GitHub does for this field only
			}
			return w.owner(login), nil
		}),
		"repository": resolver(func(args map[string]any) (any, error) {
			owner, _ := args["owner"].(string)
			name, _ := args["name"].(string)
			r := w.Repository(owner, name)
			if r == nil {
				return nil, &queryError{Type: "NOT_FOUND", Message: fmt.Sprintf("Could not resolve to a Repository with the name '%s/%s'.", owner, name)}
			}
			return w.repository(r), nil
		}),
		"organization": resolver(func(args map[string]any) (any, error) {
			login, _ := args["login"].(string)
			for _, o := range w.orgs {
				if strings.EqualFold(o.Login, login) {
					return w.organization(o), nil
				}
			}
			return nil, &queryError{Type: "NOT_FOUND", Message: fmt.Sprintf("Could not resolve to an Organization with the login of '%s'.", login)}
		}),
		"user": resolver(func(args map[string]any) (any, error) {
			login, _ := args["login"].(string)
			for _, o := range w.orgs {
				for _, u := range o.Users {
					if strings.EqualFold(u.Login, login) {
						return w.user(u, o), nil
					}
				}
			}
			return nil, &queryError{Type: "NOT_FOUND", Message: fmt.Sprintf("Could not resolve to a User with the login of '%s'.", login)}
		}),
	}
}

func (w *World) owner(login string) object {
	var own []node
	for _, r := range w.repositories {
		if strings.EqualFold(r.Owner, login) {
			own = append(own, node{r.id, w.repository(r)})
			login = r.Owner
		}
	}
	return object{"__typename": "Organization", "login": login, "repositories": connection(own)}
}

func (w *World) repository(r *Repository) object {
	topics := make([]node, len(r.Topics))
	for i, t := range r.Topics {
		topics[i] = node{i + 1, object{"__typename": "RepositoryTopic", "topic": object{"__typename": "Topic", "name": t}}}
	}
	var branch any
	if r.DefaultBranch != "" {
		branch = object{"__typename": "Ref", "name": r.DefaultBranch}
	}
	return object{
		"__typename": "Repository", "name": r.Name, "url": w.URL(r), "isFork": r.Fork, "isArchived": r.Archived,
		"visibility": strings.ToUpper(r.Visibility), "owner": object{"__typename": "Organization", "login": r.Owner},
		"defaultBranchRef": branch, "repositoryTopics": connection(topics),
		"object": resolver(func(args map[string]any) (any, error) {
			expression, _ := args["expression"].(string)
			if path, ok := strings.CutPrefix(expression, "HEAD:"); ok {
				expression = r.DefaultBranch + ":" + path
			}
			text, ok := r.Files[expression]
			if !ok {
				return nil, nil
			}
			return object{"__typename": "Blob", "byteSize": len(text), "text": text}, nil
		}),
	}
}

func (w *World) organization(o *Organization) object {
	members := make([]node, len(o.Users))
	for i, u := range o.Users {
		if u.id == 0 {
			u.id = w.next()
		}
		members[i] = node{u.id, w.user(u, o)}
	}
	teams := make([]node, len(o.Teams))
	for i, t := range o.Teams {
		if t.id == 0 {
			t.id = w.next()
		}
		teams[i] = node{t.id, w.team(t, o)}
	}
	return object{
		"__typename": "Organization", "login": o.Login, "membersWithRole": connection(members),
		"teams": resolver(func(args map[string]any) (any, error) {
			logins, filtered := args["userLogins"].([]any)
			of := slices.DeleteFunc(slices.Clone(teams), func(n node) bool {
				return filtered && !slices.ContainsFunc(logins, func(login any) bool {
					name, _ := login.(string)
					return slices.ContainsFunc(w.findTeam(o, n.id).Members, func(m string) bool { return strings.EqualFold(m, name) })
				})
			})
			return connection(of)(args)
		}),
		"team": resolver(func(args map[string]any) (any, error) {
			for _, t := range o.Teams {
				if t.Slug == args["slug"] {
					return w.team(t, o), nil
				}
			}
			return nil, nil
		}),
	}
}

func (w *World) user(u *User, o *Organization) object {
	return object{
		"__typename": "User", "login": u.Login, "id": u.ID, "name": nullable(u.Name), "email": u.Email, "bio": nullable(u.Bio), "avatarUrl": u.AvatarURL,
		"organization": resolver(func(args map[string]any) (any, error) {
			for _, other := range w.orgs {
				isMember := slices.ContainsFunc(other.Users, func(m *User) bool { return m.Login == u.Login })
				if login, _ := args["login"].(string); isMember && strings.EqualFold(other.Login, login) {
					return object{"__typename": "Organization", "login": other.Login}, nil
				}
			}
			return nil, nil
		}),
		"suspendedAt": map[bool]any{true: "2026-01-01T00:00:00Z"}[u.Suspended],
		"organizationVerifiedDomainEmails": resolver(func(args map[string]any) (any, error) {
			if args["login"] != o.Login {
				return []string{}, nil
			}
			return u.VerifiedEmails, nil
		}),
	}
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (w *World) team(t *Team, o *Organization) object {
	var members []node
	for i, login := range t.Members {
		for _, u := range o.Users {
			if u.Login == login {
				members = append(members, node{i + 1, w.user(u, o)})
			}
		}
	}
	var parent any
	for _, p := range o.Teams {
		if t.Parent != "" && p.Slug == t.Parent {
			parent = object{"__typename": "Team", "slug": p.Slug}
		}
	}
	at := fmt.Sprintf("%s/orgs/%s/teams/%s", w.base, o.Login, t.Slug)
	return object{
		"__typename": "Team", "slug": t.Slug, "combinedSlug": o.Login + "/" + t.Slug, "name": t.Name, "description": nullable(t.Description),
		"avatarUrl": nullable(t.AvatarURL), "url": at, "editTeamUrl": at + "/edit", "parentTeam": parent,
		"members": connection(members),
	}
}

// node is a member of a connection. Its id grows with its creation, and is
// where the cursor points.
type node struct {
	id int
	object
}

func connection(nodes []node) resolver {
	return func(args map[string]any) (any, error) {
		first, ok := args["first"].(float64)
		if !ok {
			return nil, &queryError{Type: "MISSING_PAGINATION_BOUNDARIES", Message: "You must provide a `first` or `last` value to properly paginate the connection."}
		}
		if first < 1 || first > 100 {
			return nil, &queryError{Type: "EXCESSIVE_PAGINATION", Message: fmt.Sprintf("Requesting %g records on the connection exceeds the `first` limit of 100 records.", first)}
		}
		from := 0
		if after, ok := args["after"].(string); ok {
			text, err := base64.StdEncoding.DecodeString(after)
			if _, scanned := fmt.Sscanf(string(text), "cursor:%d", &from); err != nil || scanned != nil {
				return nil, &queryError{Type: "INVALID_CURSOR_ARGUMENTS", Message: "`" + after + "` does not appear to be a valid cursor."}
			}
		}
		rest := slices.DeleteFunc(slices.Clone(nodes), func(n node) bool { return n.id <= from })
		page := rest[:min(int(first), len(rest))]
		objects := make([]object, len(page))
		var end any
		for i, n := range page {
			objects[i] = n.object
			end = base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "cursor:%d", n.id))
		}
		return object{
			"__typename": "Connection", "nodes": objects, "totalCount": len(nodes),
			"pageInfo": object{"__typename": "PageInfo", "hasNextPage": len(rest) > len(page), "endCursor": end},
		}, nil
	}
}

func (w *World) findTeam(o *Organization, id int) *Team {
	return o.Teams[slices.IndexFunc(o.Teams, func(t *Team) bool { return t.id == id })]
}
