package fakegithub

import (
	"net/http"
	"slices"
	"strings"
)

// accounts routes users, organizations, teams, and the creation of
// repositories.
func (s *Server) accounts(mux *http.ServeMux) {
	s.route(mux, "GET /user", func(x *exchange) (any, int) {
		if strings.HasPrefix(strings.TrimPrefix(x.r.Header.Get("Authorization"), "Bearer "), "ghs_") {
			return problem("Resource not accessible by integration", http.StatusForbidden)
		}
		return map[string]any{"login": Self, "id": 1, "type": "User"}, http.StatusOK
	})
	s.route(mux, "GET /user/orgs", func(x *exchange) (any, int) {
		out := []any{}
		for _, o := range s.world.orgs {
			out = append(out, map[string]any{"login": o.Login})
		}
		return page(s, x.w, x.r, out), http.StatusOK
	})
	s.route(mux, "GET /user/repos", func(x *exchange) (any, int) {
		out := []any{}
		for _, r := range s.world.repositories {
			out = append(out, map[string]any{"full_name": r.Owner + "/" + r.Name})
		}
		return page(s, x.w, x.r, out), http.StatusOK
	})
	s.route(mux, "GET /users/{login}", func(x *exchange) (any, int) {
		login := x.value("login")
		for _, o := range s.world.orgs {
			if strings.EqualFold(o.Login, login) {
				return map[string]any{"login": o.Login, "id": 1000, "type": "Organization"}, http.StatusOK
			}
			for i, u := range o.Users {
				if strings.EqualFold(u.Login, login) {
					return map[string]any{"login": u.Login, "id": 100 + i, "type": "User"}, http.StatusOK
				}
			}
		}
		if login == Self {
			return map[string]any{"login": Self, "id": 1, "type": "User"}, http.StatusOK
		}
		return problem("Not Found", http.StatusNotFound)
	})
	s.route(mux, "GET /orgs/{org}/teams/{slug}", func(x *exchange) (any, int) {
		team := x.team()
		if team == nil {
			return problem("Not Found", http.StatusNotFound)
		}
		return map[string]any{"id": 500, "slug": team.Slug, "name": team.Name}, http.StatusOK
	})
	s.route(mux, "PUT /orgs/{org}/teams/{slug}/repos/{owner}/{repo}", func(x *exchange) (any, int) {
		if x.team() == nil {
			return problem("Not Found", http.StatusNotFound)
		}
		return set(&x.setup().Teams, x.value("slug"), x.text("permission"))
	})
	s.route(mux, "PUT /repos/{owner}/{repo}/collaborators/{login}", func(x *exchange) (any, int) {
		if x.value("login") == "nobody" {
			return problem("Not Found", http.StatusNotFound)
		}
		return set(&x.setup().Collaborators, x.value("login"), x.text("permission"))
	})
	s.route(mux, "POST /orgs/{org}/repos", func(x *exchange) (any, int) {
		if !slices.ContainsFunc(s.world.orgs, func(o *Organization) bool { return strings.EqualFold(o.Login, x.value("org")) }) {
			return problem("Not Found", http.StatusNotFound)
		}
		return x.create(x.value("org"))
	})
	s.route(mux, "POST /user/repos", func(x *exchange) (any, int) { return x.create(Self) })
	s.route(mux, "POST /repos/{owner}/{repo}/forks", func(x *exchange) (any, int) {
		fork := s.world.Repository(Self, x.repo.Name)
		if fork == nil {
			fork = s.world.AddRepository(Repository{Owner: Self, Name: x.repo.Name, Fork: true, DefaultBranch: x.repo.DefaultBranch, git: true})
			s.git.Clone(x.slug(), Self+"/"+x.repo.Name)
		}
		return s.describe(fork), http.StatusAccepted
	})
}

func (x *exchange) team() *Team {
	for _, o := range x.s.world.orgs {
		if !strings.EqualFold(o.Login, x.value("org")) {
			continue
		}
		for _, team := range o.Teams {
			if team.Slug == x.value("slug") {
				return team
			}
		}
	}
	return nil
}

func (x *exchange) create(owner string) (any, int) {
	name := x.text("name")
	if body, status, bad := x.missing("Repository", "name"); bad {
		return body, status
	}
	if x.s.world.Repository(owner, name) != nil {
		body, status := invalid("Repository", "name", "custom", "name already exists on this account")
		body.(map[string]any)["message"] = "Repository creation failed."
		return body, status
	}
	visibility := x.text("visibility")
	if private, _ := x.body["private"].(bool); visibility == "" && private {
		visibility = "private"
	}
	git := x.s.Git()
	git.Create(owner + "/" + name)
	repo := x.s.world.AddRepository(Repository{Owner: owner, Name: name, Visibility: visibility, git: true})
	repo.Setup.Created = x.body
	if auto, _ := x.body["auto_init"].(bool); auto {
		git.Seed(owner+"/"+name, "main", map[string]string{"README.md": "# " + name})
		repo.DefaultBranch = "main"
	}
	return x.s.describe(repo), http.StatusCreated
}

// describe returns a repository as the API has it.
func (s *Server) describe(repo *Repository) map[string]any {
	return map[string]any{
		"id": repo.id, "name": repo.Name, "full_name": repo.Owner + "/" + repo.Name,
		"html_url": s.world.URL(repo), "clone_url": s.world.URL(repo) + ".git", "owner": map[string]any{"login": repo.Owner}, "default_branch": repo.DefaultBranch,
		"archived": repo.Archived, "fork": repo.Fork, "visibility": repo.Visibility, "topics": repo.Topics,
		"permissions": map[string]bool{"admin": !repo.ReadOnly, "push": !repo.ReadOnly, "pull": true},
	}
}
