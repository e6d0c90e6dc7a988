package fakegitlab

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// requests adds the endpoints about merge requests.
func (s *Server) requests(mux *http.ServeMux) {
	in := func(method, at, parameters string, handle func(*request, *Project, *MergeRequest) answer) {
		s.inProject(mux, method, "/merge_requests/{iid}"+at, parameters, func(r *request, p *Project) answer {
			for _, m := range p.Requests {
				if strconv.FormatInt(m.IID, 10) == r.PathValue("iid") {
					return handle(r, p, m)
				}
			}
			return refuse(404, "404 Not found")
		})
	}
	const parameters = "source_branch! target_branch! title! description remove_source_branch assignee_id reviewer_ids labels"
	s.inProject(mux, "POST", "/merge_requests", parameters, func(r *request, p *Project) answer {
		source, target := r.text("source_branch"), r.text("target_branch")
		for _, m := range p.Requests {
			if m.Source == source && m.Target == target && m.State == "opened" {
				return refuse(409, []string{fmt.Sprintf("Another open merge request already exists for this source branch: !%d", m.IID)})
			}
		}
		if s.Git.Head(p.FullPath, source) == "" {
			return refuse(400, []string{`Source branch "` + source + `" does not exist`})
		}
		iid := int64(len(p.Requests) + 1)
		m := &MergeRequest{
			ID: s.id(), IID: iid, Title: r.text("title"), State: "opened", Source: source, Target: target, Status: "preparing",
			WebURL: fmt.Sprintf("%s/-/merge_requests/%d", p.WebURL, iid), Reviewers: r.numbers("reviewer_ids"), Parameters: maps.Clone(r.in), preparing: p.Preparing,
		}
		p.Requests = append(p.Requests, m)
		return created(m)
	})
	s.inProject(mux, "GET", "/merge_requests", "source_branch target_branch state", func(r *request, p *Project) answer {
		found := []*MergeRequest{}
		for _, m := range slices.Backward(p.Requests) {
			if m.Source == r.text("source_branch") && m.Target == r.text("target_branch") && (r.text("state") == "all" || r.text("state") == m.State) {
				found = append(found, m)
			}
		}
		return pages(found)
	})
	in("GET", "", "", func(_ *request, _ *Project, m *MergeRequest) answer {
		if m.preparing--; m.preparing < 0 {
			m.Status = "mergeable"
		}
		return ok(m)
	})
	in("PUT", "", "reviewer_ids", func(r *request, _ *Project, m *MergeRequest) answer {
		m.Reviewers = r.numbers("reviewer_ids")
		return ok(m)
	})
	in("PUT", "/merge", "auto_merge merge_when_pipeline_succeeds", func(_ *request, p *Project, m *MergeRequest) answer {
		if m.State != "opened" || m.AutoMerge {
			return refuse(405, "405 Method Not Allowed")
		}
		m.AutoMerge = true
		return ok(m)
	})
	in("GET", "/approval_rules", "", func(_ *request, p *Project, _ *MergeRequest) answer {
		return pages([]map[string]any{{"id": 1, "eligible_approvers": p.Approvers}, {"id": 2}})
	})
}

// issues adds the endpoints about issues.
func (s *Server) issues(mux *http.ServeMux) {
	const parameters = `description assignee_ids confidential labels created_at due_date discussion_to_resolve
		merge_request_to_resolve_discussions_of issue_type milestone_id weight epic_id`
	s.inProject(mux, "POST", "/issues", "title! "+parameters, func(r *request, p *Project) answer {
		if strings.TrimSpace(r.text("title")) == "" {
			return refuse(400, map[string]any{"title": []string{"can't be blank"}})
		}
		iid := int64(len(p.Issues) + 1)
		i := &Issue{
			ID: s.id(), IID: iid, ProjectID: p.ID, Title: r.text("title"), State: "opened", UpdatedAt: "2026-01-01T00:00:00.000Z", AuthorID: r.user.ID,
			WebURL: fmt.Sprintf("%s/-/issues/%d", p.WebURL, iid), Parameters: maps.Clone(r.in),
		}
		p.Issues = append(p.Issues, i)
		return created(i)
	})
	s.inProject(mux, "GET", "/issues", "scope search in state", func(r *request, p *Project) answer {
		found := []*Issue{}
		for _, i := range p.Issues {
			if strings.Contains(i.Title, r.text("search")) && (r.text("scope") != "created_by_me" || i.AuthorID == r.user.ID) && (r.text("state") == "all" || i.State == r.text("state")) {
				found = append(found, i)
			}
		}
		return pages(found)
	})
	s.inProject(mux, "PUT", "/issues/{iid}", "title state_event add_labels remove_labels updated_at discussion_locked "+parameters, func(r *request, p *Project) answer {
		for _, i := range p.Issues {
			if strconv.FormatInt(i.IID, 10) != r.PathValue("iid") {
				continue
			}
			if len(r.in) == 0 {
				return invalid("assignee_ids, title are missing, at least one parameter must be provided")
			}
			if r.has("title") {
				i.Title = r.text("title")
			}
			switch r.text("state_event") {
			case "close":
				i.State = "closed"
			case "reopen":
				i.State = "opened"
			}
			i.Parameters = maps.Clone(r.in)
			return ok(i)
		}
		return notFound("Issue")
	})
}
