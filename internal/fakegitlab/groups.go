package fakegitlab

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (s *Server) inGroup(mux *http.ServeMux, method, at, parameters string, handle func(*request, *Group) answer) {
	s.route(mux, method+" /groups/{id}"+at, parameters, func(r *request) answer {
		g := s.group(r.PathValue("id"))
		if g == nil {
			return notFound("Group")
		}
		return handle(r, g)
	})
}

// groupRoutes adds the endpoints about groups and migrations.
func (s *Server) groupRoutes(mux *http.ServeMux) {
	s.route(mux, "GET /groups", "", func(*request) answer { return pages(s.groups) })
	s.route(mux, "POST /groups", "name! path! parent_id description", func(r *request) answer {
		full := r.text("path")
		if r.has("parent_id") {
			parent := s.group(strconv.FormatInt(r.number("parent_id"), 10))
			if parent == nil {
				return notFound("Group")
			}
			full = parent.FullPath + "/" + full
		}
		if s.group(full) != nil {
			return refuse(400, `Failed to save group {:path=>["has already been taken"]}`)
		}
		if strings.ContainsAny(r.text("path"), " /!") {
			return refuse(400, `Failed to save group {:path=>["can only include non-accented letters, digits, '_', '-' and '.'."]}`)
		}
		g := s.addGroup(full)
		g.Name, g.Description = r.text("name"), r.text("description")
		return created(g)
	})
	s.inGroup(mux, "GET", "", "", func(_ *request, g *Group) answer { return ok(g) })
	s.inGroup(mux, "GET", "/projects", "", func(_ *request, g *Group) answer { return pages(s.projectsOf(g.ID)) })
	s.inGroup(mux, "GET", "/epics", "", func(_ *request, g *Group) answer {
		return pages(slices.DeleteFunc(slices.Clone(s.epics), func(e Epic) bool {
			owner := s.group(strconv.FormatInt(e.GroupID, 10))
			return owner != g && !strings.HasPrefix(owner.FullPath, g.FullPath+"/")
		}))
	})
	s.inGroup(mux, "POST", "/members", "user_id! access_level!", func(r *request, g *Group) answer { return s.addMember(r, g.Members) })
	s.inGroup(mux, "PUT", "/members/{user}", "access_level!", func(r *request, g *Group) answer { return s.editMember(r, g.Members) })
	s.inGroup(mux, "DELETE", "/members/{user}", "", func(r *request, g *Group) answer {
		id, err := strconv.ParseInt(r.PathValue("user"), 10, 64)
		if _, is := g.Members[id]; err != nil || !is {
			return refuse(404, "404 Not found")
		}
		delete(g.Members, id)
		return noContent
	})
	s.inGroup(mux, "POST", "/share", "group_id! group_access!", func(r *request, g *Group) answer {
		id := r.number("group_id")
		if s.group(strconv.FormatInt(id, 10)) == nil {
			return notFound("Group")
		}
		if slices.ContainsFunc(g.Shared, func(sh Share) bool { return sh.ID == id }) {
			return refuse(409, "Group already shared with this group")
		}
		g.Shared = append(g.Shared, Share{id, int(r.number("group_access"))})
		return created(g)
	})
	s.inGroup(mux, "DELETE", "/share/{other}", "", func(r *request, g *Group) answer {
		before := len(g.Shared)
		g.Shared = slices.DeleteFunc(g.Shared, func(sh Share) bool { return strconv.FormatInt(sh.ID, 10) == r.PathValue("other") })
		if len(g.Shared) == before {
			return refuse(404, "404 Not Found")
		}
		return noContent
	})
	s.route(mux, "POST /bulk_imports", "configuration! entities!", func(r *request) answer {
		source, _ := r.in["configuration"].(map[string]any)
		if source["access_token"] == "wrong" {
			return refuse(422, "Invalid source token")
		}
		m := &Migration{ID: s.id(), Status: "created", Source: source}
		list, _ := r.in["entities"].([]any)
		for _, item := range list {
			entity, _ := item.(map[string]any)
			m.Entities = append(m.Entities, entity)
		}
		s.migrations = append(s.migrations, m)
		return created(m)
	})
	s.route(mux, "GET /bulk_imports", "sort", func(r *request) answer {
		all := slices.Clone(s.migrations)
		slices.Reverse(all)
		return pages(all)
	})
	s.route(mux, "GET /bulk_imports/{migration}/entities", "", func(r *request) answer {
		for _, m := range s.migrations {
			if strconv.FormatInt(m.ID, 10) == r.PathValue("migration") {
				return pages(m.Entities)
			}
		}
		return notFound("Bulk import")
	})
}
