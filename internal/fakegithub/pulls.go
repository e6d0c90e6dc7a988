package fakegithub

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// pulls returns all pull requests.
func (s *Server) pulls() []*Issue {
	var out []*Issue
	for _, r := range s.world.repositories {
		for _, i := range r.Setup.Issues {
			if i.Pull {
				out = append(out, i)
			}
		}
	}
	return out
}

// pullsAndIssues routes pull requests and issues, which share their numbers.
func (s *Server) pullsAndIssues(mux *http.ServeMux) {
	const base = "/repos/{owner}/{repo}"
	s.route(mux, "GET "+base+"/pulls", func(x *exchange) (any, int) {
		q := x.r.URL.Query()
		return x.list(func(i *Issue) bool {
			return i.Pull && (q.Get("state") == "all" || i.State == "open") &&
				(!q.Has("head") || q.Get("head") == i.Owner+":"+i.Head) && (!q.Has("base") || q.Get("base") == i.Base)
		})
	})
	s.route(mux, "POST "+base+"/pulls", func(x *exchange) (any, int) {
		if body, status, bad := x.missing("PullRequest", "title", "head", "base"); bad {
			return body, status
		}
		owner, head, ok := strings.Cut(x.text("head"), ":")
		if !ok {
			owner, head = x.repo.Owner, x.text("head")
		}
		sha := x.git().Head(owner+"/"+x.repo.Name, head)
		if sha == "" {
			return invalid("PullRequest", "head", "invalid", "")
		}
		if x.git().Head(x.slug(), x.text("base")) == "" {
			return invalid("PullRequest", "base", "invalid", "")
		}
		for _, i := range x.setup().Issues {
			if i.Pull && i.State == "open" && i.Owner == owner && i.Head == head && i.Base == x.text("base") {
				return invalid("PullRequest", "", "custom", fmt.Sprintf("A pull request already exists for %s:%s.", owner, head))
			}
		}
		draft, _ := x.body["draft"].(bool)
		return x.add(&Issue{Pull: true, Draft: draft, Owner: owner, Head: head, HeadSHA: sha, Base: x.text("base")})
	})
	s.route(mux, "PATCH "+base+"/pulls/{number}", func(x *exchange) (any, int) {
		return x.change(func(i *Issue) { i.Title, i.Body = x.text("title"), x.text("body") }, http.StatusOK)
	})
	s.route(mux, "POST "+base+"/pulls/{number}/requested_reviewers", func(x *exchange) (any, int) {
		if slices.Contains(x.texts("reviewers"), "nobody") {
			return problem("Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a collaborator of the "+x.slug()+" repository.", http.StatusUnprocessableEntity)
		}
		return x.change(func(i *Issue) { i.Reviewers, i.TeamReviewers = x.texts("reviewers"), x.texts("team_reviewers") }, http.StatusCreated)
	})
	s.route(mux, "GET "+base+"/issues", func(x *exchange) (any, int) {
		return x.list(func(i *Issue) bool { return x.r.URL.Query().Get("state") == "all" || i.State == "open" })
	})
	s.route(mux, "POST "+base+"/issues", func(x *exchange) (any, int) {
		if body, status, bad := x.missing("Issue", "title"); bad {
			return body, status
		}
		if m := x.body["milestone"]; m != nil && fmt.Sprint(m) != "1" {
			return invalid("Issue", "milestone", "invalid", "")
		}
		return x.add(&Issue{Labels: x.texts("labels"), Assignees: x.texts("assignees"), Milestone: x.body["milestone"]})
	})
	s.route(mux, "POST "+base+"/issues/{number}/labels", func(x *exchange) (any, int) {
		return x.change(func(i *Issue) {
			for _, label := range x.texts("labels") {
				if !slices.Contains(i.Labels, label) {
					i.Labels = append(i.Labels, label)
				}
			}
		}, http.StatusOK)
	})
	s.route(mux, "POST "+base+"/issues/{number}/assignees", func(x *exchange) (any, int) {
		return x.change(func(i *Issue) { i.Assignees = x.texts("assignees") }, http.StatusCreated)
	})
}

func (x *exchange) add(i *Issue) (any, int) {
	i.Title, i.Body, i.State = x.text("title"), x.text("body"), "open"
	i.Number = len(x.setup().Issues) + 1
	x.setup().Issues = append(x.setup().Issues, i)
	return x.describe(i), http.StatusCreated
}

func (x *exchange) change(change func(*Issue), status int) (any, int) {
	n, err := strconv.Atoi(x.value("number"))
	if err != nil || n < 1 || n > len(x.setup().Issues) {
		return problem("Not Found", http.StatusNotFound)
	}
	i := x.setup().Issues[n-1]
	change(i)
	return x.describe(i), status
}

// list lists the newest first.
func (x *exchange) list(wanted func(*Issue) bool) (any, int) {
	out := []any{}
	for _, i := range slices.Backward(x.setup().Issues) {
		if wanted(i) {
			out = append(out, x.describe(i))
		}
	}
	return page(x.s, x.w, x.r, out), http.StatusOK
}

func (x *exchange) describe(i *Issue) map[string]any {
	kind := "issues"
	if i.Pull {
		kind = "pull"
	}
	out := map[string]any{
		"number": i.Number, "title": i.Title, "body": i.Body, "state": i.State,
		"html_url": fmt.Sprintf("%s/%s/%d", x.s.world.URL(x.repo), kind, i.Number),
	}
	if i.Pull {
		out["draft"] = i.Draft
		out["head"] = map[string]any{"ref": i.Head, "sha": i.HeadSHA, "label": i.Owner + ":" + i.Head}
		out["base"] = map[string]any{"ref": i.Base}
	}
	return out
}
