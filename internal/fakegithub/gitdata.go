package fakegithub

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// gitData routes blobs, trees, commits and branches, which git keeps.
func (s *Server) gitData(mux *http.ServeMux) {
	const base = "/repos/{owner}/{repo}"
	s.route(mux, "GET "+base+"/branches", func(x *exchange) (any, int) {
		out := []any{}
		for _, branch := range x.git().Branches(x.slug()) {
			out = append(out, map[string]any{"name": branch})
		}
		return page(s, x.w, x.r, out), http.StatusOK
	})
	s.route(mux, "GET "+base+"/contents/{path...}", func(x *exchange) (any, int) {
		kind, err := x.git().TryGit(x.slug(), "", "cat-file", "-t", x.r.URL.Query().Get("ref")+":"+x.value("path"))
		if err != nil {
			return problem("Not Found", http.StatusNotFound)
		}
		return map[string]any{"type": kind, "path": x.value("path")}, http.StatusOK
	})
	s.route(mux, "PUT "+base+"/contents/{path...}", func(x *exchange) (any, int) {
		if _, err := x.git().TryGit(x.slug(), "", "cat-file", "-t", "refs/heads/"+x.text("branch")+":"+x.value("path")); err == nil {
			return problem("Invalid request.\n\n\"sha\" wasn't supplied.", http.StatusUnprocessableEntity)
		}
		return map[string]any{"commit": map[string]any{"sha": x.git().Seed(x.slug(), x.text("branch"), map[string]string{x.value("path"): x.text("content")})}}, http.StatusCreated
	})
	s.route(mux, "POST "+base+"/git/blobs", func(x *exchange) (any, int) {
		content := x.text("content")
		if x.text("encoding") == "base64" {
			raw, err := base64.StdEncoding.DecodeString(content)
			if err != nil {
				return problem("content is not valid Base64", http.StatusUnprocessableEntity)
			}
			content = string(raw)
		}
		return x.stored(x.git().TryGit(x.slug(), content, "hash-object", "-w", "--stdin"))
	})
	s.route(mux, "POST "+base+"/git/trees", func(x *exchange) (any, int) {
		var listing strings.Builder
		entries, _ := x.body["tree"].([]any)
		for _, item := range entries {
			e, _ := item.(map[string]any)
			name, _ := e["path"].(string)
			mode, _ := e["mode"].(string)
			sha, _ := e["sha"].(string)
			if name == "" || strings.HasPrefix(name, "/") || !slices.Contains([]string{"100644", "100755", "120000"}, mode) {
				return problem("Must supply a valid tree.path and tree.mode", http.StatusUnprocessableEntity)
			}
			if content, ok := e["content"].(string); ok {
				var err error
				if sha, err = x.git().TryGit(x.slug(), content, "hash-object", "-w", "--stdin"); err != nil {
					return problem(err.Error(), http.StatusUnprocessableEntity)
				}
			}
			if sha == "" {
				fmt.Fprintf(&listing, "0 %s\t%s\n", strings.Repeat("0", 40), name)
			} else {
				fmt.Fprintf(&listing, "%s %s\t%s\n", mode, sha, name)
			}
		}
		return x.stored(x.git().Tree(x.slug(), x.text("base_tree"), listing.String()))
	})
	s.route(mux, "POST "+base+"/git/commits", func(x *exchange) (any, int) {
		if body, status, bad := x.missing("Commit", "message", "tree"); bad {
			return body, status
		}
		return x.stored(x.git().TryGit(x.slug(), x.commitText(), "hash-object", "-t", "commit", "-w", "--stdin"))
	})
	s.route(mux, "GET "+base+"/git/ref/heads/{branch...}", func(x *exchange) (any, int) {
		head := x.git().Head(x.slug(), x.value("branch"))
		if head == "" && len(x.git().Branches(x.slug())) == 0 {
			return problem("Git Repository is empty.", http.StatusConflict)
		}
		if head == "" {
			return problem("Not Found", http.StatusNotFound)
		}
		return map[string]any{"ref": "refs/heads/" + x.value("branch"), "object": map[string]any{"sha": head, "type": "commit"}}, http.StatusOK
	})
	s.route(mux, "POST "+base+"/git/refs", func(x *exchange) (any, int) {
		branch, ok := strings.CutPrefix(x.text("ref"), "refs/heads/")
		if !ok {
			return problem("Reference name must start with 'refs/'", http.StatusUnprocessableEntity)
		}
		if x.git().Head(x.slug(), branch) != "" {
			return problem("Reference already exists", http.StatusUnprocessableEntity)
		}
		return x.move(branch, http.StatusCreated)
	})
	s.route(mux, "PATCH "+base+"/git/refs/heads/{branch...}", func(x *exchange) (any, int) {
		if x.git().Head(x.slug(), x.value("branch")) == "" {
			return problem("Reference does not exist", http.StatusUnprocessableEntity)
		}
		if force, _ := x.body["force"].(bool); !force {
			return problem("Update is not a fast forward", http.StatusUnprocessableEntity)
		}
		return x.move(x.value("branch"), http.StatusOK)
	})
}

