package fakegitlab

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const projectParameters = `name path namespace_id visibility topics auto_devops_enabled ci_config_path description merge_method squash_option
	only_allow_merge_if_all_discussions_are_resolved only_allow_merge_if_pipeline_succeeds allow_merge_on_skipped_pipeline`

func (s *Server) routes(mux *http.ServeMux) {
	s.route(mux, "GET /user", "", func(r *request) answer { return ok(r.user) })
	s.route(mux, "GET /users", "username", func(r *request) answer {
		return pages(slices.DeleteFunc(slices.Clone(s.users), func(u *User) bool { return !strings.EqualFold(u.Username, r.text("username")) }))
	})
	s.route(mux, "GET /users/{id}", "", func(r *request) answer {
		if u := s.user(r.PathValue("id")); u != nil {
			shown := *u
			if u.ID != r.user.ID {
				shown.Email = ""
			}
			return ok(shown)
		}
		return notFound("User")
	})
	s.route(mux, "GET /users/{id}/projects", "", func(r *request) answer {
		u := s.user(r.PathValue("id"))
		if u == nil {
			return notFound("User")
		}
		return pages(s.projectsOf(u.ID + userNamespace))
	})
	s.route(mux, "GET /namespaces/{id}", "", func(r *request) answer {
		id, kind := s.namespace(r.PathValue("id"))
		if id == 0 {
			return notFound("Namespace")
		}
		return ok(map[string]any{"id": id, "kind": kind})
	})
	s.route(mux, "POST /projects", projectParameters, s.createProject)
	s.inProject(mux, "GET", "", "", func(_ *request, p *Project) answer {
		p.Default = nil
		for _, name := range append([]string{"main", "master"}, s.Git.Branches(p.FullPath)...) {
			if s.Git.Head(p.FullPath, name) != "" {
				p.Default = &name
				break
			}
		}
		return ok(p)
	})
	s.inProject(mux, "POST", "/members", "user_id! access_level!", func(r *request, p *Project) answer {
		return s.addMember(r, p.Members)
	})
	s.inProject(mux, "PUT", "/members/{user}", "access_level!", func(r *request, p *Project) answer { return s.editMember(r, p.Members) })
	s.inProject(mux, "POST", "/protected_branches", "name!", func(r *request, p *Project) answer {
		name := r.text("name")
		if slices.Contains(p.Protected, name) {
			return refuse(409, "Protected branch '"+name+"' already exists")
		}
		p.Protected = append(p.Protected, name)
		return created(map[string]any{"name": name})
	})
	s.variables(mux)
	s.tokens(mux)
	s.repository(mux)
	s.requests(mux)
	s.issues(mux)
	s.groupRoutes(mux)
}

// inProject adds an endpoint of projects.
func (s *Server) inProject(mux *http.ServeMux, method, at, parameters string, handle func(*request, *Project) answer) {
	s.route(mux, method+" /projects/{id}"+at, parameters, func(r *request) answer {
		p := s.project(r.PathValue("id"))
		if p == nil {
			return notFound("Project")
		}
		return handle(r, p)
	})
}

func (s *Server) projectsOf(namespace int64) (all []*Project) {
	for _, p := range s.projects {
		if p.Namespace["id"] == namespace {
			all = append(all, p)
		}
	}
	return all
}

func (s *Server) createProject(r *request) answer {
	name, path := r.text("name"), r.text("path")
	if name == "" && path == "" {
		return invalid("name, path are missing, at least one parameter must be provided")
	}
	if path == "" {
		path = strings.ToLower(strings.ReplaceAll(name, " ", "-"))
	}
	visibility := r.text("visibility")
	if visibility != "" && !slices.Contains([]string{"private", "internal", "public"}, visibility) {
		return invalid("visibility does not have a valid value")
	}
	id, kind := s.namespace(strconv.FormatInt(r.number("namespace_id"), 10))
	if id == 0 {
		return refuse(404, "404 Namespace Not Found")
	}
	full := s.namespacePath(id)
	if s.project(full+"/"+path) != nil {
		taken := []string{"has already been taken"}
		return refuse(400, map[string]any{"project_namespace.name": taken, "name": taken, "path": taken})
	}
	p := s.addProject(path, full, id, kind)
	p.Name, p.CreatorID, p.Settings = name, r.user.ID, maps.Clone(r.in)
	if visibility != "" {
		p.Visibility = visibility
	}
	p.Topics = append(p.Topics, r.texts("topics")...)
	p.Members[r.user.ID] = 40
	return created(p)
}

