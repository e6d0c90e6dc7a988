package fakegithub

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/nacl/box"
)

// settings routes what repositories are set up with.
func (s *Server) settings(mux *http.ServeMux) {
	const base = "/repos/{owner}/{repo}"
	s.route(mux, "PUT "+base+"/topics", func(x *exchange) (any, int) {
		for _, topic := range x.texts("names") {
			if topic != strings.ToLower(topic) {
				return invalid("Repository", "topics", "invalid", "Topics must be lower case")
			}
		}
		x.repo.Topics = x.texts("names")
		return map[string]any{"names": x.repo.Topics}, http.StatusOK
	})
	s.variables(mux, base+"/actions/variables", func(x *exchange) *map[string]string { return &x.setup().Variables })
	s.secrets(mux, base+"/actions/secrets", func(x *exchange) *map[string]string { return &x.setup().Secrets })
	s.route(mux, "PUT "+base+"/actions/oidc/customization/sub", func(x *exchange) (any, int) {
		x.setup().OIDC = x.body
		return map[string]any{}, http.StatusCreated
	})
	s.route(mux, "PUT "+base+"/actions/permissions/access", func(x *exchange) (any, int) {
		x.setup().WorkflowAccess = x.text("access_level")
		return noContent()
	})
	s.route(mux, "PUT "+base+"/subscription", func(x *exchange) (any, int) {
		x.setup().Subscribed, _ = x.body["subscribed"].(bool)
		return x.body, http.StatusOK
	})
	s.route(mux, "PUT "+base+"/branches/{branch}/protection", func(x *exchange) (any, int) {
		if x.repo.Visibility == "private" && x.s.world.FreePlan {
			return problem("Upgrade to GitHub Pro or make this repository public to enable this feature.", http.StatusForbidden)
		}
		if x.git().Head(x.slug(), x.value("branch")) == "" {
			return problem("Branch not found", http.StatusNotFound)
		}
		for _, field := range []string{"required_status_checks", "enforce_admins", "required_pull_request_reviews", "restrictions"} {
			if _, ok := x.body[field]; !ok {
				return problem(fmt.Sprintf("Invalid request.\n\n%q wasn't supplied.", field), http.StatusUnprocessableEntity)
			}
		}
		if x.setup().Protection == nil {
			x.setup().Protection = map[string]any{}
		}
		x.setup().Protection[x.value("branch")] = x.body
		return x.body, http.StatusOK
	})
	s.route(mux, "POST "+base+"/branches/{branch}/protection/required_signatures", func(x *exchange) (any, int) {
		if x.setup().Protection[x.value("branch")] == nil {
			return problem("Branch not protected", http.StatusNotFound)
		}
		x.setup().Signatures = map[string]bool{x.value("branch"): true}
		return map[string]any{"enabled": true}, http.StatusOK
	})
	s.collection(mux, base+"/autolinks", "Autolink", "key_prefix", func(x *exchange) *[]map[string]any { return &x.setup().Autolinks })
	s.collection(mux, base+"/keys", "PublicKey", "key", func(x *exchange) *[]map[string]any { return &x.setup().Keys })
	s.hooks(mux, base+"/hooks")
	s.route(mux, "GET "+base+"/pages", func(x *exchange) (any, int) {
		if x.setup().Pages == nil {
			return problem("Not Found", http.StatusNotFound)
		}
		return x.setup().Pages, http.StatusOK
	})
	s.route(mux, "POST "+base+"/pages", func(x *exchange) (any, int) {
		if x.setup().Pages != nil {
			return problem("GitHub Pages is already enabled.", http.StatusConflict)
		}
		x.setup().Pages = x.body
		return x.body, http.StatusCreated
	})
	s.workflows(mux, base+"/actions/workflows/{workflow}")
}

// collection routes a list whose items differ in a field.
func (s *Server) collection(mux *http.ServeMux, path, resource, field string, of func(*exchange) *[]map[string]any) {
	s.route(mux, "GET "+path, func(x *exchange) (any, int) { return page(s, x.w, x.r, *of(x)), http.StatusOK })
	s.route(mux, "POST "+path, func(x *exchange) (any, int) {
		if body, status, bad := x.missing(resource, field); bad {
			return body, status
		}
		if slices.ContainsFunc(*of(x), func(item map[string]any) bool { return item[field] == x.body[field] }) {
			return invalid(resource, field, "custom", field+" is already in use")
		}
		x.body["id"] = len(*of(x)) + 1
		*of(x) = append(*of(x), x.body)
		return x.body, http.StatusCreated
	})
}

func (s *Server) hooks(mux *http.ServeMux, path string) {
	address := func(hook map[string]any) any {
		config, _ := hook["config"].(map[string]any)
		return config["url"]
	}
	s.route(mux, "GET "+path, func(x *exchange) (any, int) { return page(s, x.w, x.r, x.setup().Hooks), http.StatusOK })
	s.route(mux, "POST "+path, func(x *exchange) (any, int) {
		if address(x.body) == nil || x.body["name"] != "web" {
			return invalid("Hook", "url", "missing_field", "")
		}
		if slices.ContainsFunc(x.setup().Hooks, func(hook map[string]any) bool { return address(hook) == address(x.body) }) {
			return invalid("Hook", "", "custom", "Hook already exists on this repository")
		}
		x.body["id"] = len(x.setup().Hooks) + 1
		x.setup().Hooks = append(x.setup().Hooks, x.body)
		return x.body, http.StatusCreated
	})
	s.route(mux, "PATCH "+path+"/{id}", func(x *exchange) (any, int) {
		n, err := strconv.Atoi(x.value("id"))
		if err != nil || n < 1 || n > len(x.setup().Hooks) {
			return problem("Not Found", http.StatusNotFound)
		}
		x.body["id"] = n
		x.setup().Hooks[n-1] = x.body
		return x.body, http.StatusOK
	})
}