// commitText is the commit as git stores it.
func (x *exchange) commitText() string {
	var text strings.Builder
	fmt.Fprintf(&text, "tree %s\n", x.text("tree"))
	for _, parent := range x.texts("parents") {
		fmt.Fprintf(&text, "parent %s\n", parent)
	}
	line := func(field string, absent any) any {
		who, ok := x.body[field].(map[string]any)
		if !ok {
			who, ok = absent.(map[string]any)
		}
		if !ok {
			who = map[string]any{"name": "Fake", "email": "fake@example.com"}
		}
		when := x.s.now
		if date, ok := who["date"].(string); ok {
			if parsed, err := time.Parse(time.RFC3339, date); err == nil {
				when = parsed
			}
		}
		fmt.Fprintf(&text, "%s %v <%v> %d +0000\n", field, who["name"], who["email"], when.Unix())
		return who
	}
	line("committer", line("author", nil))
	if signature := x.text("signature"); signature != "" {
		text.WriteString("gpgsig " + strings.ReplaceAll(strings.TrimSuffix(signature, "\n"), "\n", "\n ") + "\n")
	}
	text.WriteString("\n" + x.text("message"))
	return text.String()
}

func (x *exchange) move(branch string, status int) (any, int) {
	if _, err := x.git().TryGit(x.slug(), "", "update-ref", "refs/heads/"+branch, x.text("sha")); err != nil {
		return problem("Object does not exist", http.StatusUnprocessableEntity)
	}
	for _, i := range x.s.pulls() {
		if i.Owner == x.repo.Owner && i.Head == branch && i.State == "open" {
			i.HeadSHA = x.text("sha")
		}
	}
	return map[string]any{"ref": "refs/heads/" + branch, "object": map[string]any{"sha": x.text("sha")}}, status
}

func (x *exchange) stored(sha string, err error) (any, int) {
	if len(x.git().Branches(x.slug())) == 0 {
		return problem("Git Repository is empty.", http.StatusConflict)
	}
	if err != nil {
		return problem(err.Error(), http.StatusUnprocessableEntity)
	}
	return map[string]any{"sha": sha}, http.StatusCreated
}

// gitCommit describes the commit of a branch, a tag or a hash.
func (s *Server) gitCommit(repo *Repository, ref string) (any, int) {
	slug := repo.Owner + "/" + repo.Name
	sha, err := s.git.TryGit(slug, "", "rev-parse", "--verify", "--quiet", ref+"^{commit}")
	if err != nil {
		if len(s.git.Branches(slug)) == 0 {
			return problem("Git Repository is empty.", http.StatusConflict)
		}
		return problem("No commit found for SHA: "+ref, http.StatusUnprocessableEntity)
	}
	return map[string]any{"sha": sha, "commit": map[string]any{"tree": map[string]any{"sha": s.git.Git(slug, "rev-parse", sha+"^{tree}")}}}, http.StatusOK
}