func (s *Server) addMember(r *request, members map[int64]int) answer {
	id := r.number("user_id")
	switch {
	case s.user(strconv.FormatInt(id, 10)) == nil:
		return notFound("User")
	case !slices.Contains([]int64{5, 10, 15, 20, 30, 40, 50}, r.number("access_level")):
		return invalid("access_level does not have a valid value")
	}
	if _, is := members[id]; is {
		return refuse(409, "Member already exists")
	}
	members[id] = int(r.number("access_level"))
	return created(map[string]any{"id": id})
}

func (s *Server) editMember(r *request, members map[int64]int) answer {
	id, err := strconv.ParseInt(r.PathValue("user"), 10, 64)
	if _, is := members[id]; err != nil || !is {
		return refuse(404, "404 Not found")
	}
	members[id] = int(r.number("access_level"))
	return ok(map[string]any{"id": id})
}

func (s *Server) variables(mux *http.ServeMux) {
	const parameters = "key value variable_type protected masked masked_and_hidden raw environment_scope description filter[environment_scope]"
	find := func(p *Project, key, scope string) *Variable {
		for _, v := range p.Variables {
			if v.Key == key && v.Scope == scope {
				return v
			}
		}
		return nil
	}
	shown := func(v *Variable) Variable {
		out := *v
		if v.Hidden {
			out.Value = nil
		}
		return out
	}
	s.inProject(mux, "POST", "/variables", strings.Replace(strings.Replace(parameters, "key", "key!", 1), " value", " value!", 1), func(r *request, p *Project) answer {
		v := &Variable{
			Key: r.text("key"), Value: new(string), Type: r.text("variable_type"), Protected: r.flag("protected"), Hidden: r.flag("masked_and_hidden"),
			Masked: r.flag("masked") || r.flag("masked_and_hidden"), Raw: r.flag("raw"), Scope: r.text("environment_scope"), Description: r.text("description"),
		}
		*v.Value = r.text("value")
		switch {
		case v.Type != "env_var" && v.Type != "file":
			return invalid("variable_type does not have a valid value")
		case find(p, v.Key, v.Scope) != nil:
			return refuse(400, map[string]any{"key": []string{"(" + v.Key + ") has already been taken"}})
		case v.Masked && len(*v.Value) < 8:
			return refuse(400, map[string]any{"value": []string{"is invalid"}})
		}
		p.Variables = append(p.Variables, v)
		return created(shown(v))
	})
	s.inProject(mux, "GET", "/variables/{key}", "filter[environment_scope]", func(r *request, p *Project) answer {
		if v := find(p, r.PathValue("key"), r.text("filter[environment_scope]")); v != nil {
			return ok(shown(v))
		}
		return notFound("Variable")
	})
	s.inProject(mux, "PUT", "/variables/{key}", parameters, func(r *request, p *Project) answer {
		v := find(p, r.PathValue("key"), r.text("filter[environment_scope]"))
		if v == nil {
			return notFound("Variable")
		}
		*v.Value = r.text("value")
		v.Type, v.Protected, v.Raw = r.text("variable_type"), r.flag("protected"), r.flag("raw")
		return ok(shown(v))
	})
}