func (s *Server) workflows(mux *http.ServeMux, path string) {
	s.route(mux, "GET "+path+"/runs", func(x *exchange) (any, int) {
		out := []map[string]any{}
		for _, run := range slices.Backward(x.setup().Runs) {
			if branch := x.r.URL.Query().Get("branch"); branch == "" || run["head_branch"] == branch {
				out = append(out, run)
			}
		}
		return map[string]any{"total_count": len(out), "workflow_runs": page(s, x.w, x.r, out)}, http.StatusOK
	})
	s.route(mux, "POST "+path+"/dispatches", func(x *exchange) (any, int) {
		if !slices.Contains(x.setup().Workflows, x.value("workflow")) {
			return problem("Not Found", http.StatusNotFound)
		}
		if x.git().Head(x.slug(), x.text("ref")) == "" {
			return problem("No ref found for: "+x.text("ref"), http.StatusUnprocessableEntity)
		}
		id := 9000 + len(x.setup().Runs)
		run := map[string]any{
			"id": id, "head_branch": x.text("ref"), "inputs": x.body["inputs"],
			"url": fmt.Sprintf("%s/api/v3/repos/%s/actions/runs/%d", s.URL, x.slug(), id), "html_url": fmt.Sprintf("%s/%s/actions/runs/%d", s.URL, x.slug(), id),
		}
		x.setup().Runs = append(x.setup().Runs, run)
		if details, _ := x.body["return_run_details"].(bool); details {
			return map[string]any{"workflow_run_id": id, "run_url": run["url"], "html_url": run["html_url"]}, http.StatusOK
		}
		return noContent()
	})
}

func (s *Server) variables(mux *http.ServeMux, path string, of func(*exchange) *map[string]string) {
	s.route(mux, "POST "+path, func(x *exchange) (any, int) {
		if body, status, bad := x.missing("Variable", "name", "value"); bad {
			return body, status
		}
		if _, there := (*of(x))[x.text("name")]; there {
			return problem("Already exists - Variable already exists", http.StatusConflict)
		}
		set(of(x), x.text("name"), x.text("value"))
		return map[string]any{}, http.StatusCreated
	})
	s.route(mux, "PATCH "+path+"/{name}", func(x *exchange) (any, int) {
		if _, there := (*of(x))[x.value("name")]; !there {
			return problem("Not Found", http.StatusNotFound)
		}
		return set(of(x), x.value("name"), x.text("value"))
	})
}

// secrets routes secrets, which have to be sealed with the server's key.
func (s *Server) secrets(mux *http.ServeMux, path string, of func(*exchange) *map[string]string) {
	s.route(mux, "GET "+path+"/public-key", func(*exchange) (any, int) {
		if s.public == nil {
			public, private, err := box.GenerateKey(rand.Reader)
			if err != nil {
				return problem(err.Error(), http.StatusInternalServerError)
			}
			s.public, s.private = public, private
		}
		return map[string]any{"key_id": "42", "key": base64.StdEncoding.EncodeToString(s.public[:])}, http.StatusOK
	})
	s.route(mux, "PUT "+path+"/{name}", func(x *exchange) (any, int) {
		sealed, err := base64.StdEncoding.DecodeString(x.text("encrypted_value"))
		if err != nil || s.public == nil || x.text("key_id") != "42" {
			return problem("Bad request - key_id or encrypted_value is invalid", http.StatusUnprocessableEntity)
		}
		plain, ok := box.OpenAnonymous(nil, sealed, s.public, s.private)
		if !ok {
			return problem("Bad request - encrypted_value is not sealed with the key", http.StatusUnprocessableEntity)
		}
		set(of(x), x.value("name"), string(plain))
		return map[string]any{}, http.StatusCreated
	})
}

// environments routes environments for deployments.
func (s *Server) environments(mux *http.ServeMux) {
	const path = "/repos/{owner}/{repo}/environments/{environment}"
	of := func(x *exchange) *Environment {
		all := &x.setup().Environments
		if *all == nil {
			*all = map[string]*Environment{}
		}
		if (*all)[x.value("environment")] == nil {
			(*all)[x.value("environment")] = &Environment{}
		}
		return (*all)[x.value("environment")]
	}
	s.route(mux, "PUT "+path, func(x *exchange) (any, int) {
		of(x).Settings = x.body
		return map[string]any{"name": x.value("environment")}, http.StatusOK
	})
	s.route(mux, "GET "+path+"/deployment-branch-policies", func(x *exchange) (any, int) {
		return map[string]any{"branch_policies": page(s, x.w, x.r, of(x).Policies)}, http.StatusOK
	})
	s.route(mux, "POST "+path+"/deployment-branch-policies", func(x *exchange) (any, int) {
		if body, status, bad := x.missing("DeploymentBranchPolicy", "name"); bad {
			return body, status
		}
		of(x).Policies = append(of(x).Policies, x.body)
		return x.body, http.StatusOK
	})
	s.variables(mux, path+"/variables", func(x *exchange) *map[string]string { return &of(x).Variables })
	s.secrets(mux, path+"/secrets", func(x *exchange) *map[string]string { return &of(x).Secrets })
}