func (s *Server) tokens(mux *http.ServeMux) {
	issue := func(r *request, kind string) *IssuedToken {
		id := s.id()
		return &IssuedToken{ID: id, Name: r.text("name"), Scopes: r.texts("scopes"), Description: r.text("description"), Token: fmt.Sprintf("%s-5ecret-of-%d", kind, id)}
	}
	shown := func(all []*IssuedToken, keep func(*IssuedToken) bool) answer {
		list := []IssuedToken{}
		for _, t := range all {
			if keep(t) {
				hidden := *t
				hidden.Token = ""
				list = append(list, hidden)
			}
		}
		return pages(list)
	}
	live := func(t *IssuedToken) bool { return !t.Revoked }
	all := func(*IssuedToken) bool { return true }
	find := func(r *request, all []*IssuedToken) *IssuedToken {
		for _, t := range all {
			if strconv.FormatInt(t.ID, 10) == r.PathValue("token") && !t.Revoked {
				return t
			}
		}
		return nil
	}

	s.inProject(mux, "POST", "/access_tokens", "name! scopes! access_level expires_at!", func(r *request, p *Project) answer {
		t := issue(r, "glpat")
		if len(t.Scopes) == 0 || slices.Contains(t.Scopes, "nonsense") {
			return refuse(400, "Scopes can only contain available scopes")
		}
		t.Level, t.ExpiresAt = int(r.number("access_level")), r.text("expires_at")
		p.AccessTokens = append(p.AccessTokens, t)
		return created(t)
	})
	s.inProject(mux, "GET", "/access_tokens", "state", func(r *request, p *Project) answer {
		if r.text("state") == "active" {
			return shown(p.AccessTokens, live)
		}
		return shown(p.AccessTokens, all)
	})
	s.inProject(mux, "DELETE", "/access_tokens/{token}", "", func(r *request, p *Project) answer {
		t := find(r, p.AccessTokens)
		if t == nil {
			return refuse(404, "404 Could not find project access token with token_id: "+r.PathValue("token")+" Not Found")
		}
		t.Revoked = true
		return noContent
	})

	s.inProject(mux, "POST", "/deploy_tokens", "name! scopes! username", func(r *request, p *Project) answer {
		t := issue(r, "gldt")
		if slices.Contains(t.Scopes, "nonsense") {
			return invalid("scopes does not have a valid value")
		}
		if t.Username = r.text("username"); t.Username == "" {
			t.Username = fmt.Sprintf("gitlab+deploy-token-%d", t.ID)
		}
		p.DeployTokens = append(p.DeployTokens, t)
		return created(t)
	})
	s.inProject(mux, "GET", "/deploy_tokens", "active", func(_ *request, p *Project) answer { return shown(p.DeployTokens, live) })
	s.inProject(mux, "DELETE", "/deploy_tokens/{token}", "", func(r *request, p *Project) answer {
		t := find(r, p.DeployTokens)
		if t == nil {
			return notFound("Deploy Token")
		}
		t.Revoked = true
		return noContent
	})

	s.inProject(mux, "POST", "/triggers", "description!", func(r *request, p *Project) answer {
		t := issue(r, "glptt")
		p.Triggers = append(p.Triggers, t)
		return created(t)
	})
	s.inProject(mux, "GET", "/triggers", "", func(_ *request, p *Project) answer { return pages(p.Triggers) })
	s.inProject(mux, "DELETE", "/triggers/{token}", "", func(r *request, p *Project) answer {
		t := find(r, p.Triggers)
		if t == nil {
			return notFound("Trigger")
		}
		p.Triggers = slices.DeleteFunc(p.Triggers, func(other *IssuedToken) bool { return other == t })
		return noContent
	})
	s.inProject(mux, "POST", "/trigger/pipeline", "token! ref! variables", func(r *request, p *Project) answer {
		if !slices.ContainsFunc(p.Triggers, func(t *IssuedToken) bool { return t.Token == r.text("token") }) {
			return refuse(404, "404 Not Found")
		}
		if s.Git.Head(p.FullPath, r.text("ref")) == "" {
			return refuse(400, map[string]any{"base": []string{"Reference not found"}})
		}
		id := s.id()
		variables, _ := r.in["variables"].(map[string]any)
		made := &Pipeline{ID: id, Ref: r.text("ref"), Source: "trigger", WebURL: fmt.Sprintf("%s/-/pipelines/%d", p.WebURL, id), Variables: variables}
		p.Pipelines = append(p.Pipelines, made)
		return created(made)
	})
	s.inProject(mux, "GET", "/pipelines", "ref source order_by sort", func(r *request, p *Project) answer {
		same := []*Pipeline{}
		for _, made := range slices.Backward(p.Pipelines) {
			if made.Ref == r.text("ref") && made.Source == r.text("source") {
				same = append(same, made)
			}
		}
		return pages(same)
	})
}
